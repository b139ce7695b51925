// Length-prefixed messages on a libp2p stream, as pipelines of async iterables. One long-lived stream per peer and
// direction carries control messages; short ones carry one request and one reply. All queues are bounded: libp2p's own
// send queue is not (TRAPS 2.2), so we wait for its 'drain' event and bound what waits before it.

import type { Stream } from '@libp2p/interface';
import { pipe } from 'it-pipe';
import { concat } from 'uint8arrays/concat';
import { OperatingError } from '../core/errors.ts';
import { KIB, MIB } from '../core/units.ts';
import { badFrame, getU32, putU32 } from '../wire/bytes.ts';

/** Bytes of messages that wait for one peer; a further one is dropped. */
export const MAX_QUEUED_CONTROL_BYTES = 8 * MIB;
/** One send joins waiting messages up to about this: a third of the CPU of single sends (TRAPS 2.7). */
const BATCH_BYTES = 256 * KIB;
const PREFIX_BYTES = 4;

/** What a stream or a test yields: libp2p's byte lists have `subarray`, too. */
type Chunk = Uint8Array | { subarray(): Uint8Array };

/** A message behind its length. */
export function prefixed(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(PREFIX_BYTES + message.length);
  putU32(bytes, 0, message.length);
  bytes.set(message, PREFIX_BYTES);
  return bytes;
}

/**
 * Cuts a byte stream into messages, each a buffer of its own. Holds one message and one chunk at most.
 * @throws OperatingError 'bad-frame' for a message above `maxBytes`, and when the stream ends inside one
 */
export async function* messagesOf(
  source: AsyncIterable<Chunk>,
  maxBytes: number,
): AsyncGenerator<Uint8Array> {
  const prefix = new Uint8Array(PREFIX_BYTES);
  let prefixHave = 0;
  let message: Uint8Array | undefined;
  let have = 0;
  for await (const piece of source) {
    const chunk = piece instanceof Uint8Array ? piece : piece.subarray();
    let at = 0;
    while (at < chunk.length || (message !== undefined && have === message.length)) {
      if (message === undefined) {
        prefix[prefixHave] = chunk[at] as number;
        prefixHave += 1;
        at += 1;
        if (prefixHave < PREFIX_BYTES) continue;
        const length = getU32(prefix, 0);
        if (length > maxBytes) throw badFrame(`a message of ${length} bytes`);
        message = new Uint8Array(length);
        prefixHave = 0;
        have = 0;
      }
      const count = Math.min(chunk.length - at, message.length - have);
      message.set(chunk.subarray(at, at + count), have);
      have += count;
      at += count;
      if (have < message.length) continue;
      const whole = message;
      message = undefined;
      yield whole;
    }
  }
  if (message !== undefined || prefixHave > 0) throw badFrame('the stream ended inside a message');
}

/** Hands every message of an incoming stream to `onMessage` until it ends. Rejects when it breaks. */
export async function receiveMessages(
  stream: Stream,
  maxBytes: number,
  onMessage: (message: Uint8Array) => void,
): Promise<void> {
  await pipe(
    stream,
    (source) => messagesOf(source, maxBytes),
    async (messages) => {
      for await (const message of messages) onMessage(message);
    },
  );
}

/** The first message of a stream. Rejects with 'bad-frame' when there is none. */
export async function receiveOne(stream: Stream, maxBytes: number): Promise<Uint8Array> {
  for await (const message of messagesOf(stream, maxBytes)) return message;
  throw badFrame('the stream ended before a message');
}

/** Sends one message, waits for one. The caller bounds it in time by aborting the stream. */
export async function exchange(
  stream: Stream,
  request: Uint8Array,
  maxReplyBytes: number,
): Promise<Uint8Array> {
  await sendAll(stream, [prefixed(request)]);
  return receiveOne(stream, maxReplyBytes);
}

/** Sends one message and closes our end. */
export async function sendLast(stream: Stream, message: Uint8Array): Promise<void> {
  await sendAll(stream, [prefixed(message)]);
  await stream.close();
}

async function sendAll(
  stream: Stream,
  source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  for await (const bytes of source) {
    if (stream.status !== 'open') throw closedError();
    if (!stream.send(bytes)) await drained(stream);
  }
}

function closedError(): OperatingError {
  return new OperatingError('unreachable', 'the stream is closed', { advice: 'retry' });
}

/** `onDrain()` of libp2p resolves once per stream for ever (TRAPS 2.3); its event works. */
function drained(stream: Stream): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      stream.removeEventListener('drain', onDrain);
      stream.removeEventListener('close', onClose);
    };
    const onDrain = () => {
      end();
      resolve();
    };
    const onClose = () => {
      end();
      reject(closedError());
    };
    stream.addEventListener('drain', onDrain);
    stream.addEventListener('close', onClose);
    if (stream.status !== 'open') onClose();
    else if (!stream.writableNeedsDrain) onDrain();
  });
}

/** Messages for one peer, waiting for its stream. */
export class MessageQueue {
  #waiting: Uint8Array[] = [];
  #bytes = 0;
  #wake: (() => void) | undefined;
  #isEnded = false;

  /** False when it was dropped: too much waits already. */
  push(message: Uint8Array): boolean {
    if (this.#bytes + message.length > MAX_QUEUED_CONTROL_BYTES) return false;
    this.#waiting.push(prefixed(message));
    this.#bytes += message.length;
    this.#wake?.();
    return true;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  clear(): void {
    this.#waiting = [];
    this.#bytes = 0;
  }

  /** Ends the present run of `sendTo`. */
  end(): void {
    this.#isEnded = true;
    this.#wake?.();
  }

  /** Sends until the stream closes (rejects) or `end` (resolves). */
  async sendTo(stream: Stream): Promise<void> {
    this.#isEnded = false;
    const onClose = () => this.end();
    stream.addEventListener('close', onClose);
    try {
      await pipe(
        () => this.#batches(),
        (source) => sendAll(stream, source),
      );
    } finally {
      stream.removeEventListener('close', onClose);
    }
  }

  async *#batches(): AsyncGenerator<Uint8Array> {
    while (!this.#isEnded) {
      const batch: Uint8Array[] = [];
      let bytes = 0;
      while (bytes < BATCH_BYTES) {
        const message = this.#waiting.shift();
        if (message === undefined) break;
        batch.push(message);
        bytes += message.length;
        this.#bytes -= message.length - PREFIX_BYTES;
      }
      if (batch.length > 0) yield concat(batch);
      else await new Promise<void>((resolve) => this.#setWake(resolve));
    }
  }

  #setWake(resolve: () => void): void {
    this.#wake = () => {
      this.#wake = undefined;
      resolve();
    };
  }
}
