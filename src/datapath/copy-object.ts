// Makes this node's copy of one object exactly that of a source at a named version (FETCH, EQUALISE, drain): pieces of
// at most 1 MiB with their sums, a few on their way at once, verified here, staged aside and committed as one. Holes stay
// holes. Where it is known which regions differ (4.7) the others are taken from the own copy. Whether it is still wanted
// is asked again right before the commit, after which it can not be stopped.

import { OperatingError } from '../core/errors.ts';
import { type RegionMask, regionRuns } from '../core/extent.ts';
import type { ConfigVersion, NodeId, Version } from '../core/ids.ts';
import { partitionOfKey } from '../core/ids.ts';
import { returnMemory } from '../core/lent-memory.ts';
import { REGION_BYTES, SECTOR_BYTES } from '../core/units.ts';
import { countRegions } from '../storage/object-state.ts';
import { MAX_PATCH_BYTES } from '../storage/patching.ts';
import type { ObjectImage, StagedObject } from '../storage/store-types.ts';
import type { RowImage } from '../wire/payloads.ts';
import type { Parts } from './context.ts';
import { AT_ONCE, PIECES_IN_FLIGHT, type Rank } from './copy-streams.ts';
import { ALL_REGIONS } from './dirty-maps.ts';
import { fetchRange, stageRange } from './fetch-range.ts';
import type { CopyFence } from './object-gate.ts';
import { versionOfRow } from './peer-answer.ts';

export interface CopyOrder {
  readonly source: NodeId;
  readonly cfg: ConfigVersion;
  /** The object as the source lists it; verCount 0 = the source has none: ours goes. */
  readonly row: RowImage;
  /** Further sure members of I, for what is damaged at the source. */
  readonly others?: readonly NodeId[];
  /** AT_ONCE unless nobody waits for it. */
  readonly rank?: Rank;
  /** Its bytes are within the rate already: what waits for a whole object must not wait for its pieces. */
  readonly isPaid?: boolean;
  /** Asked when a stream is free: false = not begun. */
  readonly isWanted?: () => boolean;
  /**
   * The own copy holds all that was acknowledged, and the source's is ahead by writes that were not: a sector that the
   * source lost is then taken from here. Old or new, either is right for it (I1), and each sector stands for itself.
   */
  readonly isOwnSure?: boolean;
  /** Sectors that no member has right: the copy is not whole. */
  readonly onLost?: (sectors: number) => void;
  /** What is to be fetched; all of it unless the rest is known to be equal here. */
  readonly partial?: PartialCopy;
  /** False as soon as what is fetched would be void. */
  readonly isValid: () => boolean;
}

/** The own copy differs from the source's in these regions at most. */
export interface PartialCopy {
  readonly regions: RegionMask;
  /** Of the own copy when that was found. */
  readonly ownVersion: Version;
}

/** Bytes that came from the source; 0 with an error. */
export type CopyDone = (error: OperatingError | undefined, fetchedBytes: number) => void;

/** A copy being filled. */
interface Filling extends CopyOrder {
  readonly staged: StagedObject;
  fetchedBytes: number;
}

interface Piece {
  readonly isOwn: boolean;
  readonly offset: number;
  readonly count: number;
}

/** The caller holds the object's gate. `done` without an error: durably equal to the named version. */
export function copyObject(parts: Parts, fence: CopyFence, order: CopyOrder, done: CopyDone): void {
  const { row } = order;
  if (row.verCount === 0) {
    commit(parts, fence, order, undefined, (error) => done(error, 0));
    return;
  }
  const rank = order.rank ?? AT_ONCE;
  const waits = parts.streams.whenIncoming(rank, (release) => {
    if (!order.isValid() || order.isWanted?.() === false) {
      release();
      done(voided(), 0);
      return;
    }
    fetchObject(parts, order, (error, filling) => {
      // Making it durable needs no stream: the next object is fetched meanwhile.
      release();
      if (error !== undefined || filling === undefined) return done(error, 0);
      commit(parts, fence, order, filling.staged, (failed) => {
        done(failed, failed === undefined ? filling.fetchedBytes : 0);
      });
    });
  });
  if (!waits) done(new OperatingError('busy', 'too many copies wait', { advice: 'retry' }), 0);
}

