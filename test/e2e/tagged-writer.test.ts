// The judge of the kill tests, judged: over a volume in memory it must accept what is right and see every kind of loss.

import test from 'ava';
import { OperatingError } from '../../src/core/errors.ts';
import { MIB } from '../../src/core/units.ts';
import { ERRNO } from '../../src/nbd/nbd-codec.ts';
import { MemoryVolume } from '../nbd/memory-volume.ts';
import { serve } from '../nbd/served.ts';
import { TaggedWriter, taggedBlock } from './tagged-writer.ts';

const SHAPE = { volume: 'vol', blocks: 256, blockBytes: 8192, inFlight: 8 };

test('the writer finds its blocks again, and sees each kind of loss', async (t) => {
  const volume = new MemoryVolume('vol', 2 * MIB);
  const served = await serve([volume]);
  t.teardown(() => served.stop());
  const writer = new TaggedWriter({ socket: served.socket, ...SHAPE });
  await writer.start();
  await writer.acknowledgements(2000);
  await writer.stop();
  await writer.verify(t, served.socket);

  const block = writer.issued.findIndex((sequence) => sequence > 300);
  const at = block * SHAPE.blockBytes;
  const good = volume.bytes.slice(at, at + SHAPE.blockBytes);
  const losses: Record<string, (bytes: Uint8Array) => void> = {
    'never written': (bytes) => bytes.fill(0),
    'an older write': (bytes) => new DataView(bytes.buffer, bytes.byteOffset).setUint32(4, 7, true),
    'the wrong place': (bytes) =>
      new DataView(bytes.buffer, bytes.byteOffset).setUint32(512, block + 1, true),
    'a torn sector': (bytes) => bytes.fill(255, 4096 + 100, 4096 + 200),
  };
  for (const [what, damage] of Object.entries(losses)) {
    damage(volume.bytes.subarray(at, at + SHAPE.blockBytes));
    const attempt = await t.try(async (inner) => {
      await writer.verify(inner, served.socket);
    });
    attempt.discard();
    t.false(attempt.passed, what);
    volume.bytes.set(good, at);
  }
});

test('a writer that starts again remembers; what was once read as written must stay', async (t) => {
  const volume = new MemoryVolume('vol', 2 * MIB);
  const served = await serve([volume]);
  t.teardown(() => served.stop());
  const writer = new TaggedWriter({ socket: served.socket, ...SHAPE });
  await writer.start();
  await writer.acknowledgements(100);
  volume.failure = new OperatingError('no-space', 'full');
  await writer.stop();
  volume.failure = undefined;

  const older = volume.bytes.slice();
  const held = new DataView(older.buffer);
  const block = writer.issued.findIndex(
    (sequence, b) => held.getUint32(b * SHAPE.blockBytes + 4, true) !== sequence,
  );
  t.true(block >= 0, 'a write is left unacknowledged');
  const at = block * SHAPE.blockBytes;
  const unacknowledged = taggedBlock(block, writer.issued[block] ?? 0, SHAPE.blockBytes);
  volume.bytes.set(unacknowledged.subarray(0, 512), at);
  await writer.verify(t, served.socket);
  volume.bytes.set(older.subarray(at, at + 512), at);
  const attempt = await t.try((inner) => writer.verify(inner, served.socket));
  attempt.discard();
  t.false(attempt.passed, 'a sector that was read as written went back');
  volume.bytes.set(unacknowledged.subarray(0, 512), at);

  const before = writer.acknowledgedCount;
  await writer.start();
  await writer.acknowledgements(before + 10);
  await writer.stop();
  t.deepEqual(writer.problems.slice(1), []);
  t.true(writer.acknowledgedCount >= before + 10);
});

test('refused writes are told apart from a lost connection', async (t) => {
  const volume = new MemoryVolume('vol', 2 * MIB);
  const served = await serve([volume]);
  t.teardown(() => served.stop());
  const writer = new TaggedWriter({ socket: served.socket, ...SHAPE });
  await writer.start();
  await writer.acknowledgements(100);
  volume.failure = new OperatingError('no-space', 'full');
  await writer.stop();
  t.true(writer.errors.every((errno) => errno === ERRNO.ENOSPC));
});
