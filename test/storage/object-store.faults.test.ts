// Crash at every single disk operation of a small workload; rot in every kind of file. Damage of an object is said
// (`suspect`), never served; damage of the store's own metadata stops the start, naming file and cure (R4, I8).

import test, { type ExecutionContext } from 'ava';
import { OperatingError } from '../../src/core/errors.ts';
import type { GenerationId } from '../../src/core/ids.ts';
import { CrashWorld } from './crash-world.ts';
import { ModelledStore } from './store-model.ts';

const SEED = 7;
const GENERATION = 1 as GenerationId;

/** The same small life each time: 60 operations, a stop in order at the end. */
async function smallLife(world: CrashWorld, model: ModelledStore): Promise<void> {
  for (let i = 0; i < 60 && !world.isDead; i += 1) {
    model.act(3);
    for (let k = 0; k < 3 && !world.isDead; k += 1) world.step();
  }
  if (!world.isDead) await model.settle();
  if (!world.isDead) await model.stop();
}

async function openedModel(seed: number): Promise<{ world: CrashWorld; model: ModelledStore }> {
  const world = new CrashWorld(seed);
  const model = new ModelledStore(world, 3);
  await model.open();
  return { world, model };
}

// Method: the format itself (2000 writes of zeroes) is left out; after it every operation is a crash point once.
test('store: a crash at any disk operation of a workload loses nothing that was confirmed', async (t) => {
  const whole = await openedModel(SEED);
  const first = whole.world.operations;
  await smallLife(whole.world, whole.model);
  const last = whole.world.operations;
  t.true(last - first > 150, `${last - first} crash points`);
  for (let crashAt = first + 1; crashAt <= last; crashAt += 1) {
    const { world, model } = await openedModel(SEED);
    world.crashAt = crashAt;
    await smallLife(world, model);
    t.is(model.failure, undefined);
    t.true(world.isDead, `the world ends at operation ${crashAt}`);
    world.restart();
    await t.notThrowsAsync(
      model.open().then(() => model.check(true)),
      `crash at operation ${crashAt}, seed ${SEED}`,
    );
  }
});

test('store: a crash while the disk is formatted leaves an empty disk that can be formatted', async (t) => {
  const operations = (await openedModel(1)).world.operations;
  for (const crashAt of [
    1,
    2,
    3,
    5,
    100,
    operations - 3,
    operations - 2,
    operations - 1,
    operations,
  ]) {
    const world = new CrashWorld(crashAt);
    const model = new ModelledStore(world, 2);
    world.crashAt = crashAt;
    await model.open();
    t.true(world.isDead);
    world.restart();
    await t.notThrowsAsync(model.open(), `crash at operation ${crashAt}`);
    await model.check(true);
  }
});

/** A store with objects, stopped in order. */
async function stopped(seed: number): Promise<{ world: CrashWorld; model: ModelledStore }> {
  const { world, model } = await openedModel(seed);
  for (let i = 0; i < 120; i += 1) {
    model.act();
    world.step();
  }
  await model.settle();
  await model.stop();
  world.restart();
  return { world, model };
}

test('store: rot anywhere in object files is suspect or harmless, never wrong bytes', async (t) => {
  let suspects = 0;
  for (let seed = 1; seed <= 12; seed += 1) {
    const { world, model } = await stopped(seed);
    const objects = world.paths().filter((path) => path.startsWith('objects/'));
    for (const path of objects) {
      // Even seeds hit the data (about one sector in three), odd ones the sums.
      for (let i = 0; i < (seed % 2 === 0 ? 400 : 40); i += 1) {
        const position =
          seed % 2 === 0 ? 16384 + world.random.below(2 ** 22) : world.random.below(16384);
        world.damage(path, position, (byte) => byte ^ (1 + world.random.below(255)));
      }
    }
    await model.open();
    const outcome = await model.check(false).then(
      () => 'right',
      (error: unknown) => (error instanceof OperatingError ? error.code : String(error)),
    );
    t.true(outcome === 'right' || outcome === 'suspect', `seed ${seed}: ${outcome}`);
    if (outcome === 'suspect') suspects += 1;
  }
  t.true(suspects >= 10, `${suspects} of 12 were suspect`);
});

