// Bulk writes of the real disk: what they wrote is read back through the cache, whatever the memory they came from; a file
// that is closed meanwhile keeps its descriptors until they ended; and where the system has no way past its cache they work.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { OperatingError } from '../../src/core/errors.ts';
import { KIB, MIB } from '../../src/core/units.ts';
import { BulkFile, BulkWrites, MAX_BULK_WRITES } from '../../src/io/bulk-writes.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import type { DiskFile } from '../../src/ports/ports.ts';

/** In memory: some kernels refuse O_DIRECT there, others take it. */
const IN_MEMORY = '/dev/shm';

function folderOf(t: ExecutionContext, parent = os.tmpdir()): string {
  const folder = fs.mkdtempSync(path.join(parent, 'sheep-bulk-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Bytes that begin at an odd address. */
function oddly(count: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(count + 1).subarray(1);
  for (let i = 0; i < count; i += 1) bytes[i] = (i * 31 + (i >> 8) * 7 + seed) & 0xff;
  return bytes;
}

function bulk(file: DiskFile, bytes: Uint8Array, position: number): Promise<Error | undefined> {
  return new Promise((resolve) => file.writeBulk(bytes, position, resolve));
}

for (const parent of [os.tmpdir(), IN_MEMORY]) {
  test.serial(
    `what was written in bulk is read through the cache, and both may write: ${parent}`,
    async (t) => {
      const disk = openFileDisk(folderOf(t, parent));
      const file = disk.open('object', { create: true }) as DiskFile;
      const pieces = [
        { at: 16 * KIB, bytes: oddly(MIB, 1) },
        { at: 16 * KIB + MIB, bytes: oddly(64 * KIB, 2) },
        { at: 4 * MIB, bytes: oddly(4 * KIB, 3) },
      ];
      const small = oddly(4 * KIB, 9);
      file.writeSync(small, 0);
      const all = await Promise.all(pieces.map(({ at, bytes }) => bulk(file, bytes, at)));
      t.deepEqual(all, [undefined, undefined, undefined]);
      for (const { at, bytes } of [...pieces, { at: 0, bytes: small }]) {
        const read = new Uint8Array(bytes.length);
        t.is(file.readSync(read, 0, read.length, at), read.length);
        t.is(Buffer.compare(read, bytes), 0);
      }
      // Over what the cache holds now.
      const again = oddly(MIB, 4);
      t.is(await bulk(file, again, 16 * KIB), undefined);
      await new Promise((resolve) => file.sync(resolve));
      const read = new Uint8Array(MIB);
      file.readSync(read, 0, MIB, 16 * KIB);
      t.is(Buffer.compare(read, again), 0);
      t.is(file.sizeSync(), 4 * MIB + 4 * KIB);
      file.close();
    },
  );
}

test.serial(
  'a file that is closed under its writes keeps its numbers until they ended, and no longer',
  async (t) => {
    const folder = folderOf(t);
    const disk = openFileDisk(folder);
    const before = fs.readdirSync('/proc/self/fd').length;
    const file = disk.open('object', { create: true }) as DiskFile;
    const bytes = Array.from({ length: 2 * MAX_BULK_WRITES }, (_, i) => oddly(MIB, i));
    const all = bytes.map((piece, i) => bulk(file, piece, i * MIB));
    file.close();
    disk.remove('object');
    // Who takes the number of a closed file would get its bytes.
    const other = disk.open('other', { create: true }) as DiskFile;
    t.deepEqual(new Set(await Promise.all(all)), new Set([undefined]));
    t.is(other.sizeSync(), 0);
    other.close();
    t.is(fs.readdirSync('/proc/self/fd').length, before);
  },
);

test.serial('where no memory suits the system, the bytes go through its cache', async (t) => {
  const name = path.join(folderOf(t), 'object');
  const fd = fs.openSync(name, 'w+');
  const refusing = fs.openSync('/proc/self/oom_score_adj', 'w');
  class Picky extends BulkFile {
    // Each write to it that is no number is an invalid argument.
    override direct(): number | undefined {
      return refusing;
    }
  }
  const bytes = oddly(64 * KIB, 5);
  const writes = new BulkWrites();
  for (const position of [0, 64 * KIB]) {
    const error = await new Promise((done) =>
      writes.write({ file: new Picky(fd), bytes, position, done }),
    );
    t.is(error, null);
  }
  t.is(Buffer.compare(fs.readFileSync(name), Buffer.concat([bytes, bytes])), 0);
  fs.closeSync(fd);
  fs.closeSync(refusing);
});

test.serial('a bulk write that fails says so, with the path', async (t) => {
  const disk = openFileDisk(folderOf(t));
  const file = disk.open('object', { create: true }) as DiskFile;
  // Beyond what any file system here has.
  const error = (await bulk(file, oddly(4 * KIB, 1), 2 ** 52)) as OperatingError | undefined;
  t.is(error?.code, 'no-space', String(error));
  t.regex(String(error?.message), /object/);
  file.close();
});
