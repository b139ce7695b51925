// A snapshot every second, under writers that know their history and fio that verifies, while nodes are killed with -9 and
// started again. Each snapshot is then read block by block; then all of them are deleted in random order, everything is
// written once more, and only what the volumes need may be left. One run and what was wrong; snapshot-soak.test.ts runs it.

import path from 'node:path';
import { MIB } from '../../src/core/units.ts';
import { run } from '../nbd/tools.ts';
import { type Cluster, until } from './cluster.ts';
import { type Draw, drawsOf } from './draws.ts';
import { asked, diskBytes, orphans, treeOf } from './leftovers.ts';
import { NbdClient } from './nbd-client.ts';
import {
  type Bounds,
  chainProblems,
  DependentWriter,
  LastingWriter,
} from './snapshot-soak-load.ts';

const TAGGED = 'tagged';
const FIO = 'fio';
const CHAIN = ['a', 'b', 'c'];
const SLOTS = 256;
const SIZES: Readonly<Record<string, number>> = { [FIO]: 16 * MIB, a: MIB, b: MIB, c: MIB };
const TAGGED_BYTES = 16 * MIB;
const WRITER = { volume: TAGGED, blocks: TAGGED_BYTES / 4096, blockBytes: 4096, inFlight: 8 };
const FIO_BYTES_PER_SECOND = 2 * MIB;
const READY_MS = 60_000;
const IN_SYNC_MS = 120_000;
const CLEAN_MS = 180_000;
const MIN_DOWN_MS = 500;
/** Journals, tables, and what regions round up to, on all nodes. */
const SLACK_BYTES = 24 * MIB;
/** fio's node is not killed: its client does not come back. */
const FIRST_VICTIM = 2;
const DEPENDENT = 2;

export interface SnapshotSoakOptions {
  readonly seconds: number;
  readonly killEveryMs: number;
  readonly seed: number;
  readonly log: (line: string) => void;
}

export interface SnapshotSoakResult {
  readonly taken: Readonly<Record<string, number>>;
  readonly refused: number;
  readonly kills: number;
  readonly acknowledged: number;
  readonly chains: number;
  readonly returns: number;
  readonly blocksChecked: number;
  readonly problems: readonly string[];
}

interface Taken {
  readonly group: readonly string[];
  readonly tag: string;
  /** False: the answer was lost or said no; it may be there all the same. */
  readonly isAnswered: boolean;
  readonly asked: Bounds;
  readonly answered: Bounds;
  readonly chainAsked: readonly Uint32Array[];
  readonly chainAnswered: readonly Uint32Array[];
}

interface Soak {
  readonly cluster: Cluster;
  readonly options: SnapshotSoakOptions;
  readonly draw: Draw;
  readonly tagged: LastingWriter;
  readonly chain: DependentWriter;
  readonly taken: Taken[];
  readonly problems: string[];
  readonly down: Set<number>;
}

/** @param cluster has the volume `tagged` */
export async function snapshotSoak(
  cluster: Cluster,
  options: SnapshotSoakOptions,
): Promise<SnapshotSoakResult> {
  const { log, seed } = options;
  log(`seed ${seed}`);
  for (const [name, sizeBytes] of Object.entries(SIZES)) {
    await asked(cluster, 1, '/v1/volumes', { method: 'POST', body: { name, sizeBytes } });
  }
  const down = new Set<number>();
  const upFrom = (first: number) => () => {
    const all = cluster.nodes.map((_, at) => at + 1).filter((n) => !down.has(n));
    const own = all.filter((n) => n >= first);
    return (own.length > 0 ? own : all).map((n) => cluster.node(n).nbd.unix);
  };
  const soak: Soak = {
    ...{ cluster, options, down, draw: drawsOf(seed), taken: [], problems: [] },
    tagged: new LastingWriter(WRITER, upFrom(FIRST_VICTIM)),
    chain: new DependentWriter(CHAIN, SLOTS, upFrom(DEPENDENT)),
  };
  const kills = await underLoad(soak);
  await cluster.settled(IN_SYNC_MS);
  const blocksChecked = await checked(soak);
  await soak.tagged.writer.readAll(cluster.node(1).nbd.unix);
  soak.problems.push(...soak.tagged.writer.problems);
  log(`${blocksChecked} blocks of snapshots are checked, ${soak.problems.length} problems`);
  await allDeleted(soak);
  await nothingLeft(soak);
  return resultOf(soak, kills, blocksChecked);
}

