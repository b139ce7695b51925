// `dog cluster backup` and `dog cluster restore`: through the real API, on volumes in memory, in a real directory.

import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openToWrite } from '../../src/cli/backup-folder.ts';
import { KIB, MIB } from '../../src/core/units.ts';
import { served } from '../api/served.ts';
import { BackedNode } from './backed-node.ts';
import { dog } from './dog.ts';

const SIZE = 5 * MIB + 512;

function noise(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed;
  for (let at = 0; at < length; at += 1) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[at] = state >>> 16;
  }
  return bytes;
}

const isEqual = (one: Uint8Array, other: Uint8Array): boolean => Buffer.from(one).equals(other);

async function sheep(t: ExecutionContext) {
  const node = new BackedNode();
  const { socketPath, dir } = await served(t, node);
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  const vault = path.join(dir, 'vault');
  const run = (...args: string[]) => dog(['cluster', ...args], env);
  return { node, run, vault };
}

async function twoVolumes(t: ExecutionContext) {
  const all = await sheep(t);
  const { node } = all;
  for (const name of ['db', 'web']) {
    await node.createVolume({ name, sizeBytes: SIZE });
    node.memory(name).bytes.set(noise(MIB, 3), MIB);
  }
  node.memory('db').bytes.set(noise(500, 5), SIZE - 500);
  return all;
}

function piecesIn(vault: string): string[] {
  const root = path.join(vault, 'pieces');
  return fs.readdirSync(root).flatMap((folder) => {
    return fs.readdirSync(path.join(root, folder)).map((name) => path.join(root, folder, name));
  });
}

function snapshotsOf(node: BackedNode): string[] {
  return [...(node.view()?.generations.values() ?? [])]
    .filter(({ state }) => state === 'frozen')
    .map(({ name, tag }) => `${name}@${tag}`)
    .sort();
}

test('equal pieces are kept once, a second backup writes only what is new, and what is not there any more comes back', async (t) => {
  const { node, run, vault } = await twoVolumes(t);
  const first = await run('backup', vault, '--json');
  t.is(first.code, 0, first.err);
  // One piece that both have, the end of one of them, a list of each.
  t.is(piecesIn(vault).length, 4);
  const old = new Uint8Array(node.memory('db').bytes);
  node.memory('db').bytes.set(noise(MIB, 9), 3 * MIB);
  node.dirty.add('db');
  const second = await run('backup', vault);
  t.is(second.code, 0, second.err);
  t.regex(second.out, /Backup 2 is complete, 1(\.\d)? MiB written/);
  t.is(piecesIn(vault).length, 6, 'one piece and one list more');
  t.is(snapshotsOf(node).length, 2, 'those of the backup before are gone');
  const list = await run('backup', vault, '--list', '-r');
  t.is(list.out.split('\n').length, 3);
  t.is((await run('restore', vault, 'db', '--as', 'now')).code, 0);
  t.true(isEqual(node.memory('now').bytes, node.memory('db').bytes));
  const then = await run('restore', vault, 'db', '--as', 'then', '--at', '1');
  t.is(then.code, 0, then.err);
  t.true(isEqual(node.memory('then').bytes, old));
  t.deepEqual(node.names(), ['db', 'now', 'then', 'web']);
});

test('what did not change since the last backup is not read again; without its snapshot all is, and nothing is written', async (t) => {
  const { node, run, vault } = await twoVolumes(t);
  const reads = () => snapshotsOf(node).reduce((sum, name) => sum + node.readsOf(name), 0);
  t.is((await run('backup', vault, 'web')).code, 0);
  t.is(reads(), 1);
  t.is((await run('backup', vault, 'web')).code, 0);
  t.is(reads(), 0, 'of the new snapshot');
  const [name = ''] = snapshotsOf(node);
  const [volume = '', tag = ''] = name.split('@');
  await node.layers().deleteSnapshot(volume, tag);
  const again = await run('backup', vault, 'web');
  t.regex(again.out, /Backup 3 is complete, 0 B written/);
  t.is(reads(), 1);
});

