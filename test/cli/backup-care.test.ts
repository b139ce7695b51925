// Old backups out of a directory, killed at every single step, and a look at every byte of it.

import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { prune, verify } from '../../src/cli/backup-care.ts';
import { openToPrune, openToRead } from '../../src/cli/backup-folder.ts';
import { KIB, MIB } from '../../src/core/units.ts';
import { served } from '../api/served.ts';
import { BackedNode } from './backed-node.ts';
import { dog } from './dog.ts';

const SIZE = 5 * MIB;
const BACKUPS = 4;
/** Of a piece, without a pattern. */
const NOISE_BYTES = 64 * KIB;

function noise(seed: number): Uint8Array {
  const bytes = new Uint8Array(NOISE_BYTES);
  let state = seed;
  for (let at = 0; at < bytes.length; at += 1) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[at] = state >>> 16;
  }
  return bytes;
}

/** Backups of a volume, each with a piece of its own in place of the last one's; the first two pieces are in all. */
async function vaultOf(t: ExecutionContext, backups = BACKUPS) {
  const node = new BackedNode();
  const { socketPath, dir } = await served(t, node);
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  const vault = path.join(dir, 'vault');
  const run = (...args: string[]) => dog(['cluster', ...args], env);
  await node.createVolume({ name: 'db', sizeBytes: SIZE });
  const { bytes } = node.memory('db');
  bytes.set(noise(1), 0);
  bytes.set(noise(2), MIB);
  const contents: Buffer[] = [];
  for (let number = 1; number <= backups; number += 1) {
    bytes.set(noise(10 + number), 3 * MIB);
    node.dirty.add('db');
    contents.push(Buffer.from(bytes));
    const made = await run('backup', vault);
    t.is(made.code, 0, made.err);
  }
  return { node, run, vault, contents };
}

function piecesIn(vault: string): string[] {
  const root = path.join(vault, 'pieces');
  return fs.readdirSync(root).flatMap((folder) => {
    return fs.readdirSync(path.join(root, folder)).map((name) => path.join(root, folder, name));
  });
}

function flip(file: string): void {
  const bytes = fs.readFileSync(file);
  bytes[bytes.length - 5] = (bytes[bytes.length - 5] ?? 0) ^ 8;
  fs.writeFileSync(file, bytes);
}

/** Pieces of two backups: two that all have, one and a list of each. */
const TWO_BACKUPS = 2 + 2 * 2;

test('killed after any step: what stays is whole, and the next run ends it', async (t) => {
  const { run, vault, contents, node } = await vaultOf(t);
  const whole = `${vault}.whole`;
  fs.cpSync(vault, whole, { recursive: true });
  const isWanted = (_number: number, place: number) => place < 2;
  let steps = 0;
  for (let isOver = false; !isOver; steps += 1) {
    fs.rmSync(vault, { recursive: true });
    fs.cpSync(whole, vault, { recursive: true });
    const going = prune(await openToPrune(vault), isWanted, 3);
    for (let step = 0; step < steps && !isOver; step += 1) {
      isOver = (await going.next()).done === true;
    }
    const found = await verify(await openToRead(vault));
    t.deepEqual(found.findings, [], `after step ${steps}`);
    const again = await run('backup-prune', vault, '--keep', '2');
    t.is(again.code, 0, again.err);
    t.is(piecesIn(vault).length, TWO_BACKUPS, `after step ${steps}`);
    t.false(fs.existsSync(path.join(vault, 'lock')));
  }
  t.true(steps > 6, `${steps} steps`);
  for (const number of [3, 4]) {
    const back = await run('restore', vault, 'db', '--as', `b${number}`, '--at', String(number));
    t.is(back.code, 0, back.err);
    t.deepEqual(Buffer.from(node.memory(`b${number}`).bytes), contents[number - 1]);
  }
  t.is((await run('restore', vault, 'db', '--as', 'b1', '--at', '1')).code, 5);
});

