// Rare branches of product code: nobody takes one outside of a run that draws it, each is taken in some run, and the rules
// that they lean on hold.

import '../../sim/bans.ts';
import test from 'ava';
import { play } from '../../sim/scenario.ts';
import { scenarioNamed } from '../../sim/scenario-list.ts';
import type { Step } from '../../sim/schedule/step.ts';
import { SimClock } from '../../sim/sim-clock.ts';
import { SimProcess } from '../../sim/sim-process.ts';
import { World } from '../../sim/world.ts';
import { createRealClock } from '../../src/io/real-clock.ts';
import { RARE_POINTS } from '../../src/ports/ports.ts';

function clockOf(world: World): SimClock {
  return new SimClock(world, new SimProcess(world, 'node-1'), { offsetMs: 0, rate: 1 });
}

test('the clock of a machine knows no rare branch', (t) => {
  t.is(createRealClock().rarely, undefined);
});

test('a run that draws none takes none, and draws nothing for it', (t) => {
  const world = new World(1);
  const clock = clockOf(world);
  for (const point of RARE_POINTS) t.false(clock.rarely(point));
  t.is(world.rare.size, 0);
});

test('what is drawn is taken as often as was drawn, the same for each seed', (t) => {
  const count = (seed: number): number => {
    const world = new World(seed);
    world.rarities = new Map([['copy-again', 0.25]]);
    const clock = clockOf(world);
    for (let i = 0; i < 1000; i += 1) {
      clock.rarely('copy-again');
      t.false(clock.rarely('promote-one'));
    }
    return world.rare.get('copy-again') ?? 0;
  };
  t.true(count(1) > 200 && count(1) < 300);
  t.is(count(1), count(1));
});

/**
 * Three nodes under load, one after the other away for a while, then a scrub of all; every branch as likely as it can be.
 */
function troubled(): readonly Step[] {
  const likely: Readonly<Record<string, number>> = {
    'confirmation-lost': 0.01,
    'election-early': 0.01,
    'copy-again': 1,
    'promote-one': 1,
  };
  const points = RARE_POINTS.map((point) => [point, likely[point] ?? 0.3]);
  const away = (fault: 'kill' | 'cut', node: string): readonly Step[] => [
    { fault, node },
    { act: 'called-down', node, seconds: 30 },
    { act: 'run', seconds: 4 },
    { cure: fault, node },
    { act: 'converge', seconds: 120 },
  ];
  return [
    { act: 'form', nodes: 3, copies: 3 },
    { act: 'weather', gossip: 0.2, gossipTwice: 0, slowness: 1, loss: 0, breaks: 0 },
    {
      act: 'guest',
      node: 'node-1',
      sizeMiB: 16,
      work: { workingSet: 2048, thinkMs: 10, calmThinkMs: 50 },
    },
    { act: 'rare', points: Object.fromEntries(points) },
    ...away('kill', 'node-1'),
    { act: 'move', node: 'node-2', seconds: 60 },
    ...away('cut', 'node-3'),
    ...away('kill', 'node-2'),
    { act: 'move', node: 'node-3', seconds: 60 },
    { fault: 'rot', node: 'node-1', harms: [] },
    { cure: 'rot', node: 'node-1' },
    { act: 'verdict', node: 'node-2' },
  ];
}

test.serial('every rare branch is taken, and the run holds', async (t) => {
  t.timeout(300_000);
  const { buildNode: build } = await import('../../src/build-node.ts');
  const story = scenarioNamed('swarm-rare');
  if (story === undefined) return t.fail('the story is there');
  const { rare, failure } = await play(story, { build, seed: 1, steps: troubled() });
  t.is(failure, undefined);
  t.deepEqual([...rare.keys()].sort(), [...RARE_POINTS].sort());
  return undefined;
});
