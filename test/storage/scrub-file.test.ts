// What a node remembers of its scrubs: kept over restarts, and worth nothing when it is damaged.

import test from 'ava';
import { afterPartition, freshMemo, withRun } from '../../src/core/scrub.ts';
import { loadScrubMemo, saveScrubMemo } from '../../src/storage/scrub-file.ts';
import { CrashWorld } from './crash-world.ts';

const MEMO = {
  ...afterPartition(
    withRun(freshMemo(1_700_000_000_000), 'deep', 5e12, 1_700_000_000_123),
    4095,
    4e12,
  ),
  isPaused: true,
  repairs: { sectors: 7, objects: 2, lastMs: 1_700_000_000_456 },
};

async function saved(world: CrashWorld): Promise<void> {
  let isDone = false;
  saveScrubMemo(world.disk(), MEMO, () => {
    isDone = true;
  });
  await world.runUntil(() => isDone);
}

test('scrub file: what was saved is there after a power loss, a pause included', async (t) => {
  const world = new CrashWorld(1);
  t.is(loadScrubMemo(world.disk(), world.clock(), world.trace()).run, undefined);
  await saved(world);
  world.crash(0);
  world.restart();
  t.deepEqual(loadScrubMemo(world.disk(), world.clock(), world.trace()), MEMO);
});

test('scrub file: with any bit of it turned, scrubbing begins anew and says so', async (t) => {
  const world = new CrashWorld(2);
  await saved(world);
  for (let bit = 0; bit < 512 * 8; bit += 7) {
    const turn = (byte: number): number => byte ^ (1 << (bit % 8));
    world.damage('scrub', Math.floor(bit / 8), turn);
    const memo = loadScrubMemo(world.disk(), world.clock(), world.trace());
    t.deepEqual([memo.run, memo.isPaused], [undefined, false], `bit ${bit}`);
    world.damage('scrub', Math.floor(bit / 8), turn);
  }
  t.true(world.warnings.every((text) => text.startsWith('scrub.memo-damaged')));
  t.deepEqual(loadScrubMemo(world.disk(), world.clock(), world.trace()), MEMO);
});
