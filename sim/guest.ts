// A guest: writes tagged blocks through a node's VolumeSession, reads, zeroes, flushes, and remembers in a History what
// was acknowledged, what was seen, and what stayed unresolved. When its gateway dies it can be attached through another.

import type { OperatingError } from '../src/core/errors.ts';
import { lendMemory, returnMemory } from '../src/core/lent-memory.ts';
import type { Durability } from '../src/core/view.ts';
import type { VolumeSession } from '../src/datapath/volume-session.ts';
import type { BlockOp, History } from './checkers/history.ts';
import { BLOCK_BYTES, blockValue, fillBlock } from './guest-block.ts';
import { takeBytes } from './sim-bytes.ts';
import type { SimNode } from './sim-node.ts';
import type { SimProcess } from './sim-process.ts';
import type { SimRandom } from './sim-random.ts';
import { GUEST, RunFailure, type World } from './world.ts';

/** A volume as its guests know it: several guests may share one history. */
export interface GuestVolume {
  readonly id: number;
  readonly name: string;
  readonly sizeBytes: number;
  readonly history: History;
  readonly mode: Durability;
  /** Gives the next unique value. */
  nextValue: number;
}

/** What a guest does in its life. */
export interface Workload {
  readonly blockBytes: number;
  /** Requests in flight. */
  readonly depth: number;
  /** Longest request, in blocks. */
  readonly maxBlocks: number;
  /** Blocks that it works on; the rest of the volume is left alone. */
  readonly workingSet: number;
  readonly thinkMs: number;
  /** The volume shows layers below its head: a trim of less than a region may leave what is there (S2a). */
  readonly hasLayers?: boolean;
  /** The same while the story waits and nothing happens: a long run's time goes to what matters. */
  readonly calmThinkMs?: number;
}

const DEFAULT_WORKLOAD: Workload = {
  blockBytes: BLOCK_BYTES,
  depth: 4,
  maxBlocks: 4,
  workingSet: 256,
  thinkMs: 12,
};
/** Nothing happens in a cluster that had no news for this long. */
const CALM_AFTER_MS = 1000;
/** A guest that is told to stop waits this long for its last answers. */
const STOP_LIMIT_SECONDS = 60;
const READ_BACK_BLOCKS = 64;
/** In the buffer of a read until it is filled: a piece that is left out must not pass for zeroes. */
const POISON = 0xa5;

interface Request {
  readonly kind: 'write' | 'zero' | 'read' | 'flush';
  readonly block: number;
  readonly count: number;
  /** FUA. */
  readonly isForced?: boolean;
  /** A trim that may leave what is there. */
  readonly isHint?: boolean;
}

const FLUSH: Request = { kind: 'flush', block: 0, count: 0 };

export class Guest {
  readonly volume: GuestVolume;
  /** Codes of errors that requests were answered with. */
  readonly errors: string[] = [];
  /** Longest time between asking and answer of a request that was answered. */
  longestWaitMs = 0;
  readonly #world: World;
  readonly #random: SimRandom;
  #session: VolumeSession | undefined;
  #sessionNumber = 0;
  #process: SimProcess | undefined;
  #workload: Workload = DEFAULT_WORKLOAD;
  #isWorking = false;
  /** Rises with each attach: answers of an older one are of the past. */
  #attachment = 0;
  #inFlight = 0;
  #writesInFlight = 0;

  constructor(world: World, volume: GuestVolume, random: SimRandom) {
    this.#world = world;
    this.volume = volume;
    this.#random = random;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get writesInFlight(): number {
    return this.#writesInFlight;
  }

  get gatewayIsAlive(): boolean {
    return this.#process?.isAlive === true;
  }

