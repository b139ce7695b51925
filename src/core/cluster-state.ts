// The state machine of the map log. `applyEntry` is deterministic and total: an illegal entry is a no-op with a result
// code, never an exception, so that no proposal can bring nodes down; every entry moves the index. Equal entries give
// equal states on every node (A4, `hashOf`).

import { applyAttributeRemove, applyAttributeSet } from './apply-attributes.ts';
import {
  applyAudit,
  applyFormat,
  applyPolicyChange,
  applyPolicyCreate,
  applySetting,
} from './apply-cluster.ts';
import { applyNodeFailed, applyNodeSpace } from './apply-disks.ts';
import {
  applyHandoverCancel,
  applyHandoverComplete,
  applyHandoverPrepare,
  applyHoldEnd,
} from './apply-handover.ts';
import {
  applyNodeGone,
  applyNodeIn,
  applyNodeLeave,
  applyNodeLost,
  applyNodeOut,
  applyNodeOutdated,
  applyNodeWeight,
} from './apply-life.ts';
import { applyAcceptLoss } from './apply-loss.ts';
import { applyNodeAdmit, applyNodeJoin, applyNodesDown, applyNodeUp } from './apply-members.ts';
import { applyMoveCancel, applyMoveStart, applyVolumeMove } from './apply-moves.ts';
import {
  applyIsrAbort,
  applyIsrDoubt,
  applyIsrJoin,
  applyIsrPromote,
  applyIsrRelease,
  applyIsrSettle,
  applyIsrShrink,
  applyIsrShrinkUnsure,
  applyPurge,
} from './apply-partitions.ts';
import { applyVolumeGrow, applyVolumeShrink } from './apply-resize.ts';
import {
  applyGenerationReclaimed,
  applyRollback,
  applySnapshot,
  applySnapshotDelete,
  applySnapshotProtect,
  applyVolumeClone,
} from './apply-snapshots.ts';
import { applyAged, applyTrashPurge, applyTrashRestore, applyVolumeTrash } from './apply-trash.ts';
import {
  applyVolumeDurability,
  applyVolumeProtect,
  applyVolumeRate,
  applyVolumeRename,
} from './apply-volume-care.ts';
import {
  applyLockAcquire,
  applyLockBreak,
  applyLockRelease,
  applyTakeover,
  applyVolumeAttach,
  applyVolumeCreate,
  applyVolumeDelete,
  applyVolumeOptions,
} from './apply-volumes.ts';
import { applyVotersFinal, applyVotersForced, applyVotersJoint } from './apply-voters.ts';
import type { GenerationId, PolicyId } from './ids.ts';
import { unreachable } from './invariant.ts';
import { layerVolume } from './layer-volume.ts';
import type { EntryBody, LogEntry } from './log-entry.ts';
import { changedConfigs, configOf } from './policy-state.ts';
import { recall, remember } from './proposals.ts';
import { type Applied, accepted, type ClusterState, declined } from './state.ts';
import type { ClusterView, PartitionConfig, Policy, Volume } from './view.ts';
import { twinOf } from './volume-move.ts';

export { type Applied, type ClusterState, emptyState } from './state.ts';
export { hashOf } from './state-hash.ts';

/**
 * Applies the next entry. An entry that is not the next one (index = state.index + 1) changes nothing at all: the
 * caller applies in order.
 */
export function applyEntry(state: ClusterState, entry: LogEntry): Applied {
  if (entry.index !== state.index + 1) {
    return declined(state, 'refused', `entry ${entry.index} does not follow ${state.index}`);
  }
  const moved: ClusterState = { ...state, index: entry.index };
  const { origin, body } = entry;
  // A new leader's noop is its own and proposed by nobody.
  if (body.type === 'noop') return accepted(moved, 0);
  const known = recall(moved, origin);
  if (known !== undefined) return { state: moved, result: known };
  return remember(applyBody(moved, body), origin);
}

function applyBody(state: ClusterState, body: EntryBody): Applied {
  if (state.clusterId === '' && body.type !== 'format') {
    return declined(state, 'refused', 'the cluster is not formatted');
  }
  switch (body.type) {
    case 'noop':
      return accepted(state, 0);
    case 'format':
      return applyFormat(state, body);
    case 'policyCreate':
      return applyPolicyCreate(state, body);
    case 'policyChange':
      return applyPolicyChange(state, body);
    case 'setting':
      return applySetting(state, body);
    case 'audit':
      return applyAudit(state, body);
    case 'nodeJoin':
      return applyNodeJoin(state, body);
    case 'nodeUp':
      return applyNodeUp(state, body);
    case 'nodesDown':
      return applyNodesDown(state, body);
    case 'nodeFailed':
      return applyNodeFailed(state, body);
    case 'nodeSpace':
      return applyNodeSpace(state, body);
    case 'votersJoint':
      return applyVotersJoint(state, body);
    case 'votersFinal':
      return applyVotersFinal(state, body);
    case 'votersForced':
      return applyVotersForced(state, body);
    default:
      return applyLife(state, body);
  }
}

