// What a front (NBD, the simulator's guest) sees of an attached volume. One session per export and gateway: all its
// connections share it and its lock. gateway.ts implements it.

import type { ShownRun } from '../core/changed-regions.ts';
import type { OperatingError } from '../core/errors.ts';
import type { Volume } from '../core/view.ts';

/** Called exactly once per request; may be called before the request call returns. */
export type Done = (error: OperatingError | undefined) => void;

/** A run of bytes that are all of one kind; which layer shows there, where that is known. */
export type AllocationExtent = ShownRun;

/** Extents from the start of the range, at least one, perhaps of its first part only; none with an error. */
export type AllocationDone = (
  error: OperatingError | undefined,
  extents: readonly AllocationExtent[],
) => void;

export interface VolumeSession {
  readonly volume: Pick<Volume, 'id' | 'name' | 'sizeBytes'>;
  /** Requests in flight, all kinds; the front stops reading its socket at MAX_SESSION_REQUESTS. */
  readonly inFlight: number;

  /**
   * Counts a connection. Takes no lock: the first read or write does.
   * @param from where the client came from, for people
   */
  connect(from?: string): void;
  /** At the last one: drain, release the lock, end the session. Resolves when that is done. */
  disconnect(): Promise<void>;

  /**
   * Fast path: fills `target[at .. at+length)` now when this node holds an in-sync, hot copy and nothing stands in the
   * way; returns false (having done nothing) otherwise: then call `read`.
   * Offset and length in bytes, within the volume, any alignment. Costs no promise and no allocation.
   */
  tryRead(offset: number, length: number, target: Uint8Array, at: number): boolean;
  /**
   * What the range shows stays, and takes all of its space on each copy afterwards; absent where nothing can be written.
   * Not of what has it already, as far as this node's own copies say.
   */
  preallocate?(offset: number, length: number, done: Done): void;
  /** Fills `target[at .. at+length)`; the bytes passed their checksums (I8). */
  read(offset: number, length: number, target: Uint8Array, at: number, done: Done): void;
  /**
   * `data` is the session's from now on and never changes again, but for memory that was lent: that the caller gives back
   * when it is done without an error (lent-memory.ts). Done without an error = durable on all of the write set (R3, R4); of
   * a writeback volume received by all of it, and durable where `isForced` (FUA, R5).
   */
  write(offset: number, data: Uint8Array, done: Done, isForced?: boolean): void;
  /** Reads as zeroes afterwards. Any length within the volume. */
  writeZeroes(offset: number, length: number, done: Done, isForced?: boolean): void;
  /** Whole sectors inside the range read as zeroes afterwards; edges are left alone. */
  trim(offset: number, length: number, done: Done, isForced?: boolean): void;
  /** Where the volume holds data. Like a read it waits for the first touch; beside a live holder all is called allocated. */
  allocation(offset: number, length: number, done: AllocationDone): void;
  /** All writes already answered, by any connection of the volume, are durable. A writeback volume takes the lock for it. */
  flush(done: Done): void;
}
