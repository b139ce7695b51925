// Entries about the size of volumes (S5). Growing leaves everything as it is: nothing lies beyond the former end. A shrink
// is a new head below the old one with a visible limit: what was cut shows nowhere, not even when the volume grows again.

import { ancestry, MAX_DEPTH, MAX_GENERATIONS } from './generations.ts';
import { freeHeadBar, withFrozen } from './layers.ts';
import type { EntryBody } from './log-entry.ts';
import { type Applied, accepted, type ClusterState, declined, withEntry } from './state.ts';
import { SECTOR_BYTES } from './units.ts';
import { sizeProblem } from './volume.ts';

type Body<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

/** Larger from here on, also under a guest; `value` = its size. */
export function applyVolumeGrow(state: ClusterState, body: Body<'volumeGrow'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const { sizeBytes } = body;
  const problem = sizeProblem(sizeBytes);
  if (problem !== undefined) return declined(state, 'refused', problem);
  if (sizeBytes === volume.sizeBytes) return declined(state, 'duplicate', '', sizeBytes);
  if (sizeBytes < volume.sizeBytes) {
    return declined(state, 'stale', 'it is larger by now', volume.sizeBytes);
  }
  // The copy of a move was counted for the former size.
  if (state.moves.has(volume.id)) {
    return declined(
      state,
      'refused',
      `"${volume.name}" moves to other copies: cancel that or wait`,
    );
  }
  const volumes = withEntry(state.volumes, volume.id, { ...volume, sizeBytes });
  return accepted({ ...state, volumes }, sizeBytes);
}

/** Smaller, while nobody holds it; `value` = the new head. What was beyond the end is gone for the volume. */
export function applyVolumeShrink(state: ClusterState, body: Body<'volumeShrink'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const { sizeBytes } = body;
  const problem = sizeProblem(sizeBytes);
  if (problem !== undefined) return declined(state, 'refused', problem);
  if (sizeBytes % SECTOR_BYTES !== 0) {
    return declined(state, 'refused', `a volume is cut at a multiple of ${SECTOR_BYTES} bytes`);
  }
  const bar = freeHeadBar(state, volume, body.token);
  if (bar !== undefined) return bar;
  if (sizeBytes >= volume.sizeBytes) {
    return declined(state, 'stale', 'it is not larger than that', volume.sizeBytes);
  }
  const isFull = state.generations.size >= MAX_GENERATIONS;
  if (isFull || ancestry(state, volume.head).length >= MAX_DEPTH) {
    return declined(state, 'full', 'too many layers: delete snapshots');
  }
  const cut = [{ id: volume.id, limitBytes: sizeBytes }];
  const next = withFrozen(state, cut, { tag: '', dateMs: 0, state: 'deleted' });
  const smaller = next.volumes.get(volume.id) ?? volume;
  const volumes = withEntry(next.volumes, volume.id, { ...smaller, sizeBytes });
  return accepted({ ...next, volumes }, smaller.head);
}
