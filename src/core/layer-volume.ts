// A frozen or deleted generation as the data path sees it: a volume that nobody holds, whose head is that generation. Where
// its objects lie follows from its family and policy, never from its volume, which may have moved or be gone (S3). Pure.

import type { Generation } from './generations.ts';
import type { FencingToken, Incarnation, MapIndex, NodeId, SessionId } from './ids.ts';
import type { Volume, VolumeLock } from './view.ts';
import { NO_RATES } from './volume-rates.ts';

/** Nobody's: requests for frozen generations carry token 0 (S3). */
const NO_LOCK: VolumeLock = {
  state: 'free',
  token: 0 as FencingToken,
  grantedAt: 0 as MapIndex,
  node: 0 as NodeId,
  incarnation: 0 as Incarnation,
  session: 0 as SessionId,
  tookOver: false,
  sinceMs: 0,
  from: '',
  next: 0 as NodeId,
};

/** Asked for each frame: made once per layer and record. */
const known = new WeakMap<
  Generation,
  { readonly of: Volume | undefined; readonly volume: Volume }
>();

/**
 * The layer as a volume of its own.
 * @param of the record of the volume that wrote it, if there still is one
 */
export function layerVolume(layer: Generation, of: Volume | undefined): Volume {
  const found = known.get(layer);
  if (found !== undefined && found.of === of) return found.volume;
  const { id, family, policy } = layer;
  const volume: Volume = {
    id: layer.volume,
    name: layer.tag === '' ? layer.name || (of?.name ?? '') : `${layer.name}@${layer.tag}`,
    ...{ family, policy, head: id },
    sizeBytes: layer.sizeBytes,
    // Without a record nobody can say that no write of it was ever confirmed before its sync: only sure members are read.
    durability: of?.durability ?? 'writeback',
    attachMode: 'shared-read',
    ioTimeoutMs: of?.ioTimeoutMs ?? 0,
    isProtected: layer.isProtected,
    // Of the volume's own guests: readers of its snapshots are not theirs.
    rates: NO_RATES,
    lock: NO_LOCK,
  };
  known.set(layer, { of, volume });
  return volume;
}