  /** The destination of a migration: until `takeOff` it only reads, and what it reads the source's holder serves. */
  standBy(node: SimNode, source: Guest): void {
    this.attach(node, source.#sessionNumber);
  }

  /** The source has stopped for good: from here on this is the guest. */
  takeOff(): void {
    this.#sessionNumber = this.volume.history.openSession();
  }

  /** Attaches through this node; what is in flight elsewhere stays unresolved for ever. */
  attach(node: SimNode, session = this.volume.history.openSession()): void {
    const { handle, process } = node.running();
    this.#attachment += 1;
    this.#inFlight = 0;
    this.#writesInFlight = 0;
    this.#process = process;
    this.#sessionNumber = session;
    this.#world.enter(process, () => {
      this.#session = handle.openVolume(this.volume.name);
      this.#session.connect();
    });
  }

  /** A second connection of the same guest: its requests are of the same session. */
  attachBeside(other: Guest): void {
    const session = other.#session;
    const process = other.#process;
    if (session === undefined || process === undefined) throw new RunFailure('not attached');
    this.#attachment += 1;
    this.#inFlight = 0;
    this.#writesInFlight = 0;
    this.#process = process;
    this.#session = session;
    this.#sessionNumber = other.#sessionNumber;
    this.#world.enter(process, () => session.connect());
  }

  /** Keeps `depth` requests in flight until `stop`. */
  writeForever(changes: Partial<Workload> = {}): void {
    this.#workload = { ...DEFAULT_WORKLOAD, ...changes };
    this.#isWorking = true;
    for (let i = 0; i < this.#workload.depth; i += 1) this.#next();
  }

  /** Issues nothing more and waits for the answers; not for those of a dead gateway. */
  async stop(): Promise<void> {
    this.#isWorking = false;
    const isIdle = (): boolean => this.#inFlight === 0 || !this.gatewayIsAlive;
    if (await this.#world.runUntil(isIdle, STOP_LIMIT_SECONDS * 1000)) return;
    throw new RunFailure(
      `guest of ${this.volume.name}: ${this.#inFlight} requests were never answered`,
    );
  }

  /** Stops issuing at once; what is in flight is left to its fate. */
  freeze(): void {
    this.#isWorking = false;
  }

  /** Ends the session in order. */
  async detach(): Promise<void> {
    const session = this.#session;
    if (session === undefined || !this.gatewayIsAlive) return;
    this.#session = undefined;
    await this.#world.wait('detach', session.disconnect(), { seconds: STOP_LIMIT_SECONDS });
  }

  /** Writes every block of the working set once, in order, and waits. */
  async fill(blocks: number): Promise<void> {
    for (let block = 0; block < blocks; block += 16) {
      await this.#one({ kind: 'write', block, count: Math.min(16, blocks - block) });
    }
  }

  /** One write that must be acknowledged. */
  async write(block: number, count = 1): Promise<void> {
    await this.#one({ kind: 'write', block, count });
  }

  /** One flush that must be acknowledged. */
  async flush(): Promise<void> {
    await this.#one(FLUSH);
  }

  /** Starts one write and does not wait. */
  startWrite(block: number, count = 1, done: (isOk: boolean) => void = () => {}): void {
    this.#issue({ kind: 'write', block, count }, done);
  }

  /** Starts one flush and does not wait. */
  startFlush(done: (isOk: boolean) => void = () => {}): void {
    this.#issue(FLUSH, done);
  }

  /** Starts one read and does not wait; what it sees goes into the history. */
  startRead(block: number, count = 1, done: (isOk: boolean) => void = () => {}): void {
    this.#issue({ kind: 'read', block, count }, done);
  }

  /** Reads every block that was ever written; what it sees goes into the history. */
  async readAll(): Promise<void> {
    const chunks = new Set(
      this.volume.history.blocks.map((block) => Math.floor(block / READ_BACK_BLOCKS)),
    );
    for (const chunk of chunks) {
      const block = chunk * READ_BACK_BLOCKS;
      const count = Math.min(READ_BACK_BLOCKS, this.volume.sizeBytes / BLOCK_BYTES - block);
      await this.#one({ kind: 'read', block, count });
    }
  }

  /** One write; undefined when it was acknowledged, else the code of its error. */
  async tryWrite(block: number): Promise<string | undefined> {
    return this.#answerTo({ kind: 'write', block, count: 1 });
  }

  /** One write that is durable when it is answered (FUA), and must be answered well. */
  async forceWrite(block: number): Promise<void> {
    await this.#one({ kind: 'write', block, count: 1, isForced: true });
  }

  /** One read that must be answered with bytes. */
  async read(block: number, count = 1): Promise<void> {
    await this.#one({ kind: 'read', block, count });
  }

  /** One read; undefined when it was answered with bytes, else the code of its error. */
  async tryRead(block: number, count: number): Promise<string | undefined> {
    return this.#answerTo({ kind: 'read', block, count });
  }

  async #one(request: Request): Promise<void> {
    const code = await this.#answerTo(request);
    if (code === undefined) return;
    const { kind, block } = request;
    throw new RunFailure(`guest of ${this.volume.name}: ${kind} of block ${block} failed: ${code}`);
  }

  async #answerTo(request: Request): Promise<string | undefined> {
    let outcome: boolean | undefined;
    this.#issue(request, (isOk) => {
      outcome = isOk;
    });
    await this.#world.runUntil(() => outcome !== undefined, STOP_LIMIT_SECONDS * 1000);
    const { kind, block } = request;
    if (outcome === undefined)
      throw new RunFailure(
        `guest of ${this.volume.name}: ${kind} of block ${block} was never answered`,
      );
    return outcome ? undefined : this.errors.at(-1);
  }

  #next(): void {
    const attachment = this.#attachment;
    const thinkMs = this.#random.exponential(this.#meanThinkMs());
    this.#world.schedule(thinkMs, undefined, () => {
      if (!this.#isWorking || attachment !== this.#attachment || !this.gatewayIsAlive) return;
      if (this.#world.areGuestsHeld) this.#next();
      else this.#issue(this.#draw(), () => this.#next());
    });
  }

  #meanThinkMs(): number {
    const { thinkMs, calmThinkMs = thinkMs } = this.#workload;
    return this.#world.isCalmFor(CALM_AFTER_MS) ? calmThinkMs : thinkMs;
  }

  #draw(): Request {
    const { maxBlocks, workingSet } = this.#workload;
    const count = this.#random.between(1, maxBlocks);
    const block = this.#random.between(0, workingSet - count);
    const dice = this.#random.unit();
    if (this.volume.mode === 'writeback') return this.#drawWriteback({ block, count }, dice);
    if (dice >= 0.95) return this.#zeroOf({ block, count });
    return { kind: dice < 0.65 ? 'write' : 'read', block, count };
  }

  /** A guest that knows of the cache: a flush now and then, and writes that are forced through. */
  #drawWriteback(range: Pick<Request, 'block' | 'count'>, dice: number): Request {
    if (dice < 0.06) return FLUSH;
    if (dice < 0.34) return { kind: 'read', ...range };
    const isForced = this.#random.unit() < 0.05;
    if (dice < 0.4) return this.#zeroOf({ ...range, isForced });
    return { kind: 'write', ...range, isForced };
  }

  /** Where layers show, half of them are hints. */
  #zeroOf(range: Pick<Request, 'block' | 'count' | 'isForced'>): Request {
    if (this.#workload.hasLayers !== true) return { kind: 'zero', ...range };
    return { kind: 'zero', ...range, isHint: this.#random.chance(0.5) };
  }

  #issue(request: Request, onAnswer: (isOk: boolean) => void): void {
    const { kind, block, count, isForced = false } = request;
    const session = this.#session;
    const process = this.#process;
    if (session === undefined || process === undefined)
      throw new RunFailure('guest is not attached');
    const isWrite = kind === 'write';
    const buffer = isWrite ? lendMemory(count * BLOCK_BYTES) : takeBytes(count * BLOCK_BYTES);
    if (kind === 'read') buffer.fill(POISON);
    const ops = this.#begin(request, buffer);
    const flush = kind === 'flush' ? this.volume.history.beginFlush() : undefined;
    const attachment = this.#attachment;
    const askedMs = this.#world.nowMs;
    let isAnswered = false;
    this.#count(kind, 1);
    const done = (error: OperatingError | undefined): void => {
      if (isAnswered) this.#world.fail(`a ${kind} was answered twice`);
      isAnswered = true;
      // As the door for NBD does.
      if (isWrite && error === undefined) returnMemory(buffer);
      this.#world.schedule(0, undefined, () => {
        if (attachment === this.#attachment) this.#count(kind, -1);
        if (flush !== undefined) this.volume.history.endFlush(flush, error === undefined);
        this.#finish(request, ops, buffer, error, askedMs);
        onAnswer(error === undefined);
      });
    };
    this.#world.enter(process, () => {
      const offset = block * BLOCK_BYTES;
      if (kind === 'write') session.write(offset, buffer, done, isForced);
      else if (request.isHint === false) session.writeZeroes(offset, buffer.length, done, isForced);
      else if (kind === 'zero') session.trim(offset, buffer.length, done, isForced);
      else if (kind === 'flush') session.flush(done);
      else readInto(session, block * BLOCK_BYTES, buffer, done);
    });
  }

  #count(kind: Request['kind'], by: number): void {
    this.#inFlight += by;
    if (kind === 'write') this.#writesInFlight += by;
  }

  #begin(request: Request, buffer: Uint8Array): readonly BlockOp[] {
    const { kind, block, count, isForced = false } = request;
    const ops: BlockOp[] = [];
    if (kind === 'flush') return ops;
    for (let i = 0; i < count; i += 1) {
      const value = kind === 'write' ? this.volume.nextValue++ : 0;
      if (kind === 'write') {
        fillBlock(buffer, i * BLOCK_BYTES, { volume: this.volume.id, block: block + i, value });
      }
      const { history } = this.volume;
      const session = this.#sessionNumber;
      ops.push(history.begin({ kind, block: block + i, value, session, isForced }));
    }
    return ops;
  }

  #finish(
    { kind, block, isHint = false }: Request,
    ops: readonly BlockOp[],
    buffer: Uint8Array,
    error: OperatingError | undefined,
    askedMs: number,
  ): void {
    this.longestWaitMs = Math.max(this.longestWaitMs, this.#world.nowMs - askedMs);
    if (error !== undefined) this.errors.push(error.code);
    const outcome = error === undefined ? 'ok' : error.code;
    this.#world.note(GUEST, kind, `${this.volume.name} block=${block} ${outcome}`);
    for (const [i, op] of ops.entries()) {
      if (kind === 'read' && error === undefined) {
        const value = blockValue(buffer, i * BLOCK_BYTES, {
          volume: this.volume.id,
          block: op.block,
        });
        if (value === undefined)
          this.#world.fail(`I8: block ${op.block} read as bytes nobody wrote there`);
        op.value = value ?? 0;
      }
      // A hint may change nothing, like a write that nobody answered.
      this.volume.history.end(op, error === undefined && !isHint);
    }
  }
}

function readInto(
  session: VolumeSession,
  offset: number,
  buffer: Uint8Array,
  done: (error: OperatingError | undefined) => void,
): void {
  if (session.tryRead(offset, buffer.length, buffer, 0)) done(undefined);
  else session.read(offset, buffer.length, buffer, 0, done);
}
