// A connection without a socket: a clock whose ticks and timers the test runs, a channel that keeps what was written, and
// the client's half of the protocol to talk to both.

import type { ByteChannel, TlsDoor } from '../../src/nbd/byte-channel.ts';
import { Connection } from '../../src/nbd/connection.ts';
import { Exports } from '../../src/nbd/exports.ts';
import {
  COMMAND,
  encodeRequest,
  type RequestHeader,
  readU16,
  readU32,
} from '../../src/nbd/nbd-codec.ts';
import { encodeInfoRequest, encodeOption, OPTION } from '../../src/nbd/option-codec.ts';
import type { Clock, TimerHandle, Trace } from '../../src/ports/ports.ts';
import { type MemoryVolume, memorySource } from './memory-volume.ts';

export class ManualClock implements Clock {
  #now = 0;
  #soon: (() => void)[] = [];
  readonly #timers = new Map<TimerHandle, { at: number; fn: () => void }>();

  now(): number {
    return this.#now;
  }

  date(): number {
    return this.#now;
  }

  setTimer(ms: number, fn: () => void): TimerHandle {
    const handle = {} as TimerHandle;
    this.#timers.set(handle, { at: this.#now + ms, fn });
    return handle;
  }

  clearTimer(handle: TimerHandle): void {
    this.#timers.delete(handle);
  }

  get timerCount(): number {
    return this.#timers.size;
  }

  soon(fn: () => void): void {
    this.#soon.push(fn);
  }

  /** Ends ticks until nothing is planned any more. */
  settle(): void {
    for (let tick = 0; this.#soon.length > 0; tick += 1) {
      if (tick > 100_000) throw new Error('ticks without end');
      const due = this.#soon;
      this.#soon = [];
      for (const fn of due) fn();
    }
  }

