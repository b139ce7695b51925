// What the cluster looks like from one node's view, as the documents of the admin API. Pure: a view and a status in,
// plain data out. It knows nothing of HTTP.

import type {
  ClusterData,
  HolderData,
  MoveData,
  NodeData,
  PartitionCounts,
  ScrubData,
  StatusData,
  VolumeData,
  VolumeDetail,
} from '../core/admin-shapes.ts';
import type { NodeCondition } from '../core/condition.ts';
import { OperatingError } from '../core/errors.ts';
import type { NodeId } from '../core/ids.ts';
import { isLostIn, lossesOf, lostPartitions } from '../core/lost.ts';
import type { MoveStatus } from '../core/move-progress.ts';
import { partitionOf } from '../core/partition.ts';
import type { ScrubStatus } from '../core/scrub.ts';
import { divideUp, OBJECT_BYTES } from '../core/units.ts';
import type {
  ClusterView,
  Member,
  PartitionConfig,
  Policy,
  Volume,
  VolumeLock,
} from '../core/view.ts';
import { voterTarget } from '../core/voter-choice.ts';
import type { MemberFate, NodeStatus } from '../node-handle.ts';
import { unreadable } from './copy-health.ts';
import { nextSteps } from './health.ts';

export function nodeName(node: NodeId | undefined): string {
  return node === undefined || node === 0 ? '' : `n${node}`;
}

export function statusData(status: NodeStatus, pid: number): StatusData {
  return {
    pid,
    phase: status.phase,
    name: nodeName(status.node),
    node: status.node ?? null,
    clusterId: status.clusterId ?? null,
    appliedIndex: status.appliedIndex,
    leader: nodeName(status.leader),
    role: status.role,
    waitingFor: status.waitingFor,
    missingVoters: status.missingVoters.map(nodeName),
    space: spaceData(status),
    objects: status.objects,
    catchUp: status.catchUp,
  };
}

export function scrubData(status: NodeStatus, scrub: ScrubStatus): ScrubData {
  const { run, periods } = scrub;
  const period = (ms: number): number | null => (Number.isFinite(ms) ? ms : null);
  return {
    name: nodeName(status.node),
    isPaused: scrub.isPaused,
    run:
      run === undefined
        ? null
        : {
            kind: run.kind,
            startedAt: isoDate(run.startedMs),
            doneBytes: run.doneBytes,
            totalBytes: run.totalBytes,
          },
    lastLightAt: isoDate(scrub.lightMs),
    lastDeepAt: isoDate(scrub.deepMs),
    lightPeriodMs: period(periods.lightMs),
    deepPeriodMs: period(periods.deepMs),
    bytesPerSecond: scrub.bytesPerSecond,
    late: scrub.late,
    badSectors: scrub.badSectors,
    sectorsRepaired: scrub.repairs.sectors,
    skippedObjects: scrub.skippedObjects,
    lastError: scrub.lastError?.message ?? '',
  };
}

function isoDate(ms: number): string {
  return new Date(ms).toISOString();
}

export function clusterData(view: ClusterView, status: NodeStatus): ClusterData {
  const members = [...view.members.values()];
  const up = members.filter((member) => member.state === 'up').length;
  const notInReach = members.filter((member) => {
    return member.state === 'up' && status.missing.includes(member.node);
  }).length;
  const policy = view.policies.get(0 as Policy['id']);
  return {
    name: view.name,
    clusterId: view.clusterId,
    epoch: view.epoch,
    appliedIndex: view.index,
    copies: policy?.copies ?? 0,
    minCopies: policy?.minCopies ?? 0,
    strict: policy?.strict ?? false,
    members: { total: members.length, up, down: members.length - up, notInReach },
    zones: [...new Set(members.map((member) => member.zone))].sort(),
    voters: view.voters.map(nodeName),
    votersWanted: voterTarget(view),
    missingVoters: status.missingVoters.map(nodeName),
    retired: [...view.retired.values()].map(({ node, how, since }) => {
      return { name: nodeName(node), how, sinceEpoch: since };
    }),
    leader: nodeName(status.leader),
    volumes: view.volumes.size,
    partitions: clusterPartitions(view),
    space: spaceData(status),
    answeredBy: nodeName(status.node),
    next: nextSteps(view, status),
  };
}

