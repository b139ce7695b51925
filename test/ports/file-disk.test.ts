// FileDisk keeps the Disk contract, stays inside its folder, and names the path in what it refuses.

import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { OperatingError } from '../../src/core/errors.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import { diskContract, fullDiskContract } from './disk.contract.ts';

function temporaryFolder(t: ExecutionContext): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-disk-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

diskContract('file disk', (t) => ({ disk: openFileDisk(temporaryFolder(t)) }));

const SMALL_BYTES = 1024 * 1024;

if (process.getuid?.() === 0) {
  fullDiskContract('file disk on a small tmpfs (root)', SMALL_BYTES, (t) => {
    const folder = temporaryFolder(t);
    const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'sheep', folder]);
    if (mount.status !== 0) throw new TypeError(`mount: ${mount.stderr.toString()}`);
    t.teardown(() => spawnSync('umount', ['--lazy', folder]));
    return { disk: openFileDisk(folder) };
  });
}

test('file disk: a hole gives blocks back to the file system', (t) => {
  const folder = temporaryFolder(t);
  const file = openFileDisk(folder).open('a', { create: true });
  if (file === undefined) throw new TypeError('create gives a file');
  file.writeSync(new Uint8Array(1024 * 1024).fill(1), 0);
  const blocks = (): number => fs.statSync(path.join(folder, 'a')).blocks * 512;
  const before = blocks();
  if (!file.punch(64 * 1024, 512 * 1024)) {
    t.not(process.platform, 'linux', 'this machine has no holes');
    return;
  }
  t.is(blocks(), before - 512 * 1024);
  file.close();
});

test('file disk: the first hole says nothing on stderr', (t) => {
  const module = path.resolve('src/io/punch-hole.ts');
  const script = `const { punchHole } = await import(${JSON.stringify(module)}); punchHole(-1, 0, 4096);
    process.emitWarning('another');`;
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', script], { env: {} });
  t.is(run.status, 0);
  const said = run.stderr.toString();
  t.regex(said, /another/);
  t.notRegex(said, /FFI/);
});

test('file disk: a path never leaves the root', (t) => {
  const disk = openFileDisk(temporaryFolder(t));
  for (const name of ['../x', '/etc/passwd', 'a/../../x', 'a\0b']) {
    const error = t.throws(() => disk.open(name, { create: true }));
    t.true(error instanceof OperatingError && error.code === 'io', name);
  }
});

test('file disk: an error names the path, a full disk is no-space', (t) => {
  const folder = temporaryFolder(t);
  const disk = openFileDisk(folder);
  const missing = t.throws(() => disk.open('no/file', { create: true }));
  t.true(missing?.message.includes(path.join(folder, 'no/file')));
  if (!fs.existsSync('/dev/full')) return;
  fs.symlinkSync('/dev/full', path.join(folder, 'full'));
  const file = disk.open('full', { create: false });
  const full = t.throws(() => file?.writeSync(new Uint8Array(1), 0));
  t.true(full instanceof OperatingError && full.code === 'no-space');
});

test('file disk: files and folders are for the owner only', (t) => {
  const folder = temporaryFolder(t);
  const disk = openFileDisk(folder);
  disk.makeFolder('inner');
  disk.open('inner/file', { create: true })?.close();
  t.is(fs.statSync(path.join(folder, 'inner')).mode & 0o777, 0o700);
  t.is(fs.statSync(path.join(folder, 'inner/file')).mode & 0o777, 0o600);
});
