// Bytes of one object at one version, from whichever in-sync members have them whole (4.10). A piece that no source can
// give is halved until single sectors are left: those are lost, the rest is not. Everything is verified here (I8).

import { getSum, NO_SUM, SUM_BYTES, setSum, verifySector } from '../core/checksum.ts';
import { OperatingError } from '../core/errors.ts';
import type { ConfigVersion, GenerationId, NodeId, ObjectId, Version } from '../core/ids.ts';
import { SECTOR_BYTES } from '../core/units.ts';
import { badSum } from '../storage/object-file.ts';
import type { StagedObject } from '../storage/store-types.ts';
import { type Frame, OP, STATUS } from '../wire/frame.ts';
import { type Parts, requestFrame } from './context.ts';
import { AT_ONCE, type Rank } from './copy-streams.ts';

/** Until a source is taken for silent. */
export const REPAIR_FETCH_DEADLINE_MS = 5000;

export interface FetchOrder {
  readonly generation: GenerationId;
  readonly index: number;
  /** Hash part of the partition. */
  readonly p: number;
  readonly cfg: ConfigVersion;
  readonly version: Version;
  /** How the source ranks it among what it hands out; AT_ONCE unless given. */
  readonly rank?: Rank;
  /** Asked in this order; at least one. */
  readonly sources: readonly NodeId[];
  /** False as soon as what is fetched would be void. */
  readonly isValid: () => boolean;
}

export interface Fetched {
  readonly offset: number;
  /** One u32 per sector, as the source stores it. */
  readonly sums: Uint8Array;
  /** The sectors whose sum is not 0, one after the other. */
  readonly data: Uint8Array;
}

export interface FetchedRange {
  readonly pieces: readonly Fetched[];
  /** Sectors that fail their sums on every source. */
  readonly lost: readonly number[];
}

type FetchDone = (error: OperatingError | undefined, found: FetchedRange) => void;

const NOTHING: FetchedRange = { pieces: [], lost: [] };

/** Whole sectors, at most MAX_PAYLOAD_BYTES. With an error nothing is known, and it is tried again later. */
export function fetchRange(
  parts: Parts,
  order: FetchOrder,
  range: { readonly offset: number; readonly count: number },
  done: FetchDone,
): void {
  let bad = 0;
  let failure: OperatingError | undefined;
  const next = (at: number): void => {
    const source = order.sources[at];
    if (source === undefined) {
      if (failure !== undefined || bad === 0) done(failure ?? silent(), NOTHING);
      else halve(parts, order, range, done);
      return;
    }
    if (!order.isValid()) {
      done(new OperatingError('changed', 'the fetch became void', { advice: 'retry' }), NOTHING);
      return;
    }
    parts.ask(source, frameOf(parts, order, range), REPAIR_FETCH_DEADLINE_MS, (reply) => {
      const found = judge(parts, order, range, source, reply);
      if (!(found instanceof OperatingError)) return done(undefined, { pieces: [found], lost: [] });
      if (found.code === 'changed') return done(found, NOTHING);
      if (found.code === 'suspect') bad += 1;
      else failure ??= found;
      next(at + 1);
    });
  };
  next(0);
}

/**
 * Puts what was fetched into a copy in the making; what is lost gets a sum that it never passes.
 * @returns by `done`: the sectors, once their bytes are needed no more
 */
export function stageRange(
  staged: StagedObject,
  { generation, index }: ObjectId,
  { pieces, lost }: FetchedRange,
  done: (sectors: number) => void,
): void {
  for (const sector of lost) {
    const sums = new Uint8Array(SUM_BYTES);
    setSum(sums, 0, badSum(generation, index, sector));
    staged.writeSectors(sector * SECTOR_BYTES, sums, new Uint8Array(SECTOR_BYTES));
  }
  const sectors = pieces.reduce((sum, { data }) => sum + data.length / SECTOR_BYTES, 0);
  const next = (at: number): void => {
    const piece = pieces[at];
    if (piece === undefined) done(sectors);
    else staged.writeSectors(piece.offset, piece.sums, piece.data, () => next(at + 1));
  };
  next(0);
}

