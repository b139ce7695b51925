// Makes this node's copy of one object exactly that of a source at a named version (FETCH, EQUALISE, drain): chunks of
// 1 MiB with their sums, verified here, staged aside and committed as one. Whether it is still wanted is asked again
// right before the commit, after which it can not be stopped.

import { getSum, NO_SUM, verifySector } from '../core/checksum.ts';
import { OperatingError } from '../core/errors.ts';
import type { ConfigVersion, NodeId, Version } from '../core/ids.ts';
import { partitionOfKey } from '../core/ids.ts';
import { MAX_PAYLOAD_BYTES, OBJECT_BYTES, SECTOR_BYTES } from '../core/units.ts';
import type { ObjectImage, StagedObject } from '../storage/store-types.ts';
import { type Frame, OP, STATUS } from '../wire/frame.ts';
import type { RowImage } from '../wire/payloads.ts';
import { type Parts, requestFrame } from './context.ts';
import type { CopyFence } from './object-gate.ts';

export const FETCH_DEADLINE_MS = 5000;
const SECTORS_PER_CHUNK = MAX_PAYLOAD_BYTES / SECTOR_BYTES;
const SUMS_PER_CHUNK_BYTES = SECTORS_PER_CHUNK * 4;

export interface CopyOrder {
  readonly source: NodeId;
  readonly cfg: ConfigVersion;
  /** The object as the source lists it; verCount 0 = the source has none: ours goes. */
  readonly row: RowImage;
  /** False as soon as what is fetched would be void. */
  readonly isValid: () => boolean;
}

type CopyDone = (error: OperatingError | undefined) => void;

/** The caller holds the object's gate. `done` without an error: durably equal to the named version. */
export function copyObject(parts: Parts, fence: CopyFence, order: CopyOrder, done: CopyDone): void {
  const { row } = order;
  if (row.verCount === 0) {
    commit(parts, fence, order, undefined, done);
    return;
  }
  const { verToken, verCount, ...image } = row;
  const version = { token: verToken as Version['token'], count: verCount };
  const staged = tryStage(parts, { ...image, version });
  if (staged instanceof OperatingError) {
    done(staged);
    return;
  }
  if (row.kind === 'zero') {
    commit(parts, fence, order, staged, done);
    return;
  }
  fetchChunk(parts, order, staged, 0, (error) => {
    if (error === undefined) return commit(parts, fence, order, staged, done);
    staged.abort();
    done(error);
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

function fetchChunk(
  parts: Parts,
  order: CopyOrder,
  staged: StagedObject,
  offset: number,
  done: CopyDone,
): void {
  if (offset >= OBJECT_BYTES) {
    done(undefined);
    return;
  }
  if (!order.isValid()) {
    done(voided());
    return;
  }
  parts.ask(order.source, fetchFrame(parts, order, offset), FETCH_DEADLINE_MS, (reply) => {
    const error = stageChunk(parts, order, staged, offset, reply);
    if (error !== undefined) return done(error);
    fetchChunk(parts, order, staged, offset + MAX_PAYLOAD_BYTES, done);
  });
}

function fetchFrame(parts: Parts, order: CopyOrder, offset: number): Frame {
  const { row, cfg } = order;
  const frame = requestFrame(parts.views.current(), OP.FETCH);
  frame.generation = row.generation;
  frame.index = row.index;
  frame.offset = offset;
  frame.count = MAX_PAYLOAD_BYTES;
  frame.cfg = cfg;
  frame.partition = partitionOfKey(row.partition).p;
  frame.verToken = row.verToken as Frame['verToken'];
  frame.verCount = row.verCount;
  return frame;
}

function stageChunk(
  parts: Parts,
  order: CopyOrder,
  staged: StagedObject,
  offset: number,
  reply: Frame | undefined,
): OperatingError | undefined {
  const { row } = order;
  if (reply === undefined) return new OperatingError('unreachable', `n${order.source} is silent`);
  if (reply.status === STATUS.STALE || reply.status === STATUS.NOT_MEMBER) {
    parts.pull(reply.mapIndex, order.source);
    return new OperatingError('stale-config', 'the source knows a newer config');
  }
  if (reply.status !== STATUS.OK) {
    const code = reply.status === STATUS.CHANGED ? 'changed' : 'io';
    return new OperatingError(code, `FETCH was answered with status ${reply.status}`);
  }
  const { sums, payload } = reply;
  if (sums.length !== SUMS_PER_CHUNK_BYTES) return badCopy(order, 'table of sums');
  let at = 0;
  for (let i = 0; i < SECTORS_PER_CHUNK; i += 1) {
    const sum = getSum(sums, i);
    if (sum === NO_SUM) continue;
    const sector = offset / SECTOR_BYTES + i;
    if (at + SECTOR_BYTES > payload.length) return badCopy(order, 'length');
    if (!verifySector(row.generation, row.index, sector, payload, at, sum)) {
      return badCopy(order, `sum of sector ${sector}`);
    }
    at += SECTOR_BYTES;
  }
  if (at !== payload.length) return badCopy(order, 'length');
  if (at > 0) staged.writeSectors(offset, sums, payload);
  return undefined;
}

/** `staged` undefined: the object goes. */
function commit(
  parts: Parts,
  fence: CopyFence,
  order: CopyOrder,
  staged: StagedObject | undefined,
  done: CopyDone,
): void {
  if (!order.isValid()) {
    staged?.abort();
    done(voided());
    return;
  }
  const { row } = order;
  fence.beginCommit(row.partition);
  const ended = (error: OperatingError | undefined): void => {
    fence.endCommit(row.partition);
    done(error);
  };
  if (staged === undefined) parts.store.drop(row, ended);
  else staged.commit(ended);
}

function voided(): OperatingError {
  return new OperatingError('stale-config', 'the copy became void', { advice: 'retry' });
}

function badCopy(order: CopyOrder, what: string): OperatingError {
  return new OperatingError('corrupt', `copy from n${order.source}: wrong ${what}`);
}