/** Stages all of the object. */
function fetchObject(
  parts: Parts,
  order: CopyOrder,
  done: (error: OperatingError | undefined, filling: Filling | undefined) => void,
): void {
  const { verToken, verCount, ...image } = order.row;
  const version = { token: verToken as Version['token'], count: verCount };
  const whole = { ...image, version };
  const patch =
    isSmall(order) && isOwnUnchanged(parts, order) ? parts.store.patch(whole) : undefined;
  const staged = patch ?? tryStage(parts, whole);
  if (staged instanceof OperatingError) {
    done(staged, undefined);
    return;
  }
  const filling: Filling = { ...order, staged, fetchedBytes: 0 };
  const all = order.row.kind === 'zero' ? [] : piecesOf(parts, order);
  const pieces = patch === undefined ? all : all.filter(({ isOwn }) => !isOwn);
  fillPieces(parts, filling, pieces, (error) => {
    if (error === undefined) return done(undefined, filling);
    staged.abort();
    done(error, undefined);
  });
}

/** So little differs that it is journaled over the own copy, and the rest of that stays where it is. */
function isSmall({ row, partial }: CopyOrder): boolean {
  if (partial === undefined) return false;
  const { low, high } = partial.regions;
  const bytes = countRegions(low & row.ownLow, high & row.ownHigh) * REGION_BYTES;
  return bytes <= MAX_PATCH_BYTES;
}

/** The store bounds its stagings: beyond that the copy is tried again later. */
function tryStage(parts: Parts, image: ObjectImage): StagedObject | OperatingError {
  try {
    return parts.store.stage(image);
  } catch (error) {
    if (error instanceof OperatingError) return error;
    throw error;
  }
}

/**
 * What differs first, then what is taken from the own copy; neighbouring regions together. Regions that the row does not
 * own hold nothing (S1): they are neither asked for nor read, and nothing of them may be left in the copy.
 */
function piecesOf(parts: Parts, { row, partial }: CopyOrder): readonly Piece[] {
  const differs = partial?.regions ?? ALL_REGIONS;
  const held = parts.store.row(row.generation, row.index);
  const fetched = { low: differs.low & row.ownLow, high: differs.high & row.ownHigh };
  const own = {
    low: ~differs.low & (held?.ownLow ?? 0) & row.ownLow,
    high: ~differs.high & (held?.ownHigh ?? 0) & row.ownHigh,
  };
  const most = Math.max(1, Math.floor(parts.streams.pieceBytes / REGION_BYTES));
  return [
    ...regionRuns(fetched, most).map((range) => ({ ...range, isOwn: false })),
    ...regionRuns(own, most).map((range) => ({ ...range, isOwn: true })),
  ];
}

/** A few pieces at a time. After a failure no further one begins, and those on their way are waited for. */
function fillPieces(
  parts: Parts,
  filling: Filling,
  pieces: readonly Piece[],
  done: (error: OperatingError | undefined) => void,
): void {
  let next = 0;
  let busy = 0;
  let failure: OperatingError | undefined;
  let isOver = false;
  const pump = (): void => {
    while (busy < PIECES_IN_FLIGHT && failure === undefined && next < pieces.length) {
      const piece = pieces[next] as Piece;
      next += 1;
      busy += 1;
      fillPiece(parts, filling, piece, (error) => {
        busy -= 1;
        failure ??= error;
        pump();
      });
    }
    if (busy > 0 || isOver) return;
    isOver = true;
    done(failure);
  };
  pump();
}

/** An own piece that fails its sums is fetched like the others. */
function fillPiece(
  parts: Parts,
  filling: Filling,
  piece: Piece,
  done: (error: OperatingError | undefined) => void,
): void {
  if (!piece.isOwn) {
    fetchPiece(parts, filling, piece, done);
    return;
  }
  const { generation, index } = filling.row;
  const { offset, count } = piece;
  parts.store.readForCopy(generation, index, offset, count, (error, sums, data) => {
    if (!isOwnUnchanged(parts, filling)) return done(voided());
    if (error !== undefined) return fetchPiece(parts, filling, piece, done);
    filling.staged.writeSectors(offset, sums, data, () => done(undefined));
  });
}

