// What may be dropped of deleted generations (S6), against a model that reads sector by sector: a row goes only when no
// reader sees a difference, and once nothing keeps it, it does go.

import test from 'ava';
import fc from 'fast-check';
import { type Generation, headBelow, NO_LIMIT } from '../../src/core/generations.ts';
import type { FamilyId, GenerationId, PolicyId, VolumeId } from '../../src/core/ids.ts';
import {
  type LayerRow,
  layersToAsk,
  MAX_LAYERS_PER_ROUND,
  mayReclaim,
  reclaimWitnesses,
} from '../../src/core/reclaim.ts';
import { OBJECT_BYTES, REGION_BYTES } from '../../src/core/units.ts';
import type { Member } from '../../src/core/view.ts';
import { member } from '../fixtures.ts';

const INDEX = 3;
const REGIONS = 4;
const of = { family: 1 as FamilyId, policy: 0 as PolicyId, volume: 1 as VolumeId };

interface Node {
  readonly parent: number;
  readonly limit: number;
  readonly state: 'head' | 'frozen' | 'deleted';
  readonly own: number;
  readonly isOpen: boolean;
}

function treeOf(nodes: readonly Node[]): Map<GenerationId, Generation> {
  const tree = new Map<GenerationId, Generation>();
  for (const [i, node] of nodes.entries()) {
    const id = (i + 1) as GenerationId;
    const parent = tree.get(node.parent as GenerationId);
    tree.set(id, { ...headBelow(parent, { id, ...of }, node.limit), state: node.state });
  }
  return tree;
}

function rowsOf(nodes: readonly Node[]): Map<GenerationId, LayerRow> {
  const rows = new Map<GenerationId, LayerRow>();
  for (const [i, { own, isOpen }] of nodes.entries()) {
    const row = { ownLow: own, ownHigh: 0, verCount: 2, closed: isOpen ? 1 : 2 };
    if (own !== 0) rows.set((i + 1) as GenerationId, row);
  }
  return rows;
}

/** Whose bytes a reader sees in the lower and in the upper half of each region: limits lie on halves. */
function seen(
  tree: ReadonlyMap<GenerationId, Generation>,
  rows: ReadonlyMap<GenerationId, LayerRow>,
  reader: GenerationId,
): string {
  const shown: number[] = [];
  for (let half = 0; half < 2 * REGIONS; half += 1) {
    const at = INDEX * OBJECT_BYTES + (half * REGION_BYTES) / 2;
    let owner = 0;
    for (let one = tree.get(reader); one !== undefined; ) {
      const row = rows.get(one.id);
      if (row !== undefined && ((row.ownLow >>> Math.floor(half / 2)) & 1) === 1) {
        owner = one.id;
        break;
      }
      if (at >= one.limitBytes) break;
      one = one.parent === 0 ? undefined : tree.get(one.parent);
    }
    shown.push(owner);
  }
  return shown.join();
}

const nodeAt = (i: number): fc.Arbitrary<Node> =>
  fc.record({
    parent: i === 0 ? fc.constant(0) : fc.integer({ min: 1, max: i }),
    limit: fc.oneof(
      { weight: 3, arbitrary: fc.constant(NO_LIMIT) },
      fc
        .integer({ min: 0, max: 2 * REGIONS })
        .map((half) => INDEX * OBJECT_BYTES + (half * REGION_BYTES) / 2),
    ),
    state: fc.constantFrom('head', 'frozen', 'deleted', 'deleted') as fc.Arbitrary<Node['state']>,
    own: fc.integer({ min: 0, max: 15 }),
    isOpen: fc.integer({ min: 0, max: 4 }).map((n) => n === 0),
  });
const nodesOf = fc
  .integer({ min: 2, max: 8 })
  .chain((count) => fc.tuple(...Array.from({ length: count }, (_, i) => nodeAt(i))));

test('reclaim: dropping what may go, in any order, changes nothing that anybody reads', (t) => {
  let dropped = 0;
  fc.assert(
    fc.property(nodesOf, fc.infiniteStream(fc.nat()), (nodes, draws) => {
      const tree = treeOf(nodes);
      const rows = rowsOf(nodes);
      const readers = [...tree.values()].filter(({ state }) => state !== 'deleted');
      const before = readers.map(({ id }) => seen(tree, rows, id));
      for (;;) {
        const free = [...rows.keys()].filter((id) => {
          return mayReclaim({ generations: tree }, id, INDEX, (one) => rows.get(one));
        });
        if (free.length === 0) break;
        const [draw = 0] = draws.take(1);
        rows.delete(free[draw % free.length] as GenerationId);
        dropped += 1;
      }
      return readers.every(({ id }, i) => seen(tree, rows, id) === before[i]);
    }),
    { numRuns: 2000, seed: 7 },
  );
  t.true(dropped > 500, `${dropped} rows were dropped`);
});

