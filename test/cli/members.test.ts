// `dog node ...` and `dog cluster ...` about members, against a behaving fake node through a real unix socket: what they
// print, what they ask, how they end.

import test, { type ExecutionContext } from 'ava';
import { givenUpKey } from '../../src/core/cluster-settings.ts';
import { viewOf } from '../../src/core/cluster-state.ts';
import type { NodeCondition } from '../../src/core/condition.ts';
import { OperatingError } from '../../src/core/errors.ts';
import type { EntryBody } from '../../src/core/log-entry.ts';
import { FakeNode } from '../api/fake-node.ts';
import { served } from '../api/served.ts';
import {
  clusterOf,
  entryBodies,
  nodeId,
  nodeIds,
  policyId,
  type StateCell,
  settle,
} from '../fixtures.ts';
import { dog } from './dog.ts';

const SOUND: Omit<NodeCondition, 'node'> = {
  ...{ sectorsRepaired: 0, objectsRepaired: 0, lastRepairMs: 0, damagedCount: 0, damaged: [] },
  ...{
    differenceCount: 0,
    differences: [],
    scrubLate: [],
    cacheLosses: [],
    mixUps: [],
    space: undefined,
  },
};

async function withCell(t: ExecutionContext, cell: StateCell) {
  const node = new FakeNode(cell, 1);
  const { socketPath } = await served(t, node);
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  const questions: string[] = [];
  return {
    node,
    questions,
    dog: (...args: string[]) => dog(args, env),
    /** On a terminal, where a person answers. */
    dogWith: (answer: boolean, ...args: string[]) =>
      dog(args, env, async (question) => {
        questions.push(question);
        return answer;
      }),
  };
}

const four = () => clusterOf({ nodes: 4, copies: 2 });

function down(cell: StateCell, node: number): void {
  cell.apply(entryBodies.nodesDown({ nodes: [[node, 1]], baseEpoch: cell.state.epoch }));
}

test('drain: says what it costs, needs no question where nothing is lost, and is taken back', async (t) => {
  const { dog } = await withCell(t, four());
  const drained = await dog('node', 'drain', 'n3');
  t.is(drained.code, 0);
  t.regex(drained.err, /n3: \d+ partitions, about .* to copy to others\./);
  t.regex(drained.out, /n3 leaves: .*dog node undrain n3/);
  t.regex(
    (await dog('node', 'list')).out,
    /n3 .*leaving, waits for the successors of \d+ partitions/,
  );
  const again = await dog('node', 'drain', 'n3');
  t.is(again.code, 3, 'it leaves already');
  t.regex(again.err, /n3 is leaving already\n {2}cure: dog node list shows how far it is/);
  t.regex((await dog('cluster', 'info')).out, /Wait: n3 leaves/);
  t.is((await dog('node', 'undrain', 'n3')).out, 'n3 is in again.\n');
  t.is((await dog('node', 'undrain', 'n3')).code, 3);
  t.is((await dog('node', 'drain', 'n9')).code, 5);
  t.is((await dog('node', 'drain', 'box')).code, 64);
});

test('drain: where copies would be fewer it asks; without a terminal that is a refusal', async (t) => {
  const { dog, dogWith, questions } = await withCell(t, clusterOf({ nodes: 3, copies: 3 }));
  const refused = await dog('node', 'drain', 'n3');
  t.is(refused.code, 64);
  t.regex(refused.err, /only 2 of 3 copies will be kept.*\n {2}cure: use -f to say yes/);
  t.is((await dogWith(false, 'node', 'drain', 'n3')).code, 1);
  t.regex(questions[0] ?? '', /^Drain n3\? only 2 of 3 copies/);
  t.regex((await dog('node', 'list', '-r')).out, /n3\t-\tz3\t1\tup/, 'nothing was done');
  t.is((await dogWith(true, 'node', 'drain', 'n3')).code, 0);
});

