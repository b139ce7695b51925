// Heals a copy that is damaged as a whole, or in too many places: stages a new one at the version that the row has, from
// in-sync members, and puts it in place if version and config are still the same (4.10).

import { OperatingError } from '../core/errors.ts';
import type { ConfigVersion, NodeId } from '../core/ids.ts';
import { MAX_PAYLOAD_BYTES, OBJECT_BYTES } from '../core/units.ts';
import type { StagedObject } from '../storage/store-types.ts';
import { OP, STATUS } from '../wire/frame.ts';
import { decodeRows, encodeObjectNames, type RowImage } from '../wire/payloads.ts';
import { type Parts, requestFrame } from './context.ts';
import { fetchRange, stageRange } from './fetch-range.ts';
import type { CopyFence } from './object-gate.ts';
import {
  type Attempt,
  IDLE,
  noSource,
  type RepairDone,
  type Repaired,
  retry,
} from './repair-attempt.ts';

/** Until a source has said which version it has. */
export const REPAIR_ASK_DEADLINE_MS = 2000;

/** The copy as a source has it at our version; open stays what either side has as open (I9). */
export function copyWhole(
  parts: Parts,
  fence: CopyFence,
  attempt: Attempt,
  done: RepairDone,
): void {
  askRow(parts, attempt, 0, (error, row) => {
    if (error !== undefined || row === undefined)
      return done({ ...IDLE, error: error ?? noSource() });
    const own = parts.store.row(attempt.generation, attempt.index);
    if (own === undefined || !attempt.isValid())
      return done({ ...IDLE, error: retry('overtaken') });
    const { verToken: _token, verCount: _count, ...image } = row;
    const staged = stage(parts, {
      ...image,
      version: attempt.version,
      closed: Math.min(own.closed, row.closed),
      openLow: (own.openLow | row.openLow) >>> 0,
      openHigh: (own.openHigh | row.openHigh) >>> 0,
    });
    if (staged instanceof OperatingError) return done({ ...IDLE, error: staged });
    if (row.kind === 'zero')
      return commit(parts, fence, attempt, staged, { ...IDLE, isWhole: true }, done);
    fill(parts, attempt, staged, 0, { ...IDLE, isWhole: true }, (result) => {
      if (result.error === undefined) return commit(parts, fence, attempt, staged, result, done);
      staged.abort();
      done(result);
    });
  });
}

/** The row of the first source that answers, if it has our version. */
function askRow(
  parts: Parts,
  attempt: Attempt,
  at: number,
  done: (error: OperatingError | undefined, row: RowImage | undefined) => void,
): void {
  const source: NodeId | undefined = attempt.sources[at];
  if (source === undefined) {
    done(noSource(), undefined);
    return;
  }
  const { generation, index, version } = attempt;
  const frame = requestFrame(parts.views.current(), OP.VERSIONS);
  frame.partition = attempt.p;
  frame.cfg = attempt.cfg as ConfigVersion;
  frame.payload = encodeObjectNames([{ generation, index }]);
  parts.ask(source, frame, REPAIR_ASK_DEADLINE_MS, (reply) => {
    if (reply?.status === STATUS.STALE) parts.pull(reply.mapIndex, source);
    if (reply?.status !== STATUS.OK) return askRow(parts, attempt, at + 1, done);
    const [row] = decodeRows(reply.payload);
    const isSame = row?.verToken === version.token && row.verCount === version.count;
    if (isSame && row !== undefined) return done(undefined, row);
    done(retry('the source has another version'), undefined);
  });
}

function stage(
  parts: Parts,
  image: Parameters<Parts['store']['stage']>[0],
): StagedObject | OperatingError {
  try {
    return parts.store.stage(image);
  } catch (error) {
    if (error instanceof OperatingError) return error;
    throw error;
  }
}

/** All pieces; a sector that no copy has gets a sum that it never passes. */
function fill(
  parts: Parts,
  attempt: Attempt,
  staged: StagedObject,
  offset: number,
  so: Repaired,
  done: RepairDone,
): void {
  if (offset >= OBJECT_BYTES) {
    done(so);
    return;
  }
  fetchRange(parts, attempt, { offset, count: MAX_PAYLOAD_BYTES }, (error, fetched) => {
    if (error !== undefined) return done({ ...so, error });
    stageRange(staged, attempt, fetched, (sectors) => {
      const now = { ...so, sectors: so.sectors + sectors, lost: [...so.lost, ...fetched.lost] };
      fill(parts, attempt, staged, offset + MAX_PAYLOAD_BYTES, now, done);
    });
  });
}

/** Version and config once more: after this it can not be stopped. */
function commit(
  parts: Parts,
  fence: CopyFence,
  attempt: Attempt,
  staged: StagedObject,
  result: Repaired,
  done: RepairDone,
): void {
  if (!attempt.isValid()) {
    staged.abort();
    done({ ...IDLE, error: retry('the repair became void') });
    return;
  }
  const { suspect } = attempt;
  fence.beginCommit(suspect.partition);
  staged.commit((error) => {
    fence.endCommit(suspect.partition);
    if (error === undefined && result.lost.length > 0) parts.store.suspects.note(suspect, false);
    done({ ...result, error });
  });
}
