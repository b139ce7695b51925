// Mutants of mode writeback (R5, R8). That in-place data ahead of the journal is found, step by step, is shown beside the
// store: test/storage/writeback.test.ts.

import type { Disk, DiskFile } from '../../src/ports/ports.ts';
import { BLOCK_BYTES, SUPERBLOCK_PATH, sealBlock } from '../../src/storage/layout.ts';
import { writebackNodeCrash } from '../scenarios/writeback-node-crash.ts';
import { writebackPowerLoss } from '../scenarios/writeback-power-loss.ts';
import type { Mutant } from './mutant.ts';
import { wrapSessions } from './wrap-session.ts';

const CLEAN_STOP_AT = 16;

/** R5: a flush is acknowledged although nobody was asked to sync. */
export const flushWithoutSync: Mutant = {
  name: 'flush-without-sync',
  breaks: 'R5: a flush is acknowledged after all of W has synced',
  story: writebackPowerLoss,
  wrapBuild: (build) => wrapSessions(build, () => ({ flush: (done) => done(undefined) })),
};

/** R5: a write that is forced through (FUA) is taken for any other. */
export const unforcedWrites: Mutant = {
  name: 'unforced-writes',
  breaks: 'R5: a forced write is durable when it is acknowledged',
  story: writebackPowerLoss,
  wrapBuild: (build) =>
    wrapSessions(build, (session) => ({
      write: (offset, data, done) => session.write(offset, data, done),
    })),
};

/** C4.3, R8: every start finds the record of an orderly stop: nobody is ever doubtful. */
export const crashIsClean: Mutant = {
  name: 'crash-is-clean',
  breaks: 'R8: a start after an unclean stop makes doubtful and raises cfg',
  story: writebackNodeCrash,
  wrapBuild: (build) => (ports, config) =>
    build({ ...ports, disk: withCleanStop(ports.disk) }, config),
};

function withCleanStop(disk: Disk): Disk {
  return withMethod(disk, 'open', (path: string, how: { create: boolean }) => {
    const file = disk.open(path, how);
    if (path !== SUPERBLOCK_PATH || file === undefined) return file;
    return withMethod(file, 'readSync', (bytes, at, length, position) => {
      const count = file.readSync(bytes, at, length, position);
      if (position !== 0 || count < BLOCK_BYTES) return count;
      const block = bytes.subarray(at, at + BLOCK_BYTES);
      new DataView(block.buffer, block.byteOffset).setUint32(CLEAN_STOP_AT, 1, true);
      sealBlock(block);
      return count;
    });
  });
}

/** The same object with one method replaced. */
function withMethod<T extends Disk | DiskFile, K extends keyof T>(
  object: T,
  name: K,
  method: T[K],
): T {
  return new Proxy(object, {
    get(target, key): unknown {
      if (key === name) return method;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

export const WRITEBACK_MUTANTS: readonly Mutant[] = [
  flushWithoutSync,
  unforcedWrites,
  crashIsClean,
];
