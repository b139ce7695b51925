// Reading and writing a volume without a guest: `dog` asks for a hold on its session and moves pieces through it. A hold
// is a connection like a guest's: it takes the lock by its first I/O, so nobody writes beside a guest. One that is not used
// for a while, because its client died, ends by itself. Bounded in holds, in pieces and in bytes of a piece.

import { OperatingError } from '../core/errors.ts';
import { holderText, isHolderDead } from '../core/lock.ts';
import { readableNamed } from '../core/snapshots.ts';
import { KIB, MIB } from '../core/units.ts';
import type { AllocationExtent, VolumeSession } from '../datapath/volume-session.ts';
import type { NodeHandle } from '../node-handle.ts';
import { viewOf } from './answer.ts';
import { volumeNamed } from './report.ts';

/** One read or write of a hold has at most so many bytes. */
export const IO_PIECE_BYTES = MIB;
/** One request zeroes at most so much. */
export const MAX_ZERO_BYTES = 64 * MIB;
/** One request makes space for at most so much: an object. */
export const MAX_PREALLOCATE_BYTES = 4 * MIB;
/** Extents of one answer: what comes behind is asked for again. */
export const MAX_EXTENTS = 4096;
/** Holds of one node at a time. */
export const MAX_IO_HOLDS = 16;
/** Pieces of one hold on their way at a time: a further one is refused. */
export const MAX_HOLD_PIECES = 8;
/** A hold that nobody used for so long ends; whoever has nothing to move for a while says that it is there. */
export const IO_IDLE_MS = 10_000;
/** Body of a piece: a little more than the bytes. */
export const IO_BODY_BYTES = IO_PIECE_BYTES + KIB;

interface Hold {
  readonly id: number;
  readonly session: VolumeSession;
  inFlight: number;
  timer: NodeJS.Timeout;
}

export class VolumeIo {
  readonly #handle: NodeHandle;
  readonly #holds = new Map<number, Hold>();
  readonly #idleMs: number;
  #last = 0;

  constructor(handle: NodeHandle, idleMs: number = IO_IDLE_MS) {
    this.#handle = handle;
    this.#idleMs = idleMs;
  }

  get holds(): number {
    return this.#holds.size;
  }

  /** @throws OperatingError 'missing'; 'held' while a guest has the volume; 'busy' with too many holds */
  async open(
    name: string,
    from: string,
  ): Promise<{ readonly id: number; readonly sizeBytes: number }> {
    await this.#handle.admin().catchUp();
    refuseHeld(this.#handle, name);
    if (this.#holds.size >= MAX_IO_HOLDS) {
      throw new OperatingError('busy', `${MAX_IO_HOLDS} reads and writes run through this node`, {
        advice: 'retry',
        remedy: 'ask another node, or wait',
      });
    }
    const session = this.#handle.openVolume(name);
    session.connect(from);
    this.#last += 1;
    const id = this.#last;
    const hold: Hold = { id, session, inFlight: 0, timer: this.#timer(id) };
    this.#holds.set(id, hold);
    return { id, sizeBytes: session.volume.sizeBytes };
  }

  /** @throws OperatingError 'missing' for a hold that has ended, and what the session says */
  async read(id: number, offset: number, length: number): Promise<Uint8Array> {
    checkLength(length);
    const target = Buffer.allocUnsafe(length);
    await this.#with(id, (session, done) => session.read(offset, length, target, 0, done));
    return target;
  }

  /** Durable when it resolves, as a guest's write is; of a writeback volume after `end`. */
  async write(id: number, offset: number, bytes: Uint8Array): Promise<void> {
    checkLength(bytes.length);
    await this.#with(id, (session, done) => session.write(offset, bytes, done));
  }

  /** Reads as zeroes afterwards, and whole regions of it take no space. Durable as a write is. */
  async zero(id: number, offset: number, length: number): Promise<void> {
    if (length < 1 || length > MAX_ZERO_BYTES) {
      throw new OperatingError('usage', `zeroes are 1 to ${MAX_ZERO_BYTES} bytes at once`);
    }
    await this.#with(id, (session, done) => session.writeZeroes(offset, length, done));
  }

  /** What is there stays, and takes all of its space from now on. Durable as a write is. */
  async preallocate(id: number, offset: number, length: number): Promise<void> {
    if (length < 1 || length > MAX_PREALLOCATE_BYTES) {
      const text = `space is made for 1 to ${MAX_PREALLOCATE_BYTES} bytes at once`;
      throw new OperatingError('usage', text);
    }
    await this.#with(id, (session, done) => {
      if (session.preallocate === undefined) done(new OperatingError('refused', 'it is read-only'));
      else session.preallocate(offset, length, done);
    });
  }

