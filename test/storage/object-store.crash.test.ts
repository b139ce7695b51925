// Confirmed means durable, whatever the moment of the crash (R4, I1). Random workloads of writes, zeroes, closes, staged
// copies and drops on a disk that loses unsynced sectors and names; seeds are in the messages.

import test from 'ava';
import { CrashWorld } from './crash-world.ts';
import { ModelledStore } from './store-model.ts';

const SEEDS = 25;
const LIVES = 6;

async function lives(seed: number): Promise<void> {
  const world = new CrashWorld(seed);
  const model = new ModelledStore(world, 4);
  for (let life = 0; life < LIVES; life += 1) {
    const isUp = await model.open();
    if (isUp) {
      await model.check(true);
      await work(world, model);
    }
    if (model.failure !== undefined) throw model.failure;
    if (!world.isDead) world.crash();
    world.restart();
  }
  await model.open();
  await model.check(true);
}

async function work(world: CrashWorld, model: ModelledStore): Promise<void> {
  const operations = 20 + world.random.below(400);
  world.crashAt = world.operations + world.random.below(1500);
  for (let i = 0; i < operations && !world.isDead; i += 1) {
    model.act();
    const steps = world.random.below(6);
    for (let k = 0; k < steps && !world.isDead; k += 1) world.step();
    if (world.random.below(120) === 0) await model.settle();
    if (world.random.below(60) === 0 && !world.isDead) await model.check(false);
  }
  if (world.random.below(4) === 0 && !world.isDead) {
    await model.settle();
    await model.stop();
  }
}

for (let seed = 1; seed <= SEEDS; seed += 1) {
  test(`store: what was confirmed survives ${LIVES} crashes, seed ${seed}`, async (t) => {
    await t.notThrowsAsync(lives(seed), `seed ${seed}`);
  });
}
