// The judge of the kill tests, judged: over a volume in memory it must accept what is right and see every kind of loss.

import test from 'ava';
import { OperatingError } from '../../src/core/errors.ts';
import { MIB } from '../../src/core/units.ts';
import { ERRNO } from '../../src/nbd/nbd-codec.ts';
import { MemoryVolume } from '../nbd/memory-volume.ts';
import { serve } from '../nbd/served.ts';
import { TaggedWriter } from './tagged-writer.ts';

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

  const block = writer.acknowledged.findIndex((sequence) => sequence > 300);
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
