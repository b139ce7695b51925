// Nodes that a killed supervisor left behind: found by their lock files, named, ended; nobody else's process is touched.

import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { preparePlan } from '../../src/cli/dev-plan.ts';
import { dog } from './dog.ts';

const FIELD = 19;

function startOf(pid: number): string {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[FIELD] ?? '';
}

/** A planned cluster of two, and a process that stands for node 1. */
async function leftBehind(t: ExecutionContext): Promise<{ dir: string; child: ChildProcess }> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-left-'));
  await preparePlan({ dir, nodes: 2, copies: 2 });
  for (const name of ['n1', 'n2']) fs.mkdirSync(path.join(dir, name));
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  const pid = child.pid as number;
  fs.writeFileSync(path.join(dir, 'n1', 'lock'), `${pid} ${startOf(pid)}\n`);
  t.teardown(() => {
    child.kill('SIGKILL');
    fs.rmSync(dir, { recursive: true, force: true });
  });
  return { dir, child };
}

test('dev: what a killed supervisor left is named by status, and ended by down', async (t) => {
  const { dir, child } = await leftBehind(t);
  const status = await dog(['dev', 'status', '--dir', dir]);
  t.is(status.code, 0, status.err);
  t.regex(status.out, new RegExp(`n1 +left over +${child.pid}`));
  t.notRegex(status.out, /n2/);
  t.regex(status.out, /supervisor: gone/);

  const start = await dog(['dev', 'start', '2', '--dir', dir]);
  t.not(start.code, 0);
  t.regex(start.err, /dog dev down/);
  t.not((await dog(['dev', 'kill', '2', '--dir', dir])).code, 0, 'node 2 does not run');
  t.is((await dog(['dev', 'down', '--dir', dir])).code, 0);
  t.throws(() => startOf(child.pid as number), { code: 'ENOENT' });

  const after = await dog(['dev', 'status', '--dir', dir]);
  t.is(after.code, 2);
  t.regex(after.err, /no dev cluster runs/);
});

test('dev: a pid that is somebody else by now is nobody of ours', async (t) => {
  const { dir, child } = await leftBehind(t);
  fs.writeFileSync(path.join(dir, 'n1', 'lock'), `${child.pid} 1\n`);
  t.is((await dog(['dev', 'down', '--dir', dir])).code, 2);
  t.truthy(startOf(child.pid as number), 'it lives');
});

test('dev: kill ends one that was left', async (t) => {
  const { dir, child } = await leftBehind(t);
  t.is((await dog(['dev', 'kill', '1', '--dir', dir])).code, 0);
  t.throws(() => startOf(child.pid as number), { code: 'ENOENT' });
});