/**
 * A sector that fails its sum at the source is asked of the other members of I at the same cfg and version, then of the
 * own copy where that is sure; one that nobody has gets a sum that it never passes: one bad sector must not keep the rest
 * from having another copy.
 */
function fetchPiece(
  parts: Parts,
  filling: Filling,
  { offset, count }: Piece,
  done: (error: OperatingError | undefined) => void,
): void {
  const { row, cfg, source, others = [], isValid, staged, rank = AT_ONCE } = filling;
  const paced = filling.isPaid === true ? AT_ONCE : rank;
  const { generation, index } = row;
  const { p } = partitionOfKey(row.partition);
  const version = { token: row.verToken as Version['token'], count: row.verCount };
  const sources = [source, ...others];
  const fetch = { generation, index, p, cfg, version, sources, isValid, rank };
  parts.streams.whenPaced(paced, count, () => {
    fetchRange(parts, fetch, { offset, count }, (error, found) => {
      if (error !== undefined) return done(error);
      keepOwn(parts, filling, found.lost, (lost) => {
        if (lost.length > 0) {
          parts.trace.warn('copy.incomplete', { index, source });
          filling.onLost?.(lost.length);
        }
        stageRange(staged, row, { ...found, lost }, (sectors) => {
          const bytes = sectors * SECTOR_BYTES;
          filling.fetchedBytes += bytes;
          parts.streams.unspent(paced, count - bytes);
          for (const { data } of found.pieces) returnMemory(data);
          done(undefined);
        });
      });
    });
  });
}

/** Stages those of the sectors that the own copy has right, where it may be trusted. @returns by `done`: the others */
function keepOwn(
  parts: Parts,
  { row, isOwnSure, staged }: Filling,
  wanted: readonly number[],
  done: (lost: readonly number[]) => void,
): void {
  if (isOwnSure !== true || wanted.length === 0) {
    done(wanted);
    return;
  }
  const { generation, index } = row;
  const lost: number[] = [];
  const next = (at: number): void => {
    const sector = wanted[at];
    if (sector === undefined) {
      done(lost);
      return;
    }
    const offset = sector * SECTOR_BYTES;
    parts.store.readForCopy(generation, index, offset, SECTOR_BYTES, (error, sums, data) => {
      if (error !== undefined) lost.push(sector);
      else staged.writeSectors(offset, sums, data);
      next(at + 1);
    });
  };
  next(0);
}

/** What is taken from the own copy is right for one version of it only. */
function isOwnUnchanged(parts: Parts, { row, partial }: CopyOrder): boolean {
  if (partial === undefined) return true;
  const own = versionOfRow(parts.store.row(row.generation, row.index));
  return own.token === partial.ownVersion.token && own.count === partial.ownVersion.count;
}

/** `staged` undefined: the object goes. */
function commit(
  parts: Parts,
  fence: CopyFence,
  order: CopyOrder,
  staged: StagedObject | undefined,
  done: (error: OperatingError | undefined) => void,
): void {
  if (!order.isValid() || !isOwnUnchanged(parts, order)) {
    staged?.abort();
    done(voided());
    return;
  }
  const { row } = order;
  fence.beginCommit(row.partition);
  // 4.7: whoever is away before or after the commit misses this.
  const changed = order.partial?.regions ?? ALL_REGIONS;
  parts.dirty.note(row.partition, row, changed);
  const ended = (error: OperatingError | undefined): void => {
    parts.dirty.note(row.partition, row, changed);
    fence.endCommit(row.partition);
    done(error);
  };
  if (staged === undefined) parts.store.drop(row, ended);
  else staged.commit(ended);
}

function voided(): OperatingError {
  return new OperatingError('stale-config', 'the copy became void', { advice: 'retry' });
}
