// The bytes of a data directory, read with nothing but the offsets of docs/FORMATS.md: one known write, by hand. A change
// of a format that leaves the page behind fails here, as does one that forgets its version.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import zlib from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { sumsOf } from '../../src/core/checksum.ts';
import type {
  ClusterId,
  FamilyId,
  FencingToken,
  GenerationId,
  NodeId,
  PeerKey,
} from '../../src/core/ids.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import { createRealClock } from '../../src/io/real-clock.ts';
import { createRealRandom } from '../../src/io/real-random.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import type { StoreDone } from '../../src/storage/store-types.ts';
import { openSuperblock } from '../../src/storage/superblock.ts';

const SECTOR = 4096;
const JOURNAL_BYTES = 8 * 1024 * 1024;
const CLUSTER = '00112233445566778899aabbccddeeff';

/** Little-endian fields of a file, by the offsets of the page. */
class Page {
  readonly bytes: Buffer;
  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
  u8 = (at: number): number => this.bytes.readUInt8(at);
  u16 = (at: number): number => this.bytes.readUInt16LE(at);
  u32 = (at: number): number => this.bytes.readUInt32LE(at);
  u48 = (at: number): number => this.bytes.readUIntLE(at, 6);
  text = (at: number, length: number): string => this.bytes.toString('latin1', at, at + length);
  hex = (at: number, length: number): string => this.bytes.toString('hex', at, at + length);
  sum = (from: number, end: number): number => zlib.crc32(this.bytes.subarray(from, end));
  at = (from: number, length: number): Page => new Page(this.bytes.subarray(from, from + length));
}

function finished(start: (done: StoreDone) => void): Promise<void> {
  return new Promise((resolve, reject) =>
    start((error) => (error === undefined ? resolve() : reject(error))),
  );
}

/** Two sectors of generation 3, index 5, family 2, partition 9, at byte 8192; version (4, 1). */
async function written(t: ExecutionContext): Promise<{
  readonly file: (name: string) => Page;
  /** The only object file: the folder is a hash of its name. */
  readonly object: () => Page;
}> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-formats-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));
  const disk = openFileDisk(folder);
  const superblock = await openSuperblock(disk, createRealRandom());
  const [clusterId, node] = [CLUSTER as ClusterId, 7 as NodeId];
  await superblock.adopt({ clusterId, node, peerKey: 'peer' as PeerKey });
  const store = await openObjectStore({
    disk,
    clock: createRealClock(),
    random: createRealRandom(),
    trace: { event: () => undefined, warn: () => undefined, count: () => undefined },
    journalBytes: JOURNAL_BYTES,
    onFatal: (error) => {
      throw error;
    },
  });
  const data = new Uint8Array(2 * SECTOR).fill(0x5a);
  const generation = 3 as GenerationId;
  const write = {
    ...{ generation, index: 5, family: 2 as FamilyId, partition: 9, cfg: 11, closed: 0 },
    ...{
      prev: { token: 0 as FencingToken, count: 0 },
      next: { token: 4 as FencingToken, count: 1 },
    },
    ...{ offset: 2 * SECTOR, count: data.length },
  };
  const sums = sumsOf(generation, 5, 2 * SECTOR, data);
  await finished((done) => store.write(write, data, sums, done));
  await finished((done) => store.stop(done));
  await superblock.markClean();
  const file = (name: string): Page => new Page(fs.readFileSync(path.join(folder, name)));
  const object = (): Page => {
    const names = fs.readdirSync(path.join(folder, 'objects'), {
      recursive: true,
      encoding: 'utf8',
    });
    const found = names.filter((name) => /^[0-9a-f]{2}\/0000000300000005$/.test(name));
    t.is(found.length, 1);
    return file(`objects/${found[0]}`);
  };
  return { file, object };
}

