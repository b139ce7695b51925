// S1, S5, S6: the tree of generations: which layers a read goes through, how much of each shows, what a delete leaves.

import test from 'ava';
import fc from 'fast-check';
import { hashOf, viewOf } from '../../src/core/cluster-state.ts';
import { withGeneration, withoutGeneration } from '../../src/core/generation-state.ts';
import {
  ancestry,
  childrenOf,
  deletedOf,
  type Generation,
  type Generations,
  headBelow,
  MAX_PATHS_KEPT,
  NO_LIMIT,
  readersBelow,
  standingOf,
} from '../../src/core/generations.ts';
import type { FamilyId, GenerationId, MapIndex, PolicyId, VolumeId } from '../../src/core/ids.ts';
import { decodeState, encodeState } from '../../src/wire/state-codec.ts';
import { clusterOf, entryBodies as make, olderState } from '../fixtures.ts';

const gen = (id: number): GenerationId => id as GenerationId;

function layer(id: number, options: Partial<Generation> = {}): Generation {
  const of = { id: gen(id), family: 1 as FamilyId, policy: 0 as PolicyId, volume: 1 as VolumeId };
  return { ...headBelow(undefined, of), ...options };
}

function treeOf(...layers: Generation[]): { generations: Generations } {
  return { generations: new Map(layers.map((one) => [one.id, one])) };
}

/** 1 <- 2 <- 3, with 4 beside 3. */
const family = () =>
  treeOf(
    layer(1, { state: 'frozen' }),
    layer(2, { parent: gen(1), state: 'frozen' }),
    layer(3, { parent: gen(2) }),
    layer(4, { parent: gen(2) }),
  );

test('tree: a read goes from the layer to the root, nearest first', (t) => {
  const view = family();
  const path = ancestry(view, gen(3));
  t.deepEqual(
    path.map(({ generation }) => generation),
    [gen(3), gen(2), gen(1)],
  );
  t.true(path.every(({ limitBytes }) => limitBytes === NO_LIMIT));
  t.is(ancestry(view, gen(3)), path, 'asked for with each frame: worked out once');
  t.deepEqual(ancestry(view, gen(9)), [], 'nothing is known of it');
});

// S5: what a shrink cut off never comes back, however many layers lie between.
test('tree: of each layer there shows what the least limit before it lets through', (t) => {
  const view = treeOf(
    layer(1),
    layer(2, { parent: gen(1), limitBytes: 8192 }),
    layer(3, { parent: gen(2) }),
    layer(4, { parent: gen(3), limitBytes: 65536 }),
  );
  t.deepEqual(ancestry(view, gen(4)), [
    { generation: gen(4), limitBytes: NO_LIMIT },
    { generation: gen(3), limitBytes: 65536 },
    { generation: gen(2), limitBytes: 65536 },
    { generation: gen(1), limitBytes: 8192 },
  ]);
});

test('tree: paths are remembered for so many generations only', (t) => {
  const layers = Array.from({ length: MAX_PATHS_KEPT + 2 }, (_, at) => layer(at + 1));
  const view = treeOf(...layers);
  const first = ancestry(view, gen(1));
  for (const { id } of layers) ancestry(view, id);
  t.not(ancestry(view, gen(1)), first);
  t.deepEqual(ancestry(view, gen(1)), first);
});

test('tree: children and readers of a layer', (t) => {
  const view = family();
  t.deepEqual(childrenOf(view, gen(2)), [gen(3), gen(4)]);
  t.deepEqual(childrenOf(view, gen(4)), []);
  t.deepEqual(readersBelow(view, gen(1)), [gen(2), gen(3), gen(4)]);
  const deleted = treeOf(...[...view.generations.values()].map((one) => deletedIf(one, 2)));
  t.deepEqual(readersBelow(deleted, gen(1)), [gen(3), gen(4)], 'a deleted one reads nothing');
  t.deepEqual(
    deletedOf(deleted).map(({ id }) => id),
    [gen(2)],
  );
});

