// Method: twelve hosts as network namespaces, one real process each, a guest's bytes written between the faults. Four are
// killed at once, one is stopped for 30 s, two are cut off one way and then both ways, all are killed and started again.
// After each fault all are up again; at the end every node's log on disk is compared entry by entry: one history.

import type { ExecutionContext } from 'ava';
import type { NodeData } from '../../src/core/admin-shapes.ts';
import { declareUnless, missingTools } from '../nbd/tools.ts';
import { until } from './cluster.ts';
import { missingFaults } from './faulty-net.ts';
import { Hosts, missingNamespaces } from './hosts.ts';
import { differences, historyOf } from './one-history.ts';

const COUNT = 12;
const ALL = Array.from({ length: COUNT }, (_, at) => at + 1);
const KILLED = [3, 6, 9, 12];
const STOPPED = 5;
const CUT = [10, 11];
const REST = ALL.filter((n) => !CUT.includes(n));
const STOPPED_MS = 30_000;
const FORMED_MS = 90_000;
/** Generous: two cores for twelve processes. */
const HEALED_MS = 60_000;
/** How long a cut lasts once it is seen. */
const SHOWN_CHARACTERS = 1500;

interface Run {
  readonly t: ExecutionContext;
  readonly hosts: Hosts;
  readonly since: number;
}

function tell({ t, since }: Run, text: string): void {
  t.log(`${((performance.now() - since) / 1000).toFixed(1)} s: ${text}`);
}

function isAt(node: NodeData, host: number): boolean {
  return node.addresses.some((address) => address.includes(`/10.77.0.${host}/`));
}

async function seesAllUp(hosts: Hosts, n: number): Promise<boolean> {
  const { members } = await hosts.cluster(n);
  return members.up === COUNT && members.total === COUNT;
}

/** Every node says that all are up. */
async function allUp({ hosts }: Run, asked = ALL): Promise<void> {
  const each = asked.map((n) => until(`${n} has all as up`, () => seesAllUp(hosts, n), HEALED_MS));
  await Promise.all(each);
}

/** Node `n` says that just these are down. */
async function areDown({ hosts }: Run, n: number, down: readonly number[]): Promise<void> {
  const check = async () => {
    const gone = (await hosts.members(n)).filter(({ state }) => state === 'down');
    return gone.length === down.length && down.every((host) => gone.some((one) => isAt(one, host)));
  };
  await until(`${n} has ${down} as down, and them alone`, check, HEALED_MS);
}

/** Tells how many epochs a fault and its end took. */
async function counting(run: Run, what: string, act: () => Promise<void>): Promise<number> {
  const before = (await run.hosts.cluster(1)).epoch;
  const start = performance.now();
  await act();
  const epochs = (await run.hosts.cluster(1)).epoch - before;
  tell(run, `${what}: ${epochs} epochs, ${((performance.now() - start) / 1000).toFixed(1)} s`);
  return epochs;
}

async function formed({ hosts }: Run): Promise<void> {
  hosts.startNode(1, '--journal', '16MiB');
  const isThere = async () => (await hosts.status(1)).phase === 'blank';
  await until('the first node answers', isThere, FORMED_MS);
  await hosts.dog(1, 'cluster', 'format', '-c', '3', '--partitions', '64');
  const token = await hosts.dog(1, 'cluster', 'invite');
  for (const n of ALL.slice(1)) hosts.startNode(n, '--journal', '16MiB', '--join', token);
  await Promise.all(
    ALL.map((n) => until(`${n} has all as up`, () => seesAllUp(hosts, n), FORMED_MS)),
  );
}

/** What an operator sees while something is wrong. */
async function shown(run: Run, n: number): Promise<void> {
  for (const command of [
    ['cluster', 'health'],
    ['node', 'list'],
  ]) {
    const text = await run.hosts.said(n, ...command);
    tell(run, `dog ${command.join(' ')}\n${text.slice(0, SHOWN_CHARACTERS)}`);
  }
}

