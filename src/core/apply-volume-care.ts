// Entries by which operators change what a volume is called and what may be done with it. Each is one step (S5): it
// happened or it did not.

import type { Generation } from './generations.ts';
import { nameBar } from './layers.ts';
import { holderText } from './lock.ts';
import type { EntryBody } from './log-entry.ts';
import { withWriteback } from './move-state.ts';
import {
  type Applied,
  accepted,
  type ClusterState,
  declined,
  withEntry,
  withoutEntry,
} from './state.ts';
import type { Volume } from './view.ts';
import { MODES, nameProblem } from './volume.ts';
import { rateProblem, withRate } from './volume-rates.ts';

type Body<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

/** Another name for the same volume: sessions go on, new ones find it under the new name only. */
export function applyVolumeRename(state: ClusterState, body: Body<'volumeRename'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  if (volume.name !== body.former) {
    return declined(state, 'stale', `it is called "${volume.name}" by now`);
  }
  const { name } = body;
  if (name === volume.name) return declined(state, 'duplicate', 'it is called so', volume.id);
  const problem = nameProblem(name);
  if (problem !== undefined) return declined(state, 'refused', problem);
  const taken = nameBar(state, name);
  if (taken !== undefined) return taken;
  const names = withoutEntry(state.volumeOfName, volume.name);
  const volumeOfName = names.set(name, volume.id);
  const generations = renamed(state, volume, name);
  const next = withVolume(state, { ...volume, name });
  return accepted({ ...next, volumeOfName, generations }, volume.id);
}

/** Its snapshots are called after it. Those of a deleted volume of the same name, which it was cloned from, are not its. */
function renamed(
  { generations }: ClusterState,
  { id, name: former }: Volume,
  name: string,
): ClusterState['generations'] {
  const isIts = (one: Generation): boolean =>
    one.state === 'frozen' && one.volume === id && one.name === former;
  const snapshots = [...generations.values()].filter(isIts);
  if (snapshots.length === 0) return generations;
  const changed = new Map(generations);
  for (const one of snapshots) changed.set(one.id, { ...one, name });
  return changed;
}

/** From here on nothing takes its data away as a whole, or everything may again. */
export function applyVolumeProtect(state: ClusterState, body: Body<'volumeProtect'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const { isProtected } = body;
  if (typeof isProtected !== 'boolean') return declined(state, 'refused', 'yes or no');
  return accepted(withVolume(state, { ...volume, isProtected }), volume.id);
}

/**
 * Durable or writeback. Only while nobody holds it: what a holder confirmed, it confirmed in the mode that it had, and a
 * lock is given back flushed.
 */
export function applyVolumeDurability(
  state: ClusterState,
  body: Body<'volumeDurability'>,
): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const { lock } = volume;
  if (!MODES.includes(body.durability)) return declined(state, 'refused', 'no such mode');
  if (lock.state === 'held') {
    return declined(state, 'held', `held through ${holderText(lock)}`, lock.node);
  }
  if (lock.token !== body.token) return declined(state, 'stale', 'it was used since', lock.token);
  const changed: Volume = { ...volume, durability: body.durability };
  const next = { ...withVolume(state, changed), policies: withWriteback(state, changed) };
  return accepted(next, volume.id);
}

/** How fast requests of a volume may pass; also while a guest has it. The other limit stays as it is. */
export function applyVolumeRate(state: ClusterState, body: Body<'volumeRate'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const problem = rateProblem(body.kind, body.perSecond);
  if (problem !== undefined) return declined(state, 'refused', problem);
  const rates = withRate(volume.rates, body.kind, body.perSecond);
  return accepted(withVolume(state, { ...volume, rates }), volume.id);
}

function withVolume(state: ClusterState, volume: Volume): ClusterState {
  return { ...state, volumes: withEntry(state.volumes, volume.id, volume) };
}
