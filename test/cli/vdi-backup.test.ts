// `dog vdi backup` and `dog vdi restore`: through the real API, on volumes in memory; names and marks by the real log.

import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { OperatingError } from '../../src/core/errors.ts';
import { KIB, MIB } from '../../src/core/units.ts';
import { served } from '../api/served.ts';
import { BackedNode } from './backed-node.ts';
import { dog } from './dog.ts';

const SIZE = 2 * MIB + 512 * KIB;

function noise(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * seed + (at >> 8)) % 256);
}

const isEqual = (one: Uint8Array, other: Uint8Array): boolean => Buffer.from(one).equals(other);

async function sheep(t: ExecutionContext) {
  const node = new BackedNode();
  const { socketPath, dir } = await served(t, node);
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  await node.createVolume({ name: 'db', sizeBytes: SIZE });
  node.memory('db').bytes.set(noise(700 * KIB, 31), 300 * KIB);
  node.memory('db').bytes.set(noise(200 * KIB, 7), 2 * MIB);
  await node.freeze('db', 'a');
  const run = (args: string[], stdin?: Uint8Array) => {
    return dog(['vdi', ...args], env, undefined, undefined, stdin);
  };
  return { node, run, file: path.join(dir, 'db.a') };
}

test('vdi backup to a file, vdi restore: equal, with its snapshot, and nothing else is left', async (t) => {
  const { node, run, file } = await sheep(t);
  const made = await run(['backup', 'db@a', '-o', file]);
  t.is(made.code, 0, made.err);
  t.regex(made.out, /Backup of db@a is complete: 1 MiB read/, 'holes are not read');
  t.is((await run(['backup', 'db@a', '-o', file])).code, 3, 'a file is not written over');
  t.is((await run(['backup', 'db@a', '-o', file, '-f'])).code, 0);
  const back = await run(['restore', 'copy', '-i', file]);
  t.is(back.code, 0, back.err);
  t.true(isEqual(node.memory('copy').bytes, node.memory('db').bytes));
  t.deepEqual(node.names(), ['copy', 'db']);
  const view = node.view();
  t.true(
    [...(view?.generations.values() ?? [])].some((one) => one.name === 'copy' && one.tag === 'a'),
  );
  const id = view?.volumeByName('copy')?.id;
  t.deepEqual([...(view?.attributes.get(id as never)?.keys() ?? [])], ['sheep.backup']);
  t.is(node.memory('copy').connections, 0);
});

test('by pipes: the stream on stdout is the stream on stdin', async (t) => {
  const { node, run } = await sheep(t);
  const made = await run(['backup', 'db@a']);
  t.is(made.code, 0, made.err);
  const back = await run(['restore', 'copy', '--json'], Buffer.from(made.out, 'latin1'));
  t.is(back.code, 0, back.err);
  t.is(JSON.parse(back.out).data.from, 'db@a');
  t.true(isEqual(node.memory('copy').bytes, node.memory('db').bytes));
});

test('a stream that is damaged, cut, or none leaves no volume', async (t) => {
  const { node, run, file } = await sheep(t);
  await run(['backup', 'db@a', '-o', file]);
  const whole = fs.readFileSync(file);
  const flipped = Buffer.from(whole);
  flipped[whole.length - 300] = (flipped[whole.length - 300] ?? 0) ^ 1;
  const damaged = await run(['restore', 'copy'], flipped);
  t.is(damaged.code, 1);
  t.regex(damaged.err, /the stream is damaged between bytes \d+ and \d+/);
  const cut = await run(['restore', 'copy'], whole.subarray(0, -1));
  t.regex(cut.err, new RegExp(`the stream is cut: it ends at byte ${whole.length - 1}`));
  t.regex((await run(['restore', 'copy'], noise(5000, 3))).err, /this is no backup stream/);
  t.is((await run(['restore', 'copy'], new Uint8Array(0))).code, 1);
  t.deepEqual(node.names(), ['db']);
  t.deepEqual([...(node.view()?.trash.keys() ?? [])], []);
});

