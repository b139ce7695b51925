// Method: a guest writes, snapshots are taken under it, read through other nodes, cloned and rolled back; the volume is
// cut and grown; all is deleted. Every image is compared byte by byte; nbdinfo and qemu-nbd say what is listed, which layer
// shows where and what changed. Scenarios 013, 016, 046, 086, 093.

import type { ExecutionContext } from 'ava';
import { MIB, REGION_BYTES } from '../../src/core/units.ts';
import { toolOrSkip } from '../nbd/tools.ts';
import { type Cluster, until } from './cluster.ts';
import {
  changedBy,
  depthsOf,
  flagsOf,
  isNotOffered,
  isReadOnly,
  listed,
  type Regions,
  regionsTouched,
} from './layer-maps.ts';
import { NbdClient } from './nbd-client.ts';
import { withCluster } from './with-cluster.ts';

const SIZE = 16 * MIB;
const REGIONS = SIZE / REGION_BYTES;
const DEPTH = 'x-sheepdog:allocation-depth';
const DIFF = 'x-sheepdog:diff:';
const STEP = 40_000;
const FREED_MS = 60_000;

async function imageOf(cluster: Cluster, n: number, name: string, bytes = SIZE): Promise<Buffer> {
  const client = await NbdClient.connect(cluster.node(n).nbd.unix, name);
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes; at += MIB) {
    parts.push(Buffer.from(await client.read(at, Math.min(MIB, bytes - at))));
  }
  await client.close();
  return Buffer.concat(parts);
}

/** Writes of every length and alignment, also into what a snapshot owns; the same in the model. Returns what it touched. */
async function scribble(client: NbdClient, model: Buffer, round: number): Promise<Regions> {
  const touched = new Set<number>();
  for (let at = round * 4096; at + 9000 < model.length; at += STEP * 7) {
    const data = Buffer.alloc(512 * (1 + ((at / 512) % 17)), round * 16 + ((at / STEP) % 16) + 1);
    await client.write(at, data);
    data.copy(model, at);
    for (const region of regionsTouched(at, data.length)) touched.add(region);
  }
  return touched;
}

/** @param rounds what was touched before each of the snapshots a, b and c, and since */
async function checkMaps(
  t: ExecutionContext,
  cluster: Cluster,
  rounds: readonly Regions[],
): Promise<void> {
  const [a, b, c, now] = rounds as [Regions, Regions, Regions, Regions];
  const [head, second] = [cluster.uri(1), cluster.uri(2).replace('/disk?', '/disk@b?')];
  const expected = ['disk', 'disk@a', 'disk@b', 'disk@c'];
  for (const n of [1, 3]) t.deepEqual(await listed(t, cluster.node(n).nbd.unix), expected);
  t.deepEqual(await flagsOf(t, head, DEPTH), depthsOf([now, c, b, a], REGIONS));
  t.deepEqual(await flagsOf(t, second, DEPTH), depthsOf([b, a], REGIONS));
  t.deepEqual(await flagsOf(t, head, `${DIFF}a`), changedBy([b, c, now], REGIONS));
  t.deepEqual(await flagsOf(t, head, `${DIFF}c`), changedBy([now], REGIONS));
  t.deepEqual(await flagsOf(t, second, `${DIFF}a`), changedBy([b], REGIONS));
  const back = changedBy([c], REGIONS, [a, b]);
  t.deepEqual(await flagsOf(t, second, `${DIFF}c`), back, 'the other way');
  t.true(await isNotOffered(head, `${DIFF}nobody`));
  t.deepEqual([await isReadOnly(head), await isReadOnly(second)], [false, true]);
}

async function dog(cluster: Cluster, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster.dog('vdi', ...args);
  if (code !== 0) throw new RangeError(`dog vdi ${args.join(' ')}: ${code} ${stderr}`);
  return stdout;
}

