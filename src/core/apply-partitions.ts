// Entries about in-sync sets: lists of (p, cfg) for one node. Each element is a compare-and-set on cfg(p): one that
// differs is skipped, the others apply (4.4). What is legal is partition.ts's to say.

import type { Incarnation, NodeId } from './ids.ts';
import { type EntryBody, MAX_PARTITIONS_PER_ENTRY, type PartitionCas } from './log-entry.ts';
import {
  abort,
  type ConfigChange,
  doubt,
  doubtAbsent,
  type IsLive,
  join,
  promote,
  purgeBar,
  release,
  settle,
  shrink,
  shrinkUnsure,
} from './partition.ts';
import { configOf, PolicyDraft, partitionsWith } from './policy-state.ts';
import { withPolicies } from './ring-change.ts';
import { type Applied, accepted, type ClusterState, declined, isUp, liveIn } from './state.ts';
import type { PartitionConfig } from './view.ts';

type Body<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

interface ShrinkRule {
  readonly minCopies: number;
  readonly isLive: IsLive;
}

/** Changes one config, or says why not. */
type Change<E> = (config: PartitionConfig, rule: ShrinkRule, element: E) => ConfigChange;

/** The node leaves I, while m live others stay; a joining one leaves J (4.3, C4.1). */
export function applyIsrShrink(state: ClusterState, body: Body<'isrShrink'>): Applied {
  return applyList(state, body.partitions, (config, rule) =>
    config.joining.includes(body.node) ? abort(config, body.node) : shrink(config, body.node, rule),
  );
}

/** J += node, in the life it is up in. */
export function applyIsrJoin(state: ClusterState, body: Body<'isrJoin'>): Applied {
  const bar = lifeBar(state, body);
  if (bar !== undefined) return bar;
  return applyList(state, body.partitions, (config) => join(config, body.node));
}

/** J -= node. */
export function applyIsrAbort(state: ClusterState, body: Body<'isrAbort'>): Applied {
  return applyList(state, body.partitions, (config) => abort(config, body.node));
}

/** I += node after its drain from `source` (A8). */
export function applyIsrPromote(state: ClusterState, body: Body<'isrPromote'>): Applied {
  const bar = lifeBar(state, body);
  if (bar !== undefined) return bar;
  return applyList(state, body.partitions, (config, _rule, element) =>
    element.sourceApplied > state.index
      ? 'the source has not applied that'
      : promote(config, body.node, element.source),
  );
}

/** The node is doubtful no more, in the life it is up in (R8). */
export function applyIsrSettle(state: ClusterState, body: Body<'isrSettle'>): Applied {
  const bar = lifeBar(state, body);
  if (bar !== undefined) return bar;
  return applyList(state, body.partitions, (config) => settle(config, body.node));
}

/** A down node leaves I where no sure member is up and doubtful ones are enough (R8). */
export function applyIsrShrinkUnsure(state: ClusterState, body: Body<'isrShrinkUnsure'>): Applied {
  return applyList(state, body.partitions, (config, rule) => shrinkUnsure(config, body.node, rule));
}

/** Members that are down become doubtful where the live ones are to be read alone (4.5, I12). */
export function applyIsrDoubt(state: ClusterState, body: Body<'isrDoubt'>): Applied {
  return applyList(state, body.partitions, (config, rule) => doubtAbsent(config, rule));
}

/** I -= node, which the ring does not want (I5). */
export function applyIsrRelease(state: ClusterState, body: Body<'isrRelease'>): Applied {
  return applyList(state, body.partitions, (config, rule) => release(config, body.node, rule));
}

/**
 * R8: a start after an unclean stop may have lost what was confirmed and not synced. The node is doubtful from here on in
 * each I where it is, in every policy that ever had a writeback volume.
 */
export function withDoubt(state: ClusterState, node: NodeId): ClusterState {
  const self = new Set([node]);
  return withPolicies(state, (policy) => {
    if (!policy.everWriteback) return policy;
    const draft = new PolicyDraft(policy);
    for (const p of partitionsWith(policy, self)) {
      const changed = doubt(draft.config(p), node);
      if (changed !== undefined) draft.set(p, changed);
    }
    return draft.finish();
  });
}

/** Says which of these copies may be deleted (I5). Changes nothing; the node acts on what `purgeable` tells it. */
export function applyPurge(state: ClusterState, body: Body<'purge'>): Applied {
  const allowed = purgeable(state, body);
  if (allowed.length > 0) return accepted(state, allowed.length);
  return declined(state, 'stale', 'none of these copies may be deleted');
}

/** The elements of a purge that hold in this state, the one before or after its entry alike. */
export function purgeable(state: ClusterState, body: Body<'purge'>): PartitionCas[] {
  if (body.partitions.length > MAX_PARTITIONS_PER_ENTRY) return [];
  return body.partitions.filter((element) => {
    const policy = state.policies.get(element.policy);
    if (policy === undefined) return false;
    const config = configOf(policy, element.p);
    return (
      config.cfg === element.cfg && config.cfg !== 0 && purgeBar(config, body.node) === undefined
    );
  });
}

/** Undefined when this life of the node is up. */
export function lifeBar(
  state: ClusterState,
  body: { readonly node: NodeId; readonly incarnation: Incarnation },
): Applied | undefined {
  if (isUp(state, body.node, body.incarnation)) return undefined;
  return declined(state, 'stale', `n${body.node} is not up in incarnation ${body.incarnation}`);
}

/** Each element by its cas. `value` = elements applied. None at all: 'stale', with the first reason. */
export function applyList<E extends PartitionCas>(
  state: ClusterState,
  elements: readonly E[],
  change: Change<E>,
): Applied {
  if (elements.length > MAX_PARTITIONS_PER_ENTRY)
    return declined(state, 'refused', 'the list is too long');
  const drafts = new Map<number, PolicyDraft>();
  const isLive = liveIn(state.members);
  let applied = 0;
  let reason = 'the list is empty';
  for (const element of elements) {
    const policy = state.policies.get(element.policy);
    const draft = drafts.get(element.policy) ?? (policy && new PolicyDraft(policy));
    if (policy === undefined || draft === undefined) {
      reason = 'no such policy';
      continue;
    }
    drafts.set(element.policy, draft);
    const rule = { minCopies: policy.policy.minCopies, isLive };
    const outcome = changeOne(draft, element, (config) => change(config, rule, element));
    if (outcome === undefined) applied += 1;
    else reason = applied === 0 ? outcome : reason;
  }
  if (applied === 0) return declined(state, 'stale', reason);
  const policies = new Map(state.policies);
  for (const [id, policy] of state.policies) policies.set(id, drafts.get(id)?.finish() ?? policy);
  return accepted({ ...state, policies }, applied);
}

/** Undefined when applied, else why not. */
function changeOne(
  draft: PolicyDraft,
  element: PartitionCas,
  change: (config: PartitionConfig) => ConfigChange,
): string | undefined {
  const config = draft.config(element.p);
  if (config.cfg === 0) return 'no such partition';
  if (config.cfg !== element.cfg) return `the config is ${config.cfg} by now`;
  const after = change(config);
  if (typeof after === 'string') return after;
  draft.set(element.p, after);
  return undefined;
}
