import test from 'ava';
import fc from 'fast-check';
import { KIB, MIB } from '../../src/core/units.ts';
import { COMMAND_FLAG, HOLE_CHUNK_BYTES, READ_CHUNK_BYTES } from '../../src/nbd/nbd-codec.ts';
import { HOLE_GRAIN_BYTES, isZero, sparsePieces } from '../../src/nbd/sparse-reply.ts';
import { attachedRig, joined, request, simpleReplies, structuredReplies } from './duplex.ts';
import { MemoryVolume } from './memory-volume.ts';

const HOLE = 2;

test('isZero sees one bit anywhere', (t) => {
  const bytes = new Uint8Array(9000);
  t.true(isZero(bytes, 100, 8192));
  for (const at of [100, 101, 4000, 4196, 8290, 8291]) {
    bytes[at] = 1;
    t.false(isZero(bytes, 100, 8192), `${at}`);
    bytes[at] = 0;
  }
  bytes[99] = 1;
  bytes[8292] = 1;
  t.true(isZero(bytes, 100, 8192), 'neighbours do not count');
});

// Method: any pattern of zero and other blocks at any offset; a client that puts the chunks together must have the bytes,
// every byte once, in order, with exactly one chunk marked as the last.
test('the chunks of a sparse reply are the data', (t) => {
  const block = HOLE_GRAIN_BYTES;
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('zero', 'one byte', 'full'), { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 0, max: 2 * block }),
      fc.integer({ min: 1, max: 9 * block }),
      (kinds, start, wanted) => {
        const volume = new Uint8Array(kinds.length * block);
        kinds.forEach((kind, i) => {
          if (kind === 'full') volume.fill(1 + i, i * block, (i + 1) * block);
          if (kind === 'one byte') volume[i * block + ((i * 7919) % block)] = 9;
        });
        const offset = Math.min(start, volume.length - 1);
        const length = Math.min(wanted, volume.length - offset);
        const reply = joined(
          new Uint8Array(READ_CHUNK_BYTES),
          volume.subarray(offset, offset + length),
        );
        const cookie = { cookieHigh: 0, cookieLow: 77 };
        const chunks = structuredReplies(
          joined(...sparsePieces(reply, { ...cookie, offset, length })),
        );
        let at = offset;
        for (const chunk of chunks) {
          t.is(chunk.offset, at);
          at += chunk.data.length;
        }
        t.deepEqual(
          chunks.map((one) => one.isLast),
          chunks.map((_, i) => i === chunks.length - 1),
        );
        t.true(
          Buffer.from(joined(...chunks.map((one) => one.data))).equals(
            volume.subarray(offset, offset + length),
          ),
        );
        const named = chunks.filter((one) => one.type === HOLE);
        for (const { data } of named) t.true(data.length % block === 0 || data.length === length);
      },
    ),
    { numRuns: 60 },
  );
});

test('zeroes are named, not sent: short reads, long ones, and those that had to wait', (t) => {
  const volume = new MemoryVolume('disk', 4 * MIB);
  volume.bytes.fill(5, 64 * KIB, 128 * KIB);
  for (const delayed of [false, true]) {
    volume.delayed = delayed;
    const rig = attachedRig(volume, 'structured');
    const read = (offset: number, length: number, flags = 0) => {
      rig.send(request('read', { cookieLow: 3, offset, length, flags }));
      for (const one of volume.waiting.splice(0)) one.finish();
      rig.clock.settle();
      return rig.channel.take();
    };
    t.is(read(MIB, 512).length, HOLE_CHUNK_BYTES);
    t.is(read(MIB, 2 * MIB).length, HOLE_CHUNK_BYTES);
    const mixed = read(0, 2 * MIB);
    t.is(mixed.length, HOLE_CHUNK_BYTES + READ_CHUNK_BYTES + 64 * KIB + HOLE_CHUNK_BYTES);
    const data = joined(...structuredReplies(mixed).map((one) => one.data));
    t.true(Buffer.from(data).equals(volume.bytes.subarray(0, 2 * MIB)));
    t.is(read(0, 2 * MIB, COMMAND_FLAG.df).length, READ_CHUNK_BYTES + 2 * MIB, 'DF: one chunk');
    t.is(read(64 * KIB, 4096).length, READ_CHUNK_BYTES + 4096);
  }
});

test('a client with simple replies gets the zeroes themselves', (t) => {
  const rig = attachedRig(new MemoryVolume('disk', MIB), 'simple');
  rig.send(
    request('read', { cookieLow: 1, length: 512 }),
    request('read', { cookieLow: 2, length: 128 * KIB }),
  );
  const replies = simpleReplies(rig.channel.take(), (cookie) => (cookie === 1 ? 512 : 128 * KIB));
  t.deepEqual(replies.map((one) => one.data.length).sort(), [128 * KIB, 512]);
});

// Method: a client that reads nothing asks for holes of 32 MiB again and again. Each answer has 32 bytes; what is kept for
// it must not be the 32 MiB that it was made in.
test('answers that nobody reads do not keep the buffers they were made in', (t) => {
  const volume = new MemoryVolume('disk', 32 * MIB);
  const rig = attachedRig(volume, 'structured');
  rig.channel.isStuck = true;
  for (let i = 0; i < 40; i += 1) rig.send(request('read', { cookieLow: i, length: 32 * MIB }));
  t.is(rig.channel.heldBytes, 40 * HOLE_CHUNK_BYTES);
});