  /** Where there may be data, from `offset` on: of the whole range, or of its first part. */
  async extents(id: number, offset: number, length: number): Promise<readonly AllocationExtent[]> {
    let found: readonly AllocationExtent[] = [];
    await this.#with(id, (session, done) => {
      session.allocation(offset, length, (error, extents) => {
        found = extents.slice(0, MAX_EXTENTS);
        done(error);
      });
    });
    return found;
  }

  /** Somebody is there. */
  keep(id: number): void {
    this.#used(this.#held(id));
  }

  /** Flushes and gives the volume back. A hold that is gone already is no error: its end was asked for. */
  async end(id: number): Promise<void> {
    const hold = this.#holds.get(id);
    if (hold === undefined) return;
    try {
      await this.#with(id, (session, done) => session.flush(done));
    } finally {
      await this.#drop(hold);
    }
  }

  /** The node stops: nobody's hold keeps it. */
  async stop(): Promise<void> {
    await Promise.allSettled([...this.#holds.values()].map((hold) => this.#drop(hold)));
  }

  async #with(
    id: number,
    request: (session: VolumeSession, done: (error: OperatingError | undefined) => void) => void,
  ): Promise<void> {
    const hold = this.#held(id);
    if (hold.inFlight >= MAX_HOLD_PIECES) {
      throw new OperatingError('busy', 'too many pieces at once', { advice: 'retry' });
    }
    hold.inFlight += 1;
    try {
      await new Promise<void>((resolve, reject) => {
        request(hold.session, (error) => (error === undefined ? resolve() : reject(error)));
      });
    } finally {
      hold.inFlight -= 1;
      if (this.#holds.has(id)) this.#used(hold);
    }
  }

  #held(id: number): Hold {
    const hold = this.#holds.get(id);
    if (hold !== undefined) return hold;
    throw new OperatingError('missing', 'the hold on the volume has ended', {
      remedy: 'begin again',
    });
  }

  #used(hold: Hold): void {
    clearTimeout(hold.timer);
    hold.timer = this.#timer(hold.id);
  }

  #timer(id: number): NodeJS.Timeout {
    const timer = setTimeout(() => this.#idle(id), this.#idleMs);
    return timer.unref();
  }

  #idle(id: number): void {
    const hold = this.#holds.get(id);
    if (hold === undefined) return;
    // A piece that waits for copies or a quorum is no silence.
    if (hold.inFlight > 0) this.#used(hold);
    else this.#drop(hold).catch(() => undefined);
  }

  async #drop(hold: Hold): Promise<void> {
    clearTimeout(hold.timer);
    if (this.#holds.delete(hold.id)) await hold.session.disconnect();
  }
}

/** A volume that moves is held by who copies it: that one makes room. */
function refuseHeld(handle: NodeHandle, name: string): void {
  const view = viewOf(handle);
  // Nobody holds a snapshot.
  if (name.includes('@') && readableNamed(view, name) !== undefined) return;
  const { id, lock } = volumeNamed(view, name);
  if (lock.state === 'free' || isHolderDead(view, lock) || view.moves.has(id)) return;
  throw new OperatingError('held', `${name} is in use through ${holderText(lock)}`, {
    remedy: 'disconnect its guest first; dog vdi lock list tells who holds what',
  });
}

function checkLength(length: number): void {
  if (length >= 1 && length <= IO_PIECE_BYTES) return;
  throw new OperatingError('usage', `a piece has 1 to ${IO_PIECE_BYTES} bytes`);
}
