// What layers cost in space and time, on real processes: npm run bench:layers -- [--golden] [--deep] [--wide]; all of them
// unless some are named. Exit code 1 when a bound of space is missed.
//   --golden  an image of 2 GiB and 100 clones of it, 1 % of each written: in random blocks of 4 KiB, then in others in
//             blocks of 64 KiB in a row. One node and one copy: what is counted is the space of one copy. Then reads of what
//             no clone wrote, in turns with reads of the image
//   --deep    a volume of 4 TiB, 1,000 snapshots one below the other: each by the clock, opening it, memory of an open one
//   --wide    1,000 clones of one snapshot of 4 TiB, the same. Three nodes, three copies
//
// --size MIB of the image (2048), --clones N (100), --count N of snapshots and clones (1000), --open N volumes at once whose
// memory is read (100). Environment: DIR where data goes. Ends only what it started and removes what it wrote.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { ask, parseTarget } from '../src/cli/client.ts';
import { KIB, MIB, TIB } from '../src/core/units.ts';
import { NbdClient } from '../test/e2e/nbd-client.ts';
import { measure, memoryOf, type Workload } from './fio-run.ts';
import {
  type BenchNode,
  createVolume,
  get,
  pause,
  pidsOf,
  post,
  startNodes,
  stopNodes,
  targetOf,
  until,
} from './nodes.ts';
import { numberOf } from './options.ts';
import { missing } from './peers.ts';
import { markdown, median } from './report.ts';
import { withScratch } from './scratch.ts';

const WRITTEN_SHARE = 0.01;
const REGION_BYTES = 64 * KIB;
const BLOCK_BYTES = 4 * KIB;
/** Writes on their way to one volume. */
const DEPTH = 32;
/** Clones that are written at once. */
const CLONES_AT_ONCE = 4;
const PREFILL_BYTES = MIB;
/** Space and memory are read when what was written has reached its files. */
const REST_MS = 8000;
const MAX_RECLAIM_MS = 180_000;
const READ_SECONDS = 2;
const READ_PASSES = 5;
const DEEP_BYTES = 4 * TIB;
const WROTE_EVERY = 10;

const rows: string[][] = [];
let misses = 0;

function note(what: string, value: string, target = '', isMet = true): void {
  rows.push([what, value, isMet ? target : `${target}: missed`]);
  process.stderr.write(`${what}: ${value}${target === '' ? '' : ` (${rows.at(-1)?.[2]})`}\n`);
  if (!isMet) misses += 1;
}

const { values } = parseArgs({
  options: {
    golden: { type: 'boolean', default: false },
    deep: { type: 'boolean', default: false },
    wide: { type: 'boolean', default: false },
    size: { type: 'string', default: '2048' },
    clones: { type: 'string', default: '100' },
    count: { type: 'string', default: '1000' },
    open: { type: 'string', default: '100' },
  },
});
const imageMib = numberOf('--size', values.size, 64);
const cloneCount = numberOf('--clones', values.clones, 1);
const layerCount = numberOf('--count', values.count, 1);
const openCount = Math.min(numberOf('--open', values.open, 1), layerCount);
const isAll = !values.golden && !values.deep && !values.wide;

// ---------------------------------------------------------------------------------------------- golden image

/** The same for each run; not of chance's quality, but spread. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Runs `one` for 0 to count - 1, so many at once. */
async function each(count: number, atOnce: number, one: (at: number) => Promise<void>) {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) {
      next += 1;
      await one(next - 1);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, lane));
}

/** Bytes that the objects of a node take on its disk. */
function spaceOf({ data }: BenchNode): number {
  const dir = path.join(data, 'objects');
  return fs.readdirSync(dir, { recursive: true, encoding: 'utf8' }).reduce((sum, name) => {
    // Reclaiming goes on beside.
    const found = fs.statSync(path.join(dir, name), { throwIfNoEntry: false });
    return sum + (found?.blocks ?? 0) * 512;
  }, 0);
}

async function withClient(
  node: BenchNode,
  name: string,
  run: (client: NbdClient) => Promise<void>,
): Promise<void> {
  const client = await NbdClient.connect(node.nbd, name);
  await run(client);
  await client.flush();
  await client.close();
}

