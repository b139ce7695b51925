// `dog` against a behaving fake node, through a real unix socket: what it prints and how it ends.

import test, { type ExecutionContext } from 'ava';
import type { Command } from 'commander';
import { buildProgram } from '../../src/cli/program.ts';
import type { NodeCondition } from '../../src/core/condition.ts';
import type { GenerationId, Incarnation, NodeId } from '../../src/core/ids.ts';
import { FAKE_TOKEN, FakeNode } from '../api/fake-node.ts';
import { served } from '../api/served.ts';
import { clusterOf, entryBodies } from '../fixtures.ts';
import { dog } from './dog.ts';

async function withNode(t: ExecutionContext, node?: FakeNode) {
  const { socketPath, ...rest } = await served(t, node);
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  return { ...rest, env, dog: (...args: string[]) => dog(args, env) };
}

const FINE: NodeCondition = {
  node: 1 as NodeId,
  sectorsRepaired: 0,
  objectsRepaired: 0,
  lastRepairMs: 0,
  damagedCount: 0,
  damaged: [],
  differenceCount: 0,
  differences: [],
  scrubLate: [],
  cacheLosses: [],
  mixUps: [],
  space: { totalBytes: 1000, freeBytes: 600, usedBytes: 400, objects: 7, appliedIndex: 9 },
};

const one = () => new FakeNode(clusterOf({ nodes: 1, copies: 1 }), 1);

test('from a blank node to a volume and back', async (t) => {
  const { dog } = await withNode(t);
  t.is((await dog('vdi', 'list')).code, 2, 'not formatted: no state to do it');
  t.is((await dog('cluster', 'format', '-c', '1')).code, 0);
  t.is((await dog('cluster', 'invite')).out, `${FAKE_TOKEN}\n`);
  const made = await dog('vdi', 'create', 'demo', '1G');
  t.like(made, { code: 0, out: 'Volume demo is made: 1 GiB, 1 copy (writes need 1).\n' });
  t.regex(
    (await dog('vdi', 'list')).out,
    /^name +size +id +copies +state +holder +mode\ndemo +1 GiB/,
  );
  t.regex((await dog('vdi', 'show', 'demo')).out, /holder +nobody/);
  t.is((await dog('vdi', 'delete', 'demo')).code, 0);
  t.is((await dog('vdi', 'show', 'demo')).code, 5);
});

test('a volume has a mode: durable unless another is asked for, shown everywhere', async (t) => {
  const { dog } = await withNode(t, one());
  await dog('vdi', 'create', 'demo', '64M');
  const made = await dog('vdi', 'create', 'cache', '64M', '--mode', 'writeback');
  t.like(made, {
    code: 0,
    out: 'Volume cache is made: 64 MiB, 1 copy (writes need 1), writeback.\n',
  });
  const modes = (await dog('vdi', 'list', '-r')).out
    .split('\n')
    .map((row) => row.split('\t').at(-1));
  t.deepEqual(modes, ['writeback', 'durable', '']);
  t.regex((await dog('vdi', 'show', 'cache')).out, /mode +writeback/);
  const { data } = JSON.parse((await dog('vdi', 'show', 'cache', '--json')).out);
  t.is(data.mode, 'writeback');
  t.not((await dog('vdi', 'create', 'odd', '64M', '--mode', 'fast')).code, 0);
});

test('--json is one document with schema, epoch, data and warnings', async (t) => {
  const { dog } = await withNode(t, one());
  await dog('vdi', 'create', 'demo', '64M');
  for (const args of [
    ['vdi', 'list'],
    ['vdi', 'show', 'demo'],
    ['cluster', 'info'],
    ['node', 'list'],
    ['node', 'info'],
    ['node', 'counters'],
    ['node', 'scrub'],
    ['node', 'scrub', 'start', 'deep'],
    ['node', 'scrub', 'pause'],
    ['node', 'scrub', 'resume'],
  ]) {
    const { out, code } = await dog('--json', ...args);
    const document = JSON.parse(out);
    t.is(code, 0);
    t.is(document.schema, `dog/${args[0]}.${args[1]}/1`);
    t.deepEqual(Object.keys(document).sort(), ['data', 'epoch', 'schema', 'warnings']);
  }
});

