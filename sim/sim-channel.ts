// A data channel between two simulated processes: two ends, two pipes. Frames arrive whole and in order until it closes.
// A clean close or a reset reaches the other end after the frames before it, or loses them, by a draw; a host that loses
// power says nothing, and the other end stays open until it writes to a host that is back, or gives up.

import type { PeerKey } from '../src/core/ids.ts';
import { invariant } from '../src/core/invariant.ts';
import { lendMemory, MIN_LENT_BYTES } from '../src/core/lent-memory.ts';
import type { DataChannel } from '../src/ports/ports.ts';
import { takeBytes } from './sim-bytes.ts';
import type { Listener } from './sim-host.ts';
import type { Cable } from './sim-network.ts';
import type { SimPipe } from './sim-pipe.ts';

/** A frame that nobody acknowledged for this long ends the connection, as TCP's user time-out does. */
const USER_TIMEOUT_MS = 20_000;

export class ChannelEnd implements DataChannel {
  readonly peer: PeerKey;
  /** The port's book-keeping. */
  onGone: () => void = () => {};
  /** Set by openPair. */
  other: ChannelEnd | undefined;
  pipe: SimPipe | undefined;
  readonly owner: Listener;
  readonly #cable: Cable;
  #isOpen = true;
  #onFrame: ((frame: Uint8Array) => void) | undefined;
  #onClose: () => void = () => {};
  readonly #early: Uint8Array[] = [];
  #batch: (readonly Uint8Array[])[] = [];
  #isWatched = false;

  constructor(cable: Cable, owner: Listener, peer: PeerKey) {
    this.#cable = cable;
    this.owner = owner;
    this.peer = peer;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  send(pieces: readonly Uint8Array[]): void {
    if (!this.#isOpen || !this.owner.process.isAlive) return;
    if (this.#batch.length === 0) {
      this.#cable.world.schedule(0, this.owner.process, () => this.#flush());
    }
    this.#batch.push(pieces);
  }

  onFrame(fn: (frame: Uint8Array) => void): void {
    invariant(this.#onFrame === undefined, 'onFrame is set once');
    this.#onFrame = fn;
    for (const frame of this.#early.splice(0)) fn(frame);
  }

  onClose(fn: () => void): void {
    this.#onClose = fn;
  }

  close(): void {
    if (!this.owner.process.isAlive) return;
    this.#flush();
    this.reset();
  }

  /** This end is gone and its host says so to the other. */
  reset(): void {
    if (!this.#isOpen) return;
    this.#end();
    this.#sayClosed();
  }

  /** This end is gone without a word. */
  vanish(): void {
    this.#end();
  }

  /** A frame came over the pipe. */
  arrive(frame: Uint8Array): void {
    if (!this.#isOpen) {
      this.#sayClosed();
      return;
    }
    if (!this.owner.process.isAlive) return;
    this.#cable.world.follow(this.owner.process, () => this.#hand(frame));
  }

  /** The other end is known to be gone: tell the owner once. */
  learnClosed(): void {
    if (!this.#isOpen) return;
    this.#end();
    this.#cable.world.schedule(0, this.owner.process, () => {
      this.#cable.world.note(this.owner.host.name, 'channel closed', this.peer);
      this.#onClose();
    });
  }

  #hand(frame: Uint8Array): void {
    if (!this.#isOpen) return;
    if (this.#onFrame === undefined) this.#early.push(frame);
    else this.#onFrame(frame);
  }

  #flush(): void {
    const batch = this.#batch;
    this.#batch = [];
    if (!this.#isOpen) return;
    for (const pieces of batch) {
      this.pipe?.send(joined(pieces));
    }
    if (batch.length > 0) this.#watch();
  }

  /** Gives the connection up when the path stays cut, or the other host silent. */
  #watch(): void {
    if (this.#isWatched) return;
    this.#isWatched = true;
    const { host } = this.owner;
    this.#cable.world.schedule(USER_TIMEOUT_MS, this.owner.process, () => {
      this.#isWatched = false;
      const far = this.other?.owner.host;
      const isSilent = far === undefined || !this.#cable.isReachable(host, far, 'data');
      if (this.#isOpen && isSilent) this.learnClosed();
    });
  }

  #sayClosed(): void {
    const { other } = this;
    if (other === undefined || !this.owner.host.isPowered) return;
    const { paths, world } = this.#cable;
    const from = this.owner.host.name;
    const to = other.owner.host.name;
    const tell = (): void => {
      if (!paths.isCut(from, to, 'data')) other.learnClosed();
    };
    world.schedule(paths.delayMs(from, to, 0), undefined, tell);
  }

  #end(): void {
    this.#isOpen = false;
    this.onGone();
    if (this.other?.isOpen !== false) return;
    for (const pipe of [this.pipe, this.other.pipe])
      if (pipe !== undefined) this.#cable.dropPipe(pipe);
  }
}

/** Both ends of a fresh channel. */
export function openPair(
  cable: Cable,
  dialler: Listener,
  listener: Listener,
): { readonly near: ChannelEnd; readonly far: ChannelEnd } {
  const near = new ChannelEnd(cable, dialler, listener.self);
  const far = new ChannelEnd(cable, listener, dialler.self);
  near.other = far;
  far.other = near;
  for (const end of [near, far]) {
    const other = end === near ? far : near;
    const place = { plane: 'data', from: end.owner.host.name, to: other.owner.host.name } as const;
    end.pipe = cable.makePipe(
      place,
      (frame) => other.arrive(frame),
      () => {
        near.learnClosed();
        far.learnClosed();
      },
    );
  }
  return { near, far };
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const piece of pieces) length += piece.length;
  // As the cutter of frames does: what is read after it was given back is seen.
  const whole = length < MIN_LENT_BYTES ? takeBytes(length) : lendMemory(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