async function fillImage(node: BenchNode): Promise<void> {
  await createVolume(node, 'golden', imageMib * MIB);
  await withClient(node, 'golden', (client) => {
    return each(imageMib, 8, async (at) => {
      const bytes = Buffer.alloc(PREFILL_BYTES, (at % 251) + 1);
      await client.write(at * PREFILL_BYTES, bytes);
    });
  });
  await snapshotOf(node, 'golden');
}

/** Its writer has just left: until the lock is given back nobody can be asked to hold still. */
async function snapshotOf(node: BenchNode, volume: string): Promise<void> {
  await until(`a snapshot of ${volume}`, async () => {
    await post(node, '/v1/snapshots', { volumes: [volume], tag: 'v1' });
    return true;
  });
}

interface Pattern {
  readonly name: string;
  readonly blockBytes: number;
  /** Of the n-th block of a clone; `random` is the clone's own. */
  readonly offset: (at: number, random: () => number) => number;
  /** How much of what was written may be taken, as a factor, beside what is said of the image. */
  readonly factor: number;
  readonly slack: number;
  readonly bound: string;
}

const PATTERNS: readonly Pattern[] = [
  {
    name: 'random 4 KiB',
    blockBytes: BLOCK_BYTES,
    offset: (_at, random) => Math.floor((random() * imageMib * MIB) / BLOCK_BYTES) * BLOCK_BYTES,
    factor: REGION_BYTES / BLOCK_BYTES,
    slack: 1.05,
    bound: '<= (image + 16 x written) + 5 %',
  },
  {
    name: 'sequential 64 KiB',
    blockBytes: REGION_BYTES,
    offset: (at) => at * REGION_BYTES,
    factor: 1.05,
    slack: 1,
    bound: '<= image + 1.05 x written',
  },
];

async function goldenStory(dir: string): Promise<void> {
  const nodes = await startNodes(dir, { nodes: 1, copies: 1 });
  const [node] = nodes as [BenchNode];
  await fillImage(node);
  await pause(REST_MS);
  const imageBytes = spaceOf(node);
  note('image', `${mib(imageBytes)} of ${imageMib} MiB`);
  for (const [at, pattern] of PATTERNS.entries()) {
    await writeClones(node, pattern, at);
    if (at === PATTERNS.length - 1) break;
    await readsStory(nodes, pattern, at);
    await dropClones(node, at, imageBytes);
  }
  await readsStory(nodes, PATTERNS.at(-1) as Pattern, PATTERNS.length - 1);
  await stopNodes(nodes);
}

async function writeClones(node: BenchNode, pattern: Pattern, series: number): Promise<void> {
  const { blockBytes, offset, factor, slack, name, bound } = pattern;
  const blocks = Math.round((imageMib * MIB * WRITTEN_SHARE) / blockBytes);
  const before = spaceOf(node);
  const since = performance.now();
  await each(cloneCount, CLONES_AT_ONCE, async (n) => {
    const clone = `c${series}-${n}`;
    await post(node, '/v1/clones', { from: 'golden@v1', to: clone });
    const random = randomOf(n + 1);
    const offsets = Array.from({ length: blocks }, (_, at) => offset(at, random));
    await withClient(node, clone, (client) => {
      const bytes = Buffer.alloc(blockBytes, (n % 250) + 2);
      return each(blocks, DEPTH, (at) => client.write(offsets[at] as number, bytes));
    });
  });
  const seconds = (performance.now() - since) / 1000;
  const written = cloneCount * blocks * blockBytes;
  note(
    `${name}: ${cloneCount} clones, ${mib(written)} written`,
    `${seconds.toFixed(0)} s, ${Math.round((cloneCount * blocks) / seconds)} writes a second`,
  );
  await pause(REST_MS);
  const space = spaceOf(node);
  const most = (before + factor * written) * slack;
  note(
    `${name}: space of one copy`,
    `${mib(space)}: image + ${((space - before) / written).toFixed(3)} x written`,
    `${bound}: ${mib(most)}`,
    space <= most,
  );
}

