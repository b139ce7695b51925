// Commands of several parts, cut behind every single change that they ask for: the volume is whole or not there, the command
// asked for again goes through, and nothing of the first one is left.

import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { KIB, MIB } from '../../src/core/units.ts';
import { served } from '../api/served.ts';
import { BackedNode } from './backed-node.ts';
import { cutLink } from './cut-link.ts';
import { dog, type Said } from './dog.ts';

const SIZE = MIB + 512 * KIB;
/** More than any of these commands asks for. */
const MAX_CHANGES = 40;
const FEWEST_CHANGES = 3;

interface Story {
  readonly node: BackedNode;
  readonly file: (name: string) => string;
  readonly must: (args: readonly string[]) => Promise<Said>;
  readonly again: (args: readonly string[]) => Promise<Said>;
}

/** Runs the command until a cut comes behind its end; `judge` looks after each. */
async function cutEverywhere(
  t: ExecutionContext,
  args: (story: Story) => readonly string[],
  prepare: (story: Story) => Promise<void>,
  judge: (story: Story, where: string) => Promise<void>,
  isBack = false,
): Promise<void> {
  for (let changes = 1; changes < MAX_CHANGES; changes += 1) {
    if (await cutOnce(t, { changes, isBack }, args, prepare, judge)) continue;
    t.true(changes > FEWEST_CHANGES);
    return;
  }
  t.fail('it asks for more changes than were tried');
}

async function cutOnce(
  t: ExecutionContext,
  { changes, isBack }: { readonly changes: number; readonly isBack: boolean },
  args: (story: Story) => readonly string[],
  prepare: (story: Story) => Promise<void>,
  judge: (story: Story, where: string) => Promise<void>,
): Promise<boolean> {
  const node = new BackedNode();
  const front = await served(t, node);
  const env = { SHEEPDOG_API: `unix:${front.socketPath}` };
  const again = (list: readonly string[]) => dog(list, env);
  const must = async (list: readonly string[]): Promise<Said> => {
    const said = await again(list);
    t.is(said.code, 0, `${list.join(' ')}: ${said.err}`);
    return said;
  };
  const story: Story = { node, file: (name) => path.join(front.dir, name), must, again };
  await node.createVolume({ name: 'db', sizeBytes: SIZE });
  node.memory('db').bytes.fill(3, 300 * KIB, 800 * KIB);
  await node.freeze('db', 'a');
  await prepare(story);
  const link = await cutLink(t, front, changes, isBack);
  await dog(args(story), link.env);
  const where = `cut behind change ${changes}`;
  if (link.isCut) await judge(story, where);
  return link.isCut;
}

function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.from(one).equals(other);
}

function snapshotsOf({ node }: Story): readonly string[] {
  const all = [...(node.view()?.generations.values() ?? [])];
  return all
    .filter(({ state }) => state === 'frozen')
    .map(({ name, tag }) => `${name}@${tag.replace(/^backup.*/, 'backup')}`)
    .sort();
}

function attributesOf({ node }: Story, name: string): readonly string[] {
  const id = node.view()?.volumeByName(name)?.id;
  return [
    ...(node
      .view()
      ?.attributes.get(id as never)
      ?.keys() ?? []),
  ];
}

test('vdi restore, cut behind each of its changes', async (t) => {
  const args = ({ file }: Story) => ['vdi', 'restore', 'copy', '-i', file('a')];
  await cutEverywhere(
    t,
    args,
    async ({ must, file }) => {
      await must(['vdi', 'backup', 'db@a', '-o', file('a')]);
    },
    async (story, where) => {
      const { node, again } = story;
      const isThere = node.names().includes('copy');
      if (isThere) t.true(isEqual(node.memory('copy').bytes, node.memory('db').bytes), where);
      const said = await again(args(story));
      t.is(said.code, isThere ? 3 : 0, `${where}: ${said.err}`);
      t.true(isEqual(node.memory('copy').bytes, node.memory('db').bytes), where);
      t.deepEqual(node.names(), ['copy', 'db'], where);
      t.deepEqual(snapshotsOf(story), ['copy@a', 'db@a'], where);
      t.deepEqual(attributesOf(story, 'copy'), ['sheep.backup'], where);
    },
  );
});