test('while it is restored it has another name; a full disk leaves nothing', async (t) => {
  const { node, run, file } = await sheep(t);
  await run(['backup', 'db@a', '-o', file]);
  const seen = new Set<string>();
  const open = node.openVolume.bind(node);
  node.openVolume = (name = '') => {
    const session = open(name);
    const write = session.write.bind(session);
    session.write = (offset, data, done) => {
      seen.add(node.names().join());
      write(offset, data, done);
    };
    return session;
  };
  t.is((await run(['restore', 'copy', '-i', file])).code, 0);
  t.deepEqual([...seen], ['copy.restoring,db']);
  node.openVolume = (name = '') => {
    const session = open(name);
    if (name === 'next.restoring')
      node.memory(name).failure = new OperatingError('no-space', 'full');
    return session;
  };
  t.is((await run(['restore', 'next', '-i', file])).code, 4);
  t.deepEqual(node.names(), ['copy', 'db']);
});

test('what a killed restore left goes with the next; what is no such thing stays', async (t) => {
  const { node, run, file } = await sheep(t);
  await run(['backup', 'db@a', '-o', file]);
  await node.createVolume({ name: 'copy.restoring', sizeBytes: SIZE });
  node.memory('copy.restoring').bytes.fill(4, 0, 4096);
  const refused = await run(['restore', 'copy', '-i', file]);
  t.is(refused.code, 3);
  t.regex(refused.err, /copy.restoring exists already, without a mark[\s\S]*dog vdi delete/);
  await node.volumes().setAttribute('copy.restoring', 'sheep.restoring', new Uint8Array(1), false);
  node.memory('copy.restoring').bytes.fill(9);
  t.is((await run(['restore', 'copy', '-i', file])).code, 0);
  t.true(isEqual(node.memory('copy').bytes, node.memory('db').bytes));
  t.is((await run(['restore', 'db', '-i', file])).code, 3, 'a name that is taken');
  t.deepEqual(node.names(), ['copy', 'db']);
});

test('a file that was cut goes on; one of another snapshot, or none, is refused', async (t) => {
  const { node, run, file } = await sheep(t);
  await run(['backup', 'db@a', '-o', file]);
  const whole = fs.readFileSync(file);
  fs.truncateSync(file, whole.length - 100);
  const reads = () => node.snapshot('db@a')?.log.filter((one) => one === 'read').length ?? 0;
  const before = reads();
  const on = await run(['backup', 'db@a', '--resume', file]);
  t.is(on.code, 0, on.err);
  t.true(isEqual(fs.readFileSync(file), whole));
  t.true(reads() - before <= 1, 'only what was missing is read');
  t.regex((await run(['backup', 'db@a', '--resume', file])).err, /is complete/);
  fs.truncateSync(file, 0);
  t.is(
    (await run(['backup', 'db@a', '--resume', file])).code,
    0,
    'killed before it wrote anything',
  );
  t.regex((await run(['backup', 'db@a', '--resume', file])).err, /is complete/);
  node.dirty.add('db');
  await node.freeze('db', 'b');
  const other = await run(['backup', 'db@b', '--resume', file]);
  t.is(other.code, 1);
  t.regex(other.err, /the file is a backup of db@a/);
  fs.writeFileSync(file, 'letters to my mother');
  t.regex((await run(['backup', 'db@a', '--resume', file])).err, /no backup begins in/);
  t.is(fs.readFileSync(file, 'utf8'), 'letters to my mother');
});

test('what can not be backed up says why: a volume, a snapshot that is not there', async (t) => {
  const { run } = await sheep(t);
  const volume = await run(['backup', 'db']);
  t.is(volume.code, 64);
  t.regex(volume.err, /dog vdi snapshot db -s TAG/);
  t.is((await run(['backup', 'db@none'])).code, 5);
  t.is((await run(['backup', 'db@a', '--from', 'none'])).code, 5);
});

test('a difference is no volume: the cure is named', async (t) => {
  const { node, run, file } = await sheep(t);
  node.memory('db').bytes.set(noise(5 * KIB, 5), 70 * KIB);
  node.dirty.add('db');
  await node.freeze('db', 'b');
  const made = await run(['backup', 'db@b', '--from', 'a', '-o', file]);
  t.is(made.code, 0, made.err);
  t.true(fs.statSync(file).size < 20 * KIB);
  const refused = await run(['restore', 'copy', '-i', file]);
  t.is(refused.code, 5);
  t.regex(
    refused.err,
    /only what differs between db@a and db@b[\s\S]*cure: restore the backup of db@a first/,
  );
});

