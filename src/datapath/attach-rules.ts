// Who may attach a volume beside a live holder (3.2), and the words for those who may not: they name the holder. By this
// node's view; the log has the last word when the lock is wanted.

import { OperatingError } from '../core/errors.ts';
import type { NodeId } from '../core/ids.ts';
import { holderText, isHolderDead } from '../core/lock.ts';
import type { AttachMode, ClusterView, Volume, VolumeLock } from '../core/view.ts';

/**
 * Why this node attaches no further client; undefined: it does.
 * @param hasGuest a client is attached here already
 */
export function attachBar(
  view: ClusterView,
  volume: Volume,
  self: NodeId,
  hasGuest: boolean,
): OperatingError | undefined {
  if (volume.attachMode !== 'exclusive') return undefined;
  const { lock } = volume;
  const isHeld = lock.state === 'held' && lock.node !== self && !isHolderDead(view, lock);
  const isElsewhere = isHeld && !isPreparedFor(view, volume, self);
  if (isElsewhere) return heldError(volume, lock);
  if (!hasGuest) return undefined;
  if (lock.state === 'held' && lock.node === self) return heldError(volume, lock);
  const text = `${volume.name} is exclusive, and a client is attached to it on this node already`;
  return new OperatingError('held', text, { remedy: REMEDY });
}

/** As it is now: it may change while nobody holds the lock. */
export function attachModeOf(view: ClusterView, volume: Volume): AttachMode {
  return view.volumes.get(volume.id)?.attachMode ?? volume.attachMode;
}

/** A hand-over to this node is announced: its client may stand by the holder, in every mode (3.2). */
export function isPreparedFor(view: ClusterView, { id }: Volume, self: NodeId): boolean {
  const lock = view.volumes.get(id)?.lock;
  return lock?.state === 'held' && lock.next === self;
}

const REMEDY = 'detach it there first; dog vdi lock list tells who has it';

/**
 * The volume is another's.
 * @param reason why it was not handed over, as the holder says
 */
export function heldError(
  { name, attachMode }: Pick<Volume, 'name' | 'attachMode'>,
  lock: Pick<VolumeLock, 'node' | 'sinceMs' | 'from'>,
  reason = '',
): OperatingError {
  const mode = attachMode === 'handover' ? '' : `, and its mode is ${attachMode}`;
  const why = reason === '' ? '' : `: ${reason}`;
  const text = `${name} is held by ${holderText(lock)}${mode}${why}`;
  return new OperatingError('held', text, { remedy: REMEDY });
}

/** Nobody writes a volume that all read. */
export function readOnlyError({ name }: Pick<Volume, 'name'>): OperatingError {
  return new OperatingError('held', `${name} is shared for reading: nobody writes it`, {
    remedy: `detach all, then: dog vdi alter ${name} --attach-mode handover`,
  });
}