test('a named snapshot is kept as it is; a volume that is not there, or none at all, is an error', async (t) => {
  const { node, run, vault } = await sheep(t);
  t.is((await run('backup', vault)).code, 5);
  await node.createVolume({ name: 'db', sizeBytes: SIZE });
  node.memory('db').bytes.set(noise(MIB, 3), MIB);
  const kept = await node.freeze('db', 'monday');
  node.memory('db').bytes.fill(7);
  t.is((await run('backup', vault, 'db@monday')).code, 0);
  t.deepEqual(snapshotsOf(node), ['db@monday']);
  t.is((await run('restore', vault, 'db', '--as', 'back')).code, 0);
  t.true(isEqual(node.memory('back').bytes, kept.bytes));
  t.is((await run('backup', vault, 'none')).code, 5);
  t.is((await run('restore', vault, 'none')).code, 5);
  t.is((await run('restore', vault, 'db')).code, 3, 'the name is taken');
});

test('a damaged piece, list or manifest is refused, and nothing is left', async (t) => {
  const { node, run, vault } = await twoVolumes(t);
  await run('backup', vault, 'db');
  for (const file of [...piecesIn(vault), path.join(vault, 'backups', '000001.json')]) {
    const whole = fs.readFileSync(file);
    const bad = Buffer.from(whole);
    bad[whole.length - 5] = (bad[whole.length - 5] ?? 0) ^ 8;
    fs.writeFileSync(file, bad);
    const refused = await run('restore', vault, 'db', '--as', 'back');
    t.is(refused.code, 1, file);
    t.regex(refused.err, /is damaged|fails its sum/);
    fs.rmSync(file);
    t.not((await run('restore', vault, 'db', '--as', 'back')).code, 0, 'a missing one, too');
    fs.writeFileSync(file, whole);
  }
  t.deepEqual(node.names(), ['db', 'web']);
  t.is((await run('restore', vault, 'db', '--as', 'back')).code, 0);
  t.true(isEqual(node.memory('back').bytes, node.memory('db').bytes));
});

test('what a killed backup leaves is no backup: the directory goes on as it was', async (t) => {
  const { node, run, vault } = await twoVolumes(t);
  await run('backup', vault, 'db');
  node.memory('db').bytes.set(noise(MIB, 9), 3 * MIB);
  node.dirty.add('db');
  // Killed after some pieces: drafts, pieces and a lock of a process that is gone, and its snapshot.
  fs.writeFileSync(path.join(vault, 'drafts', '7'), 'half a piece');
  fs.writeFileSync(path.join(vault, 'lock'), `999999999 ${(await import('node:os')).hostname()}\n`);
  const { id } = JSON.parse(fs.readFileSync(path.join(vault, 'sheep-backups.json'), 'utf8'));
  await node.freeze('db', `backup.${id}.2`);
  t.is((await run('backup', vault, '--list', '-r')).out.split('\n').length, 2);
  t.is((await run('restore', vault, 'db', '--as', 'back')).code, 0);
  const next = await run('backup', vault, 'db');
  t.is(next.code, 0, next.err);
  t.deepEqual(fs.readdirSync(path.join(vault, 'drafts')), []);
  t.false(fs.existsSync(path.join(vault, 'lock')));
  t.is(snapshotsOf(node).filter((one) => one.startsWith('db')).length, 1);
});

test("one command at a time writes; somebody's own directory is left alone", async (t) => {
  const { run, vault } = await twoVolumes(t);
  const folder = await openToWrite(vault);
  fs.writeFileSync(path.join(vault, 'lock'), '1 elsewhere\n');
  const second = await run('backup', vault);
  t.is(second.code, 6);
  t.regex(second.err, /process 1 on elsewhere writes to/);
  await folder.giveBack();
  const own = path.join(path.dirname(vault), 'own');
  fs.mkdirSync(own);
  fs.writeFileSync(path.join(own, 'letter'), 'x'.repeat(KIB));
  t.is((await run('backup', own)).code, 64);
  t.deepEqual(fs.readdirSync(own), ['letter']);
  t.is((await run('restore', own, 'db')).code, 5);
});