test('drain: where writes would stop it is refused before it is asked', async (t) => {
  const { dog } = await withCell(t, clusterOf({ nodes: 2, copies: 2 }));
  for (const args of [
    ['drain', 'n2'],
    ['out', 'n2'],
    ['weight', 'n2', '0'],
  ]) {
    const { code, err } = await dog('node', ...args, '-f');
    t.is(code, 2, args.join(' '));
    t.regex(err, /1 member would be left.*\n {2}cure: add members, or ask for fewer copies/);
  }
});

test('refusals of single members name their own cure, not that of copies', async (t) => {
  const { dog, node } = await withCell(t, four());
  const forgotten = await dog('node', 'forget', 'n3', '-f');
  t.is(forgotten.code, 77);
  t.regex(forgotten.err, /n3 is up: it must be drained.*\n {2}cure: dog node drain n3/);
  const cell = clusterOf({ nodes: 3, copies: 2 });
  down(cell, 3);
  cell.apply({ type: 'nodeLost', node: nodeId(3), by: 'test' });
  const gone = await (await withCell(t, cell)).dog('node', 'out', 'n3', '-f');
  t.regex(gone.err, /n3 was lost and is no member any more/);
  node.killFailure = new OperatingError('timeout', 'no answer to exit');
  const hung = await dog('node', 'kill', 'n3', '-f');
  t.regex(hung.err, /n3 does not answer\n {2}cure: look on its host/);
  down(node.cell, 3);
  node.killFailure = new OperatingError('unreachable', '12D3KooW is not reachable');
  const dead = await dog('node', 'kill', 'n3', '-f');
  t.regex(dead.err, /n3 is down already.*\n {2}cure: nothing is left to be ended/);
});

test('without a leader: who does not answer is shown, though the map says up', async (t) => {
  const { dog, node } = await withCell(t, four());
  t.notRegex((await dog('node', 'list')).out, /not in reach/);
  node.leader = undefined;
  node.missingVoters = [nodeId(2), nodeId(3)];
  t.regex((await dog('node', 'list')).out, /n2 .* up, not in reach/);
  t.regex((await dog('cluster', 'info')).out, /4 of 4 up by the map, 2 of them not in reach/);
});

test('times out of range are told in words', async (t) => {
  const { dog } = await withCell(t, four());
  const invite = await dog('cluster', 'invite', '--ttl', '9999d');
  t.is(invite.code, 64);
  t.regex(invite.err, /an invite lives longer than 0, and up to 366 days/);
  const { code, err } = await dog('node', 'maintenance', 'n2', 'on', '--for', '0s');
  t.is(code, 64);
  t.regex(err, /a maintenance lasts longer than 0, and up to 30 days/);
});

test('drained, stopped, forgotten: the way of a member that leaves', async (t) => {
  const cell = four();
  const { dog, node } = await withCell(t, cell);
  await dog('node', 'drain', 'n3');
  settle(cell);
  cell.apply({ type: 'nodeGone', node: nodeId(3) });
  t.regex(
    (await dog('cluster', 'info')).out,
    /n3 is drained: "dog node kill n3", then "dog node forget n3"/,
  );
  t.is((await dog('node', 'kill', 'n3')).out, 'n3 was asked to end.\n');
  t.deepEqual(node.killed, [3]);
  down(cell, 3);
  t.is((await dog('cluster', 'health')).code, 0, 'what is drained is not missed');
  t.is((await dog('node', 'forget', 'n3')).code, 64, 'a question without a terminal');
  t.is((await dog('node', 'forget', 'n3', '-f')).code, 0);
  t.is((await dog('node', 'forget', 'n3', '-f')).code, 5);
  t.notRegex((await dog('node', 'list')).out, /n3/);
  t.regex(
    (await dog('cluster', 'info', '-v')).out,
    /Former members:\n {2}n3 {2}forgotten at epoch/,
  );
});

test('kill: by name, or the one that answers', async (t) => {
  const { dog, node } = await withCell(t, four());
  t.is((await dog('node', 'kill')).code, 64);
  t.is((await dog('node', 'kill', 'n2', '-l')).code, 64);
  t.is((await dog('node', 'kill', '-l')).out, 'n1 was asked to end.\n');
  t.deepEqual(node.killed, [1]);
});