type LifeBody = Extract<
  EntryBody,
  {
    type:
      | 'nodeAdmit'
      | 'nodeOut'
      | 'nodeIn'
      | 'nodeLeave'
      | 'nodeGone'
      | 'nodeLost'
      | 'nodeOutdated'
      | 'nodeWeight';
  }
>;
type UseBody = Extract<
  EntryBody,
  { partitions: readonly unknown[] } | { volume: unknown } | { type: 'volumeCreate' | LayerType }
>;

type LayerType =
  | 'snapshot'
  | 'volumeClone'
  | 'rollback'
  | 'snapshotDelete'
  | 'snapshotProtect'
  | 'generationReclaimed'
  | 'volumeGrow'
  | 'volumeShrink'
  | 'volumeTrash'
  | 'trashRestore'
  | 'trashPurge'
  | 'aged';

type CareBody = Extract<
  EntryBody,
  {
    type:
      | 'moveStart'
      | 'moveCancel'
      | 'volumeMove'
      | 'volumeRename'
      | 'volumeProtect'
      | 'volumeDurability'
      | 'volumeRate'
      | 'attributeSet'
      | 'attributeRemove'
      | LayerType;
  }
>;

/** What time or an operator decided of a member, and all the rest. */
function applyLife(state: ClusterState, body: LifeBody | UseBody): Applied {
  switch (body.type) {
    case 'nodeAdmit':
      return applyNodeAdmit(state, body);
    case 'nodeOut':
      return applyNodeOut(state, body);
    case 'nodeIn':
      return applyNodeIn(state, body);
    case 'nodeLeave':
      return applyNodeLeave(state, body);
    case 'nodeGone':
      return applyNodeGone(state, body);
    case 'nodeLost':
      return applyNodeLost(state, body);
    case 'nodeOutdated':
      return applyNodeOutdated(state, body);
    case 'nodeWeight':
      return applyNodeWeight(state, body);
    default:
      return applyUse(state, body);
  }
}

/** The rest of the table: entries about in-sync sets, volumes and locks. */
function applyUse(state: ClusterState, body: UseBody): Applied {
  switch (body.type) {
    case 'isrShrink':
      return applyIsrShrink(state, body);
    case 'isrJoin':
      return applyIsrJoin(state, body);
    case 'isrAbort':
      return applyIsrAbort(state, body);
    case 'isrPromote':
      return applyIsrPromote(state, body);
    case 'isrSettle':
      return applyIsrSettle(state, body);
    case 'isrShrinkUnsure':
      return applyIsrShrinkUnsure(state, body);
    case 'isrDoubt':
      return applyIsrDoubt(state, body);
    case 'acceptLoss':
      return applyAcceptLoss(state, body);
    case 'isrRelease':
      return applyIsrRelease(state, body);
    case 'purge':
      return applyPurge(state, body);
    case 'volumeCreate':
      return applyVolumeCreate(state, body);
    case 'volumeOptions':
      return applyVolumeOptions(state, body);
    case 'volumeAttach':
      return applyVolumeAttach(state, body);
    case 'volumeDelete':
      return applyVolumeDelete(state, body);
    case 'lockAcquire':
      return applyLockAcquire(state, body);
    case 'lockRelease':
      return applyLockRelease(state, body);
    case 'lockBreak':
      return applyLockBreak(state, body);
    case 'handoverPrepare':
      return applyHandoverPrepare(state, body);
    case 'handoverComplete':
      return applyHandoverComplete(state, body);
    case 'handoverCancel':
      return applyHandoverCancel(state, body);
    case 'holdEnd':
      return applyHoldEnd(state, body);
    case 'takeover':
      return applyTakeover(state, body);
    default:
      return applyCare(state, body);
  }
}

/** What operators do with volumes, beside making and deleting them. */
function applyCare(state: ClusterState, body: CareBody): Applied {
  switch (body.type) {
    case 'moveStart':
      return applyMoveStart(state, body);
    case 'moveCancel':
      return applyMoveCancel(state, body);
    case 'volumeMove':
      return applyVolumeMove(state, body);
    case 'volumeRename':
      return applyVolumeRename(state, body);
    case 'volumeProtect':
      return applyVolumeProtect(state, body);
    case 'volumeDurability':
      return applyVolumeDurability(state, body);
    case 'volumeRate':
      return applyVolumeRate(state, body);
    case 'attributeSet':
      return applyAttributeSet(state, body);
    case 'attributeRemove':
      return applyAttributeRemove(state, body);
    default:
      return applyLayers(state, body);
  }
}

