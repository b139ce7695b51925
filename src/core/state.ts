// The state that the map log builds: immutable values, shared between versions. cluster-state.ts applies entries to it;
// the apply-... files hold one family of entries each. Nothing here depends on a clock, on chance or on this node (A4).

import type { Generations } from './generations.ts';
import type {
  ClusterId,
  Epoch,
  GenerationId,
  Incarnation,
  MapIndex,
  NodeId,
  PeerKey,
  PolicyId,
  VolumeId,
} from './ids.ts';
import type { ApplyResult } from './log-entry.ts';
import type { IsLive } from './partition.ts';
import type { PolicyState } from './policy-state.ts';
import type { Attributes, Member, Retired, TrashedVolume, Volume, VolumeMove } from './view.ts';

export interface ClusterState {
  readonly index: MapIndex;
  readonly epoch: Epoch;
  /** Empty before `format`. */
  readonly clusterId: ClusterId;
  readonly name: string;
  readonly partitions: number;
  readonly members: ReadonlyMap<NodeId, Member>;
  /** In order of their retirement. Their keys stay in `nodeOfKey`. */
  readonly retired: ReadonlyMap<NodeId, Retired>;
  readonly nodeOfKey: ReadonlyMap<PeerKey, NodeId>;
  readonly voters: readonly NodeId[];
  readonly nextVoters: readonly NodeId[];
  readonly policies: ReadonlyMap<PolicyId, PolicyState>;
  readonly volumes: ReadonlyMap<VolumeId, Volume>;
  readonly volumeOfName: ReadonlyMap<string, VolumeId>;
  /** Also of what moves copy into. */
  readonly volumeOfHead: ReadonlyMap<GenerationId, VolumeId>;
  readonly moves: ReadonlyMap<VolumeId, VolumeMove>;
  readonly trash: ReadonlyMap<VolumeId, TrashedVolume>;
  readonly ageMs: number;
  /** Of the volumes that have any. */
  readonly attributes: ReadonlyMap<VolumeId, Attributes>;
  /** Of heads, of what moves copy into, of snapshots, and of deleted ones that still show through. */
  readonly generations: Generations;
  readonly counters: Counters;
  /** In order of insertion: the oldest invite goes first. */
  readonly settings: ReadonlyMap<string, string>;
  readonly audit: { readonly atIndex: MapIndex; readonly stateHash: string };
  readonly proposals: ReadonlyMap<NodeId, ProposalWindow>;
}

/** Last ids given; ids are never reused (I11). */
export interface Counters {
  readonly node: number;
  readonly volume: number;
  readonly family: number;
  readonly generation: number;
}

/** What the last proposals of one node came to, so that a repeated one is answered, not applied twice (C2.5). */
export interface ProposalWindow {
  readonly incarnation: Incarnation;
  readonly highest: number;
  readonly results: ReadonlyMap<number, ApplyResult>;
}

export interface Applied {
  readonly state: ClusterState;
  readonly result: ApplyResult;
}

/** The state before the first entry. */
export function emptyState(): ClusterState {
  return {
    index: 0 as MapIndex,
    epoch: 0 as Epoch,
    clusterId: '' as ClusterId,
    name: '',
    partitions: 0,
    members: new Map(),
    retired: new Map(),
    nodeOfKey: new Map(),
    voters: [],
    nextVoters: [],
    policies: new Map(),
    volumes: new Map(),
    volumeOfName: new Map(),
    volumeOfHead: new Map(),
    moves: new Map(),
    trash: new Map(),
    ageMs: 0,
    attributes: new Map(),
    generations: new Map(),
    counters: { node: 0, volume: 0, family: 0, generation: 0 },
    settings: new Map(),
    audit: { atIndex: 0 as MapIndex, stateHash: '' },
    proposals: new Map(),
  };
}

/** Applied as asked. */
export function accepted(state: ClusterState, value: number): Applied {
  return { state, result: { code: 'ok', value, detail: '' } };
}

/** Not applied: the state stays as it is. */
export function declined(
  state: ClusterState,
  code: Exclude<ApplyResult['code'], 'ok'>,
  detail: string,
  value = 0,
): Applied {
  return { state, result: { code, value, detail } };
}

/** Live = up in the map. */
export function liveIn(members: ReadonlyMap<NodeId, Member>): IsLive {
  return (node) => members.get(node)?.state === 'up';
}

/** True when this life of the node is up. */
export function isUp(state: ClusterState, node: NodeId, incarnation: Incarnation): boolean {
  const member = state.members.get(node);
  return member !== undefined && member.state === 'up' && member.incarnation === incarnation;
}

/** A copy of a map with one entry set. */
export function withEntry<K, V>(map: ReadonlyMap<K, V>, key: K, value: V): Map<K, V> {
  return new Map(map).set(key, value);
}

/** A copy of a map without one entry. */
export function withoutEntry<K, V>(map: ReadonlyMap<K, V>, key: K): Map<K, V> {
  const copy = new Map(map);
  copy.delete(key);
  return copy;
}

/** True for an integer from `low` to `high`. */
export function isWithin(value: number, low: number, high: number): boolean {
  return Number.isInteger(value) && value >= low && value <= high;
}
