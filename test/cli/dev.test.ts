// `dog dev` with real processes and real signals; the nodes are fakes that answer at their sockets (fake-sheep.ts).

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { entryBodies } from '../fixtures.ts';
import { dog } from './dog.ts';

const ROOT = path.join(import.meta.dirname, '..', '..');
const FAKE = path.join(import.meta.dirname, 'fake-sheep.ts');

interface Ready {
  readonly event: string;
  readonly nodes: readonly {
    readonly name: string;
    readonly pid: number;
    readonly dir: string;
    readonly api: string;
    readonly nbd: { readonly unix: string; readonly tcp: string };
  }[];
}

function newDir(t: ExecutionContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-dev-'));
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

interface Up {
  readonly child: ChildProcess;
  readonly err: () => string;
  readonly ready: Promise<Ready>;
  readonly exit: Promise<readonly [number | null, string | null]>;
}

function up(t: ExecutionContext, dir: string, ...args: string[]): Up {
  const child = spawn(
    path.join(ROOT, 'bin', 'dog'),
    ['dev', 'up', '--dir', dir, '--json', ...args],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, SHEEPDOG_SHEEP: FAKE },
    },
  );
  let err = '';
  child.stderr.on('data', (chunk) => {
    err += chunk;
  });
  const exit = once(child, 'exit') as Promise<[number | null, string | null]>;
  const line = once(createInterface({ input: child.stdout }), 'line') as Promise<[string]>;
  t.teardown(async () => {
    child.kill('SIGTERM');
    await exit;
  });
  const ended = exit.then(() =>
    Promise.reject(new RangeError(`ended before it was ready: ${err}`)),
  );
  ended.catch(() => undefined);
  const ready = Promise.race([line.then(([text]) => JSON.parse(text) as Ready), ended]);
  ready.catch(() => undefined);
  return { child, err: () => err, ready, exit };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('up, one ready line, an orderly end on SIGINT, and the same again with its data', async (t) => {
  const dir = newDir(t);
  const first = up(t, dir, '--nodes', '3', '--volume', 'demo:1G');
  const { event, nodes } = await first.ready;
  t.is(event, 'ready');
  t.deepEqual(
    nodes.map((node) => node.name),
    ['n1', 'n2', 'n3'],
  );
  t.is(nodes[1]?.dir, path.join(dir, 'n2'));
  t.is(nodes[1]?.api, `unix:${path.join(dir, 'n2', 'sheep.sock')}`);
  t.regex(nodes[1]?.nbd.tcp ?? '', /^127\.0\.0\.1:\d+$/);
  t.true(nodes.every((node) => isAlive(node.pid)));
  t.regex((await dog(['--dir', dir, 'vdi', 'list', '-r'])).out, /^demo\t1073741824\t/);
  t.regex((await dog(['--dir', dir, 'node', 'list'])).out, /n3 .* z3 /);

  first.child.kill('SIGINT');
  t.deepEqual(await first.exit, [0, null]);
  t.false(nodes.some((node) => isAlive(node.pid)));
  t.regex(fs.readFileSync(path.join(dir, 'n1', 'log'), 'utf8'), /orderly end/);

  const again = up(t, dir, '--volume', 'demo:1G');
  const resumed = await again.ready;
  t.deepEqual(
    resumed.nodes.map((node) => node.nbd),
    nodes.map((node) => node.nbd),
  );
  t.regex((await dog(['--dir', dir, 'vdi', 'list', '-r'])).out, /^demo\t.*\n$/);
});

