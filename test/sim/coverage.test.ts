// Coverage: what a run reached is counted, adds up, and changes nothing of the run.

import '../../sim/bans.ts';
import { existsSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import {
  addToFile,
  NOTHING,
  neverReached,
  reachOfMachines,
  sum,
  summary,
} from '../../sim/reach/reached.ts';
import { play } from '../../sim/scenario.ts';
import { oneNodeLost } from '../../sim/scenarios/one-node-lost.ts';

const ALL = {
  faults: ['kill', 'pause'],
  rare: ['copy-again'],
  states: ['peer.alive', 'peer.suspect', 'ring.idle'],
  transitions: ['peer: alive -- edge.lost --> suspect'],
  entries: ['noop'],
};
const ONE = { ...NOTHING, faults: { kill: 2 }, states: { 'peer.alive': 1 } };

test('counts add up, over processes and in a file', (t) => {
  const twice = sum(ONE, { ...ONE, entries: { noop: 1 } });
  t.deepEqual(twice.faults, { kill: 4 });
  t.deepEqual(twice.states, { 'peer.alive': 2 });
  t.deepEqual(neverReached(twice, ALL), [
    'never reached: faults pause',
    'never reached: rare copy-again',
    'never reached: states peer.suspect',
    'never reached: states ring.idle',
    'never reached: transitions peer: alive -- edge.lost --> suspect',
  ]);
  t.deepEqual(summary(ONE, ALL), [
    'faults: kill 2',
    'actors: 1 of 3 states, 0 of 1 transitions',
    '  peer 1 of 2 and 0 of 1, ring 0 of 1 and 0 of 0',
    'rare branches: 0 of 1 points, 0 times',
    'log entries: 0 of 1 types',
  ]);
  const file = path.join(tmpdir(), `sim-coverage-${process.pid}.json`);
  t.false(existsSync(file));
  addToFile(file, ONE);
  t.deepEqual(addToFile(file, ONE).faults, { kill: 4 });
  rmSync(file);
});

test('of each machine: the lesser share of its states and its transitions, and what is missing', (t) => {
  const reached = { ...ONE, transitions: { 'peer: alive -- edge.lost --> suspect': 1 } };
  const [peer, ring] = reachOfMachines(reached, {
    ...ALL,
    transitions: [...ALL.transitions, 'ring: idle -- look --> stays'],
  });
  t.deepEqual(peer, {
    actor: 'peer',
    states: 2,
    transitions: 1,
    missing: ['peer.suspect'],
    share: 0.5,
  });
  t.deepEqual(ring?.missing, ['ring.idle', 'ring: idle -- look --> stays']);
  t.is(ring?.share, 0);
});

test.serial('a run is counted: its faults, its actors, its entries; its hash stays', async (t) => {
  t.timeout(120_000);
  const { buildNode: build } = await import('../../src/build-node.ts');
  const before = await play(oneNodeLost, { build, seed: 1 });
  const { takeReached, watch } = await import('../../sim/reach/watch.ts');
  const all = watch();
  t.deepEqual(watch(), all, 'watching twice counts once');
  t.true(all.states.length > 40 && all.transitions.length > 100);
  t.is(new Set(all.transitions).size, all.transitions.length, 'each transition has its own name');
  const outcome = await play(oneNodeLost, { build, seed: 1 });
  t.is(outcome.hash, before.hash);
  const { faults, states, transitions, entries } = takeReached(outcome);
  t.is((faults['kill'] ?? 0) + (faults['power-loss'] ?? 0), 1);
  t.true((states['vdi-lock.held'] ?? 0) > 0);
  t.true(Object.keys(transitions).every((name) => all.transitions.includes(name)));
  t.true((transitions['vdi-lock: deciding -- at once if isMine --> held'] ?? 0) > 0);
  t.true((entries['nodesDown'] ?? 0) >= 2, 'each node that lives applied it');
  t.is(entries['volumeMove'], undefined);
  t.deepEqual(takeReached(await play(oneNodeLost, { build, seed: 1 })).entries, entries);
});
