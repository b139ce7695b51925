// Coded checks with remedies: what is wrong with the cluster as one node sees it, and what a person does about it.
// Pure, computed when asked. Codes are listed in docs/OPERATING.md.

import type { PartitionCounts, Warning } from '../core/admin-shapes.ts';
import { isGivenUp } from '../core/cluster-settings.ts';
import { copiesText, counted } from '../core/count-text.ts';
import { formatDuration } from '../core/duration.ts';
import type { NodeId } from '../core/ids.ts';
import { lossesOf, lostPartitions } from '../core/lost.ts';
import { partitionsWithoutRoom } from '../core/recovery-plan.ts';
import { REPLACE_OR_FIND } from '../core/remedies.ts';
import type { ClusterView, Member, Policy } from '../core/view.ts';
import type { MemberFate, NodeStatus } from '../node-handle.ts';

/** What time will do to a member, as the answering node sees it. */
export type FateOf = (node: NodeId) => MemberFate;

const NO_FATE: MemberFate = {
  downMs: undefined,
  outInMs: undefined,
  staysBecause: '',
  waitsFor: [],
  maintenanceUntilMs: undefined,
};

/** Every check that is on, errors first. */
export function healthWarnings(
  view: ClusterView,
  status: NodeStatus,
  partitions: PartitionCounts,
  fateOf: FateOf = () => NO_FATE,
): readonly Warning[] {
  const members = [...view.members.values()];
  // What is drained, or given up, is not missed.
  const missed = members.filter(({ state, standing }) => {
    return state === 'down' && (standing === 'in' || standing === 'leaving');
  });
  const givenUp = members.filter(({ node }) => isGivenUp(view, node));
  const down = missed.filter((member) => !givenUp.includes(member));
  const cure = copiesCure(view, missed, bringBack(down, givenUp));
  const found = [
    quorumLost(view, status),
    mapDiffers(status),
    lost(view),
    halted(partitions, missed, cure),
    degraded(partitions, missed, cure),
    ...givenUp.map(nodeGivenUp),
    ...down.filter((member) => member.failure === '').map((one) => nodeDown(one, fateOf(one.node))),
    ...members.filter((member) => !givenUp.includes(member)).map(nodeOut),
    ...down.map(failed),
    ...members.map(diskSpace),
    recoveryNoSpace(view, partitions),
    quorumThin(view),
    ...status.slowNodes.map(nodeSlow),
    zonesFew(view, members),
    deadLocks(view),
  ].filter((warning) => warning !== undefined);
  return [
    ...found.filter((warning) => warning.severity === 'error'),
    ...found.filter((warning) => warning.severity === 'warning'),
  ];
}

/** What a newly made volume lacks, so that `dog vdi create` can say it at once. */
export function policyWarnings(view: ClusterView, policy: Policy): readonly Warning[] {
  const up = [...view.members.values()].filter((member) => member.state === 'up').length;
  if (up >= policy.copies) return [];
  const missing = policy.copies - up;
  const add = `start or add ${missing} more ${missing === 1 ? 'node' : 'nodes'}, or use fewer copies (-c ${up})`;
  const live = `${up} of ${copiesText(policy.copies)} live`;
  if (up < policy.minCopies) {
    const message = `halted: ${live}, writes need ${policy.minCopies}`;
    return [warn('HALTED', 'error', message, add)];
  }
  return [warn('DEGRADED', 'warning', `degraded: ${live}`, add)];
}

/** One sentence each, for the end of `dog cluster info`. */
export function nextSteps(view: ClusterView, status: NodeStatus): readonly string[] {
  const steps: string[] = [];
  const members = [...view.members.values()];
  const copies = mostCopies(view);
  const down = members
    .filter(({ node, state, standing }) => {
      return state === 'down' && standing === 'in' && !isGivenUp(view, node);
    })
    .map(nameOf);
  const missing = status.missingVoters.map(nodeLabel).join(', ');
  if (status.leader === undefined) {
    steps.push(`No leader is known: start the voters ${missing === '' ? 'again' : missing}.`);
  }
  if (down.length > 0) steps.push(`Start ${down.join(', ')} again.`);
  for (const member of members.filter(({ node }) => isGivenUp(view, node))) {
    const { message, remedy } = nodeGivenUp(member);
    steps.push(`${message}: ${remedy}.`);
  }
  if (members.length < copies) {
    steps.push(
      `Add ${copies - members.length} more: "dog cluster invite" here, "sheep --join TOKEN" there.`,
    );
  }
  if (status.catchUp.partitionsLeft > 0) {
    steps.push(`Wait: this node still catches up ${status.catchUp.partitionsLeft} partitions.`);
  }
  const named = (standing: Member['standing']) =>
    members.filter((member) => member.standing === standing).map(nameOf);
  const leaving = named('leaving');
  if (leaving.length > 0) steps.push(`Wait: ${leaving.join(', ')} leaves; "dog node list" tells.`);
  for (const name of named('gone')) {
    steps.push(`${name} is drained: "dog node kill ${name}", then "dog node forget ${name}".`);
  }
  if (view.volumes.size === 0) steps.push('Make a volume: "dog vdi create NAME 10G".');
  return steps;
}