test('node counters: what the process has counted, by name', async (t) => {
  const { dog } = await withNode(t, one());
  t.regex((await dog('node', 'counters')).out, /flush\.asked +12\nstore\.checkpoints +3/);
  t.is((await dog('node', 'counters', '-r')).out, 'flush.asked\t12\nstore.checkpoints\t3\n');
});

test('--raw is rows with tabs, no header, sizes in bytes', async (t) => {
  const { dog } = await withNode(t, one());
  await dog('vdi', 'create', 'demo', '64M');
  t.is((await dog('vdi', 'list', '-r')).out, 'demo\t67108864\t1\t1\tok\t-\tdurable\n');
  t.regex((await dog('-r', 'node', 'list')).out, /^n1\t-\tz1\t1\tup\t/);
});

test('cluster info ends with what to do next', async (t) => {
  const { dog } = await withNode(t, one());
  t.regex((await dog('cluster', 'info')).out, /partitions +8 clean[\s\S]*Next:\n {2}Make a volume/);
});

test('health is the result, and info does not say that all is well beside a warning', async (t) => {
  const cell = clusterOf({ nodes: 3 });
  const { dog } = await withNode(t, new FakeNode(cell, 1));
  cell.apply(entryBodies.volumeCreate({ name: 'demo', sizeBytes: 2 ** 30 }));
  const space = { node: 3, incarnation: 1, level: 'full' } as const;
  cell.apply({ type: 'nodeSpace', ...space, node: 3 as NodeId, incarnation: 1 as Incarnation });
  const { out, err } = await dog('cluster', 'health');
  t.regex(out, /^error\nerror DISK_FULL: the disk of n3 is full/);
  t.is(err, '');
  const info = (await dog('cluster', 'info')).out;
  t.regex(info, /Next:\n {2}See to DISK_FULL: "dog cluster health" tells/);
  t.notRegex(info, /all is well/);
});

test('vdi show: a volume with bytes that no copy can give is damaged, and says which', async (t) => {
  const cell = clusterOf({ nodes: 1, copies: 1 });
  const node = new FakeNode(cell, 1);
  const { dog } = await withNode(t, node);
  t.is((await dog('vdi', 'create', 'demo', '1G')).code, 0);
  t.regex((await dog('vdi', 'show', 'demo')).out, /state +ok\n/);
  const generation = [...cell.state.volumes.values()][0]?.head as GenerationId;
  const damaged = [{ generation, index: 1, lost: [0, 1, 5], reason: 'no copy passes its sums' }];
  node.conditionsNow = [{ ...FINE, damagedCount: 1, damaged }];
  t.regex(
    (await dog('vdi', 'show', 'demo')).out,
    /state +damaged\n[\s\S]*unreadable +no copy passes its checksums at bytes 4194304-4202495, 4214784-4218879\n/,
  );
});

test('two ways to name a node are refused, and a size far too large is said to be that', async (t) => {
  const { dog } = await withNode(t, one());
  const both = await dog('cluster', 'info', '--dir', '/tmp/none', '-a', '127.0.0.1');
  t.is(both.code, 64);
  t.regex(both.err, /--dir names a node, and so do -a and -p/);
  const large = await dog('vdi', 'create', 'demo', '1000000T');
  t.is(large.code, 64);
  t.regex(large.err, /at most 4 TiB/);
});

