// Parts of pipelines: every byte at its place, in order, with few pieces held, whatever the cuts of the source.

import test from 'ava';
import fc from 'fast-check';
import { hasCode } from '../../src/core/errors.ts';
import { atMost, extentsOf, inOrder, recut, totalOf } from '../../src/streams/pieces.ts';
import { MAX_PIECES_MOVING, readRange, writeRange } from '../../src/streams/volume-copy.ts';

async function* chunksOf(bytes: Uint8Array, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const cut of cuts) {
    yield bytes.subarray(at, at + cut);
    at += cut;
    if (at >= bytes.length) return;
  }
  yield bytes.subarray(at);
}

const draws = fc.record({
  offset: fc.nat({ max: 40 }),
  length: fc.nat({ max: 100 }),
  piece: fc.integer({ min: 1, max: 16 }),
  cuts: fc.array(fc.nat({ max: 20 }), { maxLength: 12 }),
});

/** A volume of 200 bytes that counts who is on the way. */
function memory(pieceBytes: number) {
  const bytes = Uint8Array.from({ length: 200 }, (_, at) => at);
  const seen = { moving: 0, most: 0 };
  const moved = async (): Promise<void> => {
    seen.moving += 1;
    seen.most = Math.max(seen.most, seen.moving);
    await new Promise((resolve) => setImmediate(resolve));
    seen.moving -= 1;
  };
  return {
    ...{ bytes, seen, pieceBytes },
    async read({ offset, length }: { offset: number; length: number }) {
      await moved();
      return bytes.slice(offset, offset + length);
    },
    async write({ offset, bytes: data }: { offset: number; bytes: Uint8Array }) {
      bytes.set(data, offset);
      await moved();
    },
  };
}

test('a range is cut at multiples of a piece, and nothing is left out', (t) => {
  fc.assert(
    fc.property(draws, ({ offset, length, piece }) => {
      const extents = [...extentsOf(offset, length, piece)];
      let at = offset;
      for (const extent of extents) {
        t.is(extent.offset, at);
        t.true(extent.length > 0);
        at += extent.length;
        t.true(at === offset + length || at % piece === 0);
      }
      t.is(at, offset + length);
    }),
  );
});

test('a stream is cut anew on the grid of the volume, however it was cut before', async (t) => {
  await fc.assert(
    fc.asyncProperty(draws, async ({ offset, length, piece, cuts }) => {
      const bytes = Uint8Array.from({ length }, (_, at) => at + 1);
      const back: number[] = [];
      let at = offset;
      for await (const one of recut(offset, piece)(chunksOf(bytes, cuts))) {
        t.is(one.offset, at);
        t.is(Math.floor(at / piece), Math.floor((at + one.bytes.length - 1) / piece), 'one piece');
        back.push(...one.bytes);
        at += one.bytes.length;
      }
      t.deepEqual(Uint8Array.from(back), bytes);
    }),
  );
});

test('read and write: the same bytes, in order, with a few pieces on the way', async (t) => {
  await fc.assert(
    fc.asyncProperty(draws, async ({ offset, length, piece, cuts }) => {
      const volume = memory(piece);
      const bytes = Uint8Array.from({ length }, (_, at) => 255 - at);
      t.is(await writeRange(volume, { offset, length }, chunksOf(bytes, cuts)), length);
      const back: number[] = [];
      const sink = async (part: Uint8Array): Promise<void> => void back.push(...part);
      t.is(await readRange(volume, { offset: 0, length: 200 }, sink), 200);
      const wanted = Uint8Array.from({ length: 200 }, (_, at) => at);
      wanted.set(bytes, offset);
      t.deepEqual(Uint8Array.from(back), wanted);
      t.true(volume.seen.most <= MAX_PIECES_MOVING);
    }),
    { numRuns: 60 },
  );
});

test('a sink that is slow holds up the reads: no more than a few pieces are fetched ahead', async (t) => {
  let fetched = 0;
  let taken = 0;
  const volume = {
    ...memory(10),
    async read({ length }: { length: number }) {
      fetched += 1;
      return new Uint8Array(length);
    },
  };
  await readRange(volume, { offset: 0, length: 200 }, async () => {
    await new Promise((resolve) => setImmediate(resolve));
    taken += 1;
    t.true(fetched - taken <= MAX_PIECES_MOVING + 1, `${fetched} fetched, ${taken} taken`);
  });
  t.is(taken, 20);
});

test('the first failure ends it, after what was begun has ended; nothing is left unobserved', async (t) => {
  let running = 0;
  const work = inOrder(4, async (item: number) => {
    running += 1;
    await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
    if (item >= 2) throw new RangeError(`item ${item}`);
    return item;
  });
  const seen: number[] = [];
  const error = await t.throwsAsync(async () => {
    for await (const item of work([0, 1, 2, 3, 4, 5, 6, 7])) seen.push(item);
  });
  t.is(error?.message, 'item 2');
  t.deepEqual(seen, [0, 1]);
  t.is(running, 0);
});

test('a stream that is too long: what fits is passed on, then it is refused', async (t) => {
  const volume = memory(8);
  const bytes = new Uint8Array(30).fill(7);
  const range = { offset: 190, length: 10, tooLong: 'it ends' };
  const error = await t.throwsAsync(writeRange(volume, range, chunksOf(bytes, [3, 3])));
  t.true(hasCode(error, 'too-large'));
  t.deepEqual(volume.bytes.subarray(190), new Uint8Array(10).fill(7));
  const rest = atMost(30, () => t.fail('it fits'))(chunksOf(bytes, [7]));
  t.is(await totalOf((one: Uint8Array) => one.length)(rest), 30, 'what fits is let through');
});
