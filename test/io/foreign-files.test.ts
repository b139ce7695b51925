// Which directories a node takes for its data: empty ones, its own, and what a crash or a file system left in a new one.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test from 'ava';
import { hasCode, OperatingError } from '../../src/core/errors.ts';
import { refuseForeignFiles } from '../../src/io/foreign-files.ts';

function holding(...names: string[]): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'foreign-'));
  for (const name of names) fs.writeFileSync(path.join(directory, name), '');
  return directory;
}

test('foreign files: a directory of somebody else is refused by name, and nothing in it changes', (t) => {
  const names = ['a.txt', 'b', 'c', 'd', 'e', 'f', 'map.log'];
  const directory = holding(...names);
  const error = t.throws(() => refuseForeignFiles(directory), { instanceOf: OperatingError });
  t.true(hasCode(error, 'usage'));
  t.regex(error?.message ?? '', /holds no node, but other files: a\.txt, b, c, d, e and 1 more$/);
  t.regex(error?.remedy ?? '', /empty directory/);
  t.deepEqual(fs.readdirSync(directory).sort(), names);
});

test('foreign files: an empty or missing directory, a node, and what a first start left are taken', (t) => {
  t.notThrows(() => refuseForeignFiles(holding()));
  t.notThrows(() => refuseForeignFiles(path.join(holding(), 'none')));
  t.notThrows(() => refuseForeignFiles(holding('superblock', 'notes.txt')));
  const left = ['lock', 'lock.12', 'log', 'log.old', 'identity.key.new', 'lost+found', 'reserve'];
  t.notThrows(() => refuseForeignFiles(holding(...left, 'superblock.wiped', 'members.new')));
});
