// Nodes of a dev cluster whose supervisor was killed: they go on, and nobody answers at DIR/dev.sock. Each has a lock
// file in its directory that names pid and start time of its process; only a process that fits both is one of ours, so a
// pid that the system has given to somebody else since is never touched.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { DevCommand, DevStatus } from './dev-control.ts';
import { pause } from './dev-node.ts';
import { loadPlan } from './dev-plan.ts';
import { CommandError } from './failure.ts';

const POLL_MS = 40;
/** Longer than a node's own bound of an orderly end. */
const END_TIMEOUT_MS = 20_000;
/** The start time is the 22nd field of /proc/PID/stat; the 2nd, the name, may hold blanks. */
const FIELDS_AFTER_NAME = 19;

export interface Leftover {
  readonly name: string;
  readonly number: number;
  readonly dir: string;
  readonly pid: number;
  readonly nbdPort: number;
  readonly isAlive: () => boolean;
}

/** The living nodes of this directory, by their lock files. */
export function leftoversOf(dir: string): readonly Leftover[] {
  const nodes = loadPlan(dir)?.nodes ?? [];
  return nodes.flatMap((node, i) => {
    const nodeDir = path.join(dir, node.name);
    const [pid = 0, start = 0] = textOf(path.join(nodeDir, 'lock')).trim().split(' ').map(Number);
    const isAlive = (): boolean => pid > 0 && start > 0 && startOf(pid) === start;
    const found = { name: node.name, number: i + 1, dir: nodeDir, pid, isAlive };
    return isAlive() ? [{ ...found, nbdPort: node.nbdPort }] : [];
  });
}

/**
 * Does what the supervisor would have done; undefined when no node is left.
 * @throws CommandError for what needs a supervisor, with the cure
 */
export async function talkToLeftovers(
  dir: string,
  { command, node }: DevCommand,
): Promise<DevStatus | undefined> {
  const left = leftoversOf(dir);
  if (left.length === 0) return undefined;
  if (command === 'start') {
    const message = `the supervisor under ${dir} is gone, ${namesOf(left)} still run`;
    const remedy = `"dog dev down --dir ${dir}" ends them, "dog dev up --dir ${dir}" starts all again`;
    throw new CommandError('unreachable', message, remedy);
  }
  if (command === 'down') await endAll(left, 'SIGTERM');
  if (command === 'kill') {
    const one = left.find(({ number }) => number === node);
    if (one === undefined) throw new CommandError('missing', `n${node} does not run`);
    await endAll([one], 'SIGKILL');
  }
  return { pid: 0, nodes: left.map(describe) };
}

async function endAll(left: readonly Leftover[], signal: NodeJS.Signals): Promise<void> {
  for (const one of left) if (one.isAlive()) process.kill(one.pid, signal);
  const until = performance.now() + END_TIMEOUT_MS;
  while (left.some((one) => one.isAlive())) {
    if (performance.now() > until) {
      const rest = left.filter((one) => one.isAlive());
      const pids = rest.map(({ pid }) => pid).join(' ');
      throw new CommandError('busy', `${namesOf(rest)} do not end`, `end them: kill -9 ${pids}`);
    }
    await pause(POLL_MS);
  }
}

/** As DevNode.describe. */
function describe({ name, pid, dir, nbdPort, isAlive }: Leftover): DevStatus['nodes'][number] {
  return {
    ...{ name, pid, dir, api: `unix:${path.join(dir, 'sheep.sock')}` },
    nbd: { unix: path.join(dir, 'nbd.sock'), tcp: `127.0.0.1:${nbdPort}` },
    state: isAlive() ? 'left over' : 'ended',
  };
}

function namesOf(left: readonly Leftover[]): string {
  return left.map(({ name, pid }) => `${name} (pid ${pid})`).join(', ');
}

function startOf(pid: number): number {
  const stat = textOf(`/proc/${pid}/stat`);
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[FIELDS_AFTER_NAME] ?? 0);
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