test('out and in: a dead member is given up, and taken back', async (t) => {
  const cell = four();
  const { dog, dogWith, questions } = await withCell(t, cell);
  down(cell, 4);
  t.is((await dog('node', 'out', 'n4')).code, 64);
  t.is((await dogWith(true, 'node', 'out', 'n4')).code, 0);
  t.deepEqual(questions, ['Give up on n4? [y/N] ']);
  t.regex((await dog('node', 'list')).out, /n4 .*out, down/);
  settle(cell);
  const { code, out } = await dog('cluster', 'health');
  t.is(code, 1);
  t.regex(out, /NODE_OUT: n4 is out: others hold the data\n {2}cure: .*dog node forget n4/);
  t.is((await dog('node', 'in', 'n4')).code, 0);
  t.is((await dog('node', 'in', 'n4')).code, 3);
});

test('out: for one that is up it says that a drain is gentler', async (t) => {
  const { dogWith, questions } = await withCell(t, four());
  await dogWith(false, 'node', 'out', 'n4');
  t.regex(questions[0] ?? '', /n4 is up: a drain is gentler/);
});

test('down: health counts down to out, maintenance puts it off', async (t) => {
  const cell = four();
  const { dog, node } = await withCell(t, cell);
  down(cell, 4);
  await dog('cluster', 'health');
  node.clock.run(3 * 60_000);
  const { out } = await dog('cluster', 'health');
  t.regex(
    out,
    /NODE_DOWN: n4 does not answer for 3 min; out in 7 min, its data moves then\n {2}cure: start n4/,
  );
  t.regex((await dog('node', 'list')).out, /n4 .*down, out in 7 min/);
  t.is((await dog('cluster', 'set', 'out-after', '5m')).code, 0);
  t.regex((await dog('node', 'list')).out, /n4 .*down, out in 2 min/);
  const on = await dog('node', 'maintenance', 'n4', 'on', '--for', '1h');
  t.regex(on.out, /n4 may be down until 1970-01-01T01:03:00.000Z and stays a member/);
  t.regex((await dog('cluster', 'health')).out, /in maintenance until 1970.*, out in 1 h/);
  t.is((await dog('node', 'maintenance', 'n4', 'off')).out, 'n4 is not in maintenance.\n');
  t.is((await dog('node', 'maintenance', 'n4', 'maybe')).code, 64);
  t.is((await dog('cluster', 'set', 'out-after', '10 minutes')).code, 64);
  t.is((await dog('cluster', 'set', 'colour', 'red')).code, 64);
});

test('health: where a zone never holds two copies, and zones are too few, waiting is no cure', async (t) => {
  const cell = clusterOf({ nodes: 4, copies: 3 });
  const { dog } = await withCell(t, cell);
  await dog('cluster', 'alter-copy', '-c', '4', '--strict');
  t.is((await dog('node', 'zone', 'n4', 'z1')).code, 0);
  settle(cell);
  t.regex(
    (await dog('cluster', 'health')).out,
    /DEGRADED: [^\n]*\n {2}cure: add hosts in 1 zone more \(sheep --zone; dog node zone\), or use fewer copies/,
  );
});

test('down: says why time will not call it out', async (t) => {
  const cell = clusterOf({ nodes: 3, copies: 3 });
  const { dog } = await withCell(t, cell);
  down(cell, 3);
  t.regex((await dog('cluster', 'health')).out, /it is not called out: 2 members would be left/);
});

test('weight: a share of the ring, 0 for a gateway', async (t) => {
  const { dog } = await withCell(t, four());
  t.is((await dog('node', 'weight', 'n4', '2')).out, 'n4 has weight 2.\n');
  t.is((await dog('node', 'weight', 'n4', '0')).code, 0);
  const much = await dog('node', 'weight', 'n4', '65');
  t.is(much.code, 64);
  t.regex(much.err, /from 0 to 64, not "65"\n {2}cure: /);
  t.is((await dog('node', 'weight', 'n4', '-1')).code, 64);
});

