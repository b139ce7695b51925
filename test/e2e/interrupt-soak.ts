// Interrupts operations of several parts: kill -9 of the command, of the node that it asks, or of the leader, at a random
// moment of each. Then it happened or it did not, it can be asked for again, and at the end nothing is left over. One run
// and what was wrong; interrupt-soak.test.ts runs it.

import { spawn } from 'node:child_process';
import path from 'node:path';
import { type Cluster, until } from './cluster.ts';
import { type Draw, drawsOf } from './draws.ts';
import { OPERATIONS, type Operation } from './interrupt-soak-operations.ts';
import { AGAIN_MS, GOLD, goldIn, type Images, Place } from './interrupt-soak-place.ts';
import { diskBytes, orphans, treeOf } from './leftovers.ts';

const DOG = path.join(import.meta.dirname, '..', '..', 'bin', 'dog');
const TARGETS = ['command', 'gateway', 'leader'] as const;
type Target = (typeof TARGETS)[number];
/** A moment is drawn from this part of an operation's usual time to that: before it the command only loads itself. */
const BEGINS_AT = 0.3;
const ENDS_AT = 0.9;
const CLEAN_EVERY = 25;
const CLEAN_MS = 120_000;
/** A killed node stays away up to so long. */
const MAX_AWAY_MS = 1500;
/** Journals, tables, and what regions round up to. */
const SLACK_BYTES = 4 * 1024 * 1024;

export interface InterruptOptions {
  readonly interruptions: number;
  readonly seed: number;
  /** Only this one, by its title. */
  readonly only?: string | undefined;
  readonly log: (line: string) => void;
}

export interface InterruptResult {
  readonly interruptions: number;
  /** Of them: the operation was under way when the signal came. */
  readonly hit: number;
  readonly happened: number;
  /** By what was killed. */
  readonly kills: Readonly<Record<Target, number>>;
  readonly problems: readonly string[];
}

interface Soak {
  readonly cluster: Cluster;
  readonly images: Images;
  readonly draw: Draw;
  readonly log: (line: string) => void;
  /** ms of an operation that nobody interrupts. */
  readonly usualMs: Map<string, number>;
}

interface Round {
  readonly operation: Operation;
  readonly at: Place;
  readonly target: Target;
}

export async function interruptSoak(
  cluster: Cluster,
  { interruptions, seed, only, log }: InterruptOptions,
): Promise<InterruptResult> {
  log(`seed ${seed}`);
  const soak: Soak = {
    ...{ cluster, log, draw: drawsOf(seed), usualMs: new Map() },
    images: await goldIn(cluster),
  };
  const operations = OPERATIONS.filter(({ title }) => only === undefined || title === only);
  const usualBytes = diskBytes(cluster);
  const kills: Record<Target, number> = { command: 0, gateway: 0, leader: 0 };
  const problems: string[] = [];
  let hit = 0;
  let happened = 0;
  for (let n = 0; n < interruptions; n += 1) {
    const operation = operations[n % operations.length] as Operation;
    const target = TARGETS[(n + Math.floor(n / operations.length)) % TARGETS.length] as Target;
    const at = new Place(cluster, soak.images, `v${n}`);
    kills[target] += 1;
    try {
      const round = await interrupted(soak, { operation, at, target });
      hit += round.isHit ? 1 : 0;
      happened += round.standing === 'after' ? 1 : 0;
    } catch (error) {
      problems.push(`${n}: ${operation.title}, ${target} killed: ${error}`);
      log(`PROBLEM ${problems.at(-1)}`);
      await at.clear().catch((left) => log(`not cleared: ${left}`));
    }
    if (n % CLEAN_EVERY === CLEAN_EVERY - 1 || n === interruptions - 1) {
      await allClean(soak, usualBytes).catch((error) => {
        problems.push(`after ${n + 1}: ${error}`);
        log(`PROBLEM ${problems.at(-1)}`);
      });
    }
  }
  return { interruptions, hit, happened, kills, problems };
}

