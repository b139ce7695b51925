// What entries about layers have in common: a head more, a head frozen, names that are free. Pure.

import { withoutGeneration } from './generation-state.ts';
import { type Generation, headBelow } from './generations.ts';
import type { FamilyId, FencingToken, GenerationId } from './ids.ts';
import { holderText, isHolderOver } from './lock.ts';
import { type Applied, type ClusterState, declined, withEntry } from './state.ts';
import type { Volume } from './view.ts';
import { protectedText } from './volume.ts';

/** What becomes of a head that is frozen: a snapshot with a tag, or a layer that nobody names. */
export interface FreezeNote {
  readonly tag: string;
  readonly dateMs: number;
  readonly state: 'frozen' | 'deleted';
}

/** The state with these layers, new or changed. */
export function withLayers(state: ClusterState, layers: readonly Generation[]): ClusterState {
  const generations = new Map(state.generations);
  for (const layer of layers) generations.set(layer.id, layer);
  return { ...state, generations };
}

/** The next layer of the counter below this one, for the volume to write to. */
export function layerOf(
  state: ClusterState,
  { id: volume, family, policy }: Volume,
  parent: Generation,
  limitBytes?: number,
): Generation {
  const id = (state.counters.generation + 1) as GenerationId;
  return headBelow(parent, { id, family, policy, volume }, limitBytes);
}

/** The volume writes to this new layer from here on; what becomes of the former head is the caller's to say. */
export function withHead(state: ClusterState, volume: Volume, layer: Generation): ClusterState {
  const heads = new Map(state.volumeOfHead);
  const former = state.volumes.get(volume.id)?.head;
  if (former !== undefined) heads.delete(former);
  const { counters } = state;
  return {
    ...withLayers(state, [layer]),
    volumes: withEntry(state.volumes, volume.id, { ...volume, head: layer.id }),
    volumeOfHead: heads.set(layer.id, volume.id),
    counters: { ...counters, generation: layer.id },
  };
}

/** These heads are frozen, each volume writes to a new one below: one step for all. */
export function withFrozen(
  state: ClusterState,
  frozen: readonly (Pick<Volume, 'id'> & { readonly limitBytes?: number })[],
  note: FreezeNote,
): ClusterState {
  const generations = new Map(state.generations);
  const volumes = new Map(state.volumes);
  const volumeOfHead = new Map(state.volumeOfHead);
  let last = state.counters.generation;
  for (const { id, limitBytes } of frozen) {
    const volume = volumes.get(id);
    const former = generations.get(volume?.head ?? (0 as GenerationId));
    if (volume === undefined || former === undefined) continue;
    last += 1;
    const head = last as GenerationId;
    const parent = frozenAs(state, volume, former, note);
    const { family, policy } = volume;
    const layer = headBelow(parent, { id: head, family, policy, volume: id }, limitBytes);
    generations.set(parent.id, parent).set(head, layer);
    volumes.set(id, { ...volume, head });
    volumeOfHead.delete(parent.id);
    volumeOfHead.set(head, id);
  }
  const counters = { ...state.counters, generation: last };
  return { ...state, generations, volumes, volumeOfHead, counters };
}

/** A head as it is once nothing can be added to it. */
function frozenAs(
  { index }: ClusterState,
  { name, sizeBytes }: Volume,
  head: Generation,
  { tag, dateMs, state }: FreezeNote,
): Generation {
  const noted = state === 'frozen' ? { name, tag, createdMs: dateMs } : {};
  return { ...head, ...noted, sizeBytes, state, frozenAt: index };
}

/**
 * Why the head of a volume can not be replaced: somebody has it, used it since, moves it, or protects it.
 * @param isRemoved nothing is in its place: a holder that is over need not be taken over first
 */
export function freeHeadBar(
  state: ClusterState,
  volume: Volume,
  token: FencingToken,
  isRemoved = false,
): Applied | undefined {
  const { lock, name } = volume;
  const isOver = isRemoved && isHolderOver(state.members, lock);
  if (lock.state === 'held' && !isOver) {
    return declined(state, 'held', `"${name}" is in use through ${holderText(lock)}`, lock.node);
  }
  if (lock.token !== token) return declined(state, 'stale', 'it was used since', lock.token);
  if (volume.isProtected) return declined(state, 'refused', protectedText(volume));
  if (state.moves.has(volume.id)) {
    return declined(state, 'refused', `"${name}" moves to other copies: cancel that or wait`);
  }
  return undefined;
}

/**
 * Why no volume can be called so: one is, or snapshots of a deleted one are, whose tags its own would meet.
 * @param family whose snapshots may be: a clone of one of them takes the place of the volume
 */
export function nameBar(state: ClusterState, name: string, family?: FamilyId): Applied | undefined {
  const taken = state.volumeOfName.get(name);
  if (taken !== undefined) return declined(state, 'exists', `"${name}" exists already`, taken);
  for (const layer of state.generations.values()) {
    if (layer.state !== 'frozen' || layer.name !== name || layer.family === family) continue;
    const text = `snapshots of a deleted volume "${name}" are there: delete them, or clone one`;
    return declined(state, 'exists', text);
  }
  return undefined;
}

/** The volume is gone; so is its head, unless something shows it. */
export function withoutHead(state: ClusterState, volume: Volume): ClusterState {
  const volumeOfHead = new Map(state.volumeOfHead);
  volumeOfHead.delete(volume.head);
  return { ...state, volumeOfHead, generations: withoutGeneration(state, volume.head) };
}