/** What changes the tree of generations (S4, S5), beside making, deleting and moving volumes. */
function applyLayers(state: ClusterState, body: Extract<EntryBody, { type: LayerType }>): Applied {
  switch (body.type) {
    case 'snapshot':
      return applySnapshot(state, body);
    case 'volumeClone':
      return applyVolumeClone(state, body);
    case 'rollback':
      return applyRollback(state, body);
    case 'snapshotDelete':
      return applySnapshotDelete(state, body);
    case 'snapshotProtect':
      return applySnapshotProtect(state, body);
    case 'generationReclaimed':
      return applyGenerationReclaimed(state, body);
    case 'volumeGrow':
      return applyVolumeGrow(state, body);
    case 'volumeShrink':
      return applyVolumeShrink(state, body);
    case 'volumeTrash':
      return applyVolumeTrash(state, body);
    case 'trashRestore':
      return applyTrashRestore(state, body);
    case 'trashPurge':
      return applyTrashPurge(state, body);
    case 'aged':
      return applyAged(state, body);
    default:
      return unreachable(body);
  }
}

const NO_CONFIG: PartitionConfig = configOf(
  {
    policy: { id: 0 as PolicyId, copies: 1, minCopies: 1, strict: false },
    everWriteback: false,
    cfg: new Uint32Array(0),
    targets: [],
    explicit: new Map(),
    unsure: new Map(),
    cache: [],
  },
  0,
);

/** What a view was made of: two of them are compared without asking for each config. */
const policiesOf = new WeakMap<ClusterView, ClusterState['policies']>();

/**
 * Partitions of a policy of which `cfg`, `targets`, or a set may differ between two views; more than these only where
 * that costs more to find out than to look at them. A step of the map changes few of thousands: who follows it need not
 * look at all of them.
 */
export function changedPartitions(
  before: ClusterView,
  after: ClusterView,
  policy: PolicyId,
): Iterable<number> {
  if (before.placement === after.placement) return [];
  const was = policiesOf.get(before)?.get(policy);
  const is = policiesOf.get(after)?.get(policy);
  if (was === is && was !== undefined) return [];
  const areKnown = was !== undefined && is !== undefined && was.cfg.length === is.cfg.length;
  if (areKnown) return changedConfigs(was, is);
  return Array.from({ length: after.partitions }, (_, p) => p);
}

/** What the other floors see of a state. Cheap: everything is shared with the state. */
export function viewOf(state: ClusterState): ClusterView {
  const policies = new Map<PolicyId, Policy>();
  for (const [id, { policy }] of state.policies) policies.set(id, policy);
  const view: ClusterView = {
    index: state.index,
    epoch: state.epoch,
    clusterId: state.clusterId,
    name: state.name,
    partitions: state.partitions,
    members: state.members,
    retired: state.retired,
    voters: state.voters,
    nextVoters: state.nextVoters,
    policies,
    volumes: state.volumes,
    moves: state.moves,
    trash: state.trash,
    ageMs: state.ageMs,
    attributes: state.attributes,
    generations: state.generations,
    settings: state.settings,
    audit: state.audit,
    lastGeneration: state.counters.generation as GenerationId,
    volumeOfGeneration: (generation) => volumeOf(state, generation),
    volumeByName: (name) => lookUp(state.volumes, state.volumeOfName.get(name)),
    memberByKey: (peer) => lookUp(state.members, state.nodeOfKey.get(peer)),
    partition(policy, p) {
      const known = state.policies.get(policy);
      return known === undefined ? NO_CONFIG : configOf(known, p);
    },
    placement: state.policies,
    explicitPartitions: (policy) => state.policies.get(policy)?.explicit.keys() ?? [],
  };
  policiesOf.set(view, state.policies);
  return view;
}

/** Of the head, of what the head is copied into (S8), or of a layer that is frozen or deleted and not gone. */
function volumeOf(state: ClusterState, generation: GenerationId): Volume | undefined {
  const volume = lookUp(state.volumes, state.volumeOfHead.get(generation));
  if (volume?.head === generation) return volume;
  const layer = state.generations.get(generation);
  const trashed = lookUp(state.trash, layer?.volume)?.volume;
  if (trashed?.head === generation) return trashed;
  if (layer !== undefined && layer.state !== 'head') {
    return layerVolume(layer, state.volumes.get(layer.volume));
  }
  if (volume === undefined) return undefined;
  const move = state.moves.get(volume.id);
  return move?.generation === generation ? twinOf(volume, move) : undefined;
}

function lookUp<K, V>(map: ReadonlyMap<K, V>, key: K | undefined): V | undefined {
  return key === undefined ? undefined : map.get(key);
}
