// What follows from the map for a volume that moves to another policy (S8): the volume as its copy shows it, why the copy
// can not go on, and who copies while no guest holds the volume. Pure.

import type { NodeId } from './ids.ts';
import type { EntryBody } from './log-entry.ts';
import { isLostIn } from './lost.ts';
import { partitionOf } from './partition.ts';
import { divideUp, OBJECT_BYTES } from './units.ts';
import type { ClusterView, Volume, VolumeMove } from './view.ts';

/** Asked for each frame: made once per move and record. */
const twins = new WeakMap<VolumeMove, { readonly of: Volume; readonly twin: Volume }>();

/** The volume as it is once it has moved: the same lock and name, the family and the policy of the copy. */
export function twinOf(volume: Volume, move: VolumeMove): Volume {
  const known = twins.get(move);
  if (known?.of === volume) return known.twin;
  const { family, policy, generation: head } = move;
  const twin: Volume = { ...volume, family, policy, head };
  twins.set(move, { of: volume, twin });
  return twin;
}

/** Why nothing can be copied into this volume, the one that a move makes; undefined when nothing bars it. */
export function copyBar(view: ClusterView, twin: Volume): string | undefined {
  const policy = view.policies.get(twin.policy);
  if (policy === undefined) return 'the policy is not known yet';
  const isUp = (node: NodeId): boolean => view.members.get(node)?.state === 'up';
  for (const p of partitionsOfVolume(view, twin)) {
    const config = view.partition(twin.policy, p);
    if (isLostIn(view, config)) return 'no copy is left of a partition that it needs';
    const live = config.inSync.filter(isUp).length;
    if (live < policy.minCopies) {
      return `${live} of ${policy.copies} copies could be written, writes need ${policy.minCopies}`;
    }
    const tight = config.inSync.find((node) => (view.members.get(node)?.space ?? 'ok') !== 'ok');
    if (tight !== undefined) return `the disk of n${tight} has no room for more`;
  }
  return undefined;
}

/** Asked for again and again while a move waits: worked out once per record. */
const parts = new WeakMap<object, { readonly of: number; readonly found: ReadonlySet<number> }>();

/** Hash parts of all partitions that the volume has objects in. */
export function partitionsOfVolume(
  { partitions }: Pick<ClusterView, 'partitions'>,
  volume: Pick<Volume, 'family' | 'sizeBytes'>,
): ReadonlySet<number> {
  const known = parts.get(volume);
  if (known?.of === partitions) return known.found;
  const objects = divideUp(volume.sizeBytes, OBJECT_BYTES);
  const found = new Set<number>();
  for (let index = 0; index < objects && found.size < partitions; index += 1) {
    found.add(partitionOf(volume.family, index, partitions));
  }
  parts.set(volume, { of: partitions, found });
  return found;
}

/** Who takes the lock of a volume that nobody holds, to copy it. All members agree, by the same map. */
export function moverOf(view: ClusterView, volume: Volume): NodeId | undefined {
  const able = [...view.members.values()]
    .filter(({ state, standing, isWitness }) => state === 'up' && standing === 'in' && !isWitness)
    .map(({ node }) => node)
    .sort((a, b) => a - b);
  return able[volume.id % able.length];
}

/** True for an entry after which rows of a generation that is no more may be held: what a delete leaves is dropped. */
export function endsGeneration(body: EntryBody, moves: ClusterView['moves']): boolean {
  switch (body.type) {
    case 'volumeDelete':
    case 'rollback':
    case 'snapshotDelete':
    case 'generationReclaimed':
    case 'volumeShrink':
    case 'trashPurge':
    case 'moveStart':
    case 'moveCancel':
    case 'volumeMove':
      return true;
    case 'lockAcquire':
    case 'takeover':
      // A new session begins the copy of a move anew.
      return moves.has(body.volume);
    case 'acceptLoss':
      return moves.size > 0;
    default:
      return false;
  }
}