test('superblock, by the page', async (t) => {
  const file = (await written(t)).file('superblock');
  t.is(file.bytes.length, 512);
  t.deepEqual([file.text(0, 4), file.u32(4), file.u32(8), file.u32(12)], ['SHPD', 1, 7, 1]);
  t.deepEqual([file.u32(16), file.u32(20)], [1, 1], 'a clean stop, the cluster is known');
  t.is(file.hex(24, 16), CLUSTER);
  t.deepEqual([file.u32(48), file.text(52, 4)], [4, 'peer']);
  t.is(file.u32(508), file.sum(0, 508));
});

test('journal head and a batch with one write, by the page', async (t) => {
  const file = (await written(t)).file('journal');
  const heads = [0, 4096].map((at) => file.at(at, 512));
  for (const head of heads) {
    t.deepEqual([head.text(0, 4), head.u32(4)], ['SJHD', 3]);
    t.is(head.u48(22), JOURNAL_BYTES - 8192, 'bytes of the ring');
    t.deepEqual([head.u32(46), head.u48(50)], [1, 16 + 12 + 64], 'one row in index 1');
    t.is(head.u32(508), head.sum(0, 508));
  }
  t.is(Math.abs((heads[0]?.u48(16) ?? 0) - (heads[1]?.u48(16) ?? 0)), 1);

  const bytes = file.u32(8192 + 34);
  const batch = file.at(8192, bytes);
  t.deepEqual([batch.text(0, 4), batch.u32(4)], ['SJB2', 1]);
  t.is(batch.hex(8, 8), file.hex(8, 8), 'journal id');
  t.deepEqual([batch.u48(16), batch.u48(22), batch.u48(28), batch.u48(42)], [1, 0, 0, 0]);
  t.is(bytes % 512, 0);
  t.is(batch.u32(60), batch.sum(0, 60));
  t.is(batch.u32(38), batch.sum(64, 64 + 92));
  const record = batch.at(64, 92);
  const body = batch.at(64 + 92, record.u32(0));
  t.deepEqual([record.u32(0), record.u8(4), record.u8(5)], [2 * 4 + 2 * SECTOR, 1, 2]);
  t.deepEqual([8, 12, 16, 20].map(record.u32), [3, 5, 2, 9]);
  t.deepEqual([record.u32(24), record.u48(28), record.u32(34), record.u48(38)], [0, 0, 4, 1]);
  t.deepEqual([record.u32(44), record.u48(48)], [11, 0]);
  t.deepEqual([54, 58, 62, 66].map(record.u32), [1, 0, 1, 0], 'open, own');
  t.deepEqual([record.u32(70), record.u32(74)], [2 * SECTOR, 2 * SECTOR]);
  t.is(record.u32(88), body.sum(0, body.bytes.length));
  t.is(body.bytes[8], 0x5a, 'sums, then data');
  t.is(batch.hex(bytes - 64, 64), batch.hex(0, 64), 'the header once more');
  t.is(batch.hex(bytes - 64 - 92, 92), record.hex(0, 92), 'and the record header');
});

test('index and object file, by the page', async (t) => {
  const read = await written(t);
  const index = read.file('index.00000001');
  t.deepEqual([index.text(0, 4), index.u32(4), index.u32(8)], ['SIDX', 1, 1]);
  t.is(index.u32(12), index.sum(0, 12));
  const batch = index.at(16, 12 + 64);
  t.deepEqual([batch.text(0, 4), batch.u32(4)], ['SIBT', 1]);
  t.is(batch.u32(8), (batch.sum(0, 8) ^ batch.sum(12, 76)) >>> 0);
  const row = batch.at(12, 64);
  t.deepEqual([0, 4, 8, 12, 16].map(row.u32), [3, 5, 2, 9, 4]);
  t.deepEqual([row.u48(20), row.u8(26), row.u8(27)], [1, 0, 0]);
  t.deepEqual([28, 32, 42, 46].map(row.u32), [1, 0, 1, 0], 'own, open');
  t.deepEqual([row.u48(36), row.u48(50), row.u16(56)], [0, 1, 2 + 1]);

  const object = read.object();
  const slot = object.at(8192, 64 + 4096);
  t.deepEqual([slot.text(0, 4), slot.u32(4), slot.u32(8), slot.u32(12)], ['SOBJ', 1, 3, 5]);
  t.deepEqual([slot.u48(16), slot.u32(22), slot.u48(26)], [1, 4, 1]);
  t.deepEqual([slot.u32(32), slot.u32(36)], [1, 0]);
  t.is(slot.u32(60), (slot.sum(0, 60) ^ slot.sum(64, 64 + 4096)) >>> 0);
  t.deepEqual(
    [0, 1, 2, 3, 4].map((sector) => slot.u32(64 + 4 * sector) !== 0),
    [false, false, true, true, false],
  );
  t.is(object.bytes[16_384 + 2 * SECTOR], 0x5a);
  t.is(object.bytes[16_384], 0);
});