async function fourKilled(run: Run): Promise<void> {
  const { hosts } = run;
  await hosts.kill(KILLED);
  await areDown(run, 1, KILLED);
  await shown(run, 1);
  await hosts.dog(2, 'vdi', 'create', 'while-four-are-down', '16MiB');
  for (const n of KILLED) hosts.startNode(n, '--journal', '16MiB');
  await allUp(run);
}

async function oneStopped(run: Run): Promise<void> {
  const { hosts } = run;
  const end = performance.now() + STOPPED_MS;
  hosts.signal(STOPPED, 'SIGSTOP');
  try {
    await areDown(run, 1, [STOPPED]);
    await hosts.dog(1, 'vdi', 'create', 'while-one-is-stopped', '16MiB');
    await until('30 s', async () => performance.now() > end, 2 * STOPPED_MS);
  } finally {
    hosts.signal(STOPPED, 'SIGCONT');
  }
  await allUp(run);
}

/** The two hear nobody else, though all hear them; then nobody hears anybody across. */
async function twoCut(run: Run, ways: 'one way' | 'both ways'): Promise<void> {
  const { hosts } = run;
  for (const n of CUT) hosts.deafen(n, REST);
  if (ways === 'both ways') for (const n of REST) hosts.deafen(n, CUT);
  await areDown(run, 1, CUT);
  await hosts.dog(1, 'vdi', 'create', `while-cut-${ways.replace(' ', '-')}`, '16MiB');
  if (ways === 'both ways') await shown(run, 10);
  for (const n of ways === 'both ways' ? ALL : CUT) hosts.heal(n);
  await allUp(run);
}

async function oneHistory(run: Run): Promise<void> {
  const { t, hosts } = run;
  const histories = [];
  for (const n of ALL) histories.push(await historyOf(hosts.dataDir(n)));
  t.deepEqual(differences(histories), []);
  const commits = histories.map(({ commit }) => commit);
  tell(run, `logs compared: committed to ${Math.min(...commits)} .. ${Math.max(...commits)}`);
  // One that never got anywhere would differ from nobody.
  t.true(Math.min(...commits) > COUNT);
}

async function story(run: Run): Promise<void> {
  const { t, hosts } = run;
  await formed(run);
  tell(run, `twelve up, epoch ${(await hosts.cluster(1)).epoch}`);
  const down = await counting(run, 'four killed and started', () => fourKilled(run));
  // One cut for all four where they fall in one window, and one entry for each that comes back.
  t.true(down <= 2 * KILLED.length);
  t.true((await counting(run, 'one stopped for 30 s', () => oneStopped(run))) <= 2);
  for (const ways of ['one way', 'both ways'] as const) {
    const epochs = await counting(run, `two cut off ${ways}`, () => twoCut(run, ways));
    t.true(epochs <= 2 * CUT.length);
  }
  await hosts.kill(ALL);
  await oneHistory(run);
  for (const n of ALL) hosts.startNode(n, '--journal', '16MiB');
  await allUp(run);
  tell(run, `all killed and started: epoch ${(await hosts.cluster(1)).epoch}`);
  t.is((await hosts.cluster(7)).volumes, 4);
  await hosts.kill(ALL);
  await oneHistory(run);
}

const missing = [missingTools('ip'), missingFaults()].filter((text) => text !== '').join('; ');
const why = missing === '' ? missingNamespaces() : missing;
const declare = declareUnless(why, missing === '' ? 'expected' : 'unexpected');

declare('twelve hosts: killed, stopped, cut off, all restarted: one history', async (t) => {
  t.timeout(6 * 60_000);
  const hosts = new Hosts(COUNT);
  const run = { t, hosts, since: performance.now() };
  try {
    await hosts.up();
    await story(run);
  } catch (error) {
    t.log(hosts.logs());
    throw error;
  } finally {
    await hosts.down();
  }
});