/** @param fateOf what time will do to a member, as the answering node sees it */
export function nodesData(
  view: ClusterView,
  status: NodeStatus,
  fateOf: (node: NodeId) => MemberFate,
): readonly NodeData[] {
  return [...view.members.values()]
    .sort((a, b) => a.node - b.node)
    .map((member) => nodeData(view, status, member, fateOf(member.node)));
}

export function nodeData(
  view: ClusterView,
  status: NodeStatus,
  member: Member,
  fate: MemberFate,
): NodeData {
  const { maintenanceUntilMs } = fate;
  return {
    name: nodeName(member.node),
    node: member.node,
    addresses: member.addresses,
    zone: member.zone,
    weight: member.weight,
    state: member.state,
    isInReach: !status.missing.includes(member.node),
    sinceEpoch: member.since,
    incarnation: member.incarnation,
    isVoter: view.voters.includes(member.node),
    isLeader: member.node === status.leader,
    peerKey: member.peerKey,
    standing: member.standing,
    isWitness: member.isWitness,
    downMs: fate.downMs === undefined ? null : Math.round(fate.downMs),
    outInMs: fate.outInMs === undefined ? null : Math.max(0, Math.round(fate.outInMs)),
    staysBecause: fate.staysBecause,
    waitsFor: fate.waitsFor,
    maintenanceUntil: maintenanceUntilMs === undefined ? null : dateText(maintenanceUntilMs),
  };
}

/** ISO 8601 of ms since 1970. */
export function dateText(ms: number): string {
  return new Date(ms).toISOString();
}

export function volumeData(view: ClusterView, volume: Volume): VolumeData {
  const policy = policyOf(view, volume);
  return {
    name: volume.name,
    id: volume.id,
    sizeBytes: volume.sizeBytes,
    copies: policy.copies,
    minCopies: policy.minCopies,
    strict: policy.strict,
    mode: volume.durability,
    attach: volume.attachMode,
    ioTimeoutMs: volume.ioTimeoutMs,
    ...volume.rates,
    isProtected: volume.isProtected,
    state: worstState(volumePartitions(view, volume)),
    holder: holderData(view, volume),
  };
}

/**
 * @param conditions what the members say of their copies; none where nobody asked
 * @param moves what holders say of the volumes that they move
 */
export function volumeDetail(
  view: ClusterView,
  volume: Volume,
  conditions: readonly NodeCondition[] = [],
  moves: readonly MoveStatus[] = [],
): VolumeDetail {
  const data = volumeData(view, volume);
  const ranges = unreadable(view, conditions).get(volume.name) ?? [];
  const isWorse = ranges.length > 0 && data.state !== 'lost' && data.state !== 'halted';
  return {
    ...data,
    state: isWorse ? 'damaged' : data.state,
    family: volume.family,
    generation: volume.head,
    policy: volume.policy,
    objects: divideUp(volume.sizeBytes, OBJECT_BYTES),
    partitions: volumePartitions(view, volume),
    lost: lossesOf(view, lostPartitions(view)).find((one) => one.volume === volume)?.ranges ?? [],
    unreadable: ranges.map(([from, last]) => ({ from, to: last + 1 })),
    move: moveData(view, volume, moves),
  };
}

/** Where the volume is on its way to; null where it stays. */
export function moveData(
  view: ClusterView,
  volume: Volume,
  moves: readonly MoveStatus[],
): MoveData | null {
  const move = view.moves.get(volume.id);
  if (move === undefined) return null;
  const { copies, minCopies, strict } = policyOf(view, move);
  const said = moves.find((one) => one.volume === volume.id && one.generation === move.generation);
  const isBegun = said !== undefined && said.startedMs > 0;
  return {
    ...{ copies, minCopies, strict },
    stage: said?.stage ?? 'waiting',
    reason: said?.reason ?? '',
    startedAt: isBegun ? dateText(said.startedMs) : null,
    totalBytes: said?.totalBytes ?? 0,
    doneBytes: said?.doneBytes ?? 0,
    bytesPerSecond: said?.bytesPerSecond ?? 0,
    leftMs: said?.leftMs ?? 0,
  };
}

