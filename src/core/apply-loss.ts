// The entry of an operator who goes on without what is lost (section 6). A partition is lost when every member of its
// in-sync set is retired for good. It starts anew, empty, with one member that holds nothing of it; the ring's choice
// joins that one. Whoever holds the lock of a volume with a part in it is fenced: what its guest saw there is gone.

import { applyList, lifeBar } from './apply-partitions.ts';
import { superseded } from './lock.ts';
import type { EntryBody, PartitionCas } from './log-entry.ts';
import { withFreshMove } from './move-state.ts';
import { acceptLoss, partitionOf } from './partition.ts';
import { configOf } from './policy-state.ts';
import { type Applied, type ClusterState, declined } from './state.ts';
import { divideUp, OBJECT_BYTES } from './units.ts';
import type { Volume } from './view.ts';

type Body = Extract<EntryBody, { type: 'acceptLoss' }>;

/** `value` = partitions that start anew. */
export function applyAcceptLoss(state: ClusterState, body: Body): Applied {
  const bar = lifeBar(state, body);
  if (bar !== undefined) return bar;
  if ((state.members.get(body.node)?.weight ?? 0) === 0) {
    return declined(state, 'refused', `n${body.node} holds no data`);
  }
  const applied = applyList(state, body.partitions, (config) =>
    acceptLoss(config, body.node, (node) => state.members.has(node)),
  );
  if (applied.result.code !== 'ok') return applied;
  const begun = body.partitions.filter((element) => hasBegun(state, applied.state, element));
  return { ...applied, state: withFenced(applied.state, begun) };
}

function hasBegun(before: ClusterState, after: ClusterState, { policy, p }: PartitionCas): boolean {
  const was = before.policies.get(policy);
  const is = after.policies.get(policy);
  return was !== undefined && is !== undefined && configOf(was, p).cfg !== configOf(is, p).cfg;
}

function withFenced(state: ClusterState, begun: readonly PartitionCas[]): ClusterState {
  const parts = new Map<number, Set<number>>();
  for (const { policy, p } of begun) {
    parts.set(policy, (parts.get(policy) ?? new Set()).add(p));
  }
  const volumes = new Map(state.volumes);
  for (const volume of state.volumes.values()) {
    const lost = parts.get(volume.policy);
    const isTouched = lost !== undefined && hasPartIn(volume, lost, state.partitions);
    if (volume.lock.state !== 'held' || !isTouched) continue;
    volumes.set(volume.id, { ...volume, lock: superseded(volume.lock) });
  }
  return withCopiesAnew({ ...state, volumes }, parts);
}

/** What a move had copied into a lost partition is gone: that copy is begun anew (S8). */
function withCopiesAnew(
  state: ClusterState,
  parts: ReadonlyMap<number, ReadonlySet<number>>,
): ClusterState {
  let next = state;
  for (const move of state.moves.values()) {
    const lost = parts.get(move.policy);
    const volume = state.volumes.get(move.volume);
    if (lost === undefined || volume === undefined) continue;
    if (!hasPartIn({ ...volume, family: move.family }, lost, state.partitions)) continue;
    next = withFreshMove(next, volume, { policy: move.policy, token: volume.lock.token });
  }
  return next;
}

function hasPartIn(volume: Volume, lost: ReadonlySet<number>, partitions: number): boolean {
  const objects = divideUp(volume.sizeBytes, OBJECT_BYTES);
  for (let index = 0; index < objects; index += 1) {
    if (lost.has(partitionOf(volume.family, index, partitions))) return true;
  }
  return false;
}