/** All of them, and what only they had is had back. */
async function dropClones(node: BenchNode, series: number, imageBytes: number): Promise<void> {
  const since = performance.now();
  await each(cloneCount, CLONES_AT_ONCE, async (n) => {
    await ask(parseTarget(node.api), `/v1/volumes/c${series}-${n}`, { method: 'DELETE' });
  });
  const deletedMs = performance.now() - since;
  const most = imageBytes * 1.05;
  while (spaceOf(node) > most && performance.now() - since < MAX_RECLAIM_MS) await pause(1000);
  const seconds = (performance.now() - since) / 1000;
  note(
    `${cloneCount} clones deleted`,
    `answered in ${(deletedMs / 1000).toFixed(1)} s, their space was back after ${seconds.toFixed(0)} s`,
    `<= image + 5 % in ${MAX_RECLAIM_MS / 1000} s`,
    spaceOf(node) <= most,
  );
}

/** In turns with the image, so that what else the host does meets both. */
async function readsStory(
  nodes: readonly BenchNode[],
  { name, blockBytes }: Pattern,
  series: number,
): Promise<void> {
  // Behind what is written in a row.
  const skipMib = blockBytes === REGION_BYTES ? Math.ceil((imageMib * WRITTEN_SHARE) / 4) * 4 : 0;
  const sizeMib = imageMib - skipMib;
  const place = [`--offset=${skipMib}m`, '--norandommap'];
  const works: readonly Workload[] = [
    {
      name: '4k randread qd16',
      options: ['--rw=randread', '--bs=4k', '--iodepth=16', ...place],
      unit: 'IOPS',
    },
    {
      name: '1m read qd4',
      options: ['--rw=read', '--bs=1m', '--iodepth=4', ...place],
      unit: 'MiB/s',
    },
  ];
  for (const work of works) {
    const ratios: number[] = [];
    const rates: number[] = [];
    for (let pass = 0; pass < READ_PASSES; pass += 1) {
      const options = { seconds: READ_SECONDS, sizeMib };
      const order =
        pass % 2 === 0 ? ['golden@v1', `c${series}-${pass}`] : [`c${series}-${pass}`, 'golden@v1'];
      const found = new Map<string, number>();
      for (const volume of order) {
        const { iops, mibPerSecond } = await measure(targetOf(nodes, volume), work, options);
        found.set(volume, work.unit === 'IOPS' ? iops : mibPerSecond);
      }
      const [image = 0, clone = 0] = ['golden@v1', `c${series}-${pass}`].map((one) =>
        found.get(one),
      );
      ratios.push(clone / image);
      rates.push(clone);
    }
    const where = skipMib === 0 ? 'reads anywhere' : 'reads of what it did not write';
    note(
      `${name}: ${where}, ${work.name}`,
      `${Math.round(median(rates)).toLocaleString('en')} ${work.unit}, ${median(ratios).toFixed(2)} of the image's (${ratios.map((one) => one.toFixed(2)).join(', ')})`,
      'as the image',
    );
  }
}

// ---------------------------------------------------------------------------------------------- deep and wide

function mib(bytes: number): string {
  return `${(bytes / MIB).toLocaleString('en', { maximumFractionDigits: bytes < 10 * MIB ? 1 : 0 })} MiB`;
}

function timesText(times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) =>
    (sorted[Math.floor(sorted.length * share)] ?? Number.NaN).toFixed(1);
  return `median ${median(sorted).toFixed(1)}, 95 % ${at(0.95)}, 99 % ${at(0.99)}, longest ${(sorted.at(-1) ?? 0).toFixed(1)} ms`;
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const since = performance.now();
  await run();
  return performance.now() - since;
}

/** From nothing to the answer to its first read, and to its first write. */
async function opened(node: BenchNode, name: string): Promise<string> {
  let readMs = 0;
  let client: NbdClient | undefined;
  readMs = await timed(async () => {
    client = await NbdClient.connect(node.nbd, name);
    await client.read(0, BLOCK_BYTES);
  });
  const writeMs = await timed(async () =>
    client?.write(DEEP_BYTES - MIB, Buffer.alloc(BLOCK_BYTES, 3)),
  );
  await client?.close();
  return `first read after ${readMs.toFixed(0)} ms, first write ${writeMs.toFixed(0)} ms later`;
}

function rssMib(nodes: readonly BenchNode[]): number[] {
  return pidsOf(nodes).map((pid) => memoryOf(pid).nowMib);
}

