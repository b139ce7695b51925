// Entries about the layers of volumes (S4, S5): snapshots of up to 64 volumes at one instant, clones, rollbacks, deletes,
// and what is left to forget once a deleted layer shows through nowhere. Each is all or nothing: the tree before it, or the
// tree after it. Data is not touched here: replicas copy on write and reclaim by what this tree says.

import { withoutGeneration } from './generation-state.ts';
import { ancestry, type Generation, headBelow, MAX_DEPTH, MAX_GENERATIONS } from './generations.ts';
import type { GenerationId, VolumeId } from './ids.ts';
import { freeHeadBar, layerOf, nameBar, withFrozen, withHead, withLayers } from './layers.ts';
import { FRESH_LOCK } from './lock.ts';
import type { EntryBody, VolumeCas } from './log-entry.ts';
import { withFreshMove, withWriteback } from './move-state.ts';
import { MAX_SNAPSHOT_VOLUMES, snapshotName, tagProblem } from './snapshot-name.ts';
import { type Applied, accepted, type ClusterState, declined, withEntry } from './state.ts';
import type { Volume } from './view.ts';
import { MAX_VOLUMES, nameProblem, protectedText } from './volume.ts';
import { NO_RATES } from './volume-rates.ts';

type Body<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

/** Freezes the heads of all these volumes, or none; `value` = the first of their new heads, the others follow in order. */
export function applySnapshot(state: ClusterState, body: Body<'snapshot'>): Applied {
  const { volumes, tag, dateMs } = body;
  const problem = tagProblem(tag);
  if (problem !== undefined) return declined(state, 'refused', problem);
  if (volumes.length < 1 || volumes.length > MAX_SNAPSHOT_VOLUMES) {
    return declined(state, 'refused', `a snapshot has 1 to ${MAX_SNAPSHOT_VOLUMES} volumes`);
  }
  if (new Set(volumes.map(({ volume }) => volume)).size < volumes.length) {
    return declined(state, 'refused', 'a volume is named twice');
  }
  for (const cas of volumes) {
    const bar = freezeBar(state, cas, volumes.length);
    if (bar !== undefined) return bar;
  }
  const taken = tagBar(state, volumes, tag);
  if (taken !== undefined) return taken;
  const heads = volumes.map(({ volume: id }) => ({ id }));
  const next = withFrozen(state, heads, { tag, dateMs, state: 'frozen' });
  return accepted(next, state.counters.generation + 1);
}

/**
 * A new volume that shows what another one is, or what a snapshot was; `value` = its id. Of a volume its head is frozen by
 * the same step: a layer without a name, which goes when nothing reads it any more. A deep one begins to move at once, into
 * a family of its own: whoever copies it may die as often as it likes, the map knows what is to be done.
 */
export function applyVolumeClone(state: ClusterState, body: Body<'volumeClone'>): Applied {
  const { name, from, dateMs } = body;
  const source = state.generations.get(from.head);
  if (source === undefined || source.state === 'deleted') {
    return declined(state, 'missing', 'what is cloned is not there any more');
  }
  const problem = nameProblem(name);
  if (problem !== undefined) return declined(state, 'refused', problem);
  const taken = nameBar(state, name, source.family);
  if (taken !== undefined) return taken;
  if (state.volumes.size >= MAX_VOLUMES) return declined(state, 'full', 'too many volumes');
  if (source.state === 'frozen') return cloned(state, source, body);
  const bar = freezeBar(state, from, 2);
  if (bar !== undefined) return bar;
  const { sizeBytes = 0 } = state.volumes.get(from.volume) ?? {};
  const next = withFrozen(state, [{ id: from.volume }], { tag: '', dateMs, state: 'deleted' });
  return cloned(next, { ...source, sizeBytes }, body);
}

function cloned(state: ClusterState, source: Generation, body: Body<'volumeClone'>): Applied {
  const bar = depthBar(state, source.id, 1);
  if (bar !== undefined) return bar;
  const { counters } = state;
  const { family, policy, sizeBytes } = source;
  const id = (counters.volume + 1) as VolumeId;
  const head = (counters.generation + 1) as GenerationId;
  const volume: Volume = {
    ...{ id, name: body.name, family, policy, head, sizeBytes },
    ...{ durability: body.durability, attachMode: body.attachMode },
    ...{ ioTimeoutMs: 0, isProtected: false, rates: NO_RATES, lock: FRESH_LOCK },
  };
  const next: ClusterState = {
    ...state,
    policies: withWriteback(state, volume),
    volumes: withEntry(state.volumes, id, volume),
    volumeOfName: withEntry(state.volumeOfName, volume.name, id),
    volumeOfHead: withEntry(state.volumeOfHead, head, id),
    counters: { ...counters, volume: id, generation: head },
  };
  const layer = headBelow(source, { id: head, family, policy, volume: id });
  const made = withLayers(next, [layer]);
  const { token } = volume.lock;
  return accepted(body.isDeep ? withFreshMove(made, volume, { policy, token }) : made, id);
}

