// Snapshots, clones and deletes of layers in a World: steps of its log whose outcome is written down by hand, so that the
// data path is tested without the entries that lead there.

import type { ClusterState } from '../../src/core/cluster-state.ts';
import { type Generation, headBelow, NO_LIMIT } from '../../src/core/generations.ts';
import type { GenerationId, VolumeId } from '../../src/core/ids.ts';
import type { Volume } from '../../src/core/view.ts';
import type { World } from './world.ts';

/** A step of the log with this outcome. */
export function step(world: World, change: (state: ClusterState) => Partial<ClusterState>): void {
  world.commit({ type: 'setting', key: 'test', value: `${world.states.length}` });
  const state = world.state;
  world.states[world.states.length - 1] = { ...state, ...change(state) };
}

/** Freezes the head: the volume goes on in a new one, which shows `limitBytes` of it. @returns the frozen one */
export function snapshot(world: World, limitBytes = NO_LIMIT): GenerationId {
  const { volume } = world;
  step(world, (state) => {
    const former = state.generations.get(volume.head) as Generation;
    const { family, policy } = volume;
    const id = (state.counters.generation + 1) as GenerationId;
    const head = headBelow(former, { id, family, policy, volume: volume.id }, limitBytes);
    const frozen: Generation = {
      ...former,
      ...{ state: 'frozen', frozenAt: state.index, name: volume.name },
      ...{ tag: `s${id}`, sizeBytes: volume.sizeBytes },
    };
    const layers = [frozen, head];
    return withHead(state, { ...volume, head: id }, layers, id);
  });
  return volume.head;
}

/** The volume goes on below a frozen layer; its head, with all that it wrote, is deleted. */
export function rollback(world: World, to: GenerationId): GenerationId {
  const { volume } = world;
  step(world, (state) => {
    const base = state.generations.get(to) as Generation;
    const former = state.generations.get(volume.head) as Generation;
    const { family, policy } = volume;
    const id = (state.counters.generation + 1) as GenerationId;
    const head = headBelow(base, { id, family, policy, volume: volume.id });
    const gone: Generation = { ...former, state: 'deleted', frozenAt: state.index };
    return withHead(state, { ...volume, head: id }, [gone, head], id);
  });
  return volume.head;
}

/** Nobody names it any more; its record stays as long as it may show through. */
export function deleteLayer(world: World, id: GenerationId): void {
  step(world, (state) => {
    const layer = state.generations.get(id) as Generation;
    const generations = new Map(state.generations).set(id, { ...layer, state: 'deleted' });
    return { generations };
  });
}

function withHead(
  state: ClusterState,
  volume: Volume,
  layers: readonly Generation[],
  generation: number,
): Partial<ClusterState> {
  const generations = new Map(state.generations);
  for (const layer of layers) generations.set(layer.id, layer);
  const volumeOfHead = new Map<GenerationId, VolumeId>(state.volumeOfHead);
  for (const { id, state: standing } of layers) if (standing !== 'head') volumeOfHead.delete(id);
  volumeOfHead.set(volume.head, volume.id);
  return {
    generations,
    volumeOfHead,
    volumes: new Map(state.volumes).set(volume.id, volume),
    counters: { ...state.counters, generation },
  };
}
