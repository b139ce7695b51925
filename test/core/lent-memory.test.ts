// Lent memory: used again once it was given back, and by one borrower at a time.

import test from 'ava';
import fc from 'fast-check';
import {
  keepMemory,
  lendMemory,
  MAX_LENT_BYTES,
  MAX_SPARE_BYTES,
  MIN_LENT_BYTES,
  returnMemory,
  trimSpareMemory,
} from '../../src/core/lent-memory.ts';
import { KIB, MIB } from '../../src/core/units.ts';

test.serial('what is given back is lent again; what is held is nobody else’s', (t) => {
  const first = lendMemory(MIB);
  const second = lendMemory(MIB);
  t.is(first.length, MIB);
  t.not(first.buffer, second.buffer);
  // Any part stands for the whole.
  returnMemory(first.subarray(100, 200));
  const third = lendMemory(MIB + 100 * KIB);
  t.is(third.buffer, first.buffer);
  t.is(third.length, MIB + 100 * KIB);
  t.not(lendMemory(MIB).buffer, third.buffer);
  returnMemory(third);
  returnMemory(third);
  t.not(lendMemory(MIB).buffer, lendMemory(MIB).buffer, 'given back twice is given back once');
});

test.serial('short and long parts, what was kept and what was never lent stay out of it', (t) => {
  const short = lendMemory(MIN_LENT_BYTES - 1);
  const long = lendMemory(MAX_LENT_BYTES + 1);
  const foreign = new Uint8Array(MIB);
  const kept = lendMemory(MIB);
  keepMemory(kept.subarray(5, 6));
  for (const part of [short, long, foreign, kept]) returnMemory(part);
  const gone = new Set([short, long, foreign, kept].map(({ buffer }) => buffer));
  const lengths = [MIN_LENT_BYTES, 4 * KIB, 64 * KIB, MIB, MAX_LENT_BYTES];
  for (const length of lengths) t.false(gone.has(lendMemory(length).buffer), `${length}`);
});

test.serial('a bounded number of bytes waits, of the sizes that are used', (t) => {
  for (const bytes of [4 * KIB, MIB, MAX_LENT_BYTES]) {
    const parts = Array.from({ length: (2 * MAX_SPARE_BYTES) / bytes }, () => lendMemory(bytes));
    for (const part of parts) returnMemory(part);
    const known = new Set(parts.map(({ buffer }) => buffer));
    const again = parts.map(() => lendMemory(bytes).buffer);
    const waited = again.filter((buffer) => known.has(buffer));
    const spare = waited.reduce((sum, { byteLength }) => sum + byteLength, 0);
    t.true(spare <= MAX_SPARE_BYTES && spare > MAX_SPARE_BYTES * 0.6, `${bytes}: ${spare}`);
    t.is(new Set(again).size, again.length);
  }
});

test.serial('what nobody needed since the last trim goes back to the system, and no more', (t) => {
  trimSpareMemory();
  trimSpareMemory();
  const parts = [1, 2, 3, 4].map(() => lendMemory(MIB));
  for (const part of parts) returnMemory(part);
  trimSpareMemory();
  t.is(parts.filter(({ buffer }) => buffer.byteLength > 0).length, 4, 'all were needed meanwhile');
  const again = [lendMemory(MIB), lendMemory(MIB)];
  for (const part of again) returnMemory(part);
  trimSpareMemory();
  t.is(parts.filter(({ buffer }) => buffer.byteLength > 0).length, 2, 'two of them were');
  const next = lendMemory(MIB);
  t.true(parts.some(({ buffer }) => buffer === next.buffer));
});

test.serial('property: two borrowers never share memory, and each has what it asked for', (t) => {
  const step = fc.record({
    bytes: fc.integer({ min: 0, max: 5 * MIB }),
    ends: fc.integer({ min: 0, max: 7 }),
    isKept: fc.boolean(),
  });
  const holds = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const held: Uint8Array[] = [];
    for (const { bytes, ends, isKept } of steps) {
      const part = lendMemory(bytes);
      t.is(part.length, bytes);
      t.false(held.some(({ buffer }) => bytes >= MIN_LENT_BYTES && buffer === part.buffer));
      held.push(part);
      const [over] = held.splice(ends, 1);
      if (over === undefined) continue;
      if (isKept) keepMemory(over);
      returnMemory(over);
    }
  });
  fc.assert(holds, { numRuns: 100 });
});