test('by number; what is not there, and neither or both ways of saying it, change nothing', async (t) => {
  const { run, vault, node, contents } = await vaultOf(t, 3);
  const before = piecesIn(vault).length;
  t.is((await run('backup-prune', vault, '9')).code, 5);
  t.is((await run('backup-prune', vault)).code, 64);
  t.is((await run('backup-prune', vault, '1', '--keep', '1')).code, 64);
  t.is((await run('backup-prune', vault, 'x')).code, 64);
  t.is((await run('backup-prune', `${vault}2`, '1')).code, 5);
  t.is(piecesIn(vault).length, before);
  const done = await run('backup-prune', vault, '1', '3', '--json');
  t.is(done.code, 0, done.err);
  t.like(JSON.parse(done.out), { data: { removed: [1, 3], kept: [2], pieces: 4 } });
  t.is((await run('backup', vault)).code, 0, 'it goes on behind a newest one that is gone');
  t.is((await run('restore', vault, 'db', '--as', 'now')).code, 0);
  t.deepEqual(Buffer.from(node.memory('now').bytes), contents[2]);
});

test('a backup that runs beside, here or elsewhere, keeps prune out', async (t) => {
  const { run, vault } = await vaultOf(t, 2);
  for (const holder of ['77 elsewhere', `1 ${(await import('node:os')).hostname()}`]) {
    fs.writeFileSync(path.join(vault, 'lock'), `${holder}\n`);
    const refused = await run('backup-prune', vault, '--keep', '1');
    t.is(refused.code, 6);
    t.regex(refused.err, /writes to/);
    t.is(fs.readdirSync(path.join(vault, 'backups')).length, 2);
  }
  t.is(fs.readFileSync(path.join(vault, 'lock'), 'utf8').split(' ')[0], '1', "another one's stays");
  t.is((await run('backup-verify', vault)).code, 0, 'a look needs no lock');
});

test('what a kept backup has must be known before anything goes', async (t) => {
  const { run, vault } = await vaultOf(t, 2);
  const all = piecesIn(vault);
  const { parts } = JSON.parse(
    fs.readFileSync(path.join(vault, 'backups', '000002.json'), 'utf8').split('\n')[0] ?? '',
  ).volumes[0];
  const list = all.find((file) => file.endsWith(parts[0].hash)) ?? '';
  flip(list);
  const refused = await run('backup-prune', vault, '1');
  t.is(refused.code, 1);
  t.regex(refused.err, /what backup 2 has of db is not known.*\n.*nothing was removed/);
  t.deepEqual(piecesIn(vault), all);
  t.is((await run('backup-prune', vault, '2')).code, 0, 'the damaged one itself may go');
  t.deepEqual((await verify(await openToRead(vault))).findings, []);
});

test('every damaged or missing file is named with what needs it; the cure that is told cures', async (t) => {
  const { run, vault } = await vaultOf(t, 2);
  const well = await run('backup-verify', vault);
  t.is(well.code, 0);
  t.regex(well.out, /2 backups, 6 pieces, .*: all is well/);
  for (const file of [...piecesIn(vault), path.join(vault, 'backups', '000001.json')]) {
    const whole = fs.readFileSync(file);
    flip(file);
    const damaged = await run('backup-verify', vault, '--json');
    t.is(damaged.code, 1, file);
    const { findings } = JSON.parse(damaged.out).data;
    t.deepEqual(
      findings.map((one: { file: string }) => one.file),
      [file],
    );
    t.true(findings[0].affects.length >= 1);
    fs.rmSync(file);
    const missing = await run('backup-verify', vault);
    t.is(missing.code, file.endsWith('.json') ? 0 : 1, 'a backup that is gone never was');
    fs.writeFileSync(file, whole);
  }
  // A piece that did not change since is read and written again.
  const shared = piecesIn(vault).filter((file) => fs.statSync(file).size > NOISE_BYTES / 2);
  for (const file of shared) fs.rmSync(file);
  const first = await run('backup-verify', vault);
  t.regex(first.out, /2:db/);
  t.is((await run('backup', vault)).code, 0);
  const after = await run('backup-verify', vault, '-r');
  t.deepEqual(
    after.out.trim().split('\n').length,
    1,
    'only what backup 1 alone has is still missing',
  );
  t.regex(after.out, /\t1:db\n/);
  t.is((await run('backup-prune', vault, '1')).code, 0);
  t.is((await run('backup-verify', vault)).code, 0);
});