test('zone: a host that was moved; its weight stays, and copies go where they fail apart', async (t) => {
  const cell = four();
  const { dog } = await withCell(t, cell);
  t.is((await dog('node', 'weight', 'n4', '2')).code, 0);
  t.is((await dog('node', 'zone', 'n4', 'z1')).out, 'n4 is in zone z1.\n');
  t.regex((await dog('node', 'list', '-r')).out, /n4\t-\tz1\t2\tup/);
  settle(cell);
  const policy = policyId(0);
  const view = viewOf(cell.state);
  t.deepEqual([...view.explicitPartitions(policy)], []);
  for (let p = 0; p < view.partitions; p += 1) {
    const { inSync } = view.partition(policy, p);
    t.false(inSync.includes(nodeId(1)) && inSync.includes(nodeId(4)), `partition ${p}`);
  }
  t.is((await dog('node', 'zone', 'n4', 'rack 1')).code, 64);
  t.is((await dog('node', 'zone', 'n9', 'z1')).code, 5);
});

test('alter-copy: fewer copies are asked for first', async (t) => {
  const { dog } = await withCell(t, four());
  t.is((await dog('cluster', 'alter-copy', '-c', '1')).code, 64);
  const { code, out } = await dog('cluster', 'alter-copy', '-c', '1', '-f');
  t.is(code, 0);
  t.is(out, 'The default policy has 1 copy, writes need 1.\n');
  t.is((await dog('cluster', 'alter-copy', '-c', '3')).code, 0, 'more need no question');
  const strict = await dog('cluster', 'alter-copy', '-c', '3', '--strict', '--min-copies', '1');
  t.is(strict.out, 'The default policy has 3 copies, writes need 1, strict zones.\n');
  t.regex((await dog('cluster', 'alter-copy', '-c', '3')).out, /writes need 2, strict zones/);
  const any = await dog('cluster', 'alter-copy', '-c', '3', '--no-strict');
  t.is(any.out, 'The default policy has 3 copies, writes need 2.\n');
});

test('alter-copy: more copies than nodes is said, and asked for where writes would stop', async (t) => {
  const { dog } = await withCell(t, four());
  const more = await dog('cluster', 'alter-copy', '-c', '5');
  t.is(more.code, 0);
  t.regex(more.err, /DEGRADED: degraded: 4 of 5 copies live\n {2}cure: start or add 1 more node/);
  const stop = await dog('cluster', 'alter-copy', '-c', '7', '--min-copies', '5');
  t.is(stop.code, 64);
  t.regex(
    stop.err,
    /Stop all writes until there are more nodes\? 4 nodes are up, writes would need 5/,
  );
  const forced = await dog('cluster', 'alter-copy', '-c', '7', '--min-copies', '5', '-f');
  t.regex(forced.err, /HALTED: halted: 4 of 7 copies live, writes need 5/);
});

test('alter-copy: writes that would wait for copies yet to be made are asked for, with the way without a stop', async (t) => {
  const cell = clusterOf({ nodes: 4, copies: 1 });
  const { dog } = await withCell(t, cell);
  cell.apply(entryBodies.volumeCreate());
  const asked = await dog('cluster', 'alter-copy', '-c', '3');
  t.is(asked.code, 64);
  t.regex(
    asked.err,
    /Stop writes until 2 copies of every block are made\? There is 1 copy now\. Without a stop: dog cluster alter-copy -c 3 --min-copies 1, and this again when health is fine\./,
  );
  const gentle = await dog('cluster', 'alter-copy', '-c', '3', '--min-copies', '1');
  t.is(gentle.out, 'The default policy has 3 copies, writes need 1.\n');
  const early = await dog('cluster', 'alter-copy', '-c', '3');
  t.regex(early.err, /8 of 8 partitions have fewer copies [^.]*\. Without a stop: this again when/);
  settle(cell);
  t.is((await dog('cluster', 'alter-copy', '-c', '3')).code, 0);
});

