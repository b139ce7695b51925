// Makes this node's copy of one object exactly that of a source at a named version (FETCH, EQUALISE, drain): pieces of
// at most 1 MiB with their sums, verified here, staged aside and committed as one. Where it is known which regions
// differ (4.7) the others are taken from the own copy. Whether it is still wanted is asked again right before the commit,
// after which it can not be stopped.

import { OperatingError } from '../core/errors.ts';
import type { RegionMask } from '../core/extent.ts';
import type { ConfigVersion, NodeId, Version } from '../core/ids.ts';
import { partitionOfKey } from '../core/ids.ts';
import {
  MAX_PAYLOAD_BYTES,
  REGION_BYTES,
  REGIONS_PER_OBJECT,
  SECTOR_BYTES,
} from '../core/units.ts';
import type { ObjectImage, StagedObject } from '../storage/store-types.ts';
import type { RowImage } from '../wire/payloads.ts';
import type { Parts } from './context.ts';
import { ALL_REGIONS } from './dirty-maps.ts';
import { fetchRange, stageRange } from './fetch-range.ts';
import type { CopyFence } from './object-gate.ts';
import { versionOfRow } from './peer-answer.ts';

export interface CopyOrder {
  readonly source: NodeId;
  readonly cfg: ConfigVersion;
  /** The object as the source lists it; verCount 0 = the source has none: ours goes. */
  readonly row: RowImage;
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
type CopyDone = (error: OperatingError | undefined, fetchedBytes: number) => void;

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
  const { verToken, verCount, ...image } = row;
  const version = { token: verToken as Version['token'], count: verCount };
  const staged = tryStage(parts, { ...image, version });
  if (staged instanceof OperatingError) {
    done(staged, 0);
    return;
  }
  const filling: Filling = { ...order, staged, fetchedBytes: 0 };
  const finish = (): void => {
    commit(parts, fence, order, staged, (error) => {
      done(error, error === undefined ? filling.fetchedBytes : 0);
    });
  };
  if (row.kind === 'zero') {
    finish();
    return;
  }
  const pieces = piecesOf(order.partial?.regions ?? ALL_REGIONS);
  fillPieces(parts, filling, pieces, 0, (error) => {
    if (error === undefined) return finish();
    staged.abort();
    done(error, 0);
  });
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

/** What differs first, then what is taken from the own copy; neighbouring regions together. */
function piecesOf({ low, high }: RegionMask): readonly Piece[] {
  const pieces: Piece[] = [];
  const most = MAX_PAYLOAD_BYTES / REGION_BYTES;
  const isOwn = (region: number): boolean =>
    ((region < 32 ? low >>> region : high >>> (region - 32)) & 1) === 0;
  for (let first = 0; first < REGIONS_PER_OBJECT; ) {
    let end = first + 1;
    while (end < REGIONS_PER_OBJECT && end - first < most && isOwn(end) === isOwn(first)) end += 1;
    const offset = first * REGION_BYTES;
    pieces.push({ isOwn: isOwn(first), offset, count: (end - first) * REGION_BYTES });
    first = end;
  }
  return [...pieces.filter((piece) => !piece.isOwn), ...pieces.filter((piece) => piece.isOwn)];
}

/** One piece after the other. An own one that fails its sums is fetched like the others. */
function fillPieces(
  parts: Parts,
  filling: Filling,
  pieces: readonly Piece[],
  at: number,
  done: (error: OperatingError | undefined) => void,
): void {
  const piece = pieces[at];
  if (piece === undefined) {
    done(undefined);
    return;
  }
  const next = (error: OperatingError | undefined): void => {
    if (error !== undefined) done(error);
    else fillPieces(parts, filling, pieces, at + 1, done);
  };
  if (!piece.isOwn) {
    fetchPiece(parts, filling, piece, next);
    return;
  }
  const { generation, index } = filling.row;
  const { offset, count } = piece;
  parts.store.readForCopy(generation, index, offset, count, (error, sums, data) => {
    if (!isOwnUnchanged(parts, filling)) return done(voided());
    if (error !== undefined) return fetchPiece(parts, filling, piece, next);
    filling.staged.writeSectors(offset, sums, data);
    next(undefined);
  });
}

/**
 * A sector that fails its sum at the source gets a sum that it never passes: one bad sector must not keep the rest from
 * having another copy.
 */
function fetchPiece(
  parts: Parts,
  filling: Filling,
  { offset, count }: Piece,
  done: (error: OperatingError | undefined) => void,
): void {
  const { row, cfg, source, isValid, staged } = filling;
  const { generation, index } = row;
  const { p } = partitionOfKey(row.partition);
  const version = { token: row.verToken as Version['token'], count: row.verCount };
  const fetch = { generation, index, p, cfg, version, sources: [source], isValid };
  fetchRange(parts, fetch, { offset, count }, (error, found) => {
    if (error !== undefined) return done(error);
    filling.fetchedBytes += stageRange(staged, row, found) * SECTOR_BYTES;
    if (found.lost.length > 0) parts.trace.warn('copy.incomplete', { index, source });
    done(undefined);
  });
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
  parts.dirty.note(row.partition, row, ALL_REGIONS);
  const ended = (error: OperatingError | undefined): void => {
    parts.dirty.note(row.partition, row, ALL_REGIONS);
    fence.endCommit(row.partition);
    done(error);
  };
  if (staged === undefined) parts.store.drop(row, ended);
  else staged.commit(ended);
}

function voided(): OperatingError {
  return new OperatingError('stale-config', 'the copy became void', { advice: 'retry' });
}
