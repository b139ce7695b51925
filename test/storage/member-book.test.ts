// The book of members: there after a power loss, and worth nothing when it is damaged.

import test from 'ava';
import type { ClusterId, NodeId, PeerKey } from '../../src/core/ids.ts';
import { loadMemberBook, saveMemberBook } from '../../src/storage/member-book.ts';
import { CrashWorld } from './crash-world.ts';

const MEMBERS = [
  { peer: 'peer-2' as PeerKey, addresses: ['/ip4/10.0.0.2/tcp/7001'] },
  { peer: 'peer-3' as PeerKey, addresses: ['/ip4/10.0.0.3/tcp/7001', '/ip4/10.1.0.3/tcp/7001'] },
];

async function save(world: CrashWorld, members = MEMBERS): Promise<void> {
  const node = 1 as NodeId;
  const clusterId = 'ab'.repeat(16) as ClusterId;
  let isDone = false;
  saveMemberBook(world.disk(), { type: 'joined', node, clusterId, members }).then(
    () => {
      isDone = true;
    },
    () => {},
  );
  await world.runUntil(() => isDone);
}

test('member book: what was saved last is there after a power loss', async (t) => {
  const world = new CrashWorld(1);
  t.deepEqual(loadMemberBook(world.disk(), world.trace()), []);
  await save(world, []);
  await save(world);
  world.crash(0);
  world.restart();
  t.deepEqual(loadMemberBook(world.disk(), world.trace()), MEMBERS);
});

test('member book: with any bit turned it says nothing', async (t) => {
  const world = new CrashWorld(2);
  await save(world);
  const size = world.disk().open('members', { create: false })?.sizeSync() ?? 0;
  for (let bit = 0; bit < size * 8; bit += 3) {
    const turn = (byte: number): number => byte ^ (1 << (bit % 8));
    world.damage('members', Math.floor(bit / 8), turn);
    t.deepEqual(loadMemberBook(world.disk(), world.trace()), [], `bit ${bit}`);
    world.damage('members', Math.floor(bit / 8), turn);
  }
  t.deepEqual(loadMemberBook(world.disk(), world.trace()), MEMBERS);
});