test('health: writes that wait for copies under way need no further node', async (t) => {
  const cell = clusterOf({ nodes: 4, copies: 1 });
  const { dog } = await withCell(t, cell);
  cell.apply(entryBodies.volumeCreate());
  t.is((await dog('cluster', 'alter-copy', '-c', '3', '-f')).code, 0);
  t.regex(
    (await dog('cluster', 'health')).out,
    /HALTED: [^\n]*\n {2}cure: wait for the catch-up \(dog node recovery tells how long\), or add nodes\n/,
  );
});

test('health: where too few members take data, waiting is no cure', async (t) => {
  const cell = clusterOf({ nodes: 3, copies: 3 });
  const { dog } = await withCell(t, cell);
  const asked = await dog('node', 'weight', 'n3', '0');
  t.is(asked.code, 64);
  t.regex(asked.err, /Take all data off n3\? only 2 of 3 copies will be kept/);
  t.is((await dog('node', 'weight', 'n3', '0', '-f')).code, 0);
  settle(cell);
  t.regex(
    (await dog('cluster', 'health')).out,
    /DEGRADED: [^\n]*\n {2}cure: add 1 node, or give weight to who has none: dog node weight n3 1, or use fewer copies: dog cluster alter-copy -c 2\n/,
  );
});

test('forget: nobody is asked about who is no member', async (t) => {
  const { dog, dogWith, questions } = await withCell(t, four());
  const nobody = await dog('node', 'forget', 'n9');
  t.like(nobody, { code: 5, out: '' });
  t.regex(nobody.err, /there is no member n9\n {2}cure: dog node list/);
  t.is((await dogWith(true, 'node', 'forget', 'N4')).code, 64);
  t.deepEqual(questions, []);
});

test('forget: what is lost with the last copies is told before anybody decides', async (t) => {
  const cell = four();
  cell.apply(entryBodies.volumeCreate({ name: 'big', sizeBytes: 256 * 2 ** 20 }));
  const { dogWith, questions } = await withCell(t, cell);
  await dogWith(false, 'node', 'forget', 'n4');
  t.notRegex(questions[0] ?? '', /LOST/, 'others have what it holds');
  for (const node of [2, 3]) {
    down(cell, node);
    cell.apply({ type: 'nodeLost', node: nodeId(node), by: 'test' });
  }
  await dogWith(false, 'node', 'forget', 'n4');
  t.regex(questions[1] ?? '', /The last copy of \d+ MiB of big is on it: they are LOST then\./);
});

test('invites: made with an end, listed, revoked', async (t) => {
  const { dog } = await withCell(t, four());
  t.is((await dog('cluster', 'invite', '--ttl', '1h', '--single-use')).code, 0);
  t.regex((await dog('cluster', 'invite', 'list')).out, /fake .*1970-01-01T.* one node/);
  t.is((await dog('cluster', 'invite', 'list', '-r')).out.split('\t').length, 4);
  t.is((await dog('cluster', 'invite', 'revoke', 'fake')).code, 0);
  t.is((await dog('cluster', 'invite', 'revoke', 'fake')).code, 5);
  t.is((await dog('cluster', 'invite', '--ttl', 'soon')).code, 64);
});

test('a lost quorum: who is missing, and what forcing would mean', async (t) => {
  const cell = clusterOf({ nodes: 3, copies: 3 });
  const vote = { old: nodeIds(1), next: nodeIds(1, 2, 3) };
  for (const type of ['votersJoint', 'votersFinal'] as const)
    cell.apply({ type, ...vote } as EntryBody);
  const { dog, node } = await withCell(t, cell);
  t.is((await dog('cluster', 'recover', 'force')).code, 77, 'a leader is known');
  node.leader = undefined;
  node.missingVoters = nodeIds(3);
  const early = await dog('cluster', 'recover', 'force');
  t.is(early.code, 77);
  t.regex(early.err, /a majority of the voters is in reach: n1, n2/);
  node.missingVoters = nodeIds(2, 3);
  const plan = await dog('cluster', 'recover', 'force');
  t.is(plan.code, 0);
  t.regex(plan.out, /as n1 sees it: a cut network looks the same/);
  t.regex(plan.out, /n2 {2}DOES NOT ANSWER/);
  t.regex(plan.out, /n1 can go on alone[\s\S]*whatever the lost voters decided after entry 9/);
  t.regex(plan.out, /sheep unsafe-recover DIR[\s\S]*dog node forget/);
  const health = await dog('cluster', 'health');
  t.is(health.code, 2);
  t.regex(
    health.out,
    /QUORUM_LOST: 2 of 3 voters do not answer \(n2, n3\)[^\n]*\n {2}cure: start n2, n3; if they are lost for good: dog cluster recover force/,
  );
  t.regex((await dog('cluster', 'info')).out, /leader unknown; n2, n3 not in reach/);
});

