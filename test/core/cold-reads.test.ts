// Method: hand-made times of reads, from a disk that is well to one that takes half a second for each read.

import test from 'ava';
import {
  BLOCKED_WINDOW_MS,
  ColdReads,
  DISK_READ_MS,
  MAX_BLOCKED_MS,
  MAX_COLD_MS,
  MIN_COLD_MS,
} from '../../src/core/cold-reads.ts';

test('reads from memory, however many, are waited for', (t) => {
  const reads = new ColdReads();
  for (let n = 0; n < 10_000; n += 1) t.is(reads.took(n * 0.1, n * 0.1 + DISK_READ_MS / 2), 0);
  t.true(reads.mayBlock(1000));
});

test('reads of a disk that is well, few in a second, are waited for', (t) => {
  const reads = new ColdReads();
  for (let n = 0; n < 100; n += 1)
    t.is(reads.took(n * BLOCKED_WINDOW_MS, n * BLOCKED_WINDOW_MS + 10), 0);
});

test('many short reads of the disk within a second end it as well as one long one', (t) => {
  const reads = new ColdReads();
  let [at, lostMs] = [0, 0];
  while (reads.mayBlock(at)) {
    reads.took(at, at + 8);
    at += 8;
    lostMs += 8;
  }
  t.true(lostMs < MAX_BLOCKED_MS + 8, `${lostMs} ms`);
  t.false(reads.mayBlock(at + MIN_COLD_MS - 1));
  t.true(reads.mayBlock(at + MIN_COLD_MS));
});

test('a disk that stays slow takes less and less from everybody, one that was slow once is forgiven', (t) => {
  const reads = new ColdReads();
  const READ_MS = 500;
  const HOUR_MS = 3_600_000;
  let [at, count] = [0, 0];
  while (at < HOUR_MS) {
    const coldMs = reads.took(at, at + READ_MS);
    t.true(coldMs >= MIN_COLD_MS && coldMs <= MAX_COLD_MS);
    at += READ_MS + coldMs;
    count += 1;
  }
  t.true(count < 40, `${count} reads of an hour were waited for`);
  const later = at + 2 * MAX_COLD_MS;
  t.is(reads.took(later, later + READ_MS), MIN_COLD_MS);
});

test('a slow read during which nothing came from the disk was the wait for a processor', (t) => {
  const reads = new ColdReads();
  for (let n = 0; n < 50; n += 1) {
    const at = n * 20;
    t.is(
      reads.took(at, at + 10, () => 8),
      0,
    );
  }
  t.true(reads.mayBlock(1000));
  let coldMs = 0;
  for (let n = 0; n < 50; n += 1) coldMs += reads.took(1000 + n, 1010 + n, () => 8 + n);
  t.true(coldMs >= MIN_COLD_MS);
});