  advance(ms: number): void {
    this.#now += ms;
    for (const [handle, timer] of [...this.#timers]) {
      if (timer.at > this.#now) continue;
      this.#timers.delete(handle);
      timer.fn();
    }
    this.settle();
  }
}

export const quietTrace: Trace = { event: () => {}, warn: () => {}, count: () => {} };

export class MemoryChannel implements ByteChannel {
  /** While set, nothing that is written is taken. */
  isStuck = false;
  isPaused = false;
  isEnded = false;
  isDestroyed = false;
  queuedBytes = 0;
  writes = 0;
  #sent: Uint8Array[] = [];
  #untaken: (() => void)[] = [];

  write(bytes: Uint8Array, sent?: () => void): void {
    this.writes += 1;
    if (this.isStuck && sent !== undefined) this.#untaken.push(sent);
    this.#sent.push(this.isStuck ? bytes : new Uint8Array(bytes)); // stuck: by reference, as a socket does
    if (this.isStuck) this.queuedBytes += bytes.length;
    else sent?.();
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  end(): void {
    this.isEnded = true;
  }

  destroy(): void {
    this.isDestroyed = true;
  }

  /** What the buffers that were given to `write` and not taken yet keep in memory. */
  get heldBytes(): number {
    const buffers = new Set(this.#sent.map((one) => one.buffer));
    return [...buffers].reduce((sum, one) => sum + one.byteLength, 0);
  }

  /** All bytes sent since the last call; the system has them. */
  take(): Uint8Array {
    const all = Buffer.concat(this.#sent);
    this.#sent = [];
    for (const sent of this.#untaken.splice(0)) sent();
    return new Uint8Array(all);
  }
}

export interface Reply {
  /** Of a chunk; 0 = a simple reply. */
  readonly type: number;
  /** The last chunk of its request. */
  readonly isLast: boolean;
  readonly cookie: number;
  readonly errno: number;
  readonly text: string;
  readonly data: Uint8Array;
  readonly offset: number;
}

/** Splits simple replies; `dataBytes` says how much data follows a good reply with this cookie. */
export function simpleReplies(bytes: Uint8Array, dataBytes: (cookie: number) => number): Reply[] {
  const replies: Reply[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (readU32(bytes, at) !== 0x67446698) throw new Error(`no simple reply at ${at}`);
    const errno = readU32(bytes, at + 4);
    const cookie = readU32(bytes, at + 12);
    const length = errno === 0 ? dataBytes(cookie) : 0;
    replies.push({
      type: 0,
      isLast: true,
      cookie,
      errno,
      text: '',
      data: bytes.subarray(at + 16, at + 16 + length),
      offset: 0,
    });
    at += 16 + length;
  }
  return replies;
}

/** Splits what a client with structured replies gets: chunks, and simple replies without data. */
export function structuredReplies(bytes: Uint8Array): Reply[] {
  const replies: Reply[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (readU32(bytes, at) === 0x67446698) {
      const [simple] = simpleReplies(bytes.subarray(at, at + 16), () => 0);
      if (simple !== undefined) replies.push(simple);
      at += 16;
      continue;
    }
    if (readU32(bytes, at) !== 0x668e33ef) throw new Error(`no reply at ${at}`);
    const isError = readU16(bytes, at + 6) === 0x8001;
    const length = readU32(bytes, at + 16);
    const body = bytes.subarray(at + 20, at + 20 + length);
    replies.push({
      type: readU16(bytes, at + 6),
      isLast: (readU16(bytes, at + 4) & 1) === 1,
      cookie: readU32(bytes, at + 12),
      errno: isError ? readU32(body, 0) : 0,
      text: isError ? new TextDecoder().decode(body.subarray(6)) : '',
      data: isError ? new Uint8Array(0) : dataOf(readU16(bytes, at + 6), body),
      offset: isError ? 0 : readU32(body, 0) * 2 ** 32 + readU32(body, 4),
    });
    at += 20 + length;
  }
  return replies;
}

/** Of a hole the zeroes, of a status the context and the extents as they came. */
function dataOf(type: number, body: Uint8Array): Uint8Array {
  if (type === 5) return body;
  return type === 2 ? new Uint8Array(readU32(body, 8)) : body.subarray(8);
}

export interface OptionReply {
  readonly option: number;
  readonly reply: number;
  readonly data: Uint8Array;
}

export function optionReplies(bytes: Uint8Array): OptionReply[] {
  const replies: OptionReply[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = readU32(bytes, at + 16);
    replies.push({
      option: readU32(bytes, at + 8),
      reply: readU32(bytes, at + 12),
      data: bytes.subarray(at + 20, at + 20 + length),
    });
    at += 20 + length;
  }
  return replies;
}

/** A request with defaults; cookie goes to the low half. */
export function request(
  type: keyof typeof COMMAND | number,
  fields: Partial<RequestHeader>,
): Uint8Array {
  const number = typeof type === 'number' ? type : COMMAND[type];
  return encodeRequest({
    flags: 0,
    cookieHigh: 0,
    cookieLow: 0,
    offset: 0,
    length: 0,
    ...fields,
    type: number,
  });
}

export function joined(...pieces: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(pieces));
}

export interface Rig {
  readonly clock: ManualClock;
  readonly channel: MemoryChannel;
  readonly connection: Connection;
  readonly isFinished: () => boolean;
  /** Gives bytes to the connection as one chunk that is overwritten afterwards, and ends the tick. */
  readonly send: (...pieces: Uint8Array[]) => void;
  /** Answers to options so far. */
  readonly options: () => OptionReply[];
}

/** A connection just after the greeting and the client's flags. */
export function rigOf(
  volumes: readonly MemoryVolume[],
  clientFlags = 3,
  lookUp?: (name: string) => Promise<void>,
  tls?: TlsDoor,
): Rig {
  const clock = new ManualClock();
  const channel = new MemoryChannel();
  let isFinished = false;
  const connection = new Connection(channel, {
    exports: new Exports({
      ...memorySource(volumes),
      ...(lookUp === undefined ? {} : { lookUp }),
    }),
    clock,
    trace: quietTrace,
    tls,
    onFinished: () => {
      isFinished = true;
    },
  });
  const send = (...pieces: Uint8Array[]) => {
    const chunk = Buffer.concat(pieces);
    connection.onData(chunk);
    chunk.fill(0xee); // the socket's own buffer: whoever kept a view of it now sees rubbish
    clock.settle();
  };
  channel.take();
  send(Uint8Array.of(0, 0, 0, clientFlags));
  return {
    clock,
    channel,
    connection,
    send,
    isFinished: () => isFinished,
    options: () => optionReplies(channel.take()),
  };
}

/** A connection in transmission. */
export function attachedRig(volume: MemoryVolume, replies: 'simple' | 'structured'): Rig {
  const rig = rigOf([volume]);
  const go = encodeOption(OPTION.go, encodeInfoRequest(volume.volume.name, []));
  const structured = encodeOption(OPTION.structuredReply, new Uint8Array(0));
  rig.send(...(replies === 'structured' ? [structured, go] : [go]));
  rig.channel.take();
  return rig;
}