function resultOf(soak: Soak, kills: number, blocksChecked: number): SnapshotSoakResult {
  const { taken, tagged, chain, problems } = soak;
  const done = taken.filter(({ isAnswered }) => isAnswered);
  const counted = (name: string) => done.filter(({ group }) => group.includes(name)).length;
  return {
    taken: { [TAGGED]: counted(TAGGED), [FIO]: counted(FIO), group: counted('a') },
    refused: taken.length - done.length,
    ...{ kills, blocksChecked, problems, chains: chain.count },
    acknowledged: tagged.writer.acknowledgedCount,
    returns: tagged.returns + chain.returns,
  };
}

/** Everything at once, until the time is over. Returns how many nodes were killed. */
async function underLoad(soak: Soak): Promise<number> {
  const { cluster, options, tagged, chain, problems } = soak;
  tagged.start();
  chain.start();
  const loops = Math.max(1, Math.round((options.seconds * FIO_BYTES_PER_SECOND) / (16 * MIB)));
  const fio = run(
    'fio',
    [
      ...['--name=load', '--ioengine=nbd', `--uri=${uriOf(cluster, FIO)}`, '--rw=randwrite'],
      ...['--bs=4k', '--iodepth=8', '--size=16m', `--rate=${FIO_BYTES_PER_SECOND}`],
      ...[`--loops=${loops}`, '--verify=crc32c', '--verify_fatal=1', '--do_verify=1'],
    ],
    { cwd: cluster.dir, timeoutMs: options.seconds * 10_000 + READY_MS },
  );
  const endAt = performance.now() + options.seconds * 1000;
  const killing = killAlong(soak, endAt);
  await snapshotsUntil(soak, endAt);
  const kills = await killing;
  await tagged.stop();
  await chain.stop();
  const { code, stdout, stderr } = await fio;
  if (code !== 0)
    problems.push(`fio ended with ${code}: ${stderr.slice(-500)} ${stdout.slice(-500)}`);
  problems.push(...tagged.writer.errors.map((errno) => `a request got error ${errno}`));
  return kills;
}

function uriOf(cluster: Cluster, name: string): string {
  return `nbd+unix:///${name}?socket=${cluster.node(1).nbd.unix}`;
}

async function killAlong({ cluster, options, draw, down }: Soak, endAt: number): Promise<number> {
  let kills = 0;
  let victim = 0;
  while (performance.now() + options.killEveryMs < endAt) {
    await pause(draw(options.killEveryMs));
    // Another one than the last: however few kills a slow host lets happen, several nodes are hit.
    const fit = cluster.nodes
      .map((_, at) => at + 1)
      .filter((n) => n >= FIRST_VICTIM && n !== victim);
    victim = fit[draw(fit.length)] as number;
    down.add(victim);
    await cluster.kill([victim]);
    kills += 1;
    await pause(MIN_DOWN_MS + draw(options.killEveryMs));
    await cluster.start(victim);
    down.delete(victim);
    options.log(`kill ${kills}: node ${victim} was away`);
  }
  return kills;
}

/** Each second one of each group, whether the last ones are answered or not. */
async function snapshotsUntil(soak: Soak, endAt: number): Promise<void> {
  const open: Promise<void>[] = [];
  const { seconds } = soak.options;
  for (let second = 0; second < seconds && performance.now() < endAt; second += 1) {
    for (const group of [[TAGGED], [FIO], CHAIN]) open.push(takeOne(soak, group, `t${second}`));
    await pause(endAt - (seconds - second - 1) * 1000 - performance.now());
  }
  await Promise.all(open);
}

async function takeOne(soak: Soak, group: readonly string[], tag: string): Promise<void> {
  const { cluster, tagged, chain, taken, down } = soak;
  const up = cluster.nodes.map((_, at) => at + 1).filter((n) => !down.has(n));
  const by = up[soak.draw(up.length)] ?? 1;
  const [asking, chainAsking] = [tagged.bounds(), chain.bounds()];
  let isAnswered = true;
  try {
    const body = { volumes: group, tag };
    await asked(cluster, by, '/v1/snapshots', { method: 'POST', body });
  } catch {
    isAnswered = false;
  }
  taken.push({
    ...{ group, tag, isAnswered, asked: asking, answered: tagged.bounds() },
    ...{ chainAsked: chainAsking.acknowledged, chainAnswered: chain.bounds().issued },
  });
}

