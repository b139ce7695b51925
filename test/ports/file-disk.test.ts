// FileDisk keeps the Disk contract, stays inside its folder, and names the path in what it refuses.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { OperatingError } from '../../src/core/errors.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import { diskContract } from './disk.contract.ts';

function temporaryFolder(t: ExecutionContext): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-disk-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

diskContract('file disk', (t) => ({ disk: openFileDisk(temporaryFolder(t)) }));

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
