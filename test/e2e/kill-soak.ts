// Kills random nodes with SIGKILL, one every few seconds, while a workload that verifies goes on; then all must be in sync,
// nothing acknowledged may be lost, no request refused, and no node may have grown. One run, its figures and what was
// wrong; kill-soak.test.ts and kill-soak-guest.test.ts run it.

import fs from 'node:fs';
import { type Cluster, until } from './cluster.ts';
import { drawsOf } from './draws.ts';
import { TaggedWriter } from './tagged-writer.ts';

/** Where the workload's volume is attached. */
export const GATEWAY = 1;
/** How long everything may take to be in sync again after the last kill. */
export const IN_SYNC_MS = 60_000;
/** Largest growth of a node's memory from when it is warm to the end. */
export const MAX_GROWTH = 1.5;
/** Nodes are warm after the warm-up and so many kills: copying for those that return is a part of the work. */
const WARM_KILLS = 3;
const WRITER = { blocks: 32_768, blockBytes: 4096, inFlight: 8, verifyEvery: 8 };
const MIN_DOWN_MS = 1000;
const NOBODY = { name: 'nobody', mib: 0 };
const PAGES_OF_STATUS = /VmRSS:\s+(\d+) kB/;

export interface KillSoakOptions {
  readonly warmUpMs: number;
  readonly durationMs: number;
  /** From one kill to the next. */
  readonly everyMs: number;
  readonly seed: number;
  /** The gateway is killed like the others: the workload has to come back by itself. */
  readonly withGateway?: boolean;
  readonly log: (line: string) => void;
}

/** Whoever writes, and knows what must be there. */
export interface Workload {
  /** Writes acknowledged so far. */
  acknowledged(): number;
  /** Ends it, with something acknowledged after all kills, and looks at everything. What is wrong; empty: nothing. */
  finish(): Promise<readonly string[]>;
}

export interface KillSoakResult {
  readonly kills: number;
  readonly acknowledged: number;
  /** From the end of the killing until all was in sync. */
  readonly inSyncMs: number;
  /** MiB of each node once it is warm and at the end; a killed node's is that of its last life. */
  readonly memory: readonly {
    readonly name: string;
    readonly warm: number;
    readonly end: number;
  }[];
  /** Empty when all went well. */
  readonly problems: readonly string[];
}

/** @param load has begun */
export async function killSoak(
  cluster: Cluster,
  load: Workload,
  options: KillSoakOptions,
): Promise<KillSoakResult> {
  const { log } = options;
  await pause(options.warmUpMs);
  let warm = memoryOf(cluster);
  const kills = await killing(cluster, load, options, (so) => {
    if (so === WARM_KILLS) warm = memoryOf(cluster);
  });
  const meanwhile = load.acknowledged();
  const endedAt = performance.now();
  const problems: string[] = [];
  try {
    await cluster.settled(IN_SYNC_MS);
  } catch (error) {
    problems.push(String(error));
  }
  const inSyncMs = performance.now() - endedAt;
  log(`in sync after ${(inSyncMs / 1000).toFixed(1)} s`);
  const memory = memoryOf(cluster).map(({ name, mib }, i) => {
    return { name, warm: warm[i]?.mib ?? 0, end: mib };
  });
  problems.push(...(await load.finish()));
  if (load.acknowledged() === meanwhile) problems.push('nothing was written after the last kill');
  for (const { name, warm: start, end } of memory) {
    if (end > MAX_GROWTH * start) problems.push(`${name} grew from ${start} to ${end} MiB`);
  }
  return { kills, acknowledged: load.acknowledged(), inSyncMs, memory, problems };
}

/** A writer on the gateway that reads back a part of what it writes, and all of it at the end through another node. */
export async function verifyingWriter(cluster: Cluster): Promise<Workload> {
  const socket = cluster.node(GATEWAY).nbd.unix;
  const writer = new TaggedWriter({ ...WRITER, socket, volume: cluster.volume });
  await writer.start();
  const finish = async (): Promise<readonly string[]> => {
    const before = writer.acknowledgedCount;
    await writer.acknowledgements(before + 1);
    const isGone = writer.acknowledgedCount === before;
    await writer.stop();
    const wasVerified = writer.verifiedCount > 0;
    await writer.readAll(cluster.node(GATEWAY + 1).nbd.unix);
    return [
      ...(isGone ? ['the guest lost its connection'] : []),
      ...(wasVerified ? [] : ['nothing was read back meanwhile']),
      ...writer.problems,
      ...writer.errors.map((errno) => `a request got error ${errno}`),
    ];
  };
  return { acknowledged: () => writer.acknowledgedCount, finish };
}

/** One node every `everyMs`; it is started again before the next one goes, or soon after. */
async function killing(
  cluster: Cluster,
  load: Workload,
  { durationMs, everyMs, seed, log, withGateway = false }: KillSoakOptions,
  killed: (kills: number) => void,
): Promise<number> {
  const endAt = performance.now() + durationMs;
  const draw = drawsOf(seed);
  const all = cluster.nodes.length;
  const first = withGateway ? GATEWAY : GATEWAY + 1;
  let kills = 0;
  for (let dueAt = performance.now(); performance.now() < endAt; dueAt += everyMs) {
    await pause(dueAt - performance.now());
    const drawn = first + draw(all + 1 - first);
    // However short the run is, the gateway is among them where it may be.
    const victim = withGateway && kills === 0 ? GATEWAY : drawn;
    const before = load.acknowledged();
    await cluster.kill([victim]);
    await pause(MIN_DOWN_MS + draw(everyMs * 0.6));
    await cluster.start(victim);
    kills += 1;
    const writes = load.acknowledged() - before;
    const { name, mib } = memoryOf(cluster).find((_, i) => i + 1 !== victim) ?? NOBODY;
    log(`kill ${kills}: node ${victim}, ${writes} writes meanwhile; ${name} has ${mib} MiB`);
    killed(kills);
  }
  const areUp = async () => (await cluster.info()).members.up === all;
  await until('the last one is a member again', areUp, IN_SYNC_MS);
  return kills;
}

function memoryOf(cluster: Cluster): readonly { readonly name: string; readonly mib: number }[] {
  return cluster.nodes.map(({ name, pid }) => {
    const [, kib] = PAGES_OF_STATUS.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return { name, mib: Math.round(Number(kib) / 1024) };
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
