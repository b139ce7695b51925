// Schedules: what a story draws is a list; played again it is the same run, and a list that fails becomes a small one.

import '../../sim/bans.ts';
import test from 'ava';
import { lyingDisk } from '../../sim/mutants/list.ts';
import { playBroken } from '../../sim/mutants/mutant.ts';
import { drawn, play } from '../../sim/scenario.ts';
import { randomFaults } from '../../sim/scenarios/random-faults.ts';
import { ddmin } from '../../sim/schedule/ddmin.ts';
import { checkerOf, faultCount, shrink, simplerThan, unitsOf } from '../../sim/schedule/shrink.ts';
import {
  type FaultStep,
  formatSchedule,
  parseSchedule,
  type Step,
  sayStep,
} from '../../sim/schedule/step.ts';

const WORK = { workingSet: 64, thinkMs: 40, calmThinkMs: 400 };

/** A story as drawn as swarm, and short. */
const short = drawn('short', { nodes: 1, copies: 3, partitions: 16 }, async (stage, players) => {
  const { random } = stage;
  await players.do({ act: 'form', nodes: 3, copies: 3 });
  const { name: node } = stage.anyRunning();
  await players.do({ act: 'guest', node, sizeMiB: 8, work: WORK });
  for (let round = 0; round < 4; round += 1) {
    const victim = stage.anyRunning();
    const fault = random.pick(['kill', 'power', 'cut', 'mute', 'stop'] as const);
    await players.do({ act: 'run', seconds: random.exponential(0.5) });
    await players.do({ fault, node: victim.name });
    await players.do({ act: 'called-down', node: victim.name, seconds: 5 });
    if (!players.guest.gatewayIsAlive) {
      await players.do({ act: 'move', node: stage.anyRunning().name, seconds: 30 });
    }
    await players.do({ cure: fault, node: victim.name });
    await players.do({ act: 'converge', seconds: 60 });
  }
});

test.serial('a run from its printed schedule is the same run, to the hash', async (t) => {
  t.timeout(240_000);
  const { buildNode: build } = await import('../../src/build-node.ts');
  for (const [story, seed] of [
    [short, 1],
    [short, 2],
    [randomFaults, 1],
  ] as const) {
    const one = await play(story, { build, seed });
    t.is(one.failure, undefined);
    const again = await play(story, { build, seed });
    t.deepEqual(again.steps, one.steps, 'the same seed draws the same list');
    const text = formatSchedule({ scenario: story.name, seed, steps: one.steps }).join('\n');
    const { steps } = parseSchedule(text);
    const replayed = await play(story, { build, seed, steps });
    t.is(replayed.hash, one.hash);
    t.deepEqual(replayed.steps, one.steps);
    const other = await play(story, {
      build,
      seed,
      steps: steps.filter((step) => !('cure' in step)),
    });
    t.not(other.hash, one.hash, 'the list is what is played');
  }
});

test('a schedule as text is what it was, and other lines are not read', (t) => {
  const steps: Step[] = [
    { act: 'form', nodes: 3, copies: 2 },
    { fault: 'kill', node: 'node-2' },
    { act: 'run', seconds: 0.1 + 0.2 },
  ];
  const lines = formatSchedule({ scenario: 'swarm', seed: 7, steps });
  const text = ['FAILED swarm: C-lin', ...lines, 'swarm seed 7 hash 0'].join('\n');
  t.deepEqual(parseSchedule(text), { scenario: 'swarm', seed: 7, steps });
  for (const bad of ['', '{"schedule":2}', `${lines[0]}\n{"node":"x"}`, `${lines[0]}\n{oops`]) {
    t.throws(() => parseSchedule(bad), { message: /^no schedule: / }, bad);
  }
  t.is(sayStep({ at: 1.5, fault: 'kill', node: 'node-2' }), '1.500 s  node-2: kill');
});

test('ddmin finds the items that matter, and no item of them can go', async (t) => {
  const all = Array.from({ length: 40 }, (_, at) => at);
  for (const needed of [[], [0], [39], [3, 17], [0, 1, 2, 38, 39], all]) {
    let asked = 0;
    const found = await ddmin(all, async (some) => {
      asked += 1;
      return needed.every((one) => some.includes(one));
    });
    t.deepEqual(found, needed);
    t.true(asked < 160, `${asked} questions`);
  }
});

