import test from 'ava';
import { HASH48_LIMIT, hash32, hash48, hashText, shuffled } from '../../src/core/hash.ts';

// The values are part of the disk format: other values would move all data of a running cluster.
test('hash: known answers stay', (t) => {
  t.is(hash32(0, 0), KNOWN.pairOfZeroes);
  t.is(hash32(1, 17), KNOWN.pair);
  t.is(hash48(1, 2, 3), KNOWN.triple);
  t.is(hashText('sheepdog'), KNOWN.text);
});

const KNOWN = {
  pairOfZeroes: 2349614919,
  pair: 1211879603,
  triple: 71066671083939,
  text: 2015144303,
};

test('hash: results are exact integers below 2^48', (t) => {
  let highest = 0;
  for (let i = 0; i < 20000; i += 1) {
    const value = hash48(i, i * 3, 0xffffffff - i);
    t.true(Number.isInteger(value) && value >= 0 && value < HASH48_LIMIT);
    highest = Math.max(highest, value);
  }
  t.true(highest > HASH48_LIMIT * 0.99, 'the high bits are used');
});

// Method: flip one input bit; on average half of the 48 output bits must change, for each input bit.
test('hash: each input bit changes half of the output bits', (t) => {
  for (let bit = 0; bit < 96; bit += 1) {
    const words = [0, 0, 0];
    words[bit >> 5] = (1 << (bit & 31)) >>> 0;
    let changed = 0;
    const samples = 400;
    for (let i = 0; i < samples; i += 1) {
      const a = hash48(i, i * 7 + 1, i * 13 + 5);
      const b = hash48(
        (i ^ (words[0] as number)) >>> 0,
        ((i * 7 + 1) ^ (words[1] as number)) >>> 0,
        ((i * 13 + 5) ^ (words[2] as number)) >>> 0,
      );
      changed +=
        bitsOf(Math.floor(a / 65536) ^ Math.floor(b / 65536)) + bitsOf((a % 65536) ^ (b % 65536));
    }
    const share = changed / samples / 48;
    t.true(share > 0.45 && share < 0.55, `input bit ${bit}: ${share}`);
  }
});

function bitsOf(value: number): number {
  let count = 0;
  for (let rest = value >>> 0; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}

// Method: chi-squared of 64 buckets over 64000 consecutive inputs; 63 degrees of freedom, 120 is beyond 1 in 10^5.
test('hash: small consecutive inputs spread evenly', (t) => {
  for (const hash of [
    (i: number) => hash32(1, i) % 64,
    (i: number) => Math.floor(hash48(i, 0, 0) / 2 ** 42),
  ]) {
    const buckets = new Array<number>(64).fill(0);
    for (let i = 0; i < 64000; i += 1) {
      const bucket = hash(i);
      buckets[bucket] = (buckets[bucket] as number) + 1;
    }
    const chi = buckets.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    t.true(chi < 120, `chi-squared ${chi}`);
  }
});

test('hash: a shuffle is a permutation, drawn by its seed', (t) => {
  const items = Array.from({ length: 50 }, (_, i) => i);
  t.deepEqual(shuffled(items, 7), shuffled(items, 7));
  t.notDeepEqual(shuffled(items, 7), shuffled(items, 8));
  t.deepEqual(
    shuffled(items, 7).sort((a, b) => a - b),
    items,
  );
});