/**
 * The volume is what the snapshot was, its own or one of its family's (what was prepared in a clone becomes it): a new head
 * below it. What was written since is deleted by the same step.
 */
export function applyRollback(state: ClusterState, body: Body<'rollback'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const bar = freeHeadBar(state, volume, body.token);
  if (bar !== undefined) return bar;
  const snapshot = state.generations.get(body.generation);
  const isNear = snapshot?.volume === volume.id || snapshot?.family === volume.family;
  if (snapshot?.state !== 'frozen' || !isNear) {
    return declined(state, 'missing', `"${volume.name}" has no such snapshot`);
  }
  const full = depthBar(state, snapshot.id, 1);
  if (full !== undefined) return full;
  const { family, policy, sizeBytes } = snapshot;
  const changed: Volume = { ...volume, family, policy, sizeBytes };
  const layer = layerOf(state, changed, snapshot);
  const next = withHead(state, changed, layer);
  const ended = { ...next, generations: withoutGeneration(next, volume.head) };
  return accepted({ ...ended, policies: withWriteback(ended, changed) }, layer.id);
}

/** Nobody names it any more. What lies below still shows what it owns. */
export function applySnapshotDelete(state: ClusterState, body: Body<'snapshotDelete'>): Applied {
  const snapshot = state.generations.get(body.generation);
  if (snapshot?.state !== 'frozen') return declined(state, 'missing', 'no such snapshot');
  if (snapshot.isProtected) {
    const name = snapshotName(snapshot.name, snapshot.tag);
    return declined(state, 'refused', protectedText({ name }));
  }
  const generations = withoutGeneration(state, snapshot.id);
  return accepted({ ...state, generations }, snapshot.id);
}

/** A protected snapshot can not be deleted. */
export function applySnapshotProtect(state: ClusterState, body: Body<'snapshotProtect'>): Applied {
  const snapshot = state.generations.get(body.generation);
  if (snapshot?.state !== 'frozen') return declined(state, 'missing', 'no such snapshot');
  const { isProtected } = body;
  if (typeof isProtected !== 'boolean') return declined(state, 'refused', 'yes or no');
  return accepted(withLayers(state, [{ ...snapshot, isProtected }]), snapshot.id);
}

/**
 * All members have dropped the rows of a deleted layer (S6): its record goes, and what lay below it lies below its parent,
 * of which no more shows than the least limit of the two lets through.
 */
export function applyGenerationReclaimed(
  state: ClusterState,
  body: Body<'generationReclaimed'>,
): Applied {
  const layer = state.generations.get(body.generation);
  if (layer === undefined) return declined(state, 'duplicate', 'it is gone already');
  if (layer.state !== 'deleted') return declined(state, 'refused', 'it is in use');
  const generations = new Map(state.generations);
  generations.delete(layer.id);
  for (const child of state.generations.values()) {
    if (child.parent !== layer.id) continue;
    const limitBytes = Math.min(child.limitBytes, layer.limitBytes);
    generations.set(child.id, { ...child, parent: layer.parent, limitBytes });
  }
  return accepted({ ...state, generations }, layer.id);
}

/** Why this head can not be frozen now: the session with that token has let its writes end, nobody else's. */
function freezeBar(state: ClusterState, cas: VolumeCas, more: number): Applied | undefined {
  const volume = state.volumes.get(cas.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume', cas.volume);
  const { name, lock } = volume;
  if (lock.token !== cas.token) {
    return declined(state, 'stale', `"${name}" has another token since`, lock.token);
  }
  if (volume.head !== cas.head) {
    return declined(state, 'stale', `"${name}" has another head since`, volume.head);
  }
  if (state.moves.has(volume.id)) {
    return declined(state, 'refused', `"${name}" moves to other copies: cancel that or wait`);
  }
  return depthBar(state, cas.head, more);
}

function depthBar(state: ClusterState, id: GenerationId, more: number): Applied | undefined {
  if (state.generations.size + more > MAX_GENERATIONS) {
    return declined(state, 'full', `there are ${MAX_GENERATIONS} snapshots and volumes`);
  }
  if (ancestry(state, id).length < MAX_DEPTH) return undefined;
  return declined(state, 'full', `${MAX_DEPTH} layers lie above it: delete snapshots`);
}

function tagBar(
  state: ClusterState,
  cases: readonly VolumeCas[],
  tag: string,
): Applied | undefined {
  const names = new Set(cases.map(({ volume }) => state.volumes.get(volume)?.name));
  for (const { name, tag: other, state: standing } of state.generations.values()) {
    if (standing !== 'frozen' || other !== tag || !names.has(name)) continue;
    return declined(state, 'exists', `"${snapshotName(name, tag)}" exists already`);
  }
  return undefined;
}