test('health: a disk that the cluster does not take back is not to be started again as it is', async (t) => {
  const cell = clusterOf({ nodes: 3 });
  const { dog } = await withNode(t, new FakeNode(cell, 1));
  cell.apply(entryBodies.nodesDown({ nodes: [[3, 1]], baseEpoch: cell.state.epoch }));
  const life = { node: 3 as NodeId, incarnation: 1 as Incarnation };
  const reason = 'refused: the disk of n3 is an older image';
  t.is(cell.apply({ type: 'nodeFailed', ...life, reason }).code, 'ok');
  const { out } = await dog('cluster', 'health');
  t.regex(
    out,
    /NODE_FAILED: n3 ended by itself: the disk of n3 is an older image\n {2}cure: put back the disk/,
  );
});

test('health: 0 fine, 1 warning, 2 error', async (t) => {
  const cell = clusterOf({ nodes: 3 });
  const node = new FakeNode(cell, 1);
  const { dog } = await withNode(t, node);
  t.like(await dog('cluster', 'health'), { code: 0, out: 'fine\n' });
  cell.apply(entryBodies.nodesDown({ nodes: [[3, 1]], baseEpoch: cell.state.epoch }));
  t.is((await dog('cluster', 'health')).code, 1);
  node.leader = undefined;
  t.is((await dog('cluster', 'health')).code, 2);
});

test('copies above the nodes: made, with a warning and its cure', async (t) => {
  const { dog } = await withNode(t, one());
  const { code, err } = await dog('vdi', 'create', 'demo', '1G', '-c', '3');
  t.is(code, 0);
  t.regex(err, /error HALTED: .*\n {2}cure: start or add 2 more nodes/);
});

test('exit codes tell exists, missing and held apart', async (t) => {
  const node = one();
  const { dog } = await withNode(t, node);
  await dog('vdi', 'create', 'demo', '1G');
  t.is((await dog('vdi', 'create', 'demo', '1G')).code, 3);
  t.is((await dog('cluster', 'format')).code, 3);
  t.is((await dog('vdi', 'delete', 'other')).code, 5);
  node.cell.apply(entryBodies.lockAcquire({ node: 1, incarnation: 1, session: 1, token: 0 }));
  t.is((await dog('vdi', 'delete', 'demo')).code, 6);
});

const WRONG: readonly (readonly [args: readonly string[], text: RegExp])[] = [
  [['vdi', 'creat', 'a', '1G'], /unknown command 'creat'\n {2}cure: Did you mean create\?/],
  [['vdu', 'list'], /unknown command 'vdu'\n {2}cure: Did you mean vdi\?/],
  [['vdi', 'list', '--jsn'], /unknown option '--jsn'\n {2}cure: Did you mean --json\?/],
  [['vdi', 'create', 'a'], /missing required argument 'size'/],
  [['vdi', 'create', 'a', '0'], /more than 0 bytes/],
  [['vdi', 'create', 'a', '-5'], /./],
  [['vdi', 'create', 'a', '1000'], /not a multiple of 512; the next one is 1024/],
  [['vdi', 'create', 'a', '5T'], /at most 4 TiB/],
  [['vdi', 'create', 'a', 'big'], /"big" is no size/],
  [['vdi', 'create', 'a b', '1G'], /white space/],
  [['vdi', 'create', 'a', '1G', '-c', '0'], /copies is a whole number/],
  [['vdi', 'show'], /missing required argument 'name'\n {2}cure: see "dog vdi show --help"/],
  [
    ['node', 'drain', 'n1', 'n2'],
    /too many arguments[^\n]*\n {2}cure: see "dog node drain --help"/,
  ],
  [['node', 'kill'], /say -l for the one that answers\n {2}cure: see "dog node kill --help"/],
  [['dev', 'kill', 'x'], /a node is a number/],
  [['dev', 'up', '--volume', 'demo', '--dir', '/tmp/never'], /NAME:SIZE/],
  [['dev', 'up', '--volume', 'a:1G', '--volume', 'b:1G', '--dir', '/tmp/never'], /one volume/],
  [['-p', 'x', 'node', 'list'], /a port is a number/],
];

for (const [args, text] of WRONG) {
  test(`wrong usage is one sentence and exit 64: dog ${args.join(' ')}`, async (t) => {
    const { code, out, err } = await dog(args);
    t.is(code, 64);
    t.is(out, '');
    t.regex(err, text);
    t.notRegex(err, /^\s+at /m, 'no stack trace');
    t.true(err.trim().split('\n').length <= 2);
  });
}

