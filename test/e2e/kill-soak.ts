// Kills random nodes with SIGKILL, one every few seconds, never the gateway, while a writer that verifies goes on; then all
// must be in sync, nothing acknowledged may be lost, no request refused, and no node may have grown. One run, its figures
// and what was wrong; kill-soak.test.ts runs it.

import fs from 'node:fs';
import { type Cluster, until } from './cluster.ts';
import { TaggedWriter } from './tagged-writer.ts';

const GATEWAY = 1;
/** How long everything may take to be in sync again after the last kill. */
export const IN_SYNC_MS = 60_000;
/** Largest growth of a node's memory from the end of the warm-up to the end. */
export const MAX_GROWTH = 1.5;
const WRITER = { blocks: 32_768, blockBytes: 4096, inFlight: 8, verifyEvery: 8 };
const MIN_DOWN_MS = 1000;
const PAGES_OF_STATUS = /VmRSS:\s+(\d+) kB/;

export interface KillSoakOptions {
  readonly warmUpMs: number;
  readonly durationMs: number;
  /** From one kill to the next. */
  readonly everyMs: number;
  readonly seed: number;
  readonly log: (line: string) => void;
}

export interface KillSoakResult {
  readonly kills: number;
  readonly acknowledged: number;
  readonly verified: number;
  /** From the end of the killing until all was in sync. */
  readonly inSyncMs: number;
  /** MiB of each node after the warm-up and at the end; a killed node's is that of its last life. */
  readonly memory: readonly {
    readonly name: string;
    readonly warm: number;
    readonly end: number;
  }[];
  /** Empty when all went well. */
  readonly problems: readonly string[];
}

export async function killSoak(
  cluster: Cluster,
  options: KillSoakOptions,
): Promise<KillSoakResult> {
  const { log } = options;
  const socket = cluster.node(GATEWAY).nbd.unix;
  const writer = new TaggedWriter({ ...WRITER, socket, volume: cluster.volume });
  await writer.start();
  await pause(options.warmUpMs);
  const warm = memoryOf(cluster);
  const kills = await killing(cluster, writer, options);
  const endedAt = performance.now();
  const problems: string[] = [];
  try {
    await cluster.settled(IN_SYNC_MS);
  } catch (error) {
    problems.push(String(error));
  }
  const inSyncMs = performance.now() - endedAt;
  log(`in sync after ${(inSyncMs / 1000).toFixed(1)} s`);
  const before = writer.acknowledgedCount;
  await writer.acknowledgements(before + 1);
  if (writer.acknowledgedCount === before) problems.push('the guest lost its connection');
  await writer.stop();
  const memory = memoryOf(cluster).map(({ name, mib }, i) => {
    return { name, warm: warm[i]?.mib ?? 0, end: mib };
  });
  await writer.readAll(cluster.node(2).nbd.unix);
  problems.push(
    ...writer.problems,
    ...writer.errors.map((errno) => `a request got error ${errno}`),
  );
  for (const { name, warm: start, end } of memory) {
    if (end > MAX_GROWTH * start) problems.push(`${name} grew from ${start} to ${end} MiB`);
  }
  const { acknowledgedCount: acknowledged, verifiedCount: verified } = writer;
  return { kills, acknowledged, verified, inSyncMs, memory, problems };
}

/** One node every `everyMs`; it is started again before the next one goes, or soon after. */
async function killing(
  cluster: Cluster,
  writer: TaggedWriter,
  { durationMs, everyMs, seed, log }: KillSoakOptions,
): Promise<number> {
  const endAt = performance.now() + durationMs;
  let state = seed;
  const draw = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const others = cluster.nodes.length - 1;
  let kills = 0;
  for (let dueAt = performance.now(); performance.now() < endAt; dueAt += everyMs) {
    await pause(dueAt - performance.now());
    const victim = 2 + draw(others);
    const before = writer.acknowledgedCount;
    await cluster.kill([victim]);
    await pause(MIN_DOWN_MS + draw(everyMs * 0.6));
    await cluster.start(victim);
    kills += 1;
    log(`kill ${kills}: node ${victim}, ${writer.acknowledgedCount - before} writes meanwhile`);
  }
  await until(
    'the last one is a member again',
    async () => (await cluster.info()).members.up > others,
    IN_SYNC_MS,
  );
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