/** No source has all of it: each half by itself. */
function halve(
  parts: Parts,
  order: FetchOrder,
  range: { readonly offset: number; readonly count: number },
  done: FetchDone,
): void {
  const { offset, count } = range;
  if (count === SECTOR_BYTES) {
    done(undefined, { pieces: [], lost: [offset / SECTOR_BYTES] });
    return;
  }
  const half = Math.floor(count / SECTOR_BYTES / 2) * SECTOR_BYTES;
  fetchRange(parts, order, { offset, count: half }, (error, first) => {
    if (error !== undefined) return done(error, NOTHING);
    fetchRange(parts, order, { offset: offset + half, count: count - half }, (failed, second) => {
      if (failed !== undefined) return done(failed, NOTHING);
      const pieces = [...first.pieces, ...second.pieces];
      done(undefined, { pieces, lost: [...first.lost, ...second.lost] });
    });
  });
}

function frameOf(
  parts: Parts,
  order: FetchOrder,
  range: { readonly offset: number; readonly count: number },
): Frame {
  const frame = requestFrame(parts.views.current(), OP.FETCH);
  frame.generation = order.generation;
  frame.index = order.index;
  frame.offset = range.offset;
  frame.count = range.count;
  frame.cfg = order.cfg;
  frame.partition = order.p;
  frame.closed = order.rank ?? AT_ONCE;
  frame.verToken = order.version.token;
  frame.verCount = order.version.count;
  return frame;
}

/** What a reply is worth. The version is checked by the source, and here once more. */
function judge(
  parts: Parts,
  order: FetchOrder,
  range: { readonly offset: number; readonly count: number },
  source: NodeId,
  reply: Frame | undefined,
): Fetched | OperatingError {
  if (reply === undefined) return silent();
  parts.streams.hearSource(reply.closed);
  if (reply.status === STATUS.STALE || reply.status === STATUS.NOT_MEMBER) {
    parts.pull(reply.mapIndex, source);
    return new OperatingError('stale-config', 'the source knows a newer config');
  }
  if (reply.status === STATUS.SUSPECT) return new OperatingError('suspect', 'damaged there, too');
  const isSame = reply.verToken === order.version.token && reply.verCount === order.version.count;
  if (reply.status === STATUS.CHANGED || (reply.status === STATUS.OK && !isSame)) {
    return new OperatingError('changed', 'the source has another version', { advice: 'retry' });
  }
  if (reply.status === STATUS.BUSY) return silent();
  if (reply.status !== STATUS.OK) {
    return new OperatingError('io', `FETCH was answered with status ${reply.status}`);
  }
  const { sums, payload } = reply;
  if (!areSound(order, range, sums, payload)) {
    return new OperatingError('suspect', 'what the source sent fails its sums');
  }
  return { offset: range.offset, sums, data: payload };
}

function areSound(
  order: FetchOrder,
  range: { readonly offset: number; readonly count: number },
  sums: Uint8Array,
  data: Uint8Array,
): boolean {
  const sectors = range.count / SECTOR_BYTES;
  if (sums.length !== sectors * 4) return false;
  const first = range.offset / SECTOR_BYTES;
  let at = 0;
  for (let i = 0; i < sectors; i += 1) {
    const sum = getSum(sums, i);
    if (sum === NO_SUM) continue;
    if (at + SECTOR_BYTES > data.length) return false;
    if (!verifySector(order.generation, order.index, first + i, data, at, sum)) return false;
    at += SECTOR_BYTES;
  }
  return at === data.length;
}

function silent(): OperatingError {
  return new OperatingError('unreachable', 'no source answers', { advice: 'retry' });
}