async function interrupted(
  soak: Soak,
  { operation, at, target }: Round,
): Promise<{ readonly isHit: boolean; readonly standing: string }> {
  const { cluster, draw, log, usualMs } = soak;
  if (!usualMs.has(operation.title)) await measure(soak, operation);
  await operation.prepare(at);
  const usual = usualMs.get(operation.title) ?? 0;
  const afterMs = Math.round(usual * BEGINS_AT) + draw(usual * (ENDS_AT - BEGINS_AT));
  const leader = await leaderOf(cluster);
  const away = draw(MAX_AWAY_MS);
  const gateway = target === 'leader' ? otherThan(cluster, leader, draw) : 1 + draw(3);
  const child = spawn(DOG, operation.args(at), {
    env: { ...process.env, SHEEPDOG_API: cluster.node(gateway).api },
    stdio: 'ignore',
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  await pause(afterMs);
  const isHit = child.exitCode === null;
  if (target === 'command') child.kill('SIGKILL');
  else {
    const victim = target === 'gateway' ? gateway : leader;
    await cluster.kill([victim]);
    await pause(away);
    await cluster.start(victim);
  }
  await ended;
  await allUp(cluster);
  const standing = await standingOf(operation, at);
  await finished(operation, at);
  const text = `${target} killed after ${afterMs} of ${Math.round(usual)} ms`;
  log(`${at.name} ${operation.title}: ${text}${isHit ? '' : ' (over)'}: ${standing}`);
  return { isHit, standing };
}

/** It happened or it did not; what still goes on by itself may yet happen. */
async function standingOf(operation: Operation, at: Place): Promise<'before' | 'after'> {
  let standing = '';
  const isKnown = async (): Promise<boolean> => {
    standing = await operation.look(at);
    return true;
  };
  await until(`${operation.title} is looked at`, isKnown, AGAIN_MS);
  if (standing === 'before' || standing === 'after') return standing;
  throw new RangeError(standing);
}

/** Asked for again, it is done, all of it, and nothing but it is there; then it is cleared away. */
async function finished(operation: Operation, at: Place): Promise<void> {
  const args = (await operation.again?.(at)) ?? operation.args(at);
  await at.dog(args, operation.againCodes);
  const standing = await standingOf(operation, at);
  if (standing !== 'after') throw new RangeError(`asked for again and done, it is ${standing}`);
  await namesAre(at, operation.names.join());
  await operation.end?.(at);
  await at.clear();
}

/** What works in the background may have its own layer for a while. */
async function namesAre(at: Place, wanted: string): Promise<void> {
  const plain = (name: string) => name.replace(at.name, '-').replace(/@backup.*/, '@backup');
  let names = '';
  const isSo = async (): Promise<boolean> => {
    const all = (await at.layers()).map(({ name }) => plain(name));
    names = all.sort().join();
    return names === wanted;
  };
  await until('only what was made is there', isSo, AGAIN_MS).catch((error) => {
    throw new RangeError(`${error} there is ${names}; wanted: ${wanted}`);
  });
}

/** Once without an interruption: it works, and how long it takes. */
async function measure(soak: Soak, operation: Operation): Promise<void> {
  const at = new Place(soak.cluster, soak.images, `m${soak.usualMs.size}`);
  await operation.prepare(at);
  const from = performance.now();
  const { code, stderr } = await at.dogAt(1, ...operation.args(at));
  soak.usualMs.set(operation.title, performance.now() - from);
  try {
    if (code !== 0) throw new RangeError(`${operation.title} without a kill: ${code} ${stderr}`);
    await finished(operation, at);
  } catch (error) {
    await at.clear().catch((left) => soak.log(`not cleared: ${left}`));
    throw error;
  }
}

async function leaderOf(cluster: Cluster): Promise<number> {
  let found = 0;
  const isKnown = async (): Promise<boolean> => {
    const { leader } = await cluster.info();
    found = cluster.nodes.findIndex(({ name }) => name === leader) + 1;
    return found > 0;
  };
  await until('there is a leader', isKnown, AGAIN_MS);
  return found;
}

function otherThan(cluster: Cluster, n: number, draw: Draw): number {
  const others = cluster.nodes.map((_, at) => at + 1).filter((one) => one !== n);
  return others[draw(others.length)] as number;
}

async function allUp(cluster: Cluster): Promise<void> {
  const areUp = async () => (await cluster.info()).members.up === cluster.nodes.length;
  await until('all members are up', areUp, AGAIN_MS);
}

/** Only gold is there, and its space. */
async function allClean(soak: Soak, usualBytes: number): Promise<void> {
  const { cluster, log } = soak;
  await cluster.settled(CLEAN_MS);
  let left: readonly string[] = [];
  const isClean = async (): Promise<boolean> => {
    const others = (await treeOf(cluster)).filter(({ name }) => !isGold(name));
    const bytes = diskBytes(cluster) - usualBytes;
    left = [
      ...others.map(({ generation, kind, name }) => `layer ${generation} (${kind} ${name})`),
      ...(await orphans(cluster)),
      ...(bytes > SLACK_BYTES ? [`${bytes} bytes more than at first`] : []),
    ];
    return left.length === 0;
  };
  await until('nothing is left over', isClean, CLEAN_MS).catch((error) => {
    throw new RangeError(`${error}: ${left.join('; ')}`);
  });
  log('nothing is left over');
}

function isGold(name: string): boolean {
  return name === GOLD || name.startsWith(`${GOLD}@`);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