function quorumLost(view: ClusterView, status: NodeStatus): Warning | undefined {
  if (status.leader !== undefined) return undefined;
  const missing = status.missingVoters.map(nodeLabel);
  if (missing.length === 0) {
    const message = 'no leader is known to this node: nothing can be decided';
    const voters = view.voters.map(nodeLabel);
    const remedy = `wait a few seconds; if it stays so, look into the logs of the voters: ${voters.join(', ')}`;
    return warn('QUORUM_LOST', 'error', message, remedy, voters);
  }
  const names = missing.join(', ');
  const { length } = view.voters;
  const message = `${missing.length} of ${counted(length, 'voter')} ${missing.length === 1 ? 'does' : 'do'} not answer (${names}): nothing can be decided`;
  const remedy = `start ${names}; if they are lost for good: dog cluster recover force`;
  return warn('QUORUM_LOST', 'error', message, remedy, missing);
}

/** Ranges named in one message; the rest is counted. */
const MAX_RANGES = 4;
/** Names in one message; the rest is counted. */
const MAX_NAMED = 10;

function lost(view: ClusterView): Warning | undefined {
  const partitions = lostPartitions(view);
  if (partitions.length === 0) return undefined;
  const losses = lossesOf(view, partitions);
  const texts = losses.slice(0, MAX_RANGES).map(({ volume, ranges }) => {
    const named = ranges.slice(0, MAX_RANGES).map(({ from, to }) => `${from}-${to - 1}`);
    const more = ranges.length > MAX_RANGES ? ` and ${ranges.length - MAX_RANGES} more` : '';
    return `${volume.name} at bytes ${named.join(', ')}${more}`;
  });
  const more = losses.length > MAX_RANGES ? ` and ${losses.length - MAX_RANGES} more volumes` : '';
  const what = losses.length === 0 ? 'no volume has a part in them' : texts.join('; ') + more;
  const message = `no copy is left of ${counted(partitions.length, 'partition')}: ${what}; reads and writes there fail`;
  const remedy =
    'their nodes were retired for good; go on without: dog cluster recover accept-loss';
  return warn(
    'LOST',
    'error',
    message,
    remedy,
    losses.map(({ volume }) => volume.name),
  );
}

function nodeSlow(node: NodeId): Warning {
  const name = nodeLabel(node);
  const message = `${name} confirms writes 20 times slower than the others: it holds nothing where enough others do, and is tried again later`;
  const remedy = `look at its disk and its network; if it stays so: dog node drain ${name}`;
  return warn('NODE_SLOW', 'warning', message, remedy, [name]);
}

function mapDiffers({ disputedIndex }: NodeStatus): Warning | undefined {
  if (disputedIndex === 0) return undefined;
  return warn(
    'MAP_DIFFERS',
    'error',
    `members differ about the map at index ${disputedIndex}, and no majority says who is right`,
    'check that all nodes run the same version; start the node whose memory you doubt on an empty data directory, then dog node forget its old id',
  );
}

function halted(
  partitions: PartitionCounts,
  missed: readonly Member[],
  cure: string,
): Warning | undefined {
  if (partitions.halted === 0) return undefined;
  const have = partitions.halted === 1 ? 'has' : 'have';
  const message = `${partitions.halted} of ${partitions.total} partitions ${have} fewer live copies than writes need`;
  return warn('HALTED', 'error', message, cure, missed.map(nameOf));
}

function degraded(
  partitions: PartitionCounts,
  missed: readonly Member[],
  cure: string,
): Warning | undefined {
  if (partitions.degraded === 0) return undefined;
  const have = partitions.degraded === 1 ? 'has' : 'have';
  const message = `${partitions.degraded} of ${partitions.total} partitions ${have} fewer copies than asked for`;
  return warn('DEGRADED', 'warning', message, cure, missed.map(nameOf));
}

/** Where nobody is missed the copies are under way, or there is no place for them. */
function copiesCure(view: ClusterView, missed: readonly Member[], bring: string): string {
  if (missed.length > 0 || view.members.size <= 1) return bring;
  const catchUp = 'wait for the catch-up (dog node recovery tells how long), or add nodes';
  return tooFewPlaces(view) ?? catchUp;
}