test('reclaim: nothing is kept but what shows, or what is open and may show', (t) => {
  fc.assert(
    fc.property(nodesOf, (nodes) => {
      const tree = treeOf(nodes);
      const rows = rowsOf(nodes.map((node) => ({ ...node, isOpen: false })));
      const readers = [...tree.values()].filter(({ state }) => state !== 'deleted');
      const shown = new Set(readers.flatMap(({ id }) => seen(tree, rows, id).split(',')));
      return [...rows.keys()].every((id) => {
        const isFree = mayReclaim({ generations: tree }, id, INDEX, (one) => rows.get(one));
        if (tree.get(id)?.state !== 'deleted') return !isFree;
        // A deleted row in between that is not seen either may hide it: it goes after that one, or never has to.
        return isFree || shown.has(String(id)) || isPartlyLimited(tree, id);
      });
    }),
    { numRuns: 2000, seed: 8 },
  );
  t.pass();
});

/** A limit in the middle of a region keeps the region as a whole. */
function isPartlyLimited(tree: ReadonlyMap<GenerationId, Generation>, _id: GenerationId): boolean {
  return [...tree.values()].some(({ limitBytes }) => limitBytes % REGION_BYTES !== 0);
}

test('reclaim: open rows cover nothing, and go themselves like any other', (t) => {
  const base: Node = { parent: 0, limit: NO_LIMIT, state: 'deleted', own: 1, isOpen: false };
  const head: Node = { parent: 1, limit: NO_LIMIT, state: 'head', own: 1, isOpen: true };
  const free = (nodes: readonly Node[]): boolean => {
    const rows = rowsOf(nodes);
    const tree = { generations: treeOf(nodes) };
    return mayReclaim(tree, 1 as GenerationId, INDEX, (one) => rows.get(one));
  };
  t.false(free([base, head]));
  t.true(free([base, { ...head, isOpen: false }]));
  const covered = { ...head, isOpen: false };
  t.true(free([{ ...base, isOpen: true }, covered]), 'its close may be lost');
  t.true(free([{ ...base, isOpen: true }]), 'nobody is below');
});

test('a leader asks about some layers at a time, each in its turn', (t) => {
  const node: Node = { parent: 0, limit: NO_LIMIT, state: 'deleted', own: 0, isOpen: false };
  const generations = treeOf(Array.from({ length: MAX_LAYERS_PER_ROUND + 10 }, () => node));
  const first = layersToAsk({ generations }, 0);
  t.is(first.length, MAX_LAYERS_PER_ROUND);
  const next = layersToAsk({ generations }, first.at(-1) as GenerationId);
  t.deepEqual(next.slice(0, 11), [
    ...Array.from({ length: 10 }, (_, i) => first.length + 1 + i),
    1,
  ] as never);
  t.is(new Set([...first, ...next]).size, MAX_LAYERS_PER_ROUND + 10);
  const one = treeOf([{ ...node, state: 'head' }]);
  t.deepEqual(layersToAsk({ generations: one }, 0), []);
});

test('who is down counts, and is waited for; who is out and down, joins first, or only votes does not', (t) => {
  const of = (node: number, changes: Partial<Member> = {}) => ({ ...member({ node }), ...changes });
  const asked = (...members: Member[]) => {
    return reclaimWitnesses({ members: new Map(members.map((one) => [one.node, one])) });
  };
  t.deepEqual(asked(of(1), of(2)), [1, 2] as never);
  t.is(asked(of(1), of(2, { state: 'down' })), undefined);
  t.deepEqual(asked(of(1), of(2, { state: 'down', standing: 'out' })), [1] as never);
  t.deepEqual(asked(of(1), of(2, { standing: 'out' })), [1, 2] as never, 'it may still serve');
  t.deepEqual(asked(of(1), of(2, { state: 'joined' }), of(3, { isWitness: true })), [1] as never);
});
