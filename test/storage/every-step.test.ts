// The power goes at every single disk operation of a workload of 2000 operations: each step is forked off, restarted, and
// must show an allowed state: every confirmed change, of the others a prefix in the order of acceptance, nothing in part
// (R4, I1). The same for every step of restarts, and for restarts that a further power loss cuts.
//
//   main world   op op op op op op op ...      runs once, undisturbed
//                 |  |  |  |  |
//   forks         X  X  X  X  X                power gone and back, what was not synced drawn by sector: restart, check
//
// `npm run crash` looks at every step, which takes minutes; `npm test` runs the same workload and looks at every 37th.

import test from 'ava';
import { CrashWorld } from './crash-world.ts';
import { ModelledStore } from './store-model.ts';

const SEED = 20;
const OPERATIONS = 2000;
const OBJECTS = 4;
const IS_WHOLE = process.env['SHEEP_EVERY_STEP'] === '1';
/** Steps of the workload that are looked at. No divisor of a period of the workload: all kinds of steps come up. */
const LOOK_EVERY = IS_WHOLE ? 1 : 37;
/** Steps of the workload after which the restart itself is cut at each of its steps. */
const CUT_EVERY = IS_WHOLE ? 31 : 601;
const TIMEOUT_MS = 30 * 60_000;

/** In mode writeback some changes are durable all the same: zeroes of the gateway, FUA. */
const LAG_PERCENT = 85;
const MODES = ['durable', 'writeback'] as const;
type Mode = (typeof MODES)[number];

interface Fork {
  readonly name: string;
  readonly world: CrashWorld;
  readonly model: ModelledStore;
}

/** Forks of the steps that a world takes from now on. */
class EveryStep {
  #pending: Fork[] = [];
  steps = 0;

  constructor(world: CrashWorld, model: ModelledStore, every: number, name = 'step') {
    world.beforeOperation = () => {
      this.steps += 1;
      if (this.steps % every !== 0) return;
      const fork = world.powerLossFork(Math.imul(this.steps, 0x9e3779b1) ^ SEED);
      this.#pending.push({
        name: `${name} ${this.steps}`,
        world: fork,
        model: model.forkFor(fork),
      });
    };
  }

  /** The forks since the last call. */
  take(): Fork[] {
    const forks = this.#pending;
    this.#pending = [];
    return forks;
  }
}

/** A restart on what the power loss left: an allowed state, or the test fails naming the step. */
async function restarts({ name, model }: Fork): Promise<void> {
  try {
    if (!(await model.open())) throw new TypeError('the world is dead');
    await model.check(true);
    if (model.failure !== undefined) throw model.failure;
  } catch (error) {
    throw new TypeError(`power lost before ${name}, seed ${SEED}: ${String(error)}`, {
      cause: error,
    });
  }
}

/** The workload, with a look at the steps that it takes. */
async function workload(
  mode: Mode,
  every: number,
  visit: (fork: Fork) => Promise<void>,
): Promise<{ readonly world: CrashWorld; readonly steps: number }> {
  const world = new CrashWorld(SEED);
  const model = new ModelledStore(world, OBJECTS);
  model.lagPercent = mode === 'writeback' ? LAG_PERCENT : 0;
  await model.open();
  const forks = new EveryStep(world, model, every);
  for (let i = 0; i < OPERATIONS; i += 1) {
    model.act(4);
    for (let k = world.random.below(5); k >= 0; k -= 1) {
      for (const fork of forks.take()) await visit(fork);
      if (k > 0) world.step();
    }
    if (model.failure !== undefined) throw model.failure;
  }
  return { world, steps: forks.steps };
}

for (const mode of MODES) {
  test(`store: the power may go at every step of 2000 operations, mode ${mode}`, async (t) => {
    t.timeout(TIMEOUT_MS);
    let looks = 0;
    const { world, steps } = await workload(mode, LOOK_EVERY, async (fork) => {
      looks += 1;
      await restarts(fork);
    });
    t.log(`${looks} power losses in ${steps} steps; ${JSON.stringify([...world.counts])}`);
    t.is(looks, Math.floor(steps / LOOK_EVERY));
    t.true(steps > 3 * OPERATIONS, `${steps} steps`);
    t.true((world.counts.get('store.checkpoints') ?? 0) > 50, 'checkpoints are cut, too');
    t.true((world.counts.get('store.punched') ?? 0) > 0, 'holes are cut, too');
  });

  test(`store: the power may go at every step of a restart, and again in the next, mode ${mode}`, async (t) => {
    t.timeout(TIMEOUT_MS);
    let looks = 0;
    let again = 0;
    await workload(mode, CUT_EVERY, async (fork) => {
      const cuts = new EveryStep(fork.world, fork.model, 1, `${fork.name}, restart step`);
      await restarts(fork);
      const forks = cuts.take();
      for (const [i, cut] of forks.entries()) {
        // Every second one loses power once more, at a drawn step of its own restart.
        if (i % 2 === 1) {
          cut.world.crashAt = cut.world.operations + 1 + cut.world.random.below(forks.length);
          if (await cut.model.open()) cut.world.crash();
          cut.world.restart();
          again += 1;
        }
        await restarts(cut);
        looks += 1;
      }
    });
    t.log(`${looks} power losses in restarts, ${again} of them twice`);
    t.true(looks > 50 && again > 20, `${looks} and ${again}`);
  });
}
