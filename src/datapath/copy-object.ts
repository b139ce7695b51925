// Makes this node's copy of one object exactly that of a source at a named version (FETCH, EQUALISE, drain): chunks of
// 1 MiB with their sums, verified here, staged aside and committed as one. Whether it is still wanted is asked again
// right before the commit, after which it can not be stopped.

import { OperatingError } from '../core/errors.ts';
import type { ConfigVersion, NodeId, Version } from '../core/ids.ts';
import { partitionOfKey } from '../core/ids.ts';
import { MAX_PAYLOAD_BYTES, OBJECT_BYTES } from '../core/units.ts';
import type { ObjectImage, StagedObject } from '../storage/store-types.ts';
import type { RowImage } from '../wire/payloads.ts';
import type { Parts } from './context.ts';
import { fetchRange, stageRange } from './fetch-range.ts';
import type { CopyFence } from './object-gate.ts';

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

/**
 * All of it, piece by piece. A sector that fails its sum at the source gets a sum that it never passes: one bad sector
 * must not keep the rest from having another copy.
 */
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
  const { row, cfg, source, isValid } = order;
  const { generation, index } = row;
  const { p } = partitionOfKey(row.partition);
  const version = { token: row.verToken as Version['token'], count: row.verCount };
  const fetch = { generation, index, p, cfg, version, sources: [source], isValid };
  fetchRange(parts, fetch, { offset, count: MAX_PAYLOAD_BYTES }, (error, found) => {
    if (error !== undefined) return done(error);
    stageRange(staged, row, found);
    if (found.lost.length > 0) parts.trace.warn('copy.incomplete', { index, source });
    fetchChunk(parts, order, staged, offset + MAX_PAYLOAD_BYTES, done);
  });
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