/** A row whose file has both sums slots in use, and that file. */
async function twiceSaved(world: CrashWorld, model: ModelledStore) {
  await model.open();
  for (let i = 0; i < 60; i += 1) {
    model.act();
    await model.settle();
  }
  await model.stop();
  const rows = [0, 1, 2].flatMap((partition) => model.store?.rowsOf(partition) ?? []);
  const row = rows.find((r) => r.kind === 'data' && slotOf(r) >= 2);
  world.restart();
  const name = (row?.generation.toString(16) ?? '').padStart(8, '0');
  const ending = name + (row?.index.toString(16) ?? '').padStart(8, '0');
  const path = world.paths().find((candidate) => candidate.endsWith(ending));
  if (row === undefined || path === undefined) throw new TypeError('the seed gives no such row');
  return { row, path };
}

function slotOf(row: unknown): number {
  return (row as { slotSequence: number }).slotSequence;
}

test('store: a missing object file is suspect; so is an object whose newest sums are gone', async (t) => {
  for (const harm of ['file', 'slot'] as const) {
    const { world, model } = await stopped(3);
    const { row, path } = await twiceSaved(world, model);
    if (harm === 'file') world.removeFile(path);
    // The older slot is valid, but it would show what was overwritten or zeroed since.
    else world.damage(path, (slotOf(row) % 2) * 8192 + 100, (byte) => byte ^ 1);
    await model.open();
    let outcome = '';
    model.store?.read(GENERATION, row.index, 0, 4096, new Uint8Array(4096), 0, (o) => {
      outcome = o;
    });
    await world.runUntil(() => outcome !== '');
    t.is(outcome, 'suspect', harm);
    t.true(world.warnings.some((text) => text.startsWith('store.object-lost')));
  }
});

async function refusal(t: ExecutionContext, model: ModelledStore): Promise<OperatingError> {
  const error = await t.throwsAsync(model.open());
  t.true(error instanceof OperatingError, String(error));
  return error as OperatingError;
}

test('store: damage of both heads or of the index stops the start', async (t) => {
  for (const [path, positions, code] of [
    ['journal', [20, 4096 + 20], 'corrupt'],
    ['index', [6], 'corrupt'],
    ['index', [16 + 12 + 5], 'corrupt'],
  ] as const) {
    const { world, model } = await stopped(9);
    const file = world.paths().find((name) => name.startsWith(path)) as string;
    for (const position of positions) world.damage(file, position, (byte) => byte ^ 4);
    const error = await refusal(t, model);
    t.is(error.code, code, `${path} at ${positions.join()}`);
    t.true(error.message.includes(path) && error.remedy !== '');
  }
});

test('store: a full disk refuses a write before anything is touched, and takes it later', async (t) => {
  const { world, model } = await openedModel(11);
  world.freeBytes = 2 ** 20;
  const outcomes: string[] = [];
  const attempt = (): void => {
    const data = new Uint8Array(4096).fill(1);
    const { store } = model;
    const version = { token: 0, count: 0 } as never;
    const write = {
      generation: GENERATION,
      index: 77,
      family: 1,
      partition: 1,
      prev: version,
      cfg: 1,
    };
    const place = { ...write, next: { token: 1, count: 1 }, closed: 0, offset: 0, count: 4096 };
    store?.write(place as never, data, new Uint8Array(4).fill(9), (error) => {
      outcomes.push(error?.code ?? 'done');
    });
  };
  attempt();
  await world.runUntil(() => outcomes.length === 1);
  t.is(model.store?.row(GENERATION, 77), undefined);
  world.freeBytes = 2 ** 40;
  attempt();
  await world.runUntil(() => outcomes.length === 2);
  t.deepEqual(outcomes, ['no-space', 'done']);
});

test('store: the journal goes round many times under load, with checkpoints behind it', async (t) => {
  const { world, model } = await openedModel(13);
  for (let i = 0; i < 3000; i += 1) {
    model.act(15);
    world.step();
    world.step();
    if (i % 200 === 0) await model.settle();
  }
  await model.settle();
  await model.check(false);
  t.is(model.failure, undefined);
  t.true((world.counts.get('store.checkpoints') ?? 0) >= 10, 'the ring was used up many times');
  world.crash(50);
  world.restart();
  await model.open();
  await t.notThrowsAsync(model.check(true));
});