test('a batch that copies regions before a write, by the page', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-formats-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));
  const store = await openObjectStore({
    disk: openFileDisk(folder),
    clock: createRealClock(),
    random: createRealRandom(),
    trace: { event: () => undefined, warn: () => undefined, count: () => undefined },
    journalBytes: JOURNAL_BYTES,
    onFatal: (error) => {
      throw error;
    },
  });
  const [base, head] = [3 as GenerationId, 4 as GenerationId];
  const limitBytes = 5 * 4194304 + 9 * 16 * SECTOR + SECTOR;
  store.followLayers((generation) =>
    generation === base
      ? []
      : [
          { generation: head, limitBytes: 2 ** 47 },
          { generation: base, limitBytes },
        ],
  );
  const write = (generation: GenerationId, offset: number, sectors: number) => {
    const data = new Uint8Array(sectors * SECTOR).fill(0x5a);
    const place = {
      ...{ generation, index: 5, family: 2 as FamilyId, partition: 9, cfg: 11, closed: 0 },
      ...{
        prev: { token: 0 as FencingToken, count: 0 },
        next: { token: 4 as FencingToken, count: 1 },
      },
      ...{ offset, count: data.length },
    };
    const sums = sumsOf(generation, 5, offset, data);
    return finished((done) => store.write(place, data, sums, done));
  };
  await write(base, 0, 10 * 16);
  const before = fs.readFileSync(path.join(folder, 'journal'));
  // From the middle of region 2 to the middle of region 9.
  await write(head, 2 * 16 * SECTOR + SECTOR, 7 * 16);
  await finished((done) => store.stop(done));
  const file = new Page(fs.readFileSync(path.join(folder, 'journal')));
  const batches = Array.from({ length: JOURNAL_BYTES / 512 }, (_, i) => i * 512).filter((at) => {
    return file.text(at, 4) === 'SJB2' && file.hex(at, 64) !== before.toString('hex', at, at + 64);
  });
  const at = batches.find((one) => file.u32(one + 4) === 2) as number;
  const batch = file.at(at, file.u32(at + 34));
  const [copy, next] = [batch.at(64, 92), batch.at(64 + 92, 92)];
  t.deepEqual([copy.u8(4), copy.u8(5), next.u8(4), next.u8(5)], [6, 2, 1, 0], 'void, then not');
  t.deepEqual([copy.u32(78), copy.u32(82)], [(1 << 2) | (1 << 9), 0], 'regions 2 and 9');
  t.deepEqual([copy.u32(70), copy.u32(74)], [2 * 16 * SECTOR, 8 * 16 * SECTOR]);
  t.deepEqual([copy.u32(62), copy.u32(66)], [next.u32(62), next.u32(66)], 'own, after both');
  t.deepEqual([next.u32(62), next.u32(66)], [0x3fc, 0]);
  const body = batch.at(64 + 2 * 92, copy.u32(0));
  t.is(copy.u32(0), 16);
  const visible = 9 * 16 * SECTOR + SECTOR;
  t.deepEqual([0, 4, 8, 12].map(body.u32), [3, (1 << 2) | (1 << 9), 0, visible]);
  t.is(copy.u32(88), body.sum(0, 16));
});
