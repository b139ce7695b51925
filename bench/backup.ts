// Backup and restore of a half-full volume, by real commands against a cluster of real processes: how fast, and what it
// costs. `npm run bench:backup`; prints a table in Markdown. A backup to a file, one to nowhere, a restore, the difference
// after 1 % of the data was written in blocks of 4 KiB, and that onto what was restored. MiB/s of the volume (holes cost
// nothing) and of the bytes in the stream; CPU of `dog` and of all nodes per MiB of data; peak memory of `dog` beside that
// of a command that moves nothing.
//
// Ends only what it started and removes what it wrote.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { GIB, KIB, MIB } from '../src/core/units.ts';
import { NbdClient } from '../test/e2e/nbd-client.ts';
import { type Usage, usageOf } from '../test/e2e/process-usage.ts';
import { type BenchNode, cpuMsOf, createVolume, pause, startNodes, stopNodes } from './nodes.ts';
import { markdown } from './report.ts';
import { owned, withScratch } from './scratch.ts';

const HELP = `npm run bench:backup -- [options]: backup, restore and differences of a half-full volume, by real commands

  --size MIB     of the volume (4096)
  --nodes N      of the cluster (3)
  --copies N     of the volume (2)
  --passes N     of each full backup; the best counts (1)
  --json FILE    all figures (JSON)
  --help         this text

The folder of the system for temporary files takes the data (environment: DIR).
`;

const DOG = path.join(import.meta.dirname, '..', 'bin', 'dog');
/** Writes are closed and checkpointed, caches are at rest. */
const REST_MS = 3000;
const BLOCK_BYTES = 4 * KIB;
/** Of the data, rewritten before the difference is taken. */
const CHANGED_SHARE = 0.01;
const TARGET_MIB_PER_SECOND = 300;
const FORMAT = 1;

interface Options {
  readonly sizeMib: number;
  readonly nodes: number;
  readonly copies: number;
  readonly passes: number;
  readonly json: string | undefined;
}

interface Figures {
  readonly what: string;
  readonly seconds: number;
  readonly streamBytes: number;
  readonly volumeMibPerSecond: number;
  readonly streamMibPerSecond: number;
  readonly dogCpuMsPerMib: number;
  readonly nodesCpuMsPerMib: number;
  /** Beyond what a command takes that moves nothing. */
  readonly dogPeakMib: number;
}

interface Bench {
  readonly options: Options;
  readonly nodes: readonly BenchNode[];
  readonly dir: string;
  readonly idlePeakBytes: number;
  readonly figures: Figures[];
}

function optionsOf(argv: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      size: { type: 'string', default: '4096' },
      nodes: { type: 'string', default: '3' },
      copies: { type: 'string', default: '2' },
      passes: { type: 'string', default: '1' },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  const [sizeMib, nodes, copies, passes] = [
    values.size,
    values.nodes,
    values.copies,
    values.passes,
  ].map((text) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= 1) return value;
    throw new RangeError(`a whole number is wanted, not ${text}`);
  }) as [number, number, number, number];
  return { sizeMib, nodes, copies, passes, json: values.json };
}

/** Numbers without a pattern, the same in every run. */
function noiseOf(bytes: number, seed: number): Buffer {
  const noise = Buffer.allocUnsafe(bytes);
  let state = seed | 1;
  for (let at = 0; at + 4 <= bytes; at += 4) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    noise.writeInt32LE(state, at);
  }
  return noise;
}

/** Every second MiB: one half of it without any pattern, the other one as text has them. */
async function fill({ nodes, options }: Bench): Promise<void> {
  const guest = await NbdClient.connect(nodes[0]?.nbd ?? '', 'disk');
  for (let at = 0; at < options.sizeMib; at += 2) {
    const data = Buffer.alloc(MIB, `line ${at} of what a guest writes, `);
    noiseOf(MIB / 2, at + 1).copy(data);
    await guest.write(at * MIB, data);
  }
  await guest.close();
}

/** Blocks all over the data. */
async function change({ nodes, options }: Bench): Promise<number> {
  const guest = await NbdClient.connect(nodes[0]?.nbd ?? '', 'disk');
  const perMib = MIB / BLOCK_BYTES;
  const all = Math.floor(options.sizeMib / 2) * perMib;
  const step = Math.round(1 / CHANGED_SHARE);
  let bytes = 0;
  for (let block = 0; block < all; block += step, bytes += BLOCK_BYTES) {
    const at = Math.floor(block / perMib) * 2 * MIB + (block % perMib) * BLOCK_BYTES;
    await guest.write(at, noiseOf(BLOCK_BYTES, block + 77));
  }
  await guest.close();
  return bytes;
}

async function dog({ nodes }: Pick<Bench, 'nodes'>, ...args: string[]): Promise<Usage> {
  const at = ['--dir', path.dirname(nodes[0]?.data ?? '')];
  const used = await usageOf(DOG, [...at, ...args], { begun: owned });
  if (used.code !== 0) throw new RangeError(`dog ${args.join(' ')}: ${used.code}: ${used.stderr}`);
  return used;
}