test('recover force: a leader that another member knows of is enough to refuse', async (t) => {
  const { dog, node } = await withCell(t, four());
  node.leader = undefined;
  node.missingVoters = nodeIds(1);
  node.leaderElsewhere = 4;
  const { code, err } = await dog('cluster', 'recover', 'force');
  t.is(code, 77);
  t.regex(
    err,
    /n4 leads, and a majority of the voters says so\n {2}cure: .*look at the network of n1/,
  );
});

test('cluster info -v: voters one by one, and how many there should be', async (t) => {
  const { dog } = await withCell(t, four());
  t.regex(
    (await dog('cluster', 'info', '-v')).out,
    /Voters \(1, the cluster asks for 3\):\n {2}n1 {2}zone z1, up, leader/,
  );
});

test('--expect-epoch: nothing is done once the cluster has moved on', async (t) => {
  const cell = four();
  const { dog } = await withCell(t, cell);
  const { epoch } = JSON.parse((await dog('node', 'list', '--json')).out);
  const late = await dog('--expect-epoch', String(epoch + 1), 'node', 'drain', 'n4', '-f');
  t.is(late.code, 6);
  t.regex(late.err, /the cluster is at epoch \d+, not \d+\n {2}cure: look again/);
  t.regex((await dog('node', 'list', '-r')).out, /n4\t-\tz4\t1\tup/, 'nothing was done');
  t.is((await dog('--expect-epoch', String(epoch), 'node', 'drain', 'n4', '-f')).code, 0);
  t.is((await dog('--expect-epoch', String(epoch), 'cluster', 'invite')).code, 6);
  t.is((await dog('--expect-epoch', 'soon', 'node', 'list')).code, 64);
});

test('--timeout: an answer is waited for so long', async (t) => {
  const { dog, node } = await withCell(t, four());
  node.gate = new Promise(() => {});
  const { code, err } = await dog('--timeout', '50ms', 'cluster', 'invite');
  t.is(code, 2);
  t.regex(err, /did not answer in time/);
  t.is((await dog('--timeout', 'long', 'node', 'list')).code, 64);
});

test('node info: size, used, available and objects of each node, and of all', async (t) => {
  const { dog, node } = await withCell(t, four());
  const space = { totalBytes: 4096, freeBytes: 1024, usedBytes: 2048, objects: 3, appliedIndex: 9 };
  node.conditionsNow = [1, 2].map((one) => ({ ...SOUND, node: nodeId(one), space }));
  const { out } = await dog('node', 'info');
  t.regex(out, /id +size +used +available +objects\nn1 +4 KiB +2 KiB +1 KiB +3\n/);
  t.regex(out, /\ntotal +8 KiB +4 KiB +2 KiB +6\n/);
  const { data } = JSON.parse((await dog('node', 'info', '--json')).out);
  t.like(data, { name: 'n1', total: { totalBytes: 8192, objects: 6 } });
  t.is(data.nodes.length, 2);
  t.is((await dog('node', 'weight', 'n2', '0', '-f')).code, 0);
  const gateway = (await dog('node', 'info')).out;
  t.regex(gateway, /\nn2 +4 KiB +2 KiB +1 KiB +3\n/);
  t.regex(gateway, /\ntotal +4 KiB +4 KiB +1 KiB +6\n/, 'the disk of a gateway is no room');
});

test('--json: every decision is a document of the member as it is then', async (t) => {
  const { dog } = await withCell(t, four());
  const { data, schema } = JSON.parse((await dog('--json', 'node', 'drain', 'n4')).out);
  t.is(schema, 'dog/node.drain/1');
  t.like(data, { name: 'n4', standing: 'leaving', isWitness: false, downMs: null });
});