function deletedIf(one: Generation, id: number): Generation {
  return one.id === id ? { ...one, state: 'deleted' } : one;
}

test('tree: an id without a record is gone for good, one above the counter is not known yet', (t) => {
  const view = { ...family(), lastGeneration: gen(7) };
  t.is(standingOf(view, gen(1)), 'frozen');
  t.is(standingOf(view, gen(3)), 'head');
  t.is(standingOf(view, gen(6)), 'gone');
  t.is(standingOf(view, gen(8)), 'ahead');
});

test('tree: what shows through to something stays when it is deleted, and goes with the last of that', (t) => {
  let view = family();
  const remove = (id: number): void => {
    view = { generations: withoutGeneration(view, gen(id)) };
  };
  remove(2);
  t.is(view.generations.get(gen(2))?.state, 'deleted');
  remove(3);
  t.false(view.generations.has(gen(3)));
  t.true(view.generations.has(gen(2)), 'the clone still reads it');
  remove(4);
  t.deepEqual([...view.generations.keys()], [gen(1)], 'nothing reads the deleted one any more');
  remove(1);
  t.is(view.generations.size, 0);
  t.is(withoutGeneration(view, gen(1)), view.generations, 'twice');
});

test('tree: in any order of deletes nothing is left, and nothing goes that still shows', (t) => {
  const parents = fc.array(fc.nat(), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(parents, fc.array(fc.nat(), { minLength: 20, maxLength: 20 }), (draws, order) => {
      let view: { generations: Generations } = { generations: new Map() };
      for (const [at, drawn] of draws.entries()) {
        const parent = at === 0 ? 0 : gen(drawn % (at + 1));
        view = { generations: withGeneration(view, layer(at + 1, { parent: parent as never })) };
      }
      const open = draws.map((_, at) => at + 1);
      for (const drawn of order) {
        const [id] = open.splice(drawn % open.length, 1);
        if (id === undefined) break;
        view = { generations: withoutGeneration(view, gen(id)) };
        for (const kept of open) {
          const path = ancestry(view, gen(kept));
          t.is(view.generations.get(path.at(-1)?.generation ?? gen(0))?.parent, 0, 'a whole path');
        }
        for (const { id: deleted } of deletedOf(view)) {
          t.true(readersBelow(view, deleted).length > 0, 'kept for somebody');
        }
      }
      t.is(view.generations.size, Math.max(0, draws.length - order.length));
    }),
    { numRuns: 200 },
  );
});

test('tree: a volume has one root; a state from before the tree reads as that', (t) => {
  const cell = clusterOf({ nodes: 1, copies: 1 });
  cell.apply(make.volumeCreate({ name: 'disk' }));
  const { state } = cell;
  t.like(viewOf(state).generations.get(gen(1)), { state: 'head', parent: 0, volume: 1, family: 1 });
  t.is(hashOf({ ...state, generations: new Map() }), hashOf(state), 'its hash says nothing of it');
  // Generations, attributes, trash, age.
  const older = olderState(encodeState(state), 4);
  t.deepEqual(decodeState(older).generations, state.generations);
});

test('tree: what is not plain is in the bytes and in the hash', (t) => {
  const cell = clusterOf({ nodes: 1, copies: 1 });
  cell.apply(make.volumeCreate({ name: 'disk' }));
  const frozen = layer(7, {
    ...{ parent: gen(1), state: 'frozen', frozenAt: 12 as MapIndex, limitBytes: 4096 },
    ...{ name: 'disk', tag: 'monday', sizeBytes: 8192, createdMs: 1000, isProtected: true },
  });
  const state = { ...cell.state, generations: withGeneration(cell.state, frozen) };
  const again = decodeState(encodeState(state));
  t.deepEqual(again.generations.get(gen(7)), frozen);
  t.is(hashOf(again), hashOf(state));
  t.not(hashOf(state), hashOf(cell.state));
  const other = { ...frozen, tag: 'tuesday' };
  t.not(hashOf({ ...state, generations: withGeneration(state, other) }), hashOf(state));
});
