// A cluster of real processes to measure: each node with its folder, its sockets in it, any free port and a zone of its own,
// with whatever flags a measurement wants (`dog dev up` passes none on). The defaults are those of `dog dev up`.

import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { ask, parseTarget } from '../src/cli/client.ts';
import type { ClusterData, InviteData, StatusData } from '../src/core/admin-shapes.ts';
import { type Target, ticksOf } from './fio-run.ts';
import { ended, isOver, owned } from './scratch.ts';

const SHEEP = path.join(import.meta.dirname, '..', 'bin', 'sheep');
const JOURNAL = '64MiB';
const POLL_MS = 200;
const GIVE_UP_MS = 240_000;
const ANSWER_TIMEOUT_MS = 30_000;
/** Of each node's log, where a cluster does not come to be. */
const SHOWN_LOG_CHARACTERS = 1500;

export interface BenchNode {
  readonly number: number;
  /** As the cluster calls it; known once it is up. */
  name: string;
  readonly data: string;
  readonly log: string;
  readonly api: string;
  readonly nbd: string;
  child: ChildProcess;
}

export interface NodesOptions {
  readonly nodes: number;
  readonly copies: number;
  /** Flags of `sheep` beside those that every node has. */
  readonly flags?: (number: number) => readonly string[];
  /** A folder for CPU profiles. */
  readonly profiles?: string | undefined;
}

/** Starts and forms a cluster. Resolves when all are members and up and nothing is left to bring in sync. */
export async function startNodes(dir: string, options: NodesOptions): Promise<BenchNode[]> {
  const nodes: BenchNode[] = [];
  const died = Promise.withResolvers<never>();
  const watched = (node: BenchNode): BenchNode => {
    const say = (code: number | null) =>
      died.reject(new RangeError(`node ${node.number} ended with ${code}`));
    node.child.once('exit', say).once('error', died.reject);
    nodes.push(node);
    return node;
  };
  // Ends that come later are those of who ends it.
  died.promise.catch(() => undefined);
  try {
    await Promise.race([formed(dir, options, watched), died.promise]);
    return nodes;
  } catch (error) {
    const tail = ({ log }: BenchNode) => fs.readFileSync(log, 'utf8').slice(-SHOWN_LOG_CHARACTERS);
    process.stderr.write(nodes.map((node) => `n${node.number}:\n${tail(node)}\n`).join(''));
    throw error;
  }
}

async function formed(
  dir: string,
  options: NodesOptions,
  watched: (node: BenchNode) => BenchNode,
): Promise<void> {
  const first = watched(startNode(dir, 1, options));
  await until('the first node answers', async () => (await phaseOf(first)) === 'blank');
  await post(first, '/v1/cluster/format', { name: 'bench', copies: options.copies });
  await isUp(first);
  const nodes = [first];
  while (nodes.length < options.nodes) {
    nodes.push(watched(await join(dir, first, nodes.length + 1, options)));
  }
  for (const node of nodes) await isUp(node);
  await settled(nodes);
}

/** Starts the process of a node; on a folder of before it goes on with that. */
export function startNode(
  dir: string,
  number: number,
  options: Pick<NodesOptions, 'flags' | 'profiles'> = {},
  ...more: readonly string[]
): BenchNode {
  const data = path.join(dir, `n${number}`);
  fs.mkdirSync(data, { recursive: true });
  const [log, nbd] = [path.join(dir, `n${number}.log`), path.join(data, 'nbd.sock')];
  const place = ['--listen', '/ip4/127.0.0.1/tcp/0', '--zone', `z${number}`];
  const own = ['--data', data, '--journal', JOURNAL, ...place, '--nbd', `unix:${nbd}`];
  const args = [...own, ...(options.flags?.(number) ?? []), ...more];
  const { profiles } = options;
  const flags = `--cpu-prof --cpu-prof-dir=${profiles} --cpu-prof-name=n${number}.cpuprofile`;
  const env = profiles === undefined ? process.env : { ...process.env, NODE_OPTIONS: flags };
  const out = fs.openSync(log, 'a');
  const child = owned(spawn(SHEEP, args, { stdio: ['ignore', out, out], env }));
  fs.closeSync(out);
  return { number, name: '', data, log, nbd, api: `unix:${path.join(data, 'sheep.sock')}`, child };
}

/** Starts a further member of the cluster; it is up when `isUp` says so. */
export async function join(
  dir: string,
  first: BenchNode,
  number: number,
  options: Pick<NodesOptions, 'flags' | 'profiles'> = {},
): Promise<BenchNode> {
  const { token } = await post<InviteData>(first, '/v1/cluster/invite', {});
  return startNode(dir, number, options, '--join', token);
}

/** Resolves when the node is up, and knows its name from then on. */
export async function isUp(node: BenchNode): Promise<void> {
  await until(`node ${node.number} is up`, async () => {
    const { phase, name } = await get<StatusData>(node, '/v1/status');
    node.name = name;
    return phase === 'up';
  });
}

/** All are members, and all partitions are where the ring wants them. */
export async function settled(nodes: readonly BenchNode[]): Promise<void> {
  await until('all is in sync', async () => {
    const { partitions, members } = await get<ClusterData>(nodes[0] as BenchNode, '/v1/cluster');
    return partitions.settled === partitions.total && members.up >= nodes.length;
  });
}

async function phaseOf(node: BenchNode): Promise<StatusData['phase']> {
  return (await get<StatusData>(node, '/v1/status')).phase;
}

export async function get<T>(node: BenchNode, where: string): Promise<T> {
  return (await ask<T>(parseTarget(node.api), where)).data;
}

export async function post<T>(node: BenchNode, where: string, body?: unknown): Promise<T> {
  const options = { method: 'POST' as const, body, timeoutMs: ANSWER_TIMEOUT_MS };
  return (await ask<T>(parseTarget(node.api), where, options)).data;
}

/** Makes a volume; `more` as the API takes it (mode, copies). */
export async function createVolume(
  node: BenchNode,
  name: string,
  sizeBytes: number,
  more: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await post(node, '/v1/volumes', { name, sizeBytes, ...more });
}

/** A volume at one node; its cost is that of all nodes that live. */
export function targetOf(nodes: readonly BenchNode[], volume: string, at = 1): Target {
  const uri = `nbd+unix:///${volume}?socket=${nodes[at - 1]?.nbd}`;
  return { name: `sheepdog ${volume}`, uri, pids: pidsOf(nodes) };
}

/** Of those that live. */
export function pidsOf(nodes: readonly BenchNode[]): number[] {
  return nodes.filter(({ child }) => !isOver(child)).map(({ child }) => child.pid as number);
}

/** User and system time of the nodes that live, in ms. */
export function cpuMsOf(nodes: readonly BenchNode[]): number {
  return ticksOf(pidsOf(nodes)) * 10;
}

export async function stopNodes(nodes: readonly BenchNode[]): Promise<void> {
  await Promise.all(nodes.map(({ child }) => ended(child)));
}

/** Asks until it is so. An error of `check` counts as "not yet". */
export async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + GIVE_UP_MS;
  while (!(await check().catch(() => false))) {
    if (performance.now() > end) throw new RangeError(`not in ${GIVE_UP_MS} ms: ${what}`);
    await pause(POLL_MS);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
