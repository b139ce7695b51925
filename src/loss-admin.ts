// An operator goes on without what is lost for good (section 6), at the node that is asked: it drops what it has of the
// lost partitions, stale by definition, durably; only then the log starts them anew with this node alone.

import { OperatingError } from './core/errors.ts';
import type { Incarnation, NodeId } from './core/ids.ts';
import {
  type ApplyResult,
  type EntryBody,
  MAX_PARTITIONS_PER_ENTRY,
  type PartitionCas,
} from './core/log-entry.ts';
import { lastHolders, lossesOf, lostPartitions } from './core/lost.ts';
import type { ClusterView } from './core/view.ts';
import type { LossPlan } from './node-handle.ts';

export interface LossContext {
  readonly self: NodeId;
  readonly view: () => ClusterView;
  readonly propose: (body: EntryBody) => Promise<ApplyResult>;
  /** Drops what this node has of lost partitions; resolves when none of it is left, durably. */
  readonly dropLost: (partitions: readonly PartitionCas[]) => Promise<void>;
}

/** What accepting the loss means, by this node's view. */
export function lossPlan(view: ClusterView): LossPlan {
  const lost = lostPartitions(view);
  const volumes = lossesOf(view, lost);
  return { partitions: lost.length, volumes, mayReturn: lastHolders(view) };
}

/**
 * Starts every lost partition anew; gives their number.
 * @throws OperatingError 'missing', 'refused', 'busy'
 */
export async function acceptLoss(context: LossContext): Promise<number> {
  const { self } = context;
  const me = context.view().members.get(self);
  if ((me?.weight ?? 0) === 0) {
    throw new OperatingError('refused', `n${self} holds no data`, {
      remedy: 'ask another node: -a ADDRESS',
    });
  }
  if (lostPartitions(context.view()).length === 0) throw nothingLost(context.view());
  await leaveJoins(context);
  const lost = lostPartitions(context.view());
  let begun = 0;
  for (let at = 0; at < lost.length; at += MAX_PARTITIONS_PER_ENTRY) {
    const partitions = lost.slice(at, at + MAX_PARTITIONS_PER_ENTRY);
    await context.dropLost(partitions);
    const incarnation = me?.incarnation ?? (0 as Incarnation);
    const by = `n${self}`;
    const body = { type: 'acceptLoss', partitions, node: self, incarnation, by } as const;
    const { code, value, detail } = await context.propose(body);
    if (code === 'ok') begun += value;
    else if (code !== 'stale') throw new OperatingError('refused', detail);
  }
  if (begun > 0) return begun;
  throw new OperatingError('busy', 'the cluster changed meanwhile', { advice: 'retry' });
}

/** Nobody is left to catch up from; and who joins takes writes, so it can not say that it holds nothing. */
async function leaveJoins({ self, view, propose }: LossContext): Promise<void> {
  const joins = lostPartitions(view()).filter(({ policy, p }) => {
    return view().partition(policy, p).joining.includes(self);
  });
  for (let at = 0; at < joins.length; at += MAX_PARTITIONS_PER_ENTRY) {
    const partitions = joins.slice(at, at + MAX_PARTITIONS_PER_ENTRY);
    await propose({ type: 'isrAbort', partitions, node: self });
  }
}

function nothingLost(view: ClusterView): OperatingError {
  const names = lastHolders(view).map((node) => `n${node}`);
  if (names.length === 0) return new OperatingError('missing', 'nothing is lost');
  const text = `nothing is lost yet: ${names.join(', ')} may return with the only copies`;
  const remedy = `start ${names[0]} again; if its disk is lost for good: dog node forget ${names[0]}`;
  return new OperatingError('missing', text, { remedy });
}