async function ontoCut(t: ExecutionContext, isBack: boolean): Promise<void> {
  const args = ({ file }: Story) => ['vdi', 'restore', 'copy', '--onto', '-i', file('b')];
  await cutEverywhere(
    t,
    args,
    async ({ node, must, file }) => {
      await must(['vdi', 'backup', 'db@a', '-o', file('a')]);
      await must(['vdi', 'restore', 'copy', '-i', file('a')]);
      for (const [tag, fill] of [
        ['b', 5],
        ['c', 6],
      ] as const) {
        node.memory('db').bytes.fill(fill, MIB, MIB + fill * KIB);
        node.dirty.add('db');
        await node.freeze('db', tag);
      }
      await must(['vdi', 'backup', 'db@b', '--from', 'a', '-o', file('b')]);
      await must(['vdi', 'backup', 'db@c', '--from', 'b', '-o', file('c')]);
    },
    async (story, where) => {
      const { node, again, must, file } = story;
      const b = node.snapshot('db@b')?.bytes ?? new Uint8Array(0);
      const a = node.snapshot('db@a')?.bytes ?? new Uint8Array(0);
      const now = node.memory('copy').bytes;
      t.true(isEqual(now, a) || isEqual(now, b), where);
      const said = await again(args(story));
      t.true(said.code === 0 || (said.code === 3 && isEqual(now, b)), `${where}: ${said.err}`);
      t.true(isEqual(node.memory('copy').bytes, b), where);
      t.deepEqual(node.names(), ['copy', 'db'], where);
      t.deepEqual(snapshotsOf(story), ['copy@a', 'copy@b', 'db@a', 'db@b', 'db@c'], where);
      t.deepEqual(attributesOf(story, 'copy'), ['sheep.backup'], where);
      // What it knows of itself is right: the next difference goes on from there.
      await must(['vdi', 'restore', 'copy', '--onto', '-i', file('c')]);
      t.true(isEqual(node.memory('copy').bytes, node.memory('db').bytes), where);
    },
    isBack,
  );
}

test('vdi restore --onto, cut behind each of its changes', (t) => ontoCut(t, false));

test('vdi restore --onto, one answer of each of its changes lost', (t) => ontoCut(t, true));

test('cluster backup, cut behind each of its changes', async (t) => {
  const args = ({ file }: Story) => ['cluster', 'backup', file('vault')];
  await cutEverywhere(
    t,
    args,
    async ({ node, must, file }) => {
      await must(['cluster', 'backup', file('vault')]);
      node.memory('db').bytes.fill(9, MIB, MIB + 5 * KIB);
      node.dirty.add('db');
    },
    async (story, where) => {
      const { node, must, file } = story;
      await must(args(story));
      t.deepEqual(snapshotsOf(story), ['db@a', 'db@backup'], where);
      await must(['cluster', 'restore', file('vault'), 'db', '--as', 'copy']);
      t.true(isEqual(node.memory('copy').bytes, node.memory('db').bytes), where);
    },
  );
});

test('cluster restore, cut behind each of its changes', async (t) => {
  const args = ({ file }: Story) => ['cluster', 'restore', file('vault'), 'db', '--as', 'copy'];
  await cutEverywhere(
    t,
    args,
    async ({ must, file }) => {
      await must(['cluster', 'backup', file('vault')]);
    },
    async (story, where) => {
      const { node, again } = story;
      const isThere = node.names().includes('copy');
      const said = await again(args(story));
      t.is(said.code, isThere ? 3 : 0, `${where}: ${said.err}`);
      t.true(isEqual(node.memory('copy').bytes, node.memory('db').bytes), where);
      t.deepEqual(node.names(), ['copy', 'db'], where);
      t.deepEqual(snapshotsOf(story), ['copy@backup', 'db@a', 'db@backup'], where);
      t.deepEqual(attributesOf(story, 'copy'), ['sheep.backup'], where);
    },
  );
});
