// The path of a data directory must lead to the directory that was locked, and nowhere else.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { OperatingError } from '../../src/core/errors.ts';
import { lockDataDirectory } from '../../src/io/data-lock.ts';
import { watchDataDirectory } from '../../src/io/data-watch.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import { makeFolders } from '../../src/io/make-folders.ts';
import { createRealClock } from '../../src/io/real-clock.ts';

function freshDirectory(t: ExecutionContext): string {
  const top = fs.mkdtempSync(path.join(os.tmpdir(), 'data-watch-'));
  t.teardown(() => fs.rmSync(top, { recursive: true, force: true }));
  return path.join(top, 'data');
}

/** What the watch says once `change` was made. */
async function said(directory: string, change: () => void): Promise<string> {
  const unlock = lockDataDirectory(directory);
  const gone = Promise.withResolvers<OperatingError>();
  await watchDataDirectory(directory, createRealClock(), gone.resolve);
  change();
  const { message } = await gone.promise;
  unlock();
  return message;
}

test('data-watch: a directory that was moved away is told', async (t) => {
  const directory = freshDirectory(t);
  const text = await said(directory, () => fs.renameSync(directory, `${directory}.away`));
  t.regex(text, /data: ENOENT: .* moved or removed/);
});

test('data-watch: another directory at the same path is told, and its lock is left alone', async (t) => {
  const directory = freshDirectory(t);
  const text = await said(directory, () => {
    fs.renameSync(directory, `${directory}.away`);
    fs.mkdirSync(directory);
    fs.writeFileSync(path.join(directory, 'lock'), '1 1\n');
  });
  t.regex(text, /another directory/);
  t.is(fs.readFileSync(path.join(directory, 'lock'), 'utf8'), '1 1\n');
});

test('data-watch: a lock that somebody removed is told', async (t) => {
  const directory = freshDirectory(t);
  const text = await said(directory, () => fs.rmSync(path.join(directory, 'lock')));
  t.regex(text, /ENOENT/);
});

test('data-watch: nothing is said of a directory that is where it was', async (t) => {
  const directory = freshDirectory(t);
  const unlock = lockDataDirectory(directory);
  const looks: (() => void)[] = [];
  const clock = { ...createRealClock(), setTimer: (_ms: number, fn: () => void) => looks.push(fn) };
  const stop = await watchDataDirectory(directory, clock as never, (error) =>
    t.fail(error.message),
  );
  for (let i = 0; i < 3; i += 1) {
    looks.pop()?.();
    while (looks.length === 0) await new Promise(setImmediate);
  }
  stop();
  unlock();
  t.pass();
});

test('file-disk: after its folder was moved, nothing is written to what took its path', (t) => {
  const directory = freshDirectory(t);
  const disk = openFileDisk(directory);
  disk.makeFolder('objects');
  fs.renameSync(directory, `${directory}.away`);
  fs.mkdirSync(directory);
  disk.open('objects/new', { create: true })?.close();
  disk.makeFolder('more');
  disk.rename('objects/new', 'more/renamed');
  t.deepEqual(fs.readdirSync(directory), []);
  t.deepEqual(fs.readdirSync(path.join(`${directory}.away`, 'more')), ['renamed']);
});

test('file-disk: in a folder that was removed a new folder is refused, not tried for ever', (t) => {
  const directory = freshDirectory(t);
  const disk = openFileDisk(directory);
  fs.rmdirSync(directory);
  const error = t.throws(() => disk.makeFolder('a/b'));
  t.regex(error?.message ?? '', /make folder .*data\/a\/b: ENOENT/);
  t.notRegex(error?.message ?? '', /\/proc/, 'the path that people know is named');
});

test('make-folders: what can not be made is refused at once, in /proc too', (t) => {
  const directory = freshDirectory(t);
  makeFolders(path.join(directory, 'a', 'b'), 0o700);
  makeFolders(path.join(directory, 'a', 'b'), 0o700);
  t.true(fs.statSync(path.join(directory, 'a', 'b')).isDirectory());
  fs.writeFileSync(path.join(directory, 'file'), '');
  t.throws(() => makeFolders(path.join(directory, 'file'), 0o700), { code: 'EEXIST' });
  t.throws(() => makeFolders(path.join(directory, 'file', 'x'), 0o700));
  t.throws(() => makeFolders('/proc/sheep/none', 0o700));
  t.throws(() => lockDataDirectory('/proc/sheep/none'), { code: 'io' } as never);
});