/** Opens volumes at once, reads and writes in each, and tells what one takes at its gateway. */
async function openMany(nodes: readonly BenchNode[], what: string, names: readonly string[]) {
  const [node] = nodes as [BenchNode];
  await pause(REST_MS);
  const before = rssMib(nodes);
  const clients: NbdClient[] = [];
  for (const name of names) {
    const client = await NbdClient.connect(node.nbd, name);
    await client.read(0, BLOCK_BYTES);
    await client.write(MIB, Buffer.alloc(BLOCK_BYTES, 5));
    clients.push(client);
  }
  await pause(REST_MS);
  const after = rssMib(nodes);
  const bytes = (((after[0] ?? 0) - (before[0] ?? 0)) * MIB) / names.length;
  note(
    `${what}: ${names.length} open at once, memory of the nodes`,
    `${before.join(', ')} to ${after.join(', ')} MiB: ${(bytes / KIB).toFixed(0)} KiB each at the gateway`,
  );
  for (const client of clients) await client.close();
}

async function deepStory(nodes: readonly BenchNode[]): Promise<void> {
  const [node] = nodes as [BenchNode];
  const createMs = await timed(() => createVolume(node, 'deep', DEEP_BYTES));
  note('deep: a volume of 4 TiB made in', `${createMs.toFixed(1)} ms`, '< 50 ms', createMs < 50);
  const guest = await NbdClient.connect(node.nbd, 'deep');
  await guest.write(0, Buffer.alloc(REGION_BYTES, 9));
  const times: number[] = [];
  for (let n = 1; n <= layerCount; n += 1) {
    if (n % WROTE_EVERY === 0) await guest.write(n * REGION_BYTES, Buffer.alloc(BLOCK_BYTES, 7));
    times.push(await timed(() => post(node, '/v1/snapshots', { volumes: ['deep'], tag: `s${n}` })));
  }
  await guest.close();
  note(
    `deep: ${layerCount} snapshots beside a guest, each`,
    timesText(times),
    '< 50 ms',
    median(times) < 50,
  );
  note('deep: opened below all of them', await opened(node, 'deep'), '< 1 s');
  const cloned: number[] = [];
  const names = Array.from({ length: openCount }, (_, n) => `d${n + 1}`);
  for (const to of names) {
    cloned.push(await timed(() => post(node, '/v1/clones', { from: `deep@s${layerCount}`, to })));
  }
  note(
    `deep: ${openCount} clones of the last, each`,
    timesText(cloned),
    '< 50 ms',
    median(cloned) < 50,
  );
  note('deep: such a clone opened', await opened(node, 'd1'), '< 1 s');
  await openMany(nodes, 'deep', names);
}

async function wideStory(nodes: readonly BenchNode[]): Promise<void> {
  const [node] = nodes as [BenchNode];
  await createVolume(node, 'wide', DEEP_BYTES);
  await withClient(node, 'wide', (client) => client.write(0, Buffer.alloc(REGION_BYTES, 9)));
  await snapshotOf(node, 'wide');
  const times: number[] = [];
  for (let n = 1; n <= layerCount; n += 1) {
    times.push(await timed(() => post(node, '/v1/clones', { from: 'wide@v1', to: `w${n}` })));
  }
  note(`wide: ${layerCount} clones, each`, timesText(times), '< 50 ms', median(times) < 50);
  const listMs = await timed(() => get(node, '/v1/volumes'));
  note('wide: all of them listed in', `${listMs.toFixed(0)} ms`);
  note('wide: the last one opened', await opened(node, `w${layerCount}`), '< 1 s');
  const names = Array.from({ length: openCount }, (_, n) => `w${n + 1}`);
  await openMany(nodes, 'wide', names);
}

async function withThree(dir: string, run: (nodes: BenchNode[]) => Promise<void>): Promise<void> {
  const nodes = await startNodes(dir, { nodes: 3, copies: 3 });
  await run(nodes);
  await stopNodes(nodes);
}

const reason = missing('fio');
if (reason !== undefined) throw new RangeError(reason);
await withScratch(async (dir) => {
  if (isAll || values.golden) await goldenStory(path.join(dir, 'g'));
  if (isAll || values.deep) await withThree(path.join(dir, 'd'), deepStory);
  if (isAll || values.wide) await withThree(path.join(dir, 'w'), wideStory);
  const [cpu] = os.cpus();
  const host = `${os.cpus().length} x ${cpu?.model}, node ${process.version}, load ${os.loadavg()[0]?.toFixed(1)}`;
  process.stdout.write(`Host: ${host}\n\n${markdown(['what', 'measured', 'target'], rows)}`);
});
process.exitCode = misses === 0 ? 0 : 1;