/** @param streamFile absent: the stream goes nowhere, and has as many bytes as the one before */
async function timed(
  bench: Bench,
  what: string,
  streamFile: string,
  ...args: string[]
): Promise<void> {
  const { nodes, options, figures } = bench;
  await pause(REST_MS);
  const before = cpuMsOf(nodes);
  const { seconds, cpuMs, peakBytes } = await dog(bench, ...args);
  const dataMib = options.sizeMib / 2;
  const streamBytes = fs.statSync(streamFile).size;
  const one: Figures = {
    ...{ what, seconds, streamBytes },
    volumeMibPerSecond: options.sizeMib / seconds,
    streamMibPerSecond: streamBytes / MIB / seconds,
    dogCpuMsPerMib: cpuMs / dataMib,
    nodesCpuMsPerMib: (cpuMsOf(nodes) - before) / dataMib,
    dogPeakMib: (peakBytes - bench.idlePeakBytes) / MIB,
  };
  process.stderr.write(`${what}: ${seconds.toFixed(1)} s, peak ${one.dogPeakMib.toFixed(0)} MiB\n`);
  const last = figures.at(-1);
  if (last?.what !== what) figures.push(one);
  else if (one.seconds < last.seconds) figures.splice(-1, 1, one);
}

async function measureAll(bench: Bench): Promise<number> {
  const { dir, options } = bench;
  const [full, next] = [path.join(dir, 'a'), path.join(dir, 'b')];
  await fill(bench);
  await dog(bench, 'vdi', 'snapshot', 'disk', '-s', 'a');
  const backup = ['vdi', 'backup', 'disk@a'];
  for (let pass = 0; pass < options.passes; pass += 1) {
    await timed(bench, 'backup to a file', full, ...backup, '-f', '-o', full);
  }
  for (let pass = 0; pass < options.passes; pass += 1) {
    await timed(bench, 'backup to nowhere', full, ...backup);
  }
  await timed(bench, 'restore', full, 'vdi', 'restore', 'copy', '-i', full);
  const changed = await change(bench);
  await dog(bench, 'vdi', 'snapshot', 'disk', '-s', 'b');
  const difference = ['vdi', 'backup', 'disk@b', '--from', 'a', '-o', next];
  await timed(bench, 'backup of the difference', next, ...difference);
  await timed(bench, 'restore of it', next, 'vdi', 'restore', 'copy', '--onto', '-i', next);
  return changed;
}

function report({ options, figures }: Bench, changedBytes: number): void {
  const [first, , , difference] = figures as [Figures, Figures, Figures, Figures, Figures];
  const met = first.volumeMibPerSecond >= TARGET_MIB_PER_SECOND ? 'met' : 'missed';
  const share = difference.streamBytes / (options.sizeMib * (MIB / 2));
  const heads = ['what', 's', 'MiB/s of the volume', 'MiB/s of the stream', 'stream MiB'];
  const costs = ['CPU ms/MiB of dog', 'of all nodes', 'peak MiB'];
  const lines = figures.map((one) => [
    ...[one.what, one.seconds.toFixed(1), one.volumeMibPerSecond.toFixed(0)],
    ...[one.streamMibPerSecond.toFixed(0), (one.streamBytes / MIB).toFixed(1)],
    ...[one.dogCpuMsPerMib, one.nodesCpuMsPerMib].map((ms) => ms.toFixed(2)),
    one.dogPeakMib.toFixed(0),
  ]);
  const machine = `${os.cpus().length} x ${os.cpus()[0]?.model}, node ${process.version}`;
  const host = `${machine}, load ${os.loadavg()[0]?.toFixed(1)}`;
  const { sizeMib, nodes, copies } = options;
  process.stdout.write(
    `Host: ${host}; ${((sizeMib * MIB) / GIB).toFixed(2)} GiB half full, ${nodes} nodes, ${copies} copies\n\n` +
      `${markdown([...heads, ...costs], lines)}\n` +
      `Target of a full backup ${TARGET_MIB_PER_SECOND} MiB/s of the volume: ${met}. The difference is ` +
      `${(share * 100).toFixed(2)} % of the data, of which ${(changedBytes / MIB).toFixed(1)} MiB were written.\n`,
  );
  const document = { format: FORMAT, host, options, figures, changedBytes, differenceShare: share };
  if (options.json !== undefined) fs.writeFileSync(options.json, JSON.stringify(document, null, 2));
}

const options = optionsOf(process.argv.slice(2));
if (options === undefined) process.stdout.write(HELP);
else {
  await withScratch(async (dir) => {
    const nodes = await startNodes(dir, options);
    try {
      const [first] = nodes as [BenchNode];
      await createVolume(first, 'disk', options.sizeMib * MIB);
      // The first command after a change of the source compiles it.
      await dog({ nodes }, 'vdi', 'list', 'disk');
      const { peakBytes } = await dog({ nodes }, 'vdi', 'list', 'disk');
      const bench: Bench = { options, nodes, dir, idlePeakBytes: peakBytes, figures: [] };
      report(bench, await measureAll(bench));
    } finally {
      await stopNodes(nodes);
    }
  });
}
