// A state from what was kept of it: derived parts (ring, targets, indexes by key, name and head) are made again, so that
// a snapshot holds each fact once. The result is equal to the original in everything that decides how an entry applies.

import { type Generation, isPlainHead, rootHead } from './generations.ts';
import type { ConfigVersion, GenerationId, NodeId, PeerKey, VolumeId } from './ids.ts';
import type { ExplicitSets, PolicyState } from './policy-state.ts';
import { type Ring, targetTable } from './ring.ts';
import { ringOf } from './ring-change.ts';
import type { ClusterState, ProposalWindow } from './state.ts';
import type { Member, Policy, Retired, TrashedVolume, Volume, VolumeMove } from './view.ts';

/** What is kept of a policy: T(p) follows from the ring. */
export interface KeptPolicy {
  readonly policy: Policy;
  readonly cfg: Uint32Array;
  readonly explicit: ReadonlyMap<number, ExplicitSets>;
  readonly everWriteback: boolean;
  readonly unsure: ReadonlyMap<number, ConfigVersion>;
}

/** One of a volume's. */
export interface KeptAttribute {
  readonly volume: VolumeId;
  readonly key: string;
  readonly value: Uint8Array;
}

/** The facts of a state, each once. Lists are in the order that counts (settings) or by id. */
export type KeptState = Omit<ClusterState, keyof DerivedParts | keyof KeptLists> & KeptLists;

type DerivedParts = Pick<ClusterState, 'nodeOfKey' | 'volumeOfName' | 'volumeOfHead'>;

interface KeptLists {
  readonly members: readonly Member[];
  readonly volumes: readonly Volume[];
  readonly settings: readonly (readonly [string, string])[];
  readonly policies: readonly KeptPolicy[];
  readonly proposals: readonly (readonly [NodeId, ProposalWindow])[];
  /** In the order of their retirement. */
  readonly retired: readonly Retired[];
  readonly moves: readonly VolumeMove[];
  readonly attributes: readonly KeptAttribute[];
  readonly trash: readonly TrashedVolume[];
  /** But heads with nothing above them: those follow from their volumes. */
  readonly generations: readonly Generation[];
}

/** The facts of a state, by id. */
export function keptOf(state: ClusterState): KeptState {
  const { nodeOfKey: _keys, volumeOfName: _names, volumeOfHead: _heads, ...kept } = state;
  const {
    members,
    retired,
    volumes,
    settings,
    policies,
    proposals,
    moves,
    generations,
    attributes,
    trash,
  } = kept;
  return {
    ...kept,
    members: byKey(members).map(([, member]) => member),
    volumes: byKey(volumes).map(([, volume]) => volume),
    settings: [...settings],
    policies: byKey(policies).map(([, { policy, cfg, explicit, everWriteback, unsure }]) => {
      const sets = { explicit: new Map(byKey(explicit)), unsure: new Map(byKey(unsure)) };
      return { policy, cfg, everWriteback, ...sets };
    }),
    proposals: byKey(proposals),
    retired: [...retired.values()],
    moves: byKey(moves).map(([, move]) => move),
    attributes: byKey(attributes).flatMap(([volume, all]) =>
      byName(all).map(([key, value]) => ({ volume, key, value })),
    ),
    trash: byKey(trash).map(([, one]) => one),
    generations: byKey(generations)
      .map(([, generation]) => generation)
      .filter((generation) => !isPlainHead(generation)),
  };
}

/** The whole state again. */
export function restoreState(kept: KeptState): ClusterState {
  const members = new Map(kept.members.map((member) => [member.node, member]));
  const ring = ringOf(members.values());
  const { volumes } = kept;
  return {
    ...kept,
    members,
    nodeOfKey: new Map(
      // In the order of joining, as entries make it.
      [...kept.members, ...kept.retired]
        .sort((a, b) => a.node - b.node)
        .map(({ peerKey, node }): [PeerKey, NodeId] => [peerKey, node]),
    ),
    policies: new Map(
      kept.policies.map((policy) => [policy.policy.id, restorePolicy(policy, ring)]),
    ),
    volumes: new Map(volumes.map((volume) => [volume.id, volume])),
    volumeOfName: new Map(volumes.map(({ name, id }): [string, VolumeId] => [name, id])),
    volumeOfHead: new Map([
      ...volumes.map(({ head, id }): [GenerationId, VolumeId] => [head, id]),
      ...kept.moves.map((move): [GenerationId, VolumeId] => [move.generation, move.volume]),
    ]),
    moves: new Map(kept.moves.map((move) => [move.volume, move])),
    generations: generationsOf(kept),
    attributes: attributesOf(kept),
    trash: new Map(kept.trash.map((one) => [one.volume.id, one])),
    settings: new Map(kept.settings),
    proposals: new Map(kept.proposals),
    retired: new Map(kept.retired.map((one) => [one.node, one])),
  };
}

/** A volume without a word about its head, as states before the tree have all: one root generation. */
function generationsOf(kept: KeptState): ClusterState['generations'] {
  const { volumes, moves, trash, generations } = kept;
  const all = new Map(
    [...volumes, ...trash.map(({ volume }) => volume)].map(
      ({ id: volume, head: id, family, policy }): [GenerationId, Generation] => [
        id,
        rootHead({ id, family, policy, volume }),
      ],
    ),
  );
  for (const move of moves) {
    all.set(move.generation, rootHead({ ...move, id: move.generation }));
  }
  for (const generation of generations) all.set(generation.id, generation);
  return all;
}

function attributesOf({ attributes }: KeptState): ClusterState['attributes'] {
  const all = new Map<VolumeId, Map<string, Uint8Array>>();
  for (const { volume, key, value } of attributes) {
    const of = all.get(volume) ?? new Map<string, Uint8Array>();
    // A copy: what was read is a view of the whole message.
    all.set(volume, of.set(key, value.slice()));
  }
  return all;
}

function restorePolicy(kept: KeptPolicy, ring: Ring): PolicyState {
  return { ...kept, targets: targetTable(ring, kept.policy, kept.cfg.length), cache: [] };
}

function byKey<K extends number, V>(map: ReadonlyMap<K, V>): [K, V][] {
  return [...map].sort(([a], [b]) => a - b);
}

function byName<V>(map: ReadonlyMap<string, V>): [string, V][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}
