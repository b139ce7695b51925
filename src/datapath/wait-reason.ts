// Why a guest's request was not answered in time, in words for its error text: who holds the lock, or which partition of it
// lacks copies. A guess by this node's view at that moment: what it waited for may just have come.

import { messageOf } from '../core/errors.ts';
import { OBJECT_BYTES } from '../core/units.ts';
import type { ClusterView, Volume } from '../core/view.ts';
import { planWrite } from '../core/write-plan.ts';
import { configOf, isUp, partitionOfObject } from './context.ts';
import type { OpenVolume } from './open-volume.ts';

/** Objects of one request that are looked at: a range of zeroes may be 4 GiB. */
const MAX_LOOKED_AT = 64;

/** '' when nothing is known to be in the way. */
export function waitReason(
  open: Pick<OpenVolume, 'volume' | 'state' | 'holder' | 'error'>,
  view: ClusterView,
  range: { readonly offset: number; readonly length: number },
): string {
  const { volume, state } = open;
  if (state === 'lost') return messageOf(open.error);
  if (state === 'standby') return `n${open.holder} holds ${volume.name}`;
  if (state !== 'held') return `the lock of ${volume.name} was not to be had: is a quorum there?`;
  return copiesMissing(view, volume, range);
}

function copiesMissing(
  view: ClusterView,
  volume: Volume,
  { offset, length }: { readonly offset: number; readonly length: number },
): string {
  const first = Math.floor(offset / OBJECT_BYTES);
  const last = Math.floor((offset + Math.max(1, length) - 1) / OBJECT_BYTES);
  const policy = view.policies.get(volume.policy);
  if (policy === undefined) return '';
  for (let index = first; index <= Math.min(last, first + MAX_LOOKED_AT - 1); index += 1) {
    const config = configOf(view, volume, partitionOfObject(view, volume, index));
    const { halted } = planWrite(config, policy, (node) => isUp(view, node));
    if (halted !== undefined) return `${volume.name} is short of copies: ${halted}`;
  }
  return '';
}
