// Generations that show through each other (S1, S2, S2a), against a model, and with power losses: a write to a part of a
// region that its generation does not own copies that region and no more; nobody else sees it; and a replay does it again
// whatever was in place already.

import test from 'ava';
import { CrashWorld } from './crash-world.ts';
import { LayeredStore } from './layers-model.ts';

const SEEDS = 30;
const OPERATIONS = 150;
/** Of the power-loss test: no divisor of a period of the workload. */
const LOOK_EVERY = process.env['SHEEP_EVERY_STEP'] === '1' ? 1 : 41;

async function steps(world: CrashWorld, most: number): Promise<void> {
  for (let k = world.random.below(most); k > 0; k -= 1) world.step();
  await Promise.resolve();
}

test('layers: every generation shows what it should, at every moment and after a restart', async (t) => {
  t.timeout(10 * 60_000);
  let copied = 0;
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const world = new CrashWorld(seed);
    const model = new LayeredStore(world);
    await model.open();
    try {
      for (let i = 0; i < OPERATIONS; i += 1) {
        model.act();
        await steps(world, 6);
        if (i % 10 === 0) await model.check(false);
        if (model.failure !== undefined) throw model.failure;
      }
      await model.copyAll();
      await model.settle();
      await model.check(false);
      world.crash();
      world.restart();
      await model.open();
      await model.check(true);
    } catch (error) {
      throw new TypeError(`seed ${seed}: ${String(error)}`, { cause: error });
    }
    copied += world.counts.get('store.regions-copied') ?? 0;
  }
  t.true(copied > 20 * SEEDS, `${copied} regions were copied`);
});

test('layers: the power may go at every step', async (t) => {
  t.timeout(30 * 60_000);
  let looks = 0;
  for (let seed = 1; seed <= 4; seed += 1) {
    const world = new CrashWorld(seed);
    const model = new LayeredStore(world);
    await model.open();
    const forks: { readonly at: number; readonly model: LayeredStore }[] = [];
    let taken = 0;
    world.beforeOperation = () => {
      taken += 1;
      if (taken % LOOK_EVERY !== 0) return;
      const fork = world.powerLossFork(Math.imul(taken, 0x9e3779b1) ^ seed);
      forks.push({ at: taken, model: model.forkFor(fork) });
    };
    for (let i = 0; i < 4 * OPERATIONS; i += 1) {
      model.act();
      for (let k = world.random.below(6); k > 0; k -= 1) {
        world.step();
        for (const fork of forks.splice(0)) {
          looks += 1;
          try {
            await fork.model.open();
            await fork.model.check(true);
            if (fork.model.failure !== undefined) throw fork.model.failure;
          } catch (error) {
            const text = `seed ${seed}, power lost before step ${fork.at}: ${String(error)}`;
            throw new TypeError(text, { cause: error });
          }
        }
      }
      await Promise.resolve();
      if (model.failure !== undefined) throw model.failure;
    }
  }
  t.true(looks > 100, `${looks} looks`);
});
