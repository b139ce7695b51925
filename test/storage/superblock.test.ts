// The superblock: one synced step per change, an incarnation that only grows, a clean stop that is believed once (C4.3).

import test from 'ava';
import { hasCode } from '../../src/core/errors.ts';
import type { ClusterId, NodeId, PeerKey } from '../../src/core/ids.ts';
import { BLOCK_BYTES, DISK_FORMAT_VERSION, sealBlock } from '../../src/storage/layout.ts';
import { openSuperblock, type Superblock } from '../../src/storage/superblock.ts';
import { wipeData } from '../../src/storage/wipe.ts';
import { CrashWorld, PowerLoss } from './crash-world.ts';

const CLUSTER = '00112233445566778899aabbccddeeff' as ClusterId;

async function opened(world: CrashWorld): Promise<Superblock> {
  let result: Superblock | undefined;
  let failure: unknown;
  openSuperblock(world.disk(), world.random).then(
    (superblock) => {
      result = superblock;
    },
    (error: unknown) => {
      failure = error;
    },
  );
  await world.runUntil(() => result !== undefined || failure !== undefined);
  if (failure !== undefined) throw failure;
  if (result === undefined) throw new TypeError('the power went');
  return result;
}

async function done(world: CrashWorld, work: Promise<unknown>): Promise<void> {
  let isOver = false;
  let failure: unknown;
  work.then(
    () => {
      isOver = true;
    },
    (error: unknown) => {
      failure = error;
    },
  );
  await world.runUntil(() => isOver || failure !== undefined);
  if (failure !== undefined) throw failure;
}

test('superblock: identity survives a crash, the incarnation grows with each start', async (t) => {
  const world = new CrashWorld(1);
  const first = await opened(world);
  t.true(first.isFresh);
  t.is(first.incarnation as number, 1);
  const identity = { clusterId: CLUSTER, node: 3 as NodeId, peerKey: '12D3KooWabc' as PeerKey };
  await done(world, first.adopt(identity));
  await done(world, first.raiseIncarnation());
  t.is(first.incarnation as number, 2);
  world.crash(0);
  world.restart();
  const second = await opened(world);
  t.false(second.isFresh);
  t.is(second.incarnation as number, 3);
  t.deepEqual([second.clusterId, second.node, second.peerKey], [
    CLUSTER,
    3,
    '12D3KooWabc',
  ] as never);
  t.is(second.storeGeneration, first.storeGeneration);
});

test('superblock: a clean stop is believed by the next start only (C4.3)', async (t) => {
  const world = new CrashWorld(2);
  const first = await opened(world);
  t.false(first.wasClean);
  await done(world, first.markClean());
  world.crash(0);
  world.restart();
  t.true((await opened(world)).wasClean);
  world.crash(0);
  world.restart();
  t.false((await opened(world)).wasClean);
});

test('superblock: a crash at any operation of a start leaves it readable, the incarnation never goes back', async (t) => {
  for (let step = 1; step < 40; step += 1) {
    const world = new CrashWorld(step);
    const first = await opened(world);
    await done(world, first.adopt({ clusterId: CLUSTER, node: 1 as NodeId }));
    world.crashAt = world.operations + (step % 7) + 1;
    await done(world, first.raiseIncarnation()).catch((error: unknown) => {
      if (!(error instanceof PowerLoss)) throw error;
    });
    const reached = first.incarnation;
    if (!world.isDead) world.crash();
    world.restart();
    const second = await opened(world);
    t.true(second.incarnation > reached, `seed ${step}`);
    t.is(second.node as number | undefined, 1);
  }
});

test('superblock: a stranger and damage are refused with a cure', async (t) => {
  const world = new CrashWorld(3);
  const superblock = await opened(world);
  await done(world, superblock.adopt({ clusterId: CLUSTER }));
  const other = CLUSTER.replace('0', '1') as ClusterId;
  const stranger = await t.throwsAsync(done(world, superblock.adopt({ clusterId: other })));
  t.true(hasCode(stranger, 'wrong-cluster') && stranger.remedy !== '');
  t.is(superblock.clusterId, CLUSTER);
  world.restart();
  world.damage('superblock', 30, (byte) => byte ^ 1);
  const damaged = await t.throwsAsync(opened(world));
  t.true(hasCode(damaged, 'corrupt') && damaged.message.includes('superblock'));
  t.true(hasCode(damaged, 'corrupt') && damaged.remedy !== '');
});

test('superblock: a newer format is refused by name, with the cure', async (t) => {
  const world = new CrashWorld(4);
  await opened(world);
  const file = world.disk().open('superblock', { create: false });
  const block = new Uint8Array(BLOCK_BYTES);
  file?.readSync(block, 0, BLOCK_BYTES, 0);
  block[4] = DISK_FORMAT_VERSION + 1;
  sealBlock(block);
  file?.writeSync(block, 0);
  const error = await t.throwsAsync(opened(world));
  t.true(hasCode(error, 'newer-format') && error.message.includes('superblock has format 2'));
  t.true(hasCode(error, 'newer-format') && error.remedy.includes('newer version'));
});

/** Files of a member; their contents do not matter to a wipe. */
async function memberFiles(world: CrashWorld): Promise<void> {
  const disk = world.disk();
  for (const name of ['journal', 'map.log', 'index.00000001']) {
    const file = disk.open(name, { create: true });
    file?.writeSync(Uint8Array.of(1), 0);
    await done(world, new Promise<void>((resolve) => file?.sync(() => resolve())));
    file?.close();
  }
  await done(world, new Promise<void>((resolve) => disk.syncFolder('', () => resolve())));
}

test('superblock: lost beside a journal it is damage, not an empty disk', async (t) => {
  const world = new CrashWorld(5);
  await opened(world);
  await memberFiles(world);
  world.removeFile('superblock');
  const error = await t.throwsAsync(opened(world));
  t.true(hasCode(error, 'corrupt') && /superblock is missing/.test(error.message));
  t.false(world.paths().includes('superblock'), 'and none is made');
});

test('wipe: whatever the moment of a crash, the next start is a member as before, or blank', async (t) => {
  let blank = 0;
  let whole = 0;
  for (let run = 0; run < 400; run += 1) {
    const world = new CrashWorld(100 + run);
    const first = await opened(world);
    await done(world, first.adopt({ clusterId: CLUSTER, node: 3 as NodeId }));
    await memberFiles(world);
    world.crashAt = world.operations + 1 + (run % 24);
    const wiping = wipeData(world.disk()).catch((error: unknown) => {
      if (!(error instanceof PowerLoss)) throw error;
    });
    await done(world, wiping);
    if (!world.isDead) world.crash();
    world.restart();
    const second = await opened(world);
    if (second.node === undefined) blank += 1;
    else whole += 1;
    await done(world, wipeData(world.disk()));
    const left = world.paths().filter((name) => !name.includes('/'));
    t.deepEqual(left, [], `run ${run}`);
  }
  t.true(blank > 50 && whole > 10, `${blank} blank, ${whole} whole`);
});