test('errors are JSON on stderr when asked for', async (t) => {
  const { code, err } = await dog(['vdi', 'create', 'a', '0', '--json']);
  t.is(code, 64);
  t.like(JSON.parse(err), { error: { code: 'usage', affected: [] } });
});

test('nobody there: exit 2, with the address and what to do', async (t) => {
  const { code, err } = await dog(['node', 'list'], { SHEEPDOG_API: 'unix:/nowhere/sheep.sock' });
  t.is(code, 2);
  t.regex(err, /no node answers at unix:\/nowhere\/sheep\.sock[\s\S]*cure: /);
  t.is((await dog(['node', 'list'], { SHEEPDOG_API: 'ftp://x' })).code, 64);
  t.is((await dog(['--dir', '/nowhere', 'node', 'list'])).code, 2);
});

/** Every command that does something, as its words. */
function leavesOf(command: Command): readonly (readonly string[])[] {
  return command.commands.flatMap((child) => {
    const below = leavesOf(child);
    return (below.length === 0 ? [[]] : below).map((words) => [child.name(), ...words]);
  });
}

test('every command has help with two examples and the exit codes', async (t) => {
  const io = {
    ...{ out: () => {}, err: () => {}, env: {}, setExitCode: () => {} },
    outBytes: async () => {},
    input: async function* () {},
  };
  const verbs = leavesOf(buildProgram(io)).map((words) => words.join(' '));
  t.true(verbs.includes('node forget') && verbs.includes('cluster recover force'), verbs.join());
  for (const verb of verbs) {
    const { code, out } = await dog([...verb.split(' '), '--help']);
    t.is(code, 0, verb);
    t.regex(out, /^Usage: dog[\s\S]*Examples:\n {2}\S.*\n {2}\S.*\n\nExit codes: /, verb);
  }
});

test('a noun alone, or nothing, is help on stderr and wrong usage', async (t) => {
  t.like(await dog([]), { code: 64, out: '' });
  t.regex((await dog(['vdi'])).err, /Usage: dog vdi/);
  t.regex((await dog(['cluster', 'recover'])).err, /Usage: dog cluster recover/);
});

test('help: the options of a command are no global ones of those below it', async (t) => {
  const { out } = await dog(['cluster', 'invite', 'list', '--help']);
  t.regex(out, /Global Options:[\s\S]*--expect-epoch/);
  t.notRegex(out, /--ttl|--single-use/);
});

test('version', async (t) => {
  t.regex((await dog(['version'])).out, /^dog \d+\.\d+\.\d+\n$/);
  t.is(JSON.parse((await dog(['version', '--json'])).out).schema, 'dog/version/1');
});

test('cluster format --force: wants the name of the node that is wiped, or --yes; a blank one is not asked', async (t) => {
  const blank = await withNode(t);
  t.is((await blank.dog('cluster', 'format', '-c', '1', '--force')).code, 0);
  const node = one();
  const { dog: plain, env } = await withNode(t, node);
  await plain('vdi', 'create', 'demo', '1G');
  const format = ['cluster', 'format', '-c', '1', '--force'];
  const typed = (word: string) => dog(format, env, undefined, async () => word);
  const silent = await plain(...format);
  t.is(silent.code, 64);
  t.regex(silent.err, /n1 belongs to cluster .*[\s\S]*wiped, for good[\s\S]*cure: .*--yes/);
  t.not((await typed('yes')).code, 0);
  t.truthy(node.view()?.volumeByName('demo'), 'nothing was done');
  let asked = 0;
  const how = async () => {
    asked += 1;
    return 'n1';
  };
  await dog(format, env, undefined, how);
  t.is(asked, 1);
  const sure = await dog([...format, '--yes'], env, undefined, how);
  t.is(asked, 1, sure.err);
});
