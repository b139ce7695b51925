// The world as the product sees it. Five small ports; io/ and p2p/ implement them for machines, sim/ for the simulator.
// Nothing outside the adapters may touch a clock, a random source, a socket or a file.

import type { PeerKey } from '../core/ids.ts';

// ---------------------------------------------------------------------------------------------- clock

/**
 * Branches that are lawful at any moment and that hardly any run takes by itself: the simulator takes them on purpose, for
 * what follows is judged like anything else (SIMULATOR.md, section 2).
 */
export const RARE_POINTS = [
  /** A proposal is asked again while the first asking is on its way: it is applied once (C2.5). */
  'proposal-again',
  /** A proposal is given up although it is on its way: it may happen yet. */
  'proposal-given-up',
  /** A follower's patience with its leader ends early. */
  'election-early',
  /** Entries of the map log are pulled one by one. */
  'pull-one-entry',
  /** A journal batch has one record, or one group. */
  'journal-one-record',
  /** A checkpoint long before the journal needs one. */
  'checkpoint-early',
  /** The answer of a replica that confirmed a write is as good as lost. */
  'confirmation-lost',
  /** An object that was copied is copied once more. */
  'copy-again',
  /** A promotion names one partition. */
  'promote-one',
  /** A round of catch-up ends before it has begun. */
  'catch-up-short',
  /** A round of a scrub fails. */
  'scrub-fails',
] as const;

export type RarePoint = (typeof RARE_POINTS)[number];

export type TimerHandle = { readonly timer: unique symbol };

/** Monotonic time. Time-outs only: no clock takes part in safety. */
export interface Clock {
  /** Milliseconds since some start, with fractions; never goes back. */
  now(): number;
  /** Milliseconds since 1970 as the host believes: for dates that people read and for expiry. May jump; never for order. */
  date(): number;
  /** Runs `fn` once after at least `ms`. A node keeps its timer count bounded by its own design. */
  setTimer(ms: number, fn: () => void): TimerHandle;
  clearTimer(handle: TimerHandle): void;
  /** Runs `fn` once at the end of this tick: the unit of batching of frames, replies and journal records. */
  soon(fn: () => void): void;
  /**
   * Whether to take this rare branch now. Absent everywhere but in the simulator, and there it says no unless the run has
   * drawn the point. It is the clock's because what is rare is a matter of moments: a wait that ends early, a batch that
   * is closed early, an answer that came too late.
   */
  rarely?(point: RarePoint): boolean;
}

// ---------------------------------------------------------------------------------------------- random

export interface Random {
  /** Uniform in 0 .. 2^32-1. */
  u32(): number;
  /** `length` random bytes, at most 1024. */
  bytes(length: number): Uint8Array;
  /** An independent stream: what one consumer draws does not shift another's. */
  fork(label: string): Random;
}

// ---------------------------------------------------------------------------------------------- disk

/**
 * One directory tree, paths relative with '/'. Synchronous calls complete at once and throw OperatingError ('io',
 * 'no-space'); nothing but `sync` and `syncFolder` makes anything durable.
 */
export interface Disk {
  /** Opens for reading and writing. `undefined` when absent and not `create`. */
  open(path: string, options: { readonly create: boolean }): DiskFile | undefined;
  /** Makes a folder and its parents; no error when it exists. */
  makeFolder(path: string): void;
  /** Names in a folder, sorted by code unit; empty when the folder is absent. */
  list(path: string): readonly string[];
  /** Atomic; replaces `to`. Durable after `syncFolder` of both parents. */
  rename(from: string, to: string): void;
  /** No error when absent. */
  remove(path: string): void;
  /** Makes creations, renames and removals in this folder durable. */
  syncFolder(path: string, done: (error: Error | undefined) => void): void;
  /**
   * Called after the caller of a sync, of whatever file or folder, heard that it failed. What the system dropped then may
   * be of any file, and a second sync may say "done" (R4): whoever owns the process ends it. One listener.
   */
  onSyncFailed(listener: (error: Error) => void): void;
  /** Blocks that came from the device for this process since its start; absent where nobody counts. */
  blocksRead?(): number;
  /** Bytes of the file system this tree lies on. */
  space(): { readonly totalBytes: number; readonly freeBytes: number };
}

export interface DiskFile {
  /** Reads up to `length` bytes at `position` into `target` from `at`; returns how many (fewer only at the end). */
  readSync(target: Uint8Array, at: number, length: number, position: number): number;
  /** The same through the thread pool, for cold or long reads. */
  read(
    target: Uint8Array,
    at: number,
    length: number,
    position: number,
    done: (error: Error | undefined, count: number) => void,
  ): void;
  /** Writes all of `bytes` at `position`. */
  writeSync(bytes: Uint8Array, position: number): void;
  /** Writes the pieces one after the other from `position`, as one system call where possible. */
  writevSync(pieces: readonly Uint8Array[], position: number): void;
  /**
   * Writes all of `bytes`, at most 1 MiB, through the thread pool and past the cache of the system where there is a way:
   * for copies that nobody reads soon. Position and length are multiples of 4096; the bytes are kept by reference until
   * `done`. Any part of them may be there before that. A file that is closed meanwhile gets them or not, and `done` comes.
   */
  writeBulk(bytes: Uint8Array, position: number, done: (error: Error | undefined) => void): void;
  sizeSync(): number;
  /**
   * Gives the space of a range back, which then reads as zeroes; the size stays. Position and length are multiples of
   * 4096. A wish, not a promise: false where the system has no such call or refuses, and nothing was changed then.
   * Like a write it is durable after `sync` only.
   */
  punch(position: number, length: number): boolean;
  truncateSync(bytes: number): void;
  /** fdatasync. A failed sync is never repeated: the caller ends the process. */
  sync(done: (error: Error | undefined) => void): void;
  close(): void;
}

