// A file of zeroes in the data directory that is given up when a start finds no space (4.9): whoever filled the file system,
// the node can write its superblock, its part of the map and its index, serve reads, delete and recover. It is made again
// when there is plenty of room. The levels of core/space.ts keep the node itself away from it. docs/FORMATS.md names it.

import * as fs from 'node:fs';
import * as path from 'node:path';
import { DEFAULT_SPACE_RULE, spaceLevel } from '../core/space.ts';
import { MIB, MINUTE_MS } from '../core/units.ts';
import type { Clock, TimerHandle, Trace } from '../ports/ports.ts';

export const RESERVE_FILE = 'reserve';
/** Of the reserve: superblock, lock and index of a start, a compaction of the map log, the log of some hours. */
export const RESERVE_BYTES = 16 * MIB;
/** A start that finds less than this gives the reserve up. */
export const START_NEEDS_BYTES = 4 * MIB;
/** How often a reserve that was given up is thought of. */
export const RESERVE_LOOK_MS = MINUTE_MS;
const PIECE_BYTES = 64 * 1024;
const FILE_MODE = 0o600;

/** Before anything else is written. Returns whether space was made. Errors are those of the start itself, later. */
export function giveReserve(directory: string): boolean {
  const file = path.join(directory, RESERVE_FILE);
  try {
    if (freeOf(directory).freeBytes >= START_NEEDS_BYTES || !fs.existsSync(file)) return false;
    fs.rmSync(file, { force: true });
    return true;
  } catch {
    return false;
  }
}

/**
 * Makes the reserve where there is none and plenty of room, now and once a minute, a piece per turn.
 * @returns stops it
 */
export function keepReserve(directory: string, clock: Clock, trace: Trace): () => void {
  let timer: TimerHandle | undefined;
  let isStopped = false;
  const look = (): void => {
    if (isStopped) return;
    timer = clock.setTimer(RESERVE_LOOK_MS, look);
    makeReserve(directory, clock, () => isStopped, trace);
  };
  look();
  return () => {
    isStopped = true;
    if (timer !== undefined) clock.clearTimer(timer);
  };
}

function makeReserve(
  directory: string,
  clock: Clock,
  isStopped: () => boolean,
  trace: Trace,
): void {
  const file = path.join(directory, RESERVE_FILE);
  let fd: number | undefined;
  const end = (error?: unknown): void => {
    if (fd !== undefined) fs.closeSync(fd);
    fd = undefined;
    if (error !== undefined) trace.event('space.reserve-failed', { reason: String(error) });
  };
  const zeroes = new Uint8Array(PIECE_BYTES);
  const piece = (at: number): void => {
    try {
      if (fd === undefined || isStopped()) {
        end();
        return;
      }
      if (at < RESERVE_BYTES) {
        fs.writeSync(fd, zeroes, 0, PIECE_BYTES, at);
        clock.soon(() => piece(at + PIECE_BYTES));
        return;
      }
      trace.event('space.reserved', { bytes: RESERVE_BYTES });
      end();
    } catch (error) {
      end(error);
    }
  };
  try {
    if (heldBy(file) >= RESERVE_BYTES || !hasRoom(directory)) return;
    fd = fs.openSync(file, 'w', FILE_MODE);
    piece(0);
  } catch (error) {
    end(error);
  }
}

/** Bytes that the file system gave to it: one that was copied as a hole holds nothing. */
function heldBy(file: string): number {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  return stat === undefined ? 0 : Math.min(stat.size, stat.blocks * 512);
}

/** There is so much room that the reserve makes no difference to what guests may write. */
function hasRoom(directory: string): boolean {
  const { totalBytes, freeBytes } = freeOf(directory);
  const left = { totalBytes, freeBytes: freeBytes - RESERVE_BYTES };
  return left.freeBytes > 0 && spaceLevel(left, DEFAULT_SPACE_RULE, 'nearfull') === 'ok';
}

function freeOf(directory: string): { readonly totalBytes: number; readonly freeBytes: number } {
  const stat = fs.statfsSync(directory);
  return { totalBytes: stat.blocks * stat.bsize, freeBytes: stat.bavail * stat.bsize };
}
