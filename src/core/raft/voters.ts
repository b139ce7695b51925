// Who votes, as the log says. A voter set rules from the moment its entry is in the log, committed or not, and falls
// back to the one before when that entry is cut off (C2.4). In the joint phase a decision needs a majority of both
// sets, so consecutive sets always overlap (A9).

import type { NodeId } from '../ids.ts';
import type { EntryBody, LogEntry } from '../log-entry.ts';

/** Most voters of one set (PROTOCOL.md 1.3). */
export const MAX_VOTERS = 7;

/** Set once by the entry at `index`. `next` is there in the joint phase only. */
export interface VoterSet {
  readonly index: number;
  readonly voters: readonly NodeId[];
  readonly next: readonly NodeId[] | undefined;
}

/** The first voters of every cluster: the node that formatted it, which is node 1 by definition. */
export const FIRST_VOTERS: readonly NodeId[] = [1 as NodeId];

/** The voter set that this entry makes; undefined for all other entries. `format` counts at index 1 only. */
export function voterSetOf(entry: LogEntry): VoterSet | undefined {
  const { index, body } = entry;
  if (body.type === 'format' && index === 1)
    return { index, voters: FIRST_VOTERS, next: undefined };
  if (body.type === 'votersJoint') return { index, voters: body.old, next: body.next };
  // Written by the offline tool alone: the voters that are left rule without a joint phase (section 6).
  if (body.type === 'votersForced') return { index, voters: body.next, next: undefined };
  if (body.type === 'votersFinal') return { index, voters: body.next, next: undefined };
  return undefined;
}

/** All voter sets of a log, oldest first. */
export function voterSetsOf(entries: readonly LogEntry[]): VoterSet[] {
  const sets: VoterSet[] = [];
  for (const entry of entries) {
    const set = voterSetOf(entry);
    if (set !== undefined) sets.push(set);
  }
  return sets;
}

/** True when the node counts in either part of the set. Nobody votes in an empty log. */
export function isVoter(set: VoterSet | undefined, node: NodeId): boolean {
  if (set === undefined) return false;
  return set.voters.includes(node) || (set.next?.includes(node) ?? false);
}

/** True for a voter that will be one after a change, too: it may be asked to lead. */
export function isHeir(set: VoterSet | undefined, node: NodeId): boolean {
  return (set?.next ?? set?.voters ?? []).includes(node);
}

/** Each voter of either part once, in rising order. */
export function allVoters(set: VoterSet | undefined): readonly NodeId[] {
  if (set === undefined) return [];
  return [...new Set([...set.voters, ...(set.next ?? [])])].sort((a, b) => a - b);
}

/** True when the nodes that `counts` says yes to are a majority of every part. False for an empty log. */
export function hasQuorum(set: VoterSet | undefined, counts: (node: NodeId) => boolean): boolean {
  if (set === undefined) return false;
  return (
    hasMajority(set.voters, counts) && (set.next === undefined || hasMajority(set.next, counts))
  );
}

function hasMajority(voters: readonly NodeId[], counts: (node: NodeId) => boolean): boolean {
  return voters.filter(counts).length > Math.floor(voters.length / 2);
}

/** Highest index that a majority of every part has, by what each node has; 0 for an empty log. */
export function quorumIndex(set: VoterSet | undefined, matchOf: (node: NodeId) => number): number {
  if (set === undefined) return 0;
  const first = majorityIndex(set.voters, matchOf);
  return set.next === undefined ? first : Math.min(first, majorityIndex(set.next, matchOf));
}

function majorityIndex(voters: readonly NodeId[], matchOf: (node: NodeId) => number): number {
  const sorted = voters.map(matchOf).sort((a, b) => b - a);
  return sorted[Math.floor(voters.length / 2)] ?? 0;
}

/**
 * May the leader append this change of voters now? The present set must be committed, the change must start from it,
 * and a joint set is followed by its own final set and by nothing else (A9).
 */
export function isLegalChange(set: VoterSet | undefined, commit: number, body: EntryBody): boolean {
  if (body.type === 'votersForced') return false;
  if (body.type !== 'votersJoint' && body.type !== 'votersFinal') return true;
  if (set === undefined || set.index > commit || !isSameSet(set.voters, body.old)) return false;
  if (body.type === 'votersFinal') return set.next !== undefined && isSameSet(set.next, body.next);
  const { next } = body;
  const isWellFormed =
    next.length > 0 && next.length <= MAX_VOTERS && new Set(next).size === next.length;
  return set.next === undefined && isWellFormed;
}

function isSameSet(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((node) => b.includes(node));
}
