// How full a data disk is, and what that forbids (4.9): nearfull takes no ring moves, full takes nothing that needs new
// space, and beyond OVERWRITE_SHARE not even overwrites. What is left is for what a full node must still do: start, grow
// its map log, checkpoint, delete. Small file systems keep more than the shares say: a share of little is too little.
// Pure.

import { MIB } from './units.ts';

/** As the map has it. */
export type SpaceLevel = 'ok' | 'nearfull' | 'full';

/** Shares of the file system in use from which a disk is nearfull, and full. */
export interface SpaceRule {
  readonly nearfull: number;
  readonly full: number;
}

export interface DiskSpace {
  readonly totalBytes: number;
  readonly freeBytes: number;
}

export const DEFAULT_SPACE_RULE: SpaceRule = { nearfull: 0.85, full: 0.95 };
/** Above this share of the disk not even overwrites of owned regions are taken. */
export const OVERWRITE_SHARE = 0.98;
/** A level is left only when so much more of the disk is free than it asks for: no flapping. */
export const SPACE_HYSTERESIS = 0.02;
/** The same in bytes, for small file systems: room for the copies of the way back. */
export const SPACE_SLACK_BYTES = 16 * MIB;
const SMALL_SLACK_SHARE = 1 / 16;
/** Kept free for the node's own records whatever the shares say; at most a part of a small file system. */
export const OVERWRITE_RESERVE_BYTES = 16 * MIB;
export const FULL_RESERVE_BYTES = 32 * MIB;
const SMALL_OVERWRITE_SHARE = 1 / 16;
const SMALL_FULL_SHARE = 1 / 8;

/** Free bytes below which each rule holds. */
export interface SpaceLimits {
  readonly nearfull: number;
  readonly full: number;
  readonly overwrite: number;
}

/** The limits of a disk of this size. */
export function spaceLimits(totalBytes: number, rule: SpaceRule): SpaceLimits {
  const reserve = (bytes: number, share: number) => Math.min(bytes, totalBytes * share);
  const overwrite = Math.max(
    totalBytes * (1 - Math.max(OVERWRITE_SHARE, rule.full)),
    reserve(OVERWRITE_RESERVE_BYTES, SMALL_OVERWRITE_SHARE),
  );
  const full = Math.max(
    totalBytes * (1 - rule.full),
    reserve(FULL_RESERVE_BYTES, SMALL_FULL_SHARE),
  );
  const nearfull = Math.max(totalBytes * (1 - rule.nearfull), full);
  return { nearfull, full, overwrite };
}

/** The level now, given the one before: worse at once, better only beyond the hysteresis. */
export function spaceLevel(space: DiskSpace, rule: SpaceRule, before: SpaceLevel): SpaceLevel {
  const { totalBytes, freeBytes } = space;
  const limits = spaceLimits(totalBytes, rule);
  const slack = Math.max(
    totalBytes * SPACE_HYSTERESIS,
    Math.min(SPACE_SLACK_BYTES, totalBytes * SMALL_SLACK_SHARE),
  );
  if (freeBytes <= limits.full + (before === 'full' ? slack : 0)) return 'full';
  if (freeBytes <= limits.nearfull + (before === 'ok' ? 0 : slack)) return 'nearfull';
  return 'ok';
}