/** Nobody is under way to make the missing copies: there are not enough members that take data. */
function tooFewPlaces(view: ClusterView): string | undefined {
  const members = [...view.members.values()];
  const places = members.filter(({ weight, standing }) => weight > 0 && standing === 'in').length;
  const missing = mostCopies(view) - places;
  if (missing <= 0) return tooFewZones(view, members);
  const empty = members
    .filter(({ weight, isWitness }) => weight === 0 && !isWitness)
    .map((member) => `dog node weight ${nameOf(member)} 1`);
  const back = empty.length === 0 ? '' : `, or give weight to who has none: ${empty.join(', ')}`;
  return `add ${counted(missing, 'node')}${back}, or use fewer copies: dog cluster alter-copy -c ${places}`;
}

/** The same where a zone never holds two copies. */
function tooFewZones(view: ClusterView, members: readonly Member[]): string | undefined {
  const holders = members.filter(({ weight, standing }) => weight > 0 && standing === 'in');
  const zones = new Set(holders.map(({ zone }) => zone)).size;
  const copies = Math.max(0, ...usedPolicies(view).map((one) => (one.strict ? one.copies : 0)));
  if (copies <= zones) return undefined;
  const missing = counted(copies - zones, 'zone');
  return `add hosts in ${missing} more (sheep --zone; dog node zone), or use fewer copies, or --no-strict: dog cluster alter-copy, dog vdi alter-copy`;
}

/** Its disk may know another history than the one that was forced (section 6). */
function nodeGivenUp(member: Member): Warning {
  const name = nameOf(member);
  const message = `${name} was given up by a forced recovery`;
  const remedy = `dog node forget ${name}; never start it with its old disk`;
  return warn('NODE_GIVEN_UP', 'warning', message, remedy, [name]);
}

function nodeDown(member: Member, fate: MemberFate): Warning {
  const name = nameOf(member);
  const since = fate.downMs === undefined ? '' : ` for ${formatDuration(fate.downMs)}`;
  const next = nextOf(fate);
  const message = `${name} does not answer${since}${next === '' ? '' : `; ${next}`}`;
  const remedy = `start ${name}, or, if its disk is lost: dog node forget ${name}`;
  return warn('NODE_DOWN', 'warning', message, remedy, [name]);
}

function nextOf({ outInMs, maintenanceUntilMs, staysBecause }: MemberFate): string {
  const until =
    maintenanceUntilMs === undefined
      ? ''
      : `in maintenance until ${new Date(maintenanceUntilMs).toISOString()}, `;
  if (outInMs !== undefined)
    return `${until}out in ${formatDuration(outInMs)}, its data moves then`;
  return staysBecause === '' ? '' : `it is not called out: ${staysBecause}`;
}

function nodeOut(member: Member): Warning | undefined {
  if (member.standing !== 'out') return undefined;
  const name = nameOf(member);
  const takeBack = member.outBy === 'operator' ? `take it back: dog node in ${name}` : '';
  const start = member.state === 'down' ? `start ${name}` : '';
  const ways = [start, takeBack].filter((way) => way !== '').join(', and ');
  const remedy = `${ways === '' ? '' : `${ways}; or, `}if its disk is lost: dog node forget ${name}`;
  return warn('NODE_OUT', 'warning', `${name} is out: others hold the data`, remedy, [name]);
}

/** It said itself why it ends. */
function failed(member: Member): Warning | undefined {
  if (member.failure === '') return undefined;
  const isDisk = /^(io|no-space|corrupt):/.test(member.failure);
  const cause = member.failure.replace(/^[a-z-]+: /, '');
  const name = nameOf(member);
  // C1.9: another disk, or an older image: started again it says the same.
  if (member.failure.startsWith('refused: ')) {
    return warn('NODE_FAILED', 'error', `${name} ended by itself: ${cause}`, REPLACE_OR_FIND, [
      name,
    ]);
  }
  if (!isDisk) {
    const remedy = `look into the log of ${name}, then start it again`;
    return warn('NODE_FAILED', 'error', `${name} ended by itself: ${cause}`, remedy, [name]);
  }
  const remedy = `repair what it names and start ${name} again; a lost disk: join anew with an empty directory`;
  return warn('DISK_FAILED', 'error', `the disk of ${name} failed: ${cause}`, remedy, [name]);
}