/** Reads all snapshots that are there. Returns how many blocks. */
async function checked(soak: Soak): Promise<number> {
  const { cluster, taken, tagged, chain, problems, draw } = soak;
  const names = new Set((await treeOf(cluster)).map(({ name }) => name));
  let blocks = 0;
  for (const one of taken) {
    const there = one.group.filter((name) => names.has(`${name}@${one.tag}`)).length;
    const socket = cluster.node(1 + draw(cluster.nodes.length)).nbd.unix;
    if (there === 0 && !one.isAnswered) continue;
    if (there < one.group.length) {
      problems.push(`${one.tag}: ${there} of ${one.group.join()} are there`);
      continue;
    }
    if (one.group[0] === TAGGED) {
      // One without an answer may have come at any instant since.
      const issued = one.isAnswered ? one.answered.issued : tagged.bounds().issued;
      const bounds = { settled: one.asked.settled, issued };
      problems.push(...(await tagged.problemsOf(socket, `${TAGGED}@${one.tag}`, bounds)));
      blocks += WRITER.blocks;
    } else if (one.group[0] === FIO) {
      problems.push(...(await fioProblems(soak, one.tag)));
      blocks += (SIZES[FIO] ?? 0) / 4096;
    } else {
      const shown = await chain.numbersIn(socket, one.tag);
      const most = one.isAnswered ? one.chainAnswered : chain.bounds().issued;
      const wrong = chainProblems(shown, one.chainAsked, most);
      problems.push(...wrong.map((text) => `group at ${one.tag}: ${text}`));
      blocks += SLOTS * CHAIN.length;
    }
  }
  return blocks;
}

/** Each block is one whole write of fio's, or was never written: fio's own header says where it belongs, and its sum. */
async function fioProblems({ cluster }: Soak, tag: string): Promise<readonly string[]> {
  const client = await NbdClient.connect(cluster.node(1).nbd.unix, `${FIO}@${tag}`);
  let isWhole = true;
  for (let at = 0; at < client.sizeBytes && isWhole; at += MIB) {
    const bytes = await client.read(at, MIB);
    for (let block = 0; block < MIB; block += 4096) {
      if (bytes.readUInt16LE(block) === 0) isWhole = false;
    }
  }
  await client.close();
  if (!isWhole) return [];
  const name = `${FIO}@${tag}`;
  const uri = `--uri=${uriOf(cluster, name)}`;
  const how = ['--rw=read', '--bs=4k', '--iodepth=8', '--size=16m', '--readonly'];
  const { code, stdout, stderr } = await run(
    'fio',
    ['--name=look', '--ioengine=nbd', uri, ...how, '--verify=crc32c', '--verify_fatal=1'],
    { cwd: path.dirname(cluster.node(1).dir), timeoutMs: READY_MS },
  );
  return code === 0
    ? []
    : [`${name}: fio says ${code}: ${stderr.slice(-300)} ${stdout.slice(-300)}`];
}

/** In random order, each through a random node. */
async function allDeleted({ cluster, draw, options }: Soak): Promise<void> {
  const rows = (await treeOf(cluster)).filter(({ kind }) => kind === 'snapshot');
  const names = rows.map(({ name }) => name);
  options.log(`${names.length} snapshots are deleted, ${diskBytes(cluster)} bytes on disks`);
  while (names.length > 0) {
    const [name = ''] = names.splice(draw(names.length), 1);
    const by = 1 + draw(cluster.nodes.length);
    await asked(cluster, by, `/v1/snapshots/${encodeURIComponent(name)}`, { method: 'DELETE' });
  }
}

/** First no file without an owner; then, with all of it written anew, the volumes' own layers and nothing else. */
async function nothingLeft(soak: Soak): Promise<void> {
  const { cluster, problems, options } = soak;
  const volumes = { ...SIZES, [TAGGED]: TAGGED_BYTES };
  let left: readonly string[] = [];
  const hasNone = async (): Promise<boolean> => {
    left = await orphans(cluster);
    return left.length === 0;
  };
  const told = (error: unknown) => problems.push(`${error} ${left.join('; ')}`);
  await until('no file without an owner', hasNone, CLEAN_MS).catch(told);
  for (const [name, bytes] of Object.entries(volumes)) await overwritten(cluster, name, bytes);
  const needed = 3 * Object.values(volumes).reduce((sum, bytes) => sum + bytes, 0);
  const isBare = async (): Promise<boolean> => {
    const others = (await treeOf(cluster)).filter(({ kind }) => kind !== 'volume');
    const bytes = diskBytes(cluster);
    left = [
      ...others.map(({ generation, kind }) => `${kind} layer ${generation}`),
      ...(await orphans(cluster)),
      ...(bytes > needed + SLACK_BYTES ? [`${bytes} bytes for ${needed}`] : []),
    ];
    return left.length === 0;
  };
  await until('only the volumes are left', isBare, CLEAN_MS).catch(told);
  options.log(`${diskBytes(cluster)} bytes are left for ${needed}`);
}

async function overwritten(cluster: Cluster, name: string, bytes: number): Promise<void> {
  const client = await NbdClient.connect(cluster.node(1).nbd.unix, name);
  for (let at = 0; at < bytes; at += MIB) await client.write(at, Buffer.alloc(MIB, 1 + at / MIB));
  await client.close();
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
