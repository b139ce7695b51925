// What docs/FORMATS.md says of sector sums and of the folders of objects, written down once more from its words alone, in
// numbers without a width: a script that is made from that page must agree with the program.

import fs from 'node:fs';
import path from 'node:path';
import * as zlib from 'node:zlib';
import test from 'ava';
import fc from 'fast-check';
import { sectorSum } from '../../src/core/checksum.ts';
import { objectPath } from '../../src/storage/layout.ts';

const PAGE = path.join(import.meta.dirname, '..', '..', 'docs', 'FORMATS.md');
const u32 = (value: bigint): bigint => value & 0xffffffffn;

function documented(
  g: number,
  i: number,
  s: number,
  bytes: Uint8Array,
): { sum: string; hh: string } {
  const a = u32(BigInt(g) * 0x9e3779b1n) ^ u32(BigInt(i) * 0x85ebca77n);
  const b = u32((a ^ (a >> 15n) ^ BigInt(s)) * 0xc2b2ae3dn);
  const c = u32((b ^ (b >> 13n) ^ BigInt(i)) * 0x27d4eb2fn);
  const mix = c ^ (c >> 16n);
  const sum = BigInt(zlib.crc32(bytes)) ^ mix;
  const hh = u32((a ^ (a >> 15n)) * 0xc2b2ae3dn) >> 24n;
  return { sum: (sum === 0n ? 1n : sum).toString(16), hh: hh.toString(16).padStart(2, '0') };
}

test('formats: a sum and a folder by the words of the page are those of the program', (t) => {
  const id = fc.integer({ min: 0, max: 0xffffffff });
  const run = fc.property(
    id,
    id,
    fc.integer({ min: 0, max: 1023 }),
    fc.infiniteStream(fc.nat(255)),
    (g, i, s, stream) => {
      const bytes = Uint8Array.from({ length: 4096 }, () => stream.next().value ?? 0);
      const { sum, hh } = documented(g, i, s, bytes);
      t.is(sectorSum(g, i, s, bytes, 0).toString(16), sum);
      t.is(objectPath(g, i).split('/')[1], hh);
    },
  );
  fc.assert(run, { numRuns: 50 });
});

test('formats: the example of the page is right', (t) => {
  const page = fs.readFileSync(PAGE, 'utf8').replaceAll(/\s+/g, ' ');
  const [, s, g, i, sum, file] =
    /sector (\d+) of generation (\d+), index (\d+) has the sum ([0-9a-f]{8}); its object is (\S+)\.(?: |$)/.exec(
      page,
    ) ?? [];
  const zeroes = new Uint8Array(4096);
  t.is(sum, sectorSum(Number(g), Number(i), Number(s), zeroes, 0).toString(16).padStart(8, '0'));
  t.is(file, objectPath(Number(g), Number(i)));
});
