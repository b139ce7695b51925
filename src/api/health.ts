// Coded checks with remedies: what is wrong with the cluster as one node sees it, and what a person does about it.
// Pure, computed when asked. Codes are listed in docs/OPERATING.md.

import type { PartitionCounts, Warning } from '../core/admin-shapes.ts';
import type { ClusterView, Member, Policy } from '../core/view.ts';
import type { NodeStatus } from '../node-handle.ts';

/** Every check that is on, errors first. */
export function healthWarnings(
  view: ClusterView,
  status: NodeStatus,
  partitions: PartitionCounts,
): readonly Warning[] {
  const members = [...view.members.values()];
  const down = members.filter((member) => member.state === 'down');
  const found = [
    quorumLost(view, status),
    halted(partitions, down),
    degraded(view, partitions, down),
    nodesDown(down.filter((member) => member.failure === '')),
    ...down.map(failed),
    ...members.map(diskSpace),
    quorumThin(view),
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
  if (up < policy.minCopies) {
    const message = `halted: ${up} of ${policy.copies} copies live, writes need ${policy.minCopies}`;
    return [warn('HALTED', 'error', message, add)];
  }
  const message = `degraded: ${up} of ${policy.copies} copies live`;
  return [warn('DEGRADED', 'warning', message, add)];
}

/** One sentence each, for the end of `dog cluster info`. */
export function nextSteps(view: ClusterView, status: NodeStatus): readonly string[] {
  const steps: string[] = [];
  const members = [...view.members.values()];
  const copies = mostCopies(view);
  const down = members.filter((member) => member.state === 'down').map(nameOf);
  if (status.leader === undefined) steps.push('No leader is known: bring voters back.');
  if (down.length > 0) steps.push(`Start ${down.join(', ')} again.`);
  if (members.length < copies) {
    steps.push(
      `Add ${copies - members.length} more: "dog cluster invite" here, "sheep --join TOKEN" there.`,
    );
  }
  if (status.catchUp.partitionsLeft > 0) {
    steps.push(`Wait: this node still catches up ${status.catchUp.partitionsLeft} partitions.`);
  }
  if (view.volumes.size === 0) steps.push('Make a volume: "dog vdi create NAME 10G".');
  return steps;
}

function quorumLost(view: ClusterView, status: NodeStatus): Warning | undefined {
  if (status.leader !== undefined) return undefined;
  const message = 'no leader is known to this node: nothing can be decided';
  return warn('QUORUM_LOST', 'error', message, 'bring voters back', view.voters.map(nodeLabel));
}

function halted(partitions: PartitionCounts, down: readonly Member[]): Warning | undefined {
  if (partitions.halted === 0) return undefined;
  const message = `${partitions.halted} of ${partitions.total} partitions have fewer live copies than writes need`;
  return warn('HALTED', 'error', message, bringBack(down), down.map(nameOf));
}

function degraded(
  view: ClusterView,
  partitions: PartitionCounts,
  down: readonly Member[],
): Warning | undefined {
  if (partitions.degraded === 0) return undefined;
  const message = `${partitions.degraded} of ${partitions.total} partitions have fewer copies than asked for`;
  const isCatchingUp = down.length === 0 && view.members.size > 1;
  const remedy = isCatchingUp ? 'wait for the catch-up, or add nodes' : bringBack(down);
  return warn('DEGRADED', 'warning', message, remedy, down.map(nameOf));
}

function nodesDown(down: readonly Member[]): Warning | undefined {
  if (down.length === 0) return undefined;
  const names = down.map(nameOf);
  const verb = names.length === 1 ? 'does' : 'do';
  return warn(
    'NODE_DOWN',
    'warning',
    `${names.join(', ')} ${verb} not answer`,
    bringBack(down),
    names,
  );
}

/** It said itself why it ends. */
function failed(member: Member): Warning | undefined {
  if (member.failure === '') return undefined;
  const isDisk = /^(io|no-space|corrupt):/.test(member.failure);
  const cause = member.failure.replace(/^[a-z-]+: /, '');
  const name = nameOf(member);
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

function quorumThin(view: ClusterView): Warning | undefined {
  if (view.voters.length < 3) return undefined;
  const up = view.voters.filter((node) => view.members.get(node)?.state === 'up').length;
  const needed = Math.floor(view.voters.length / 2) + 1;
  if (up > needed) return undefined;
  const message = `${up} of ${view.voters.length} voters are up: one more lost stops decisions`;
  return warn('QUORUM_THIN', 'warning', message, 'bring voters back, or add nodes');
}

function zonesFew(view: ClusterView, members: readonly Member[]): Warning | undefined {
  const zones = new Set(members.map((member) => member.zone)).size;
  const copies = mostCopies(view);
  if (zones >= copies || members.length < copies) return undefined;
  const message = `${zones} zones for ${copies} copies: some copies share a zone, or are missing where strict`;
  return warn('ZONES_FEW', 'warning', message, 'add hosts or zones, or use fewer copies');
}

function deadLocks(view: ClusterView): Warning | undefined {
  const names = [...view.volumes.values()]
    .filter(({ lock }) => lock.state === 'held' && view.members.get(lock.node)?.state !== 'up')
    .map((volume) => volume.name);
  if (names.length === 0) return undefined;
  const message = `held by a node that is down: ${names.slice(0, 10).join(', ')}`;
  return warn('LOCK_DEAD', 'warning', message, 'attach it elsewhere: that takes it over', names);
}

/** Of the policies that are in use: the cluster's own and each volume's. */
function mostCopies(view: ClusterView): number {
  const used = [0 as Policy['id'], ...[...view.volumes.values()].map((volume) => volume.policy)];
  return Math.max(...new Set(used.map((id) => view.policies.get(id)?.copies ?? 1)));
}

function bringBack(down: readonly Member[]): string {
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
