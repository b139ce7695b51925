// LOST for a person: health and show name volumes and ranges, and accept-loss is the only way on, after a typed word.

import test from 'ava';
import { partitionOf } from '../../src/core/partition.ts';
import { FakeNode } from '../api/fake-node.ts';
import { served } from '../api/served.ts';
import { clusterOf, configAt, entryBodies as make, nodeId, type StateCell } from '../fixtures.ts';
import { dog } from './dog.ts';

const MIB = 2 ** 20;

/** n2 and n4, with all copies of partition 5, are down. */
function twoDown(): StateCell {
  const cell = clusterOf({ nodes: 4, copies: 2 });
  cell.apply(make.volumeCreate({ name: 'big', sizeBytes: 256 * MIB }));
  for (const node of configAt(cell, 5).inSync) {
    cell.apply(make.nodesDown({ nodes: [[node, 1]], baseEpoch: cell.state.epoch }));
  }
  return cell;
}

function retire(cell: StateCell): void {
  for (const node of configAt(cell, 5).inSync) cell.apply({ type: 'nodeLost', node, by: 'test' });
}

test('vdi create, alter: --io-timeout is said, kept, changed, and checked', async (t) => {
  const { socketPath } = await served(t, new FakeNode(twoDown(), 1));
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  t.regex((await dog(['vdi', 'show', 'big'], env)).out, /requests +wait until they can be/);
  const altered = await dog(['vdi', 'alter', 'big', '--io-timeout', '90s'], env);
  t.is(altered.out, 'Requests of big are answered with an error after 1 min 30 s.\n');
  t.is((await dog(['-r', 'vdi', 'alter', 'big', '--io-timeout', 'none'], env)).out, '0\n');
  t.is((await dog(['vdi', 'alter', 'big', '--io-timeout', 'soon'], env)).code, 64);
  t.is((await dog(['vdi', 'alter', 'big', '--io-timeout', '2d'], env)).code, 64, 'a day at most');
  for (const command of ['create', 'alter']) {
    const size = command === 'create' ? ['other', '1G'] : ['big'];
    const hasty = await dog(['vdi', command, ...size, '--io-timeout', '999ms'], env);
    t.is(hasty.code, 64);
    t.regex(hasty.err, /from 1 s to a day[\s\S]*cure: take 30s, or none/);
  }
  t.is((await dog(['vdi', 'alter', 'big', '--io-timeout', '1s'], env)).code, 0);
  t.is((await dog(['vdi', 'alter', 'big'], env)).code, 64);
  t.is((await dog(['vdi', 'alter', 'none', '--io-timeout', '1s'], env)).code, 5);
});

test('accept-loss: what may return is not lost: it says who', async (t) => {
  const cell = twoDown();
  const { socketPath } = await served(t, new FakeNode(cell, 1));
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  const said = await dog(['cluster', 'recover', 'accept-loss', '--yes-i-lose-data'], env);
  t.is(said.code, 5);
  t.regex(said.err, /nothing is lost yet: n2, n4 may return[\s\S]*dog node forget n2/);
  t.notRegex((await dog(['cluster', 'health'], env)).out, /LOST/);
});

test('accept-loss: health and show name ranges; a typed name goes on, and nothing less', async (t) => {
  const cell = twoDown();
  retire(cell);
  const node = new FakeNode(cell, 1);
  const { socketPath } = await served(t, node);
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  const family = cell.state.volumes.get(1 as never)?.family ?? 0;
  const index = Array.from({ length: 64 }, (_, i) => i).find((i) => {
    return partitionOf(family as never, i, cell.state.partitions) === 5;
  });
  const from = (index ?? 0) * 4 * MIB;

  const health = await dog(['cluster', 'health'], env);
  t.is(health.code, 2);
  t.regex(health.out, new RegExp(`LOST: no copy is left of 1 partition: big at bytes ${from}-`));
  t.regex(health.out, /dog cluster recover accept-loss/);
  t.regex((await dog(['vdi', 'show', 'big'], env)).out, new RegExp(`state +lost[\\s\\S]*${from}-`));

  const command = ['cluster', 'recover', 'accept-loss'];
  const nobody = await dog(command, env);
  t.is(nobody.code, 64, 'no terminal');
  t.regex(nobody.err, /no terminal to answer on[\s\S]*give --yes-i-lose-data if you mean it/);
  t.regex(nobody.err, /Lost for good: 1 partition\.\n {2}big: .* at bytes\n/);
  const no = await dog(command, env, undefined, async () => 'yes');
  t.is(no.code, 1);
  t.deepEqual(node.droppedLost, []);
  const yes = await dog(command, env, undefined, async () => cell.state.name);
  t.is(yes.code, 0, yes.err);
  t.regex(yes.out, /^1 partition starts anew: what was in them reads as zeroes/);
  t.true(node.droppedLost.includes(5), 'stale rows go first');
  t.deepEqual(configAt(cell, 5).inSync, [nodeId(1)]);
  t.notRegex((await dog(['cluster', 'health'], env)).out, /LOST/);
  t.is((await dog([...command, '--yes-i-lose-data'], env)).code, 5, 'nothing is left to accept');
});
