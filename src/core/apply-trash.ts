// Entries about the trash: a deleted volume that can be had back for a while. Its data stays, its name is free, nobody finds
// or attaches it. How long is counted in time that leaders measure on their own clocks (`aged`), so no wrong date, and no
// time that the cluster was off, ever purges anything (1.4).

import { withoutGeneration } from './generation-state.ts';
import { freeHeadBar, nameBar } from './layers.ts';
import type { EntryBody } from './log-entry.ts';
import {
  type Applied,
  accepted,
  type ClusterState,
  declined,
  isWithin,
  withEntry,
  withoutEntry,
} from './state.ts';
import { MAX_AGE_STEP_MS, MAX_TRASH, MAX_TRASH_MS, MIN_TRASH_MS } from './trash.ts';
import { nameProblem } from './volume.ts';

type Body<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

/** The volume is in the trash: refused where a delete would be. */
export function applyVolumeTrash(state: ClusterState, body: Body<'volumeTrash'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const bar = freeHeadBar(state, volume, body.token, true);
  if (bar !== undefined) return bar;
  if (!isWithin(body.keepMs, MIN_TRASH_MS, MAX_TRASH_MS)) {
    return declined(state, 'refused', 'the trash keeps from a second to a year');
  }
  if (state.trash.size >= MAX_TRASH) return declined(state, 'full', 'the trash is full: purge it');
  const one = { volume, trashedMs: body.dateMs, dueAgeMs: state.ageMs + body.keepMs };
  const next: ClusterState = {
    ...state,
    volumes: withoutEntry(state.volumes, volume.id),
    volumeOfName: withoutEntry(state.volumeOfName, volume.name),
    volumeOfHead: withoutEntry(state.volumeOfHead, volume.head),
    trash: withEntry(state.trash, volume.id, one),
  };
  return accepted(next, volume.id);
}

/** As it was, under this name. */
export function applyTrashRestore(state: ClusterState, body: Body<'trashRestore'>): Applied {
  const trashed = state.trash.get(body.volume);
  if (trashed === undefined) return declined(state, 'missing', 'it is not in the trash');
  const { name } = body;
  const problem = nameProblem(name);
  if (problem !== undefined) return declined(state, 'refused', problem);
  const taken = nameBar(state, name, trashed.volume.family);
  if (taken !== undefined) return taken;
  const volume = { ...trashed.volume, name };
  const next: ClusterState = {
    ...state,
    volumes: withEntry(state.volumes, volume.id, volume),
    volumeOfName: withEntry(state.volumeOfName, name, volume.id),
    volumeOfHead: withEntry(state.volumeOfHead, volume.head, volume.id),
    trash: withoutEntry(state.trash, volume.id),
  };
  return accepted(next, volume.id);
}

/** Gone for good, like by a delete. */
export function applyTrashPurge(state: ClusterState, body: Body<'trashPurge'>): Applied {
  const trashed = state.trash.get(body.volume);
  if (trashed === undefined) return declined(state, 'missing', 'it is not in the trash');
  if (body.by !== 'operator' && state.ageMs < trashed.dueAgeMs) {
    return declined(state, 'stale', 'it is not due yet', trashed.dueAgeMs);
  }
  const { id, head } = trashed.volume;
  const next: ClusterState = {
    ...state,
    trash: withoutEntry(state.trash, id),
    attributes: withoutEntry(state.attributes, id),
    generations: withoutGeneration(state, head),
  };
  return accepted(next, id);
}

/** The cluster is older; two leaders never count the same time twice. */
export function applyAged(state: ClusterState, body: Body<'aged'>): Applied {
  if (state.ageMs !== body.fromMs) return declined(state, 'stale', 'counted already', state.ageMs);
  if (!isWithin(body.byMs, 1, MAX_AGE_STEP_MS)) return declined(state, 'refused', 'no such time');
  const ageMs = state.ageMs + body.byMs;
  return accepted({ ...state, ageMs }, ageMs);
}
