// Who should vote (1.3): how many, spread over zones first, then those who vote already, then lowest load, then lowest
// id. The number never sinks because of failures, only by leaving. A leader asks `nextVoters` and proposes what it says;
// `voterBar` judges any proposal, and a leader appends none that it refuses.

import type { NodeId } from './ids.ts';
import type { ClusterView, Member } from './view.ts';

/** Sizes of voter sets: two of two survive nothing, but lose nothing, either. */
export const VOTER_COUNTS = [1, 2, 3, 5, 7] as const;
/** Members from which five vote, and members and zones from which seven do. */
export const FIVE_VOTERS_FROM = 5;
export const SEVEN_VOTERS_FROM = 200;
export const SEVEN_VOTERS_ZONES = 7;

/** What a leader knows beside the view. */
export interface VoterFacts {
  /** Down for so long that it is to be replaced. */
  readonly isLongDown: (node: NodeId) => boolean;
  /** In steps, so that equal loads are equal; 0 when nothing is known. */
  readonly loadOf: (node: NodeId) => number;
}

/** How many voters a cluster of this size wants. */
export function votersWanted(members: number, zones: number): number {
  if (members >= SEVEN_VOTERS_FROM && zones >= SEVEN_VOTERS_ZONES) return 7;
  if (members >= FIVE_VOTERS_FROM) return 5;
  if (members >= 3) return 3;
  return Math.max(1, members);
}

/** The target for the members of this view: those that are out count, for being out is a failure, too. */
export function voterTarget(view: ClusterView): number {
  const counted = [...view.members.values()].filter(counts);
  return votersWanted(counted.length, new Set(counted.map(({ zone }) => zone)).size);
}

function counts(member: Member): boolean {
  return member.state !== 'joined' && (member.standing === 'in' || member.standing === 'out');
}

/** A member that may become a voter now. */
function isCandidate(member: Member | undefined): boolean {
  return member?.state === 'up' && member.standing === 'in';
}

/** The set that should vote, sorted; undefined when the present one is right or nothing better can be had now. */
export function nextVoters(
  view: ClusterView,
  self: NodeId,
  facts: VoterFacts,
): readonly NodeId[] | undefined {
  if (view.nextVoters.length > 0) return undefined;
  const present = view.voters;
  const good = [...view.members.values()].filter((member) => {
    if (isCandidate(member)) return true;
    return present.includes(member.node) && counts(member) && !facts.isLongDown(member.node);
  });
  // Not enough of the good ones: those who vote now stay, dead or leaving, rather than that the number sinks.
  const floor = Math.min(voterTarget(view), memberVoters(view).length);
  const size = Math.max(wantedSize(view, good.length), floor);
  const chosen = pick(good, size, (member) => rankOf(view, self, facts, member));
  chosen.push(...lastResorts(view, chosen).slice(0, size - chosen.length));
  const next = chosen.sort((a, b) => a - b);
  if (next.length === 0 || next.join() === [...present].sort((a, b) => a - b).join())
    return undefined;
  return voterBar(view, next) === undefined ? next : undefined;
}

/** The largest legal size that there are good ones for, at most the target. */
function wantedSize(view: ClusterView, good: number): number {
  const target = voterTarget(view);
  return Math.max(0, ...VOTER_COUNTS.filter((count) => count <= target && count <= good));
}

function memberVoters(view: ClusterView): readonly NodeId[] {
  return view.voters.filter((node) => view.members.has(node));
}

/** Present voters that were not chosen: those who live first. */
function lastResorts(view: ClusterView, chosen: readonly NodeId[]): readonly NodeId[] {
  const isUp = (node: NodeId): number => (view.members.get(node)?.state === 'up' ? 0 : 1);
  return memberVoters(view)
    .filter((node) => !chosen.includes(node))
    .sort((a, b) => isUp(a) - isUp(b) || a - b);
}

/** Smaller is better, place by place. A witness is there to vote. The leader stays, if it can. */
function rankOf(view: ClusterView, self: NodeId, facts: VoterFacts, member: Member): number[] {
  const { node } = member;
  const isVoter = view.voters.includes(node);
  return [
    isVoter && node === self ? 0 : 1,
    member.isWitness ? 0 : 1,
    isVoter ? 0 : 1,
    facts.loadOf(node),
    node,
  ];
}

/** One after the other: from the zone with the fewest so far, then by rank. */
function pick(
  from: readonly Member[],
  count: number,
  rank: (member: Member) => readonly number[],
): NodeId[] {
  const ranked = from
    .map((member) => ({ member, rank: rank(member) }))
    .sort((a, b) => compare(a.rank, b.rank));
  const inZone = new Map<string, number>();
  const chosen: NodeId[] = [];
  while (chosen.length < count && ranked.length > 0) {
    let best = 0;
    const taken = (at: number): number => inZone.get(ranked[at]?.member.zone ?? '') ?? 0;
    for (let at = 1; at < ranked.length; at += 1) if (taken(at) < taken(best)) best = at;
    const [one] = ranked.splice(best, 1);
    if (one === undefined) break;
    chosen.push(one.member.node);
    inZone.set(one.member.zone, (inZone.get(one.member.zone) ?? 0) + 1);
  }
  return chosen;
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (const [at, value] of a.entries()) {
    const other = b[at] ?? 0;
    if (value !== other) return value - other;
  }
  return 0;
}

/**
 * Why this set may not follow the present one; undefined when it may. Size: a legal one, at most the target, and never
 * smaller because of failures. Zones: not fewer than the voters of now that stay members have.
 */
export function voterBar(view: ClusterView, next: readonly NodeId[]): string | undefined {
  const { members, voters } = view;
  const target = voterTarget(view);
  if (new Set(next).size !== next.length || next.length === 0) return 'no set of voters';
  const floor = Math.min(target, memberVoters(view).length);
  if (next.length < floor) return `${next.length} voters are fewer than ${floor}`;
  if (next.length > Math.max(target, floor)) return `${next.length} voters are more than ${target}`;
  for (const node of next) {
    if (voters.includes(node) ? !members.has(node) : !isCandidate(members.get(node))) {
      return `n${node} can not vote`;
    }
  }
  const live = voters.filter((node) => isCandidate(members.get(node)));
  const fewest = Math.min(next.length, zonesOf(view, live));
  if (zonesOf(view, next) < fewest) return `they would stand in fewer than ${fewest} zones`;
  const up = next.filter((node) => members.get(node)?.state === 'up').length;
  return up > Math.floor(next.length / 2) ? undefined : 'no majority of them is up';
}

function zonesOf(view: ClusterView, nodes: readonly NodeId[]): number {
  return new Set(nodes.map((node) => view.members.get(node)?.zone)).size;
}