test('a fault goes with its cure; form and guest stay', (t) => {
  const steps: Step[] = [
    { act: 'form', nodes: 3, copies: 3 },
    { fault: 'cut', node: 'node-1' },
    { fault: 'cut', node: 'node-1' },
    { act: 'run', seconds: 1 },
    { cure: 'cut', node: 'node-1' },
    { cure: 'cut', node: 'node-1' },
    { cure: 'cut', node: 'node-2' },
  ];
  t.deepEqual(unitsOf(steps), [[1, 4], [2, 5], [3], [6]]);
  t.deepEqual(simplerThan({ act: 'form', nodes: 2, copies: 2 }), [
    { act: 'form', nodes: 1, copies: 1 },
    { act: 'form', nodes: 2, copies: 1 },
  ]);
});

test('a failure is known by the rule that it names, else by its words', (t) => {
  t.is(checkerOf('disk: C-lin: block 17: read 3'), 'C-lin');
  t.is(checkerOf('I2: object 3.1: node-1 has 4, node-2 has 5'), 'I2');
  t.is(
    checkerOf('node-3 fell: InvariantError: x 12'),
    checkerOf('node-1 fell: InvariantError: x 9'),
  );
  t.not(checkerOf('A1: term 3 has two leaders'), checkerOf('A4: node-1 differs'));
});

const KINDS = [
  'mute',
  'kill',
  'cut',
  'pause',
  'deaf',
  'stop',
  'full',
  'loss',
  'slow',
  'data',
] as const;

function faultOf(kind: (typeof KINDS)[number] | 'power', node: string): FaultStep {
  if (kind === 'pause') return { fault: kind, node, ms: 300 };
  if (kind === 'full') return { fault: kind, node, leaveBytes: 8_000_000 };
  if (kind === 'loss') return { fault: kind, node, rate: 0.3 };
  return kind === 'slow' ? { fault: kind, node, factor: 3 } : { fault: kind, node };
}

/** Twenty faults of all kinds, one of which a disk that lies about its syncs does not survive. */
function longStory(): readonly Step[] {
  const kinds = [...KINDS, ...KINDS].with(12, 'power' as never);
  return [
    { act: 'form', nodes: 3, copies: 3 },
    { act: 'guest', node: 'node-1', sizeMiB: 8, work: WORK },
    ...kinds.flatMap((kind, at): Step[] => {
      const fault = faultOf(kind, `node-${1 + (at % 3)}`);
      const cure = { cure: fault.fault, node: fault.node };
      const run = { act: 'run', seconds: 0.1 } as const;
      return fault.fault === 'pause' ? [fault, run] : [fault, run, cure];
    }),
    { act: 'converge', seconds: 60 },
  ];
}

test.serial('twenty faults that fail under a mutant become one', async (t) => {
  t.timeout(240_000);
  const { buildNode: build } = await import('../../src/build-node.ts');
  const steps = longStory();
  t.is(faultCount(steps), 20);
  const sound = await play(short, { build, seed: 3, steps });
  t.is(sound.failure, undefined, 'without the mutant it holds');
  const broken = async (some: readonly Step[]): Promise<string | undefined> =>
    (await playBroken(lyingDisk, short, { build, seed: 3, steps: some })).failure;
  const failure = await broken(steps);
  t.truthy(failure);
  const small = await shrink({ steps, failure: failure ?? '' }, { play: broken, maxRuns: 80 });
  t.log(small?.steps.map(sayStep).join('; '), small?.runs);
  t.deepEqual(
    small?.steps.filter((step) => 'fault' in step).map((step) => step.fault),
    ['power'],
  );
  t.is(checkerOf(small?.failure ?? ''), checkerOf(failure ?? ''));
  t.true((small?.steps.length ?? 99) <= 6);
  const few = await shrink({ steps, failure: failure ?? '' }, { play: broken, maxRuns: 3 });
  t.is(few?.runs, 3, 'the bound of runs holds');
});