test('a killed node stays dead until it is started, and the supervisor says so', async (t) => {
  const dir = newDir(t);
  const running = up(t, dir, '--nodes', '2');
  const { nodes } = await running.ready;
  t.is((await dog(['dev', 'kill', '2', '--dir', dir])).code, 0);
  t.false(isAlive(nodes[1]?.pid ?? 0));
  t.is((await dog(['dev', 'kill', '2', '--dir', dir])).code, 5);
  t.regex((await dog(['dev', 'status', '--dir', dir])).out, /n1 +running[\s\S]*n2 +ended/);
  t.regex(running.err(), /n2 ended \(SIGKILL\); start it again with "dog dev start 2/);
  t.is((await dog(['dev', 'start', 'n2', '--dir', dir])).code, 0);
  t.is((await dog(['dev', 'start', '2', '--dir', dir])).code, 3);
  t.is((await dog(['dev', 'start', '9', '--dir', dir])).code, 5);
  t.regex((await dog(['dev', 'logs', '2', '--dir', dir])).out, /fake sheep/);
  t.is((await dog(['dev', 'down', '--dir', dir])).code, 0);
  t.deepEqual(await running.exit, [0, null]);
  t.is((await dog(['dev', 'status', '--dir', dir])).code, 2);
});

test('a node that is no member any more does not run again: its own words say why', async (t) => {
  const dir = newDir(t);
  const running = up(t, dir, '--nodes', '2');
  await running.ready;
  await dog(['dev', 'kill', '2', '--dir', dir]);
  const mark = (what: string) => fs.writeFileSync(path.join(dir, 'n2', what), '');
  mark('forgotten');
  const started = await dog(['dev', 'start', '2', '--dir', dir]);
  t.is(started.code, 1);
  t.regex(started.err, /n2 ended \(exit code 1\): n2 was lost by an operator \(join with an empty/);
  t.notRegex(started.out, /runs again/);
  t.regex(running.err(), /n2 ended \(exit code 1\); n2 was lost by an operator/);
  fs.rmSync(path.join(dir, 'n2', 'forgotten'));
  mark('alone');
  const alone = await dog(['dev', 'start', '2', '--dir', dir]);
  t.is(
    alone.out,
    'n2 is started, and not up yet: it waits for a quorum of the voters (dog dev logs 2).\n',
  );
});

test('a node that joined by hand is not waited for, up or not', async (t) => {
  const dir = newDir(t);
  const first = up(t, dir, '--nodes', '2');
  await first.ready;
  first.child.kill('SIGINT');
  await first.exit;
  const other = [
    entryBodies.nodeJoin({ peer: 9 }),
    entryBodies.nodeUp({ node: 3, incarnation: 1 }),
  ];
  const lines = other.map((body) => `${JSON.stringify(body)}\n`);
  fs.appendFileSync(path.join(dir, 'fake.log'), lines.join(''));
  t.is((await up(t, dir).ready).nodes.length, 2);
});

test('a second supervisor on the same directory is refused and names the first', async (t) => {
  const dir = newDir(t);
  const first = up(t, dir, '--nodes', '1');
  await first.ready;
  const second = up(t, dir);
  t.deepEqual(await second.exit, [6, null]);
  t.regex(second.err(), new RegExp(`pid ${first.child.pid}`));
});

test('nodes left behind by a killed supervisor are ended by the next one', async (t) => {
  const dir = newDir(t);
  const first = up(t, dir, '--nodes', '2');
  const { nodes } = await first.ready;
  first.child.kill('SIGKILL');
  await first.exit;
  const second = up(t, dir);
  const resumed = await second.ready;
  t.false(nodes.some((node) => isAlive(node.pid)));
  t.true(resumed.nodes.every((node) => isAlive(node.pid)));
});

test('a node that can not start ends everything, with the last words of its log', async (t) => {
  const dir = newDir(t);
  fs.mkdirSync(path.join(dir, 'n2'), { recursive: true });
  fs.writeFileSync(path.join(dir, 'n2', 'broken'), '');
  const failing = up(t, dir, '--nodes', '3');
  t.deepEqual(await failing.exit, [1, null]);
  t.regex(failing.err(), /n2 ended \(exit code 1\): .*the data directory is broken/);
});

test('-d returns when it is ready; down ends it', async (t) => {
  const dir = newDir(t);
  const args = ['dev', 'up', '-d', '--dir', dir, '--nodes', '1'];
  const env = { ...process.env, SHEEPDOG_SHEEP: FAKE };
  const child = spawn(path.join(ROOT, 'bin', 'dog'), args, { env, stdio: 'ignore' });
  t.deepEqual(await once(child, 'exit'), [0, null]);
  t.is((await dog(['--dir', dir, 'cluster', 'info'])).code, 0);
  t.is((await dog(['dev', 'down', '--dir', dir])).code, 0);
});

test('more nodes grow a cluster; fewer, other copies and long paths are refused', async (t) => {
  const dir = newDir(t);
  const first = up(t, dir, '--nodes', '1');
  await first.ready;
  first.child.kill('SIGTERM');
  await first.exit;
  const grown = up(t, dir, '--nodes', '2');
  t.is((await grown.ready).nodes.length, 2);
  grown.child.kill('SIGTERM');
  await grown.exit;
  t.deepEqual(await up(t, dir, '--nodes', '1').exit, [64, null]);
  t.deepEqual(await up(t, dir, '--copies', '2').exit, [64, null]);
  const long = up(t, path.join(dir, 'x'.repeat(90)));
  t.deepEqual(await long.exit, [64, null]);
  t.regex(long.err(), /at most 107 bytes.*"use a shorter --dir"/);
});
