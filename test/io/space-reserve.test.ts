// The reserve of a data directory on a small file system: it holds real blocks, is given up when a start finds no space, is
// not made where it would take what guests may write, and comes back with the space.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import type { ExecutionContext } from 'ava';
import { MIB } from '../../src/core/units.ts';
import {
  giveReserve,
  keepReserve,
  RESERVE_BYTES,
  RESERVE_FILE,
  RESERVE_LOOK_MS,
  START_NEEDS_BYTES,
} from '../../src/io/space-reserve.ts';
import type { Clock, TimerHandle } from '../../src/ports/ports.ts';
import { missingMounts, Tmpfs } from '../e2e/disks.ts';
import { declareUnless } from '../nbd/tools.ts';

const TRACE = { event: () => undefined, warn: () => undefined, count: () => undefined };
const FILLER = 'filler';

/** Time passes by hand; what is due soon runs at once, one after the other. */
class HandClock {
  readonly timers: { readonly ms: number; readonly fn: () => void }[] = [];
  readonly #soon: (() => void)[] = [];
  readonly clock: Clock = {
    now: () => 0,
    date: () => 0,
    soon: (fn) => void this.#soon.push(fn),
    setTimer: (ms, fn) => {
      this.timers.push({ ms, fn });
      return {} as TimerHandle;
    },
    clearTimer: () => undefined,
  };
  run(): void {
    for (let fn = this.#soon.shift(); fn !== undefined; fn = this.#soon.shift()) fn();
  }
}

function withDisk(body: (t: ExecutionContext, disk: Tmpfs, folder: string) => void) {
  return async (t: ExecutionContext): Promise<void> => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-reserve-'));
    const disk = new Tmpfs(folder, '256m');
    try {
      body(t, disk, folder);
    } finally {
      disk.remove();
      fs.rmSync(folder, { recursive: true, force: true });
    }
  };
}

/** Takes all that is free but so much. */
function fill(folder: string, leaveBytes: number): void {
  const { bavail, bsize } = fs.statfsSync(folder);
  const bytes = bavail * bsize - leaveBytes;
  fs.writeFileSync(path.join(folder, FILLER), new Uint8Array(bytes));
}

function reserved(folder: string): number {
  const stat = fs.statSync(path.join(folder, RESERVE_FILE), { throwIfNoEntry: false });
  return (stat?.blocks ?? 0) * 512;
}

const declare = declareUnless(missingMounts(), 'expected');

declare(
  'as root: the reserve is real, is given up by a start without space, and only then',
  withDisk((t, _disk, folder) => {
    const hand = new HandClock();
    const stop = keepReserve(folder, hand.clock, TRACE);
    hand.run();
    stop();
    t.is(reserved(folder), RESERVE_BYTES);
    t.false(giveReserve(folder), 'there is space');
    fill(folder, START_NEEDS_BYTES);
    t.false(giveReserve(folder), 'enough for a start');
    fs.rmSync(path.join(folder, FILLER));
    fill(folder, 0);
    t.throws(() => fs.writeFileSync(path.join(folder, 'superblock.new'), 'x'), { code: 'ENOSPC' });
    t.true(giveReserve(folder));
    fs.writeFileSync(path.join(folder, 'superblock.new'), new Uint8Array(MIB));
    t.is(reserved(folder), 0);
    t.false(giveReserve(folder), 'once');
  }),
);

declare(
  'as root: the reserve is not made on a disk that is nearly full, and made when space is back',
  withDisk((t, _disk, folder) => {
    fill(folder, 40 * MIB);
    const hand = new HandClock();
    const stop = keepReserve(folder, hand.clock, TRACE);
    hand.run();
    t.is(reserved(folder), 0);
    fs.rmSync(path.join(folder, FILLER));
    const [timer] = hand.timers;
    t.is(timer?.ms, RESERVE_LOOK_MS);
    timer?.fn();
    hand.run();
    stop();
    t.is(reserved(folder), RESERVE_BYTES);
  }),
);
