// What the leader decides about the lives of members as time passes: out after a while down, gone when a drain is
// complete, and the end of maintenances (1.4). And how long members have been down, as this node saw it: monotonic time
// of this process, so a new leader waits again rather than too short.

import { endedSettings, maintenanceUntil, outAfterMs } from './cluster-settings.ts';
import { counted } from './count-text.ts';
import type { NodeId } from './ids.ts';
import type { EntryBody } from './log-entry.ts';
import { policiesInUse, roomBar } from './member-room.ts';
import { ringOf } from './ring-change.ts';
import type { ClusterView, Member } from './view.ts';

/** Members called out, or gone, by one plan. */
export const MAX_LIFE_ENTRIES = 16;

/** Since when each member that is down has been so. Bounded by the members. */
export class DownTimes {
  readonly #since = new Map<NodeId, { readonly incarnation: number; readonly ms: number }>();

  /** Takes a view as it is applied. */
  note(view: ClusterView, now: number): void {
    for (const member of view.members.values()) {
      if (member.state !== 'down') this.#since.delete(member.node);
      else if (this.#since.get(member.node)?.incarnation !== member.incarnation) {
        this.#since.set(member.node, { incarnation: member.incarnation, ms: now });
      }
    }
    for (const node of this.#since.keys()) if (!view.members.has(node)) this.#since.delete(node);
  }

  /** Undefined while it is not down. */
  downMs(node: NodeId, now: number): number | undefined {
    const since = this.#since.get(node);
    return since === undefined ? undefined : now - since.ms;
  }
}

/** Two clocks: one that only goes on, and the date, for what people said. */
export interface Moment {
  readonly now: number;
  readonly dateMs: number;
}

/** The entries to propose now; empty when nothing is due. Asking twice changes nothing. */
export function planLives(view: ClusterView, times: DownTimes, moment: Moment): EntryBody[] {
  const entries: EntryBody[] = [];
  for (const member of view.members.values()) {
    if (entries.length >= MAX_LIFE_ENTRIES) break;
    if (isOutDue(view, member, times, moment)) {
      const { node, incarnation } = member;
      entries.push({ type: 'nodeOut', node, incarnation, reason: 'auto' });
    } else if (member.standing === 'leaving' && whatKeeps(view, member).length === 0) {
      entries.push({ type: 'nodeGone', node: member.node });
    }
  }
  for (const key of endedSettings(view, moment.dateMs)) {
    entries.push({ type: 'setting', key, value: '' });
  }
  return entries.slice(0, MAX_LIFE_ENTRIES);
}

function isOutDue(view: ClusterView, member: Member, times: DownTimes, moment: Moment): boolean {
  if (member.state !== 'down' || member.standing !== 'in') return false;
  const rest = outInMs(view, member, times, moment);
  return rest !== undefined && rest <= 0;
}

/**
 * How long until this member is called out: the countdown that people see. Undefined: it will not be, for it is not down
 * or not in, it is in maintenance without an end in sight, or nobody else could take its copies.
 */
export function outInMs(
  view: ClusterView,
  member: Member,
  times: DownTimes,
  moment: Moment,
): number | undefined {
  const downMs = times.downMs(member.node, moment.now);
  if (downMs === undefined || member.standing !== 'in') return undefined;
  if (outBar(view, member) !== undefined) return undefined;
  const until = maintenanceUntil(view, member.node);
  const restOfMaintenance = until === undefined ? 0 : until - moment.dateMs;
  const rest = Math.max(outAfterMs(view) - downMs, restOfMaintenance);
  return Number.isFinite(rest) ? rest : undefined;
}

/** Why time alone does not call this member out; undefined when it does. The state machine judges alike. */
export function outBar(view: ClusterView, member: Member): string | undefined {
  if (member.weight === 0) return undefined;
  const others = [...view.members.values()].filter(
    (one) => one.node !== member.node && one.state === 'up',
  );
  return roomBar(ringOf(others), policiesInUse(view.policies.values(), view), 'all-copies');
}

/** What a leaving member still waits for, one sentence each; empty when it may go. */
export function whatKeeps(view: ClusterView, member: Member): string[] {
  const { node } = member;
  const kept: string[] = [];
  if (view.voters.includes(node) || view.nextVoters.includes(node)) kept.push('another voter');
  const partitions = partitionsOf(view, node);
  if (partitions > 0) kept.push(`the successors of ${counted(partitions, 'partition')}`);
  return kept;
}

/** Partitions whose I or J has this node. Cheap for one that the ring does not want: those are the explicit ones. */
export function partitionsOf(view: ClusterView, node: NodeId): number {
  const isWanted = view.members.get(node)?.standing === 'in';
  let count = 0;
  for (const policy of view.policies.keys()) {
    const all = Array.from({ length: view.partitions }, (_, p) => p);
    for (const p of isWanted ? all : view.explicitPartitions(policy)) {
      const { inSync, joining } = view.partition(policy, p);
      if (inSync.includes(node) || joining.includes(node)) count += 1;
    }
  }
  return count;
}
