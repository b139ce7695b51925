// Method: two real nodes, and guests of one volume on both. QEMU's own live migration, there and back, without a hook and
// announced; the machine has no system, its writes are the monitor's, so that each block is known. And raw NBD clients as
// the two guests of a mistake: one goes on, the other hears who has the volume.

import type { ExecutionContext } from 'ava';
import test from 'ava';
import { toolOrSkip } from '../nbd/tools.ts';
import { type Cluster, until } from './cluster.ts';
import { MovingQemu } from './moving-qemu.ts';
import { NbdClient, NbdFailure } from './nbd-client.ts';
import { withCluster } from './with-cluster.ts';

const EPERM = 1;
const EIO = 5;
const BLOCK = 4096;
const BLOCKS = 20;
const CLUSTER = { nodes: 3, copies: 3, volume: 'disk:64MiB' } as const;
/** Silence, drain, one entry and the first touches, on a slow host. */
const FIRST_WRITE_MS = 5000;
/** A request at least so often: it is busy. */
const BUSY_MS = 100;
/** 30 s of the design, and a slow host. */
const REFUSED_MS = 45_000;

async function failureOf(work: Promise<unknown>): Promise<NbdFailure> {
  try {
    await work;
  } catch (error) {
    if (error instanceof NbdFailure) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

const connect = (cluster: Cluster, n: number) =>
  NbdClient.connect(cluster.node(n).nbd.unix, cluster.volume);

async function holderOf(cluster: Cluster): Promise<string | undefined> {
  const { stdout } = await cluster.dog('vdi', 'lock', 'list', cluster.volume, '--json');
  return (JSON.parse(stdout) as { data: { node: string }[] }).data[0]?.node;
}

/** From one node to another; the disk is written before and after, and read back after. */
async function moveTo(
  t: ExecutionContext,
  cluster: Cluster,
  from: MovingQemu,
  to: { readonly node: number; readonly name: string; readonly byte: number },
): Promise<MovingQemu> {
  const at = { nbd: cluster.node(to.node).nbd.unix, volume: cluster.volume };
  const next = await MovingQemu.start(cluster.dir, to.name, at, true);
  for (let i = 0; i < BLOCKS; i += 1) t.is(await from.write(i * BLOCK, to.byte), undefined);
  const { totalMs, downMs } = await from.move(next);
  await until('it runs', () => next.isRunning(), FIRST_WRITE_MS);
  const since = performance.now();
  t.is(await next.write(0, to.byte + 1), undefined);
  const ms = performance.now() - since;
  t.log(`to ${to.name}: ${totalMs} ms, down ${downMs} ms, first write ${ms.toFixed(0)} ms`);
  t.true(ms < FIRST_WRITE_MS);
  t.true(await next.holds(0, to.byte + 1));
  for (let i = 1; i < BLOCKS; i += 1) t.true(await next.holds(i * BLOCK, to.byte), `block ${i}`);
  t.is(await holderOf(cluster), cluster.node(to.node).name);
  await from.end();
  return next;
}

toolOrSkip('qemu-system-x86_64')(
  'QEMU moves a guest to another node and back, without a hook and announced: nothing fails, nothing is lost',
  withCluster(CLUSTER, async (t, cluster) => {
    const home = { nbd: cluster.node(1).nbd.unix, volume: cluster.volume };
    let guest = await MovingQemu.start(cluster.dir, 'home', home);
    try {
      guest = await moveTo(t, cluster, guest, { node: 2, name: 'away', byte: 10 });
      guest = await moveTo(t, cluster, guest, { node: 1, name: 'back', byte: 20 });
      const { code, stdout } = await cluster.dog('vdi', 'migrate', cluster.volume, 'n3');
      t.is(code, 0);
      t.regex(stdout, /moves from n1 to n3/);
      guest = await moveTo(t, cluster, guest, { node: 3, name: 'third', byte: 30 });
    } finally {
      await guest.end();
    }
  }),
);

test.serial(
  'a second guest by mistake: beside a busy one it is refused and hears who has the volume; a former one writes nothing',
  withCluster(CLUSTER, async (t, cluster) => {
    const first = await connect(cluster, 1);
    await first.write(0, Buffer.alloc(BLOCK, 1));
    const second = await connect(cluster, 2);
    t.true((await second.read(0, BLOCK)).equals(Buffer.alloc(BLOCK, 1)));
    const since = performance.now();
    let refused: NbdFailure | undefined;
    const asks = failureOf(second.write(0, Buffer.alloc(BLOCK, 2))).then((failure) => {
      refused = failure;
    });
    for (let i = 0; refused === undefined; i += 1) {
      await first.write((i % BLOCKS) * BLOCK, Buffer.alloc(BLOCK, 3));
      if (i % 10 === 0) await first.flush();
      await new Promise((resolve) => setTimeout(resolve, BUSY_MS / 2));
      t.true(performance.now() - since < REFUSED_MS, 'it is told');
    }
    await asks;
    t.is((refused as NbdFailure).errno, EPERM);
    const again = performance.now();
    t.is((await failureOf(second.write(0, Buffer.alloc(BLOCK, 2)))).errno, EPERM);
    t.true(performance.now() - again < FIRST_WRITE_MS, 'at once, this time');
    t.is(await holderOf(cluster), cluster.node(1).name);

    // The first has stopped: a third one, new, has the volume. What the first writes then is an error, and lands nowhere.
    const third = await connect(cluster, 3);
    await third.read(0, BLOCK);
    await first.flush();
    await third.write(0, Buffer.alloc(BLOCK, 9));
    t.is(await holderOf(cluster), cluster.node(3).name);
    for (let i = 0; i < 3; i += 1) {
      t.is((await failureOf(first.write(0, Buffer.alloc(BLOCK, 4)))).errno, EIO);
    }
    t.true((await third.read(0, BLOCK)).equals(Buffer.alloc(BLOCK, 9)));
    t.true((await second.read(0, BLOCK)).equals(Buffer.alloc(BLOCK, 9)));
    t.regex(cluster.logs(), /second-writer/);
    for (const client of [first, second, third]) client.cut();
  }),
);