/** Of what was cut all that held data has changed, and is zeroes. Asked again while the session before ends. */
async function checkCut(t: ExecutionContext, cluster: Cluster, inA: Regions): Promise<void> {
  const isLost = (region: number) => region >= REGIONS / 2 && inA.has(region);
  const lost = Array.from({ length: REGIONS }, (_, i) => (isLost(i) ? 3 : 0));
  let since: readonly number[] = [];
  const isTold = async () => {
    since = await flagsOf(t, cluster.uri(3), `${DIFF}a`);
    return since.join() === lost.join();
  };
  await until('what was cut has changed', isTold, FREED_MS).catch(() => undefined);
  t.deepEqual(since, lost);
}

toolOrSkip('nbdinfo', 'qemu-nbd')(
  'snapshots under a guest, clones, rollback, cut and growth show what they should, byte by byte, and leave nothing',
  withCluster({ nodes: 3, copies: 3, volume: `disk:${SIZE / MIB}MiB` }, async (t, cluster) => {
    const model = Buffer.alloc(SIZE);
    const images = new Map<string, Buffer>();
    const guest = await NbdClient.connect(cluster.node(1).nbd.unix, 'disk');
    const rounds: Regions[] = [];
    for (const [round, tag] of ['a', 'b', 'c'].entries()) {
      rounds.push(await scribble(guest, model, round));
      await dog(cluster, 'snapshot', 'disk', '-s', tag);
      images.set(`disk@${tag}`, Buffer.from(model));
    }
    rounds.push(await scribble(guest, model, 3));
    for (const [at, [name, image]] of [...images].entries()) {
      t.true((await imageOf(cluster, 1 + (at % 3), name)).equals(image), name);
    }
    t.true((await imageOf(cluster, 2, 'disk')).equals(model), 'read along through another node');
    // By now each node has read a snapshot: the list is what a node knows, it asks nobody.
    await checkMaps(t, cluster, rounds);
    await dog(cluster, 'clone', 'disk@b', 'clone');
    await dog(cluster, 'clone', 'disk', 'live');
    const clone = await NbdClient.connect(cluster.node(3).nbd.unix, 'clone');
    const cloned = Buffer.from(images.get('disk@b') ?? model);
    const touched = await scribble(clone, cloned, 4);
    const layers = [touched, rounds[1] ?? touched, rounds[0] ?? touched];
    const cloneUri = cluster.uri(3).replace('/disk?', '/clone?');
    t.deepEqual(await flagsOf(t, cloneUri, DEPTH), depthsOf(layers, REGIONS));
    await clone.close();
    t.true((await imageOf(cluster, 2, 'clone')).equals(cloned));
    t.true((await imageOf(cluster, 3, 'live')).equals(model));
    t.true(
      (await imageOf(cluster, 1, 'disk@b')).equals(images.get('disk@b') ?? model),
      'as it was',
    );
    await guest.close();

    await until(
      'the guest has let go',
      async () => (await dog(cluster, 'lock', 'list', 'disk')).startsWith('Nobody'),
      FREED_MS,
    );
    await dog(cluster, 'rollback', 'disk@a', '-f');
    const first = images.get('disk@a') ?? model;
    t.true((await imageOf(cluster, 2, 'disk')).equals(first), 'rolled back');
    await dog(cluster, 'delete', 'disk@b');
    t.true(
      (await imageOf(cluster, 1, 'clone')).equals(cloned),
      'the middle one is gone: the clone shows it still',
    );
    t.true((await imageOf(cluster, 1, 'disk@c')).equals(images.get('disk@c') ?? model));

    await dog(cluster, 'resize', 'disk', String(SIZE / 2), '--force');
    await dog(cluster, 'resize', 'disk', String(SIZE));
    const cut = Buffer.concat([first.subarray(0, SIZE / 2), Buffer.alloc(SIZE / 2)]);
    t.true((await imageOf(cluster, 3, 'disk')).equals(cut), 'what was cut is zeroes');
    await checkCut(t, cluster, rounds[0] ?? touched);
    t.true(await isNotOffered(cluster.uri(3), `${DIFF}b`), 'deleted');
    t.true((await imageOf(cluster, 3, 'disk@a')).equals(first), 'the snapshot has it all');
    for (const name of ['disk', 'disk@a', 'live', 'disk@c', 'clone'])
      await dog(cluster, 'delete', name);
    t.is(await dog(cluster, 'tree', '-r'), '');
  }),
);