async function withDifference(t: ExecutionContext) {
  const all = await sheep(t);
  const { node, run, file } = all;
  await run(['backup', 'db@a', '-o', file]);
  node.memory('db').bytes.set(noise(5 * KIB, 5), 70 * KIB);
  node.memory('db').bytes.fill(0, 2 * MIB, 2 * MIB + 128 * KIB);
  node.dirty.add('db');
  await node.freeze('db', 'b');
  const next = `${file}-b`;
  t.is((await run(['backup', 'db@b', '--from', 'a', '-o', next])).code, 0);
  t.is((await run(['restore', 'copy', '-i', file])).code, 0);
  return { ...all, next };
}

test('restore --onto: what differs, onto its base, here under another name; then the next one', async (t) => {
  const { node, run, next } = await withDifference(t);
  const before = node.view()?.volumeByName('copy');
  const onto = await run(['restore', 'copy', '--onto', '-i', next]);
  t.is(onto.code, 0, onto.err);
  t.regex(onto.out, /Volume copy is what db@b was/);
  const after = node.view()?.volumeByName('copy');
  t.is(after?.id, before?.id, 'the same volume, with its attributes');
  t.true(isEqual(node.memory('copy').bytes, node.memory('db').bytes));
  t.deepEqual(node.names(), ['copy', 'db']);
  const tags = [...(node.view()?.generations.values() ?? [])]
    .filter((one) => one.state === 'frozen' && one.name.startsWith('copy'))
    .map(({ name, tag }) => `${name}@${tag}`);
  t.deepEqual(tags.sort(), ['copy@a', 'copy@b'], 'nothing in the making is left');
  const again = await run(['restore', 'copy', '--onto', '-i', next]);
  t.is(again.code, 3);
  t.regex(again.err, /copy@b exists already/);
});

test('restore --onto: an unknown base, a full stream, a volume that was written are refused with the cure', async (t) => {
  const { node, run, next, file } = await withDifference(t);
  await node.createVolume({ name: 'other', sizeBytes: SIZE });
  const unknown = await run(['restore', 'other', '--onto', '-i', next]);
  t.is(unknown.code, 5);
  t.regex(unknown.err, /no snapshot of other has the contents that the stream builds on, db@a/);
  t.regex(unknown.err, /cure: restore the backup of db@a first/);
  t.is((await run(['restore', 'none', '--onto', '-i', next])).code, 5);
  t.is((await run(['restore', 'copy', '--onto', '-i', file])).code, 64);
  node.dirty.add('copy');
  const written = await run(['restore', 'copy', '--onto', '-i', next]);
  t.is(written.code, 1, written.err);
  t.regex(written.err, /copy was written since copy@a[\s\S]*dog vdi rollback copy@a/);
  t.is((await run(['restore', 'copy', '--onto', '-i', next, '-f'])).code, 0);
  t.true(isEqual(node.memory('copy').bytes, node.memory('db').bytes));
});

test('restore --onto: a volume that somebody uses meanwhile stays as it is, and so it does with a damaged stream', async (t) => {
  const { node, run, next } = await withDifference(t);
  const bad = fs.readFileSync(next);
  bad[bad.length - 100] = (bad[bad.length - 100] ?? 0) ^ 4;
  t.regex((await run(['restore', 'copy', '--onto'], bad)).err, /the stream is damaged/);
  const open = node.openVolume.bind(node);
  node.openVolume = (name = '') => {
    if (name === 'copy.restoring') node.useBriefly('copy');
    return open(name);
  };
  const raced = await run(['restore', 'copy', '--onto', '-i', next]);
  t.is(raced.code, 1);
  t.regex(raced.err, /copy was used meanwhile: what was prepared is void/);
  t.true(isEqual(node.memory('copy').bytes, node.snapshot('db@a')?.bytes ?? new Uint8Array(0)));
  t.deepEqual(node.names(), ['copy', 'db']);
});
