// What a node says of itself when it is asked: of its copies what was repaired, what is not, what differs, how its scrubs
// are; its space; and whom it met that should not be there.
// Health (api/health.ts) is made of it.

import type { NodeId, ObjectId, VolumeId } from './ids.ts';
import type { KnownMixUp } from './mix-up.ts';
import type { ScrubKind } from './scrub.ts';

/** Objects named by one node at most; the counts tell of all. */
export const MAX_TOLD_OBJECTS = 32;
/** Sectors named per object at most: all of them, for a cure must reach each. */
export const MAX_TOLD_SECTORS = 1024;
/** Volumes whose loss of unflushed writes one node remembers; beyond, the oldest is forgotten. */
export const MAX_CACHE_LOSSES = 32;

/** A copy that is damaged and not healed yet. */
export interface DamagedCopy extends ObjectId {
  /** Numbers of sectors that no copy can give; empty = a repair waits. */
  readonly lost: readonly number[];
  /** Why it is not healed, for people. */
  readonly reason: string;
}

/** Two copies that differ though each passes its sums. */
export interface CopyDifference extends ObjectId {
  readonly peer: NodeId;
  readonly what: 'version' | 'regions' | 'sums';
}

/** A writeback volume lost what its guest had not flushed: the memory of all copies, under a session here (R8). */
export interface CacheLoss {
  readonly volume: VolumeId;
  /** Date, ms since 1970. */
  readonly dateMs: number;
}

/** What a node has room for, holds and knows. */
export interface NodeSpace {
  /** Of the file system that its data directory lies on. */
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** Of its copies. */
  readonly usedBytes: number;
  readonly objects: number;
  readonly appliedIndex: number;
}

export interface NodeCondition {
  readonly node: NodeId;
  /** In the last day, also before the node's start. */
  readonly sectorsRepaired: number;
  readonly objectsRepaired: number;
  /** Date of the last repair, ms since 1970; 0 = none. */
  readonly lastRepairMs: number;
  /** Objects that are damaged now; `damaged` names the first of them. */
  readonly damagedCount: number;
  readonly damaged: readonly DamagedCopy[];
  readonly differenceCount: number;
  readonly differences: readonly CopyDifference[];
  readonly scrubLate: readonly ScrubKind[];
  /** Since the node's start, the newest per volume. */
  readonly cacheLosses: readonly CacheLoss[];
  /** Members that this one met where, or as, they should not be. */
  readonly mixUps: readonly KnownMixUp[];
  /** Undefined from a program that did not tell yet. */
  readonly space: NodeSpace | undefined;
}
