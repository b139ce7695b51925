// What a dev cluster remembers in DIR/dev.json: how many nodes, which ports, who has joined. The same DIR again finds
// the same cluster on the same ports.

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { MAX_SOCKET_PATH_BYTES } from '../core/limits.ts';
import { CommandError } from './failure.ts';

export interface PlannedNode {
  readonly name: string;
  /** libp2p listens here, data channels on the next one. */
  readonly controlPort: number;
  readonly nbdPort: number;
  isJoined: boolean;
}

export interface DevPlan {
  readonly format: 1;
  readonly copies: number;
  readonly nodes: PlannedNode[];
}

export interface DevWishes {
  readonly dir: string;
  readonly nodes: number | undefined;
  readonly copies: number | undefined;
}

export const MAX_DEV_NODES = 32;
const DEFAULT_NODES = 3;
const DEFAULT_COPIES = 3;
/** Below the range from which the system takes ports of outgoing connections, so that a restart finds them free. */
const FIRST_PORT = 20_000;
const LAST_PORT = 30_000;
const PORTS_PER_NODE = 3;
const MAX_PORT_TRIES = 200;

/** The plan of DIR as it was, grown when more nodes are wanted, or a new one. Saved before it is used. */
export async function preparePlan(wishes: DevWishes): Promise<DevPlan> {
  const old = loadPlan(wishes.dir);
  const count = wishes.nodes ?? old?.nodes.length ?? DEFAULT_NODES;
  checkSocketPath(wishes.dir, count);
  if (old !== undefined) checkWishes(old, wishes);
  mkdirSync(wishes.dir, { recursive: true });
  const nodes = [...(old?.nodes ?? [])];
  while (nodes.length < count) nodes.push(await newNode(nodes));
  const copies = old?.copies ?? wishes.copies ?? Math.min(DEFAULT_COPIES, count);
  const plan: DevPlan = { format: 1, copies, nodes };
  savePlan(wishes.dir, plan);
  return plan;
}

export function loadPlan(dir: string): DevPlan | undefined {
  const file = planFile(dir);
  if (!existsSync(file)) return undefined;
  try {
    const plan = JSON.parse(readFileSync(file, 'utf8')) as DevPlan;
    if (plan.format === 1 && Array.isArray(plan.nodes)) return plan;
  } catch {
    // Reported below, like a plan of an unknown format.
  }
  const remedy = `move ${file} away if you do not need the cluster under ${dir}`;
  throw new CommandError('usage', `${file} is damaged or of a newer version`, remedy);
}

/** Whole or not at all: a torn plan would lose the cluster's ports. */
export function savePlan(dir: string, plan: DevPlan): void {
  const file = planFile(dir);
  writeFileSync(`${file}.new`, `${JSON.stringify(plan, null, 2)}\n`);
  renameSync(`${file}.new`, file);
}

function planFile(dir: string): string {
  return path.join(dir, 'dev.json');
}

function checkWishes(old: DevPlan, { dir, nodes, copies }: DevWishes): void {
  if (nodes !== undefined && nodes < old.nodes.length) {
    const message = `the dev cluster under ${dir} has ${old.nodes.length} nodes already, not ${nodes}`;
    throw new CommandError('usage', message, 'leave out --nodes, or use another --dir');
  }
  if (copies !== undefined && copies !== old.copies) {
    const message = `the dev cluster under ${dir} was made with ${old.copies} copies, not ${copies}`;
    throw new CommandError('usage', message, 'leave out --copies, or use another --dir');
  }
}

/** @throws CommandError 'usage' when the last node's socket would not fit into an address */
export function checkSocketPath(dir: string, count: number): void {
  const longest = path.join(dir, `n${count}`, 'sheep.sock');
  const bytes = Buffer.byteLength(longest);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return;
  const message = `the path of a unix socket has at most ${MAX_SOCKET_PATH_BYTES} bytes, ${longest} has ${bytes}`;
  throw new CommandError('usage', message, 'use a shorter --dir');
}

async function newNode(others: readonly PlannedNode[]): Promise<PlannedNode> {
  const taken = new Set(
    others.flatMap(({ controlPort, nbdPort }) => [controlPort, controlPort + 1, nbdPort]),
  );
  for (let tries = 0; tries < MAX_PORT_TRIES; tries += 1) {
    const first = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT));
    const ports = Array.from({ length: PORTS_PER_NODE }, (_, at) => first + at);
    if (ports.some((port) => taken.has(port))) continue;
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) {
      const name = `n${others.length + 1}`;
      return { name, controlPort: first, nbdPort: first + 2, isJoined: false };
    }
  }
  throw new CommandError('unreachable', `no free ports between ${FIRST_PORT} and ${LAST_PORT}`);
}

function isFree(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const server = createServer();
  server.once('error', () => resolve(false));
  server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  return promise;
}
