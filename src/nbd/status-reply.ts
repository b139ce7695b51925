// The answer to BLOCK_STATUS: what the session says of a range, and snapshots that it is compared with, in the words of each
// context that was agreed on.

import { changedRuns } from '../core/changed-regions.ts';
import { OperatingError } from '../core/errors.ts';
import { shownBy } from '../datapath/changes.ts';
import { partDone, startJob } from '../datapath/job.ts';
import type { AllocationExtent, VolumeSession } from '../datapath/volume-session.ts';
import type { Attachment } from './exports.ts';
import { type DiffContext, diffFlags, type MetaContext } from './meta-contexts.ts';
import { COMMAND_FLAG, encodeStatusChunk, type RequestHeader } from './nbd-codec.ts';

interface Flagged {
  readonly length: number;
  readonly flags: number;
}

/** What the volume shows, and by context what each snapshot did. */
interface Asked {
  extents: readonly AllocationExtent[];
  readonly before: Map<DiffContext, readonly AllocationExtent[]>;
}

/** `done` once, perhaps before this returns: chunks of all contexts, or an error and none. */
export function askStatus(
  request: RequestHeader,
  contexts: readonly MetaContext[],
  { session, before }: Pick<Attachment, 'session' | 'before'>,
  done: (error: OperatingError | undefined, chunks: readonly Uint8Array[]) => void,
): void {
  const { offset, length } = request;
  const asked: Asked = { extents: [], before: new Map() };
  const diffs = contexts.filter((one) => 'before' in one);
  const job = startJob(1 + diffs.length, (error) => {
    done(error, error === undefined ? statusChunks(request, contexts, asked) : []);
  });
  for (const diff of diffs) {
    const former = openedOr(() => before(diff.before));
    if (former instanceof OperatingError) {
      partDone(job, former);
      continue;
    }
    shownBy(former, { offset, length }, (error, extents) => {
      asked.before.set(diff, extents);
      partDone(job, error);
    });
  }
  session.allocation(offset, length, (error, extents) => {
    asked.extents = extents;
    partDone(job, error);
  });
}

/** A snapshot may be gone by the time it is asked for. */
function openedOr(open: () => VolumeSession): VolumeSession | OperatingError {
  try {
    return open();
  } catch (error) {
    if (error instanceof OperatingError) return error;
    throw error;
  }
}

/** One chunk per context, the last one marked; of REQ_ONE one extent each. */
function statusChunks(
  request: RequestHeader,
  contexts: readonly MetaContext[],
  asked: Asked,
): readonly Uint8Array[] {
  const isOne = (request.flags & COMMAND_FLAG.reqOne) !== 0;
  return contexts.map((context, i) => {
    const flagged = joined(flaggedBy(context, asked));
    const told = isOne ? flagged.slice(0, 1) : flagged;
    return encodeStatusChunk(request, context.id, told, i === contexts.length - 1);
  });
}

function flaggedBy(context: MetaContext, { extents, before }: Asked): readonly Flagged[] {
  if (!('before' in context)) {
    return extents.map((one) => ({ length: one.length, flags: context.flagsOf(one) }));
  }
  const runs = changedRuns(before.get(context) ?? [], extents);
  return runs.map((one) => ({ length: one.length, flags: diffFlags(one) }));
}

/** Neighbours with the same flags are one. */
function joined(extents: readonly Flagged[]): readonly Flagged[] {
  const kept: { length: number; flags: number }[] = [];
  for (const { length, flags } of extents) {
    const last = kept.at(-1);
    if (last?.flags === flags) last.length += length;
    else kept.push({ length, flags });
  }
  return kept;
}
