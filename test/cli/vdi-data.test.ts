// `dog vdi read` and `dog vdi write`: through the real API, on a volume in memory.

import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { IO_PIECE_BYTES, MAX_IO_HOLDS, VolumeIo } from '../../src/api/volume-io.ts';
import { OperatingError } from '../../src/core/errors.ts';
import { FakeNode } from '../api/fake-node.ts';
import { served } from '../api/served.ts';
import { clusterOf, entryBodies } from '../fixtures.ts';
import { MemoryVolume } from '../nbd/memory-volume.ts';
import { dog } from './dog.ts';

const SIZE = 3 * IO_PIECE_BYTES;

async function sheep(t: ExecutionContext) {
  const node = new FakeNode(clusterOf({ nodes: 2 }), 1);
  const { socketPath } = await served(t, node);
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  await node.createVolume({ name: 'db', sizeBytes: SIZE });
  const volume = new MemoryVolume('db', SIZE);
  node.sessions.set('db', volume);
  const run = (args: string[], stdin?: Uint8Array) => {
    return dog(['vdi', ...args], env, undefined, undefined, stdin);
  };
  return { node, volume, run };
}

const noise = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8)) % 256);

/** Of megabytes: a comparison that shows the difference takes seconds. */
const isEqual = (one: Uint8Array, other: Uint8Array): boolean => Buffer.from(one).equals(other);

test('vdi write, vdi read: any offset and length, byte by byte, and the session is given back', async (t) => {
  const { volume, run } = await sheep(t);
  const all = noise(SIZE);
  const first = await run(['write', 'db'], all);
  t.is(first.code, 0, first.err);
  t.true(isEqual(volume.bytes, all));
  const read = await run(['read', 'db']);
  t.is(read.code, 0);
  t.true(Buffer.from(read.out, 'latin1').equals(all));
  const odd = noise(IO_PIECE_BYTES + 1001);
  t.is((await run(['write', 'db', '77777'], odd)).code, 0);
  all.set(odd, 77777);
  t.true(isEqual(volume.bytes, all));
  const part = await run(['read', 'db', '77776', '1003']);
  t.true(Buffer.from(part.out, 'latin1').equals(all.subarray(77776, 77776 + 1003)));
  t.is((await run(['read', 'db', '3M'])).out, '', 'the very end');
  t.is(volume.connections, 0);
  t.true(volume.log.includes('flush'), 'a writeback volume is flushed');
});

test('vdi write: too much is 64 and the end is written; too little of what was announced is 1', async (t) => {
  const { volume, run } = await sheep(t);
  const long = await run(['write', 'db', String(SIZE - 10)], new Uint8Array(11).fill(7));
  t.is(long.code, 64);
  t.regex(long.err, /the volume ends at 3145728; what fits is written/);
  t.deepEqual(volume.bytes.subarray(SIZE - 10), new Uint8Array(10).fill(7));
  t.is((await run(['write', 'db', '0', '4'], new Uint8Array(9).fill(1))).code, 0, 'the first 4');
  t.deepEqual([...volume.bytes.subarray(0, 5)], [1, 1, 1, 1, 0]);
  const short = await run(['write', 'db', '0', '8'], new Uint8Array(5));
  t.is(short.code, 1, short.err);
  t.regex(short.err, /stdin ended after 5 bytes, not 8/);
  t.is(volume.connections, 0);
});

test('vdi read, write: ranges beyond the volume, missing ones, and a held one are refused politely', async (t) => {
  const { node, volume, run } = await sheep(t);
  t.is((await run(['read', 'db', '3M', '1'])).code, 64);
  t.is((await run(['read', 'db', 'x'])).code, 64);
  t.is((await run(['read', 'none'])).code, 5);
  node.cell.apply(entryBodies.lockAcquire({ token: 0, node: 2 }));
  const held = await run(['write', 'db'], noise(10));
  t.is(held.code, 6);
  t.regex(held.err, /db is in use through n2[\s\S]*disconnect its guest first/);
  t.is(volume.connections, 0);
  t.true(isEqual(volume.bytes, new Uint8Array(SIZE)));
});

test('vdi write: what the volume says is said, and the session is given back', async (t) => {
  const { volume, run } = await sheep(t);
  volume.failure = new OperatingError('no-space', 'the disks are full');
  const failed = await run(['write', 'db'], noise(IO_PIECE_BYTES * 2));
  t.is(failed.code, 4);
  t.regex(failed.err, /the disks are full/);
  t.is(volume.connections, 0);
});

function fakeIo(idleMs?: number) {
  const node = new FakeNode(clusterOf({ nodes: 2 }), 1);
  node.cell.apply(entryBodies.volumeCreate({ name: 'db', sizeBytes: SIZE }));
  const volume = new MemoryVolume('db', SIZE);
  node.sessions.set('db', volume);
  return { volume, io: new VolumeIo(node, idleMs) };
}

test('a hold that nobody uses ends by itself; one whose piece waits does not', async (t) => {
  const { volume, io } = fakeIo(20);
  const idle = await io.open('db', 'test');
  const waits = await io.open('db', 'test');
  volume.delayed = true;
  const read = io.read(waits.id, 0, 512);
  while (io.holds > 1) await pause(5);
  t.is(volume.connections, 1);
  await t.throwsAsync(io.read(idle.id, 0, 512), { code: 'missing' });
  await pause(60);
  t.is(io.holds, 1, 'its piece is on the way');
  volume.waiting.pop()?.finish();
  await read;
  while (io.holds > 0) await pause(5);
  t.is(volume.connections, 0);
  await io.end(waits.id);
});

test('holds, pieces and their sizes are bounded; the end of the node ends all', async (t) => {
  const { volume, io } = fakeIo();
  const { id } = await io.open('db', 'test');
  for (let at = 1; at < MAX_IO_HOLDS; at += 1) await io.open('db', 'test');
  await t.throwsAsync(io.open('db', 'test'), { code: 'busy' });
  await t.throwsAsync(io.read(id, 0, 0), { code: 'usage' });
  await t.throwsAsync(io.read(id, 0, IO_PIECE_BYTES + 1), { code: 'usage' });
  volume.delayed = true;
  const reads = Array.from({ length: 8 }, () => io.read(id, 0, 1));
  await t.throwsAsync(io.read(id, 0, 1), { code: 'busy' });
  for (const one of volume.waiting.splice(0)) one.finish();
  await Promise.all(reads);
  await io.stop();
  t.is(volume.connections, 0);
  t.is(io.holds, 0);
});
