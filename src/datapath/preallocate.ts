// Thick space: every sector of a range gets bytes of its own in the head, on each copy, so that no later write of it needs
// new space. What is there is written once more; what a clone or snapshot shares becomes the head's own. An object of
// which this node's own copy is thick already is left alone, so that a second run costs little.

import { getSum } from '../core/checksum.ts';
import { slicesOf } from '../core/extent.ts';
import { readersOf } from '../core/partition.ts';
import { OBJECT_BYTES, SECTOR_BYTES } from '../core/units.ts';
import { configOf, type Parts, partitionOfObject } from './context.ts';
import type { HeadPath } from './head-path.ts';
import { partDone, startJob } from './job.ts';
import type { Done } from './volume-session.ts';

interface Range {
  readonly offset: number;
  readonly length: number;
}

/** The caller holds the lock. */
export function preallocate(parts: Parts, head: HeadPath, range: Range, done: Done): void {
  const { offset, length } = range;
  const first = Math.floor(offset / OBJECT_BYTES);
  const last = Math.floor((offset + length - 1) / OBJECT_BYTES);
  const job = startJob(Math.max(0, last - first + 1), done);
  for (let index = first; index <= last; index += 1) {
    const from = Math.max(offset, index * OBJECT_BYTES);
    const to = Math.min(offset + length, (index + 1) * OBJECT_BYTES);
    const part = { offset: from, length: to - from };
    whenThin(parts, head, index, part, (isThin) => {
      if (isThin) rewrite(head, part, (error) => partDone(job, error));
      else partDone(job, undefined);
    });
  }
}

function rewrite(head: HeadPath, { offset, length }: Range, done: Done): void {
  const slices = slicesOf(offset, length);
  const job = startJob(slices.length, done);
  for (const slice of slices) head.rewrite(slice, (error) => partDone(job, error));
}

/** False only where this node reads the object for guests, and each sector of the part has a sum. */
function whenThin(
  { store, views, self }: Parts,
  head: HeadPath,
  index: number,
  { offset, length }: Range,
  then: (isThin: boolean) => void,
): void {
  const volume = head.path?.cell.volume;
  const row = volume && store.row(volume.head, index);
  if (volume === undefined || row?.kind !== 'data') {
    then(true);
    return;
  }
  const view = views.current();
  const config = configOf(view, volume, partitionOfObject(view, volume, index));
  if (!readersOf(config, volume.durability).includes(self)) {
    then(true);
    return;
  }
  store.readSums(volume.head, index, (sums) => {
    const first = Math.floor((offset % OBJECT_BYTES) / SECTOR_BYTES);
    const count = Math.ceil(length / SECTOR_BYTES);
    let isThin = sums === undefined;
    for (let at = first; at < first + count && sums !== undefined; at += 1) {
      if (getSum(sums, at) === 0) isThin = true;
    }
    then(isThin);
  });
}