test('after a forced recovery nobody is told to start what was given up, until it is forgotten', async (t) => {
  const cell = clusterOf({ nodes: 4, copies: 3 });
  cell.apply({ type: 'setting', key: givenUpKey(nodeId(2)), value: '1' });
  for (const node of [2, 3]) down(cell, node);
  const { dog } = await withCell(t, cell);
  const health = await dog('cluster', 'health');
  t.regex(
    health.out,
    /NODE_GIVEN_UP: n2 was given up by a forced recovery\n {2}cure: dog node forget n2; never start it with its old disk/,
  );
  t.regex(health.out, /bring n3 back/);
  t.notRegex(health.out, /(start|bring)[^\n]*n2[^\n]* (back|again)|start n2/);
  const info = await dog('cluster', 'info');
  t.regex(
    info.out,
    /Start n3 again[\s\S]*n2 was given up by a forced recovery: dog node forget n2/,
  );
  t.is((await dog('node', 'forget', 'n2', '-f')).code, 0);
  t.notRegex((await dog('cluster', 'health')).out, /GIVEN_UP/);
  t.notRegex((await dog('cluster', 'info')).out, /given up/);
});

test('health: whoever met a second process of a member, or another node at its address, all nodes tell of it', async (t) => {
  const cell = four();
  const { dog, node } = await withCell(t, cell);
  const mixUps = [
    { kind: 'identity-twice', node: nodeId(3), address: '/ip4/10.0.0.9/tcp/7', found: 0 },
    { kind: 'address-taken', node: nodeId(2), address: '/ip4/10.0.0.2/tcp/7', found: nodeId(4) },
    { kind: 'other-history', node: nodeId(4), address: '', found: 0 },
    { kind: 'identity-twice', node: nodeId(9), address: 'of nobody any more', found: 0 },
  ] as const;
  node.conditionsNow = [2, 3].map((one) => ({ ...SOUND, node: nodeId(one), mixUps }));
  const { code, out } = await dog('cluster', 'health');
  t.is(code, 2);
  t.regex(
    out,
    /IDENTITY_TWICE: a second process has the identity of n3 at \/ip4\/10\.0\.0\.9\/tcp\/7[^\n]*\n {2}cure: end it, and remove the copy/,
  );
  t.regex(out, /ADDRESS_TAKEN: n4 answers at [^\n]*, the address of n2\n {2}cure: .*restart n2/);
  t.regex(out, /MAP_SPLIT: n4 contradicts/);
  const each = /^(error|warning) (IDENTITY_TWICE|ADDRESS_TAKEN|MAP_SPLIT)/gm;
  t.is(out.match(each)?.length, 3, 'each is told once');
  const [first, second] = JSON.parse((await dog('cluster', 'health', '--json')).out).warnings;
  t.deepEqual([first.affected, second.affected], [['n3'], ['n4']], 'errors first');
});

test('health: two members that say that they are at one address', async (t) => {
  const cell = four();
  const address = '/ip4/10.0.0.7/tcp/7001';
  for (const node of [2, 4]) {
    cell.apply({ ...entryBodies.nodeUp({ node, incarnation: 2 }), addresses: [address] });
  }
  const { dog } = await withCell(t, cell);
  const { code, out } = await dog('cluster', 'health');
  t.is(code, 1);
  t.regex(out, /ADDRESS_TAKEN: n4 answers at \/ip4\/10\.0\.0\.7\/tcp\/7001, the address of n2/);
});

test('health: a member of another history is an error that names it', async (t) => {
  const { dog, node } = await withCell(t, four());
  node.splitFrom = nodeIds(2, 9);
  const health = await dog('cluster', 'health');
  t.is(health.code, 2);
  t.regex(health.out, /MAP_SPLIT: n2 contradicts[^\n]*\n {2}cure: stop the process of n2 at once/);
  t.notRegex(health.out, /n9/, 'who is forgotten is no matter any more');
});