/** 4.9, by the member's own word. */
function diskSpace(member: Member): Warning | undefined {
  const { space } = member;
  if (space === 'ok') return undefined;
  const name = nameOf(member);
  const remedy = `free space on the disk of ${name}, make it larger, delete volumes, or add nodes`;
  if (space === 'nearfull') {
    const message = `the disk of ${name} is nearly full: it takes no ring moves`;
    return warn('DISK_NEARFULL', 'warning', message, remedy, [name]);
  }
  const message = `the disk of ${name} is full: it takes no new data`;
  return warn('DISK_FULL', 'error', message, remedy, [name]);
}

/** What is to be copied, and has no place: a member that the ring wants takes nothing (4.9). */
function recoveryNoSpace(view: ClusterView, partitions: PartitionCounts): Warning | undefined {
  const isTight = [...view.members.values()].some((member) => member.space !== 'ok');
  if (!isTight || partitions.settled === partitions.total) return undefined;
  const waiting = partitionsWithoutRoom(view);
  if (waiting.count === 0) return undefined;
  const names = [...waiting.nodes].sort((a, b) => a - b).map(nodeLabel);
  const wait = `${counted(waiting.count, 'partition')} ${waiting.count === 1 ? 'waits' : 'wait'}`;
  const message = `${wait} for a copy: no room on ${names.join(', ')}`;
  const remedy = `free space on ${names.join(', ')}, make the disk larger, delete volumes, or add nodes`;
  return warn('RECOVERY_NO_SPACE', 'error', message, remedy, names);
}

function quorumThin(view: ClusterView): Warning | undefined {
  if (view.voters.length < 3) return undefined;
  const absent = view.voters.filter((node) => view.members.get(node)?.state !== 'up');
  const up = view.voters.length - absent.length;
  const needed = Math.floor(view.voters.length / 2) + 1;
  if (up > needed) return undefined;
  const names = absent.map(nodeLabel);
  const message = `${up} of ${view.voters.length} voters ${up === 1 ? 'is' : 'are'} up: one more lost stops decisions`;
  const remedy = `bring ${names.join(', ')} back, or add nodes: they are replaced in time`;
  return warn('QUORUM_THIN', 'warning', message, remedy, names);
}

function zonesFew(view: ClusterView, members: readonly Member[]): Warning | undefined {
  const zones = [...new Set(members.map((member) => member.zone))].sort();
  const copies = mostCopies(view);
  if (zones.length >= copies || members.length < copies) return undefined;
  const there = `${counted(zones.length, 'zone')} (${zones.slice(0, MAX_NAMED).join(', ')})`;
  const message = `${there} for ${copiesText(copies)}: some share a zone, or are missing where strict`;
  const remedy =
    'add hosts in other zones (sheep --zone), or name their zones (dog node zone), or use fewer copies';
  return warn('ZONES_FEW', 'warning', message, remedy);
}

function deadLocks(view: ClusterView): Warning | undefined {
  const dead = [...view.volumes.values()].filter(
    ({ lock }) => lock.state === 'held' && view.members.get(lock.node)?.state !== 'up',
  );
  if (dead.length === 0) return undefined;
  const named = dead.slice(0, MAX_NAMED).map(({ name, lock }) => {
    return lock.state === 'held' ? `${name} (${nodeLabel(lock.node)})` : name;
  });
  const more = dead.length > MAX_NAMED ? ` and ${dead.length - MAX_NAMED} more` : '';
  const message = `held by a node that is down: ${named.join(', ')}${more}`;
  const names = dead.map(({ name }) => name);
  return warn('LOCK_DEAD', 'warning', message, 'attach it elsewhere: that takes it over', names);
}

/** Of the policies that are in use: the cluster's own and each volume's. */
function mostCopies(view: ClusterView): number {
  return Math.max(1, ...usedPolicies(view).map(({ copies }) => copies));
}

/** The default policy, and those of volumes. */
function usedPolicies(view: ClusterView): Policy[] {
  const used = [0 as Policy['id'], ...[...view.volumes.values()].map((volume) => volume.policy)];
  const policies = [...new Set(used)].map((id) => view.policies.get(id));
  return policies.filter((policy) => policy !== undefined);
}

/** Nobody is asked to start what was given up. */
function bringBack(down: readonly Member[], givenUp: readonly Member[]): string {
  if (down.length === 0 && givenUp.length > 0) {
    return `dog node forget ${givenUp.map(nameOf).join(', ')} (one by one), and add nodes`;
  }
  if (down.length === 0) return 'add nodes, or use fewer copies';
  return `bring ${down.map(nameOf).join(', ')} back, or add nodes`;
}

function nameOf(member: Member): string {
  return nodeLabel(member.node);
}

function nodeLabel(node: number): string {
  return `n${node}`;
}

function warn(
  code: string,
  severity: Warning['severity'],
  message: string,
  remedy: string,
  affected: readonly string[] = [],
): Warning {
  return { code, severity, message, remedy, affected };
}