// ---------------------------------------------------------------------------------------------- network

/** A member as the network must know it: who is let in, and where to dial. */
export interface PeerAddress {
  readonly peer: PeerKey;
  /** Multiaddrs without the peer id part, for example /ip4/127.0.0.1/tcp/7001. */
  readonly addresses: readonly string[];
  /** Not let in any more than a stranger; that it tries is told (MixUp). */
  readonly isBarred?: boolean;
}

/** Who knocks. */
export interface Knocker {
  readonly peer: PeerKey;
  /** Where the knock came from, for people. */
  readonly address: string;
  /** A member's key, in a second process: the first one is connected, and answers. */
  readonly isSecond: boolean;
}

/**
 * Who is where is not as it should be. `identity-twice`: a second process has the key of `peer`, whose first one answers;
 * the second is let in to knock, as strangers are. `address-taken`: another node answers at the address of `peer`.
 * `barred-came`: a barred peer is there.
 */
export interface MixUp {
  readonly kind: 'identity-twice' | 'address-taken' | 'barred-came';
  readonly peer: PeerKey;
  /** Of the process that should not be there. */
  readonly address: string;
  /** Who answers at a taken address. */
  readonly found?: PeerKey;
}

/** One block channel. Frames arrive whole, in order, until it closes; then it is dead for good. */
export interface DataChannel {
  readonly peer: PeerKey;
  readonly isOpen: boolean;
  /**
   * Queues a frame for the end of this tick. The pieces are kept by reference until sent: do not change them.
   * Unbounded by itself: the caller bounds bytes in flight by credits. Ignored when closed.
   */
  send(pieces: readonly Uint8Array[]): void;
  /** Set once, before the first tick ends. `frame` is one buffer that the receiver owns. */
  onFrame(fn: (frame: Uint8Array) => void): void;
  /** Called once. Frames sent but not answered may or may not have arrived. */
  onClose(fn: () => void): void;
  /** Closes both directions at once. */
  close(): void;
}

/**
 * The weakest network we can live with. Control messages: ordered and at most once until a link breaks, then lost
 * without notice. Gossip: unreliable, unordered, duplicating. Data channels: ordered until they break.
 */
export interface Network {
  readonly self: PeerKey;
  /** Listens. Rejects with OperatingError('io') that names the address when a port is in use. */
  start(): Promise<void>;
  /** Closes everything; handlers are not called any more. */
  stop(): Promise<void>;
  /** Where this node can be dialled, after `start`. */
  addresses(): readonly string[];
  /** Replaces the allow list and address book. Strangers can only knock. Links to removed peers are closed. */
  setPeers(peers: readonly PeerAddress[]): void;

  /** Best effort; false when it was dropped at once (not connected and dialling fails, or too much is queued). */
  send(peer: PeerKey, message: Uint8Array): boolean;
  onMessage(fn: (peer: PeerKey, message: Uint8Array) => void): void;

  /** One request to somebody who does not know us yet, at a full multiaddr with /p2p/. Rejects with 'unreachable'. */
  knock(address: string, request: Uint8Array, timeoutMs: number): Promise<Uint8Array>;
  onKnock(fn: (from: Knocker, request: Uint8Array) => Promise<Uint8Array>): void;
  /** Called when one is met, and again while it lasts. */
  onMixUp(fn: (mixUp: MixUp) => void): void;

  /** Dials a data channel. Rejects with 'unreachable', or 'refused' when a host answered that nobody listens. */
  openChannel(peer: PeerKey): Promise<DataChannel>;
  /** Called for each channel that a known peer opened. */
  onChannel(fn: (channel: DataChannel) => void): void;

  publish(topic: GossipTopic, payload: Uint8Array): void;
  onGossip(fn: (topic: GossipTopic, payload: Uint8Array) => void): void;
}

export type GossipTopic = 'map' | 'alerts' | 'stats';
/** A larger payload is refused by `publish` (an invariant): ids and deltas only. */
export const MAX_GOSSIP_BYTES = 32 * 1024;
/** Largest control message and knock. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;

// ---------------------------------------------------------------------------------------------- trace

export type TraceFields = Readonly<Record<string, string | number | boolean>>;

/** Facts for operators (logs, metrics) and, in the simulator, part of the hash of the run. */
export interface Trace {
  event(name: string, fields?: TraceFields): void;
  /** A fact that somebody should look at. */
  warn(name: string, fields?: TraceFields): void;
  count(name: string, by?: number): void;
}

// ---------------------------------------------------------------------------------------------- all

export interface Ports {
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly disk: Disk;
  readonly trace: Trace;
}
