// Mutants of a full disk (R2, 4.9): a replica that refuses after it changed something, a holder that gives a refused
// number to other bytes.

import { sumsOf } from '../../src/core/checksum.ts';
import { OperatingError } from '../../src/core/errors.ts';
import { SECTOR_BYTES } from '../../src/core/units.ts';
import type { Disk } from '../../src/ports/ports.ts';
import type { ObjectStore } from '../../src/storage/store-types.ts';
import { decodeFrame, encodeHeaders, OP } from '../../src/wire/frame.ts';
import { fullDisk } from '../scenarios/full-disk.ts';
import type { Mutant } from './mutant.ts';

/** So much free: in the story only disks that fill up have less. */
const LITTLE_BYTES = 64 * 1024 * 1024;

/** The first sector of what comes is written under its number, then the rest is refused. */
function touchThenRefuse(store: ObjectStore, disk: Disk): void {
  const write = store.write.bind(store);
  store.write = (what, data, sums, done) => {
    if (what.count === SECTOR_BYTES || disk.space().freeBytes > LITTLE_BYTES) {
      write(what, data, sums, done);
      return;
    }
    const some = { ...what, count: SECTOR_BYTES };
    write(some, data.subarray(0, SECTOR_BYTES), sums.subarray(0, 4), (error) =>
      done(error ?? new OperatingError('no-space', 'refused after touching')),
    );
  };
}

/** 4.9: NOSPC comes before anything is touched. */
export const refusesAfterTouching: Mutant = {
  name: 'refuses-after-touching',
  breaks: 'I2, 4.9: NOSPC before anything is touched',
  story: fullDisk,
  wrapBuild: (build) => (ports, config) => {
    const handle = build(ports, config);
    const broken = new WeakSet<ObjectStore>();
    handle.onView(() => {
      const { store } = handle.inspect();
      if (store === undefined || broken.has(store)) return;
      broken.add(store);
      touchThenRefuse(store, ports.disk);
    });
    return handle;
  },
};

/** R2, I10: what was refused once comes again under its number, with other bytes. */
export const reusesNumber: Mutant = {
  name: 'reuses-number',
  breaks: 'I10, R2: a number is never given to other bytes',
  story: fullDisk,
  prepare: (stage) => {
    const sent = new Set<string>();
    stage.cable.tamper = ({ plane, to, bytes }) => {
      if (plane !== 'data') return bytes;
      const frame = decodeFrame(bytes);
      const { disk } = stage.node(to);
      if (frame.op !== OP.WRITE || disk.capacityBytes - disk.usedBytes > LITTLE_BYTES) return bytes;
      const number = `${to} ${frame.generation}.${frame.index} ${frame.token}.${frame.verCount}`;
      if (!sent.has(number)) {
        sent.add(number);
        return bytes;
      }
      const payload = new Uint8Array(frame.payload.length).fill(0x77);
      const sums = sumsOf(frame.generation, frame.index, frame.offset, payload);
      return Buffer.concat([encodeHeaders({ ...frame, sums, payload }), payload]);
    };
  },
};