/** @throws OperatingError 'missing' */
export function volumeNamed(view: ClusterView, name: string): Volume {
  const volume = view.volumeByName(name);
  if (volume !== undefined) return volume;
  throw new OperatingError('missing', `there is no volume "${name}"`, {
    remedy: 'list them with "dog vdi list"',
  });
}

/** Partitions of the default policy and of each policy that a volume uses. */
export function clusterPartitions(view: ClusterView): PartitionCounts {
  const used = new Set([0, ...[...view.volumes.values()].map((volume) => volume.policy as number)]);
  const tally = emptyTally();
  for (const policy of view.policies.values()) {
    if (!used.has(policy.id)) continue;
    for (let p = 0; p < view.partitions; p += 1) {
      count(tally, view, view.partition(policy.id, p), policy);
    }
  }
  return tally;
}

/** The partitions that objects of this volume fall into; stops looking when it has seen all. */
export function volumePartitions(view: ClusterView, volume: Volume): PartitionCounts {
  const policy = policyOf(view, volume);
  const tally = emptyTally();
  const seen = new Uint8Array(view.partitions);
  const objects = divideUp(volume.sizeBytes, OBJECT_BYTES);
  for (let index = 0; index < objects && tally.total < view.partitions; index += 1) {
    const p = partitionOf(volume.family, index, view.partitions);
    if (seen[p] === 1) continue;
    seen[p] = 1;
    count(tally, view, view.partition(policy.id, p), policy);
  }
  return tally;
}

type Tally = { -readonly [Key in keyof PartitionCounts]: number };

function emptyTally(): Tally {
  return { total: 0, clean: 0, joining: 0, degraded: 0, halted: 0, lost: 0, settled: 0 };
}

function count(tally: Tally, view: ClusterView, config: PartitionConfig, policy: Policy): void {
  const isUp = (node: NodeId) => view.members.get(node)?.state === 'up';
  const live = config.inSync.filter(isUp);
  const isPlaced = config.targets.every((node) => live.includes(node));
  const isQuiet = config.joining.length === 0 && config.doubtful.length === 0;
  const isAtRest = isQuiet && isPlaced && config.targets.length > 0;
  tally.total += 1;
  if (isAtRest) tally.settled += 1;
  if (isLostIn(view, config)) tally.lost += 1;
  else if (live.length < policy.minCopies) tally.halted += 1;
  else if (live.length < policy.copies) tally.degraded += 1;
  else if (!isAtRest) tally.joining += 1;
  else tally.clean += 1;
}

function worstState(counts: PartitionCounts): VolumeData['state'] {
  if (counts.lost > 0) return 'lost';
  if (counts.halted > 0) return 'halted';
  if (counts.degraded > 0) return 'degraded';
  return counts.joining > 0 ? 'joining' : 'ok';
}

function holderData(view: ClusterView, { lock }: Volume): HolderData | null {
  return lock.state === 'free' ? null : holderOf(view, lock);
}

/** Of a lock that is held. */
export function holderOf(view: ClusterView, lock: VolumeLock): HolderData {
  const member = view.members.get(lock.node);
  return {
    node: nodeName(lock.node),
    state: member === undefined ? 'unknown' : member.state,
    incarnation: lock.incarnation,
    session: lock.session,
    token: lock.token,
    sinceIndex: lock.grantedAt,
    since: lock.sinceMs === 0 ? null : dateText(lock.sinceMs),
    from: lock.from,
  };
}

function policyOf(view: ClusterView, of: Pick<Volume, 'policy'>): Policy {
  const none = { id: of.policy, copies: 0, minCopies: 0, strict: false };
  return view.policies.get(of.policy) ?? none;
}

function spaceData(status: NodeStatus): ClusterData['space'] {
  const { total, free, used } = status.spaceBytes;
  return { totalBytes: total, freeBytes: free, usedBytes: used };
}
