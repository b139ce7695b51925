// One process per data directory: who lives keeps it, who is dead does not.

import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test from 'ava';
import { hasCode, OperatingError } from '../../src/core/errors.ts';
import { endHolder, lockDataDirectory } from '../../src/io/data-lock.ts';
import { missingMounts, Tmpfs } from '../e2e/disks.ts';
import { declareUnless } from '../nbd/tools.ts';

function freshDirectory(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'data-lock-'));
}

const lockOf = (directory: string): string => path.join(directory, 'lock');

/** A pid that was a process's and is none's now. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', '']);
  await new Promise((resolve) => child.once('exit', resolve));
  return child.pid as number;
}

test('data-lock: a directory is taken once, and can be taken again when it was given back', (t) => {
  const directory = path.join(freshDirectory(), 'made', 'when-absent');
  const unlock = lockDataDirectory(directory);
  const error = t.throws(() => lockDataDirectory(directory), { instanceOf: OperatingError });
  t.true(hasCode(error, 'locked'));
  t.regex(error?.message ?? '', new RegExp(`${process.pid}`), 'the living process is named');
  unlock();
  lockDataDirectory(directory)();
  t.deepEqual(fs.readdirSync(directory), [], 'nothing is left behind');
});

test('data-lock: the file of a dead process does not keep the next one out', async (t) => {
  const directory = freshDirectory();
  const pid = await deadPid();
  for (const text of [
    `${pid} 12345\n`,
    `${pid}\n`,
    `${pid} \n`,
    '',
    'no pid\n',
    '-1 5\n',
    '0 0\n',
  ]) {
    fs.writeFileSync(lockOf(directory), text);
    t.notThrows(() => lockDataDirectory(directory)(), JSON.stringify(text));
  }
});

test('data-lock: a pid that somebody else has by now does not count', (t) => {
  const directory = freshDirectory();
  fs.writeFileSync(lockOf(directory), `${process.pid} 1\n`);
  const unlock = lockDataDirectory(directory);
  t.throws(() => lockDataDirectory(directory));
  unlock();
});

test('data-lock: of many processes that find a stale file at once, one gets the directory', async (t) => {
  const directory = freshDirectory();
  fs.writeFileSync(lockOf(directory), `${await deadPid()} 1\n`);
  const module = path.resolve('src/io/data-lock.ts');
  const program = `
    import { lockDataDirectory } from ${JSON.stringify(module)};
    process.stdin.once('data', () => {
      try { lockDataDirectory(process.argv[1]); console.log('taken'); } catch { console.log('refused'); }
    });
    process.stdin.once('end', () => process.exit(0));
    console.log('ready');
  `;
  const children = Array.from({ length: 4 }, () =>
    spawn(process.execPath, ['--input-type=module', '-e', program, directory], {
      stdio: ['pipe', 'pipe', 'inherit'],
    }),
  );
  const word = (child: (typeof children)[number]): Promise<string> =>
    new Promise((resolve) => child.stdout.once('data', (data) => resolve(`${data}`.trim())));
  const ready = await Promise.all(children.map(word));
  t.deepEqual(new Set(ready), new Set(['ready']));
  const answers = children.map(word);
  for (const child of children) child.stdin.write('go\n');
  const words = await Promise.all(answers);
  t.is(words.filter((one) => one === 'taken').length, 1);
  for (const child of children) child.stdin.end();
});

test('data-lock: a directory that can not be made is an error with a cure', (t) => {
  const file = path.join(freshDirectory(), 'file');
  fs.writeFileSync(file, '');
  const error = t.throws(() => lockDataDirectory(file), { instanceOf: OperatingError });
  t.true(hasCode(error, 'io'));
  t.not(error?.remedy, '');
});

test('data-lock: what is named like the lock and is no file is refused by name, and stays', (t) => {
  const directory = freshDirectory();
  fs.mkdirSync(path.join(lockOf(directory), 'kept'), { recursive: true });
  const error = t.throws(() => lockDataDirectory(directory), { instanceOf: OperatingError });
  t.regex(error?.message ?? '', /lock is not a file/);
  t.regex(error?.remedy ?? '', /move it away/);
  t.deepEqual(fs.readdirSync(directory), ['lock']);
  t.true(fs.existsSync(path.join(lockOf(directory), 'kept')));
});

declareUnless(missingMounts(), 'expected')(
  'as root: data-lock: where not a byte is free nothing is left behind, and the cure is named',
  async (t) => {
    const directory = freshDirectory();
    const disk = new Tmpfs(directory, '1m');
    try {
      disk.fillUp();
      const before = fs.readdirSync(directory);
      const error = t.throws(() => lockDataDirectory(directory), { instanceOf: OperatingError });
      t.regex(error?.message ?? '', /ENOSPC/);
      t.regex(error?.remedy ?? '', /free space/);
      t.deepEqual(fs.readdirSync(directory), before);
    } finally {
      disk.remove();
    }
  },
);

/** A process that has the directory; asked to end it gives it back after a while, or never. */
async function holder(directory: string, onTerm: string): Promise<ReturnType<typeof spawn>> {
  const source = path.resolve(import.meta.dirname, '../../src/io/data-lock.ts');
  const script =
    `import { lockDataDirectory } from ${JSON.stringify(source)};` +
    `const unlock = lockDataDirectory(${JSON.stringify(directory)});` +
    `setInterval(() => {}, 1000); process.on('SIGTERM', () => ${onTerm}); console.log('locked');`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return child;
}

test('data-lock: who is replaced is asked to end, and waited for until it has given the directory back', async (t) => {
  const directory = freshDirectory();
  t.is(await endHolder(directory), undefined, 'nobody has it');
  const child = await holder(directory, 'setTimeout(() => { unlock(); process.exit(0); }, 100)');
  const exit = new Promise((resolve) => child.once('exit', resolve));
  t.is(await endHolder(directory), child.pid);
  lockDataDirectory(directory)();
  t.is(await exit, 0);
  const killed = await holder(directory, 'process.kill(process.pid, "SIGKILL")');
  t.is(await endHolder(directory), killed.pid, 'one that dies meanwhile has it no more');
  lockDataDirectory(directory)();
  fs.rmSync(directory, { recursive: true });
});
