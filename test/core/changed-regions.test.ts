// What shows where and what differs between two generations, against a plain model: there each volume and each snapshot has
// all its bytes, and who wrote them last. After any sequence of writes, trims, snapshots, clones, rollbacks, cuts, growths,
// deletes and reclaims, a difference of bytes is called changed, what nobody touched is not, and layers are told right, on a
// replica that drops rows at once as on one that keeps them as long as it may.

import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import {
  changedRuns,
  cutRuns,
  holeOf,
  type ShownRun,
  shownRuns,
} from '../../src/core/changed-regions.ts';
import { viewOf } from '../../src/core/cluster-state.ts';
import { ancestry, deletedOf } from '../../src/core/generations.ts';
import type { FencingToken, GenerationId, VolumeId } from '../../src/core/ids.ts';
import { mayReclaim } from '../../src/core/reclaim.ts';
import { KIB, OBJECT_BYTES, REGION_BYTES } from '../../src/core/units.ts';
import type { Volume } from '../../src/core/view.ts';
import { clusterOf, entryBodies as make, type StateCell } from '../fixtures.ts';

/** Limits and writes lie on halves of regions; the last ones of one object and the first ones of the next. */
const HALF = REGION_BYTES / 2;
const FIRST = OBJECT_BYTES / HALF - 4;
const HALVES = 8;
const END = FIRST + HALVES;

/** What lies in half a region: bytes by their number, 0 = zeroes; the layer that owns the region, 0 = nobody. */
interface Cell {
  readonly bytes: number;
  readonly by: number;
  /** Number of the last change of the region. */
  readonly change: number;
}

const EMPTY: Cell = { bytes: 0, by: 0, change: 0 };

/** Halves of one volume or snapshot, from FIRST on, and how many of them it has. */
interface Content {
  readonly cells: readonly Cell[];
  readonly length: number;
}

const NOTHING: Content = { cells: new Array<Cell>(HALVES).fill(EMPTY), length: 0 };

interface Row {
  readonly kind: 'data' | 'zero';
  readonly ownLow: number;
  readonly ownHigh: number;
  readonly verCount: number;
  readonly closed: number;
}

/** Rows of one replica, by generation and index. */
class Rows {
  readonly #rows = new Map<string, Row>();

  of(generation: number, index: number): Row | undefined {
    return this.#rows.get(`${generation} ${index}`);
  }

  own(generation: number, index: number, region: number, kind: Row['kind']): void {
    const known = this.of(generation, index);
    const bit = (1 << (region % 32)) >>> 0;
    const verCount = (known?.verCount ?? 0) + 1;
    this.#rows.set(`${generation} ${index}`, {
      kind,
      ownLow: ((known?.ownLow ?? 0) | (region < 32 ? bit : 0)) >>> 0,
      ownHigh: ((known?.ownHigh ?? 0) | (region < 32 ? 0 : bit)) >>> 0,
      ...{ verCount, closed: verCount },
    });
  }

  drop(generation: number, index: number): void {
    this.#rows.delete(`${generation} ${index}`);
  }
}

interface Draw {
  readonly kind: number;
  readonly a: number;
  readonly b: number;
}

class World {
  readonly cell: StateCell = clusterOf({ nodes: 1, copies: 1 });
  /** The first drops rows as soon as it may. */
  readonly replicas = [new Rows(), new Rows()] as const;
  readonly volumes = new Map<VolumeId, Content>();
  readonly snapshots = new Map<GenerationId, Content>();
  #changes = 0;

  constructor() {
    const made = this.cell.apply(make.volumeCreate({ name: 'v', sizeBytes: END * HALF }));
    this.volumes.set(made.value as VolumeId, { ...NOTHING, length: HALVES });
  }

  get view() {
    return viewOf(this.cell.state);
  }

  volume(n: number): Volume | undefined {
    const all = [...this.view.volumes.values()];
    return all[n % Math.max(1, all.length)];
  }

  snapshot(n: number): GenerationId | undefined {
    const all = [...this.snapshots.keys()];
    return all[n % Math.max(1, all.length)];
  }

  /** One half is written; its region is the head's from then on. `bytes` 0: the whole region is trimmed. */
  write({ id, head }: Volume, half: number, isTrim: boolean): void {
    const content = this.volumes.get(id) ?? NOTHING;
    if (half >= content.length) return;
    this.#changes += 1;
    const change = this.#changes;
    const first = half - (half % 2);
    const cells = content.cells.map((cell, i) => {
      if (i !== first && i !== first + 1) return cell;
      if (isTrim) return { bytes: 0, by: head, change };
      return { bytes: i === half ? change : cell.bytes, by: head, change };
    });
    this.volumes.set(id, { ...content, cells });
    const at = (FIRST + first) * HALF;
    const index = Math.floor(at / OBJECT_BYTES);
    const region = (at % OBJECT_BYTES) / REGION_BYTES;
    for (const rows of this.replicas) {
      const isFirst = rows.of(head, index)?.kind !== 'data';
      rows.own(head, index, region, isTrim && isFirst ? 'zero' : 'data');
    }
  }

  /** What replicas may drop; the second one only where it also lets the record go. */
  reclaim(): void {
    const [eager, lazy] = this.replicas;
    const droppable = (rows: Rows, generation: GenerationId, index: number): boolean =>
      rows.of(generation, index) === undefined ||
      mayReclaim(this.view, generation, index, (one) => rows.of(one, index));
    for (const { id } of deletedOf(this.view)) {
      for (const index of [0, 1]) if (droppable(eager, id, index)) eager.drop(id, index);
    }
    for (const { id } of deletedOf(this.view)) {
      if (![0, 1].every((index) => droppable(lazy, id, index))) continue;
      for (const rows of this.replicas) for (const index of [0, 1]) rows.drop(id, index);
      this.cell.apply({ type: 'generationReclaimed', generation: id });
    }
  }

  shown(rows: Rows, generation: GenerationId, halves: number): readonly ShownRun[] {
    const path = ancestry(this.view, generation);
    const runs = [0, 1].flatMap((index) => [
      ...shownRuns(path, index, (one) => rows.of(one, index)),
    ]);
    return cutRuns(runs, FIRST * HALF, (FIRST + halves) * HALF);
  }
}

function casOf({ id, head, lock }: Volume) {
  return { volume: id, token: lock.token, head };
}

function step(world: World, { kind, a, b }: Draw): void {
  const volume = world.volume(a);
  if (kind >= 15) world.reclaim();
  else if (kind === 14) forget(world, b);
  else if (volume === undefined) return;
  else if (kind < 6) world.write(volume, b, false);
  else if (kind < 8) world.write(volume, b, true);
  else if (kind < 10) freeze(world, volume);
  else if (kind === 10) clone(world, volume, b);
  else if (kind === 11) rollback(world, b);
  else resize(world, volume, b + 1);
}

function freeze(world: World, volume: Volume): void {
  const tag = `t${world.view.lastGeneration}`;
  const body = { type: 'snapshot', tag, dateMs: 0, volumes: [casOf(volume)] } as const;
  const content = world.volumes.get(volume.id) ?? NOTHING;
  if (world.cell.apply(body).code === 'ok') world.snapshots.set(volume.head, content);
}

function clone(world: World, volume: Volume, b: number): void {
  const from = world.snapshot(b);
  const more = { attachMode: 'handover', isDeep: false, dateMs: 0 } as const;
  const how = { durability: 'durable', ...more } as const;
  const head = from ?? volume.head;
  const body = { type: 'volumeClone', from: { ...casOf(volume), head }, name: `c${b}` } as const;
  const made = world.cell.apply({ ...body, ...how });
  const content = from === undefined ? world.volumes.get(volume.id) : world.snapshots.get(from);
  if (made.code === 'ok') world.volumes.set(made.value as VolumeId, content ?? NOTHING);
}

function rollback(world: World, b: number): void {
  const generation = world.snapshot(b);
  if (generation === undefined) return;
  const id = world.view.generations.get(generation)?.volume ?? (0 as VolumeId);
  const token = world.view.volumes.get(id)?.lock.token ?? (0 as FencingToken);
  const result = world.cell.apply({ type: 'rollback', volume: id, token, generation });
  if (result.code === 'ok') world.volumes.set(id, world.snapshots.get(generation) ?? NOTHING);
}

function resize(world: World, { id: volume, lock }: Volume, halves: number): void {
  const sizeBytes = (FIRST + halves) * HALF;
  const { cells, length } = world.volumes.get(volume) ?? NOTHING;
  const isGrowth = halves > length;
  const result = isGrowth
    ? world.cell.apply({ type: 'volumeGrow', volume, sizeBytes })
    : world.cell.apply({ type: 'volumeShrink', volume, token: lock.token, sizeBytes });
  if (result.code !== 'ok') return;
  // What is cut off is gone for good; what is added was never there.
  const kept = cells.map((cell, i) => (isGrowth || i < halves ? cell : EMPTY));
  world.volumes.set(volume, { cells: kept, length: halves });
}

function forget(world: World, b: number): void {
  const generation = world.snapshot(b);
  if (generation === undefined) return;
  const result = world.cell.apply({ type: 'snapshotDelete', generation });
  if (result.code === 'ok') world.snapshots.delete(generation);
}

/** All that somebody can name, with what it holds. */
function readable(world: World): { generation: GenerationId; content: Content }[] {
  const heads = [...world.volumes].map(([id, content]) => {
    return { generation: world.view.volumes.get(id)?.head as GenerationId, content };
  });
  return [
    ...heads,
    ...[...world.snapshots].map(([generation, content]) => ({ generation, content })),
  ];
}

/** One entry for each half. */
function byHalf<T extends { readonly length: number }>(runs: readonly T[]): T[] {
  return runs.flatMap((run) => Array<T>(run.length / HALF).fill(run));
}

function checkShown(t: ExecutionContext, world: World): void {
  for (const { generation, content } of readable(world)) {
    const path = ancestry(world.view, generation).map((layer) => layer.generation);
    for (const rows of world.replicas) {
      const runs = byHalf(world.shown(rows, generation, content.length));
      t.deepEqual(
        runs.map(({ layer }) => layer),
        content.cells.slice(0, content.length).map(({ by }) => by as GenerationId),
      );
      for (const [i, { depth, isAllocated }] of runs.entries()) {
        const by = content.cells[i]?.by ?? 0;
        t.is(depth, by === 0 ? 0 : path.indexOf(by as GenerationId) + 1);
        if (content.cells[i]?.bytes !== 0) t.true(isAllocated);
        if (by === 0) t.false(isAllocated);
      }
    }
  }
}

function cellOf({ cells, length }: Content, half: number): Cell {
  return (half < length ? cells[half] : undefined) ?? EMPTY;
}

function checkChanged(t: ExecutionContext, world: World): void {
  for (const rows of world.replicas) {
    for (const before of readable(world)) {
      for (const after of readable(world)) {
        const { length } = after.content;
        const former = [
          ...world.shown(rows, before.generation, Math.min(length, before.content.length)),
          holeOf(Math.max(0, length - before.content.length) * HALF),
        ];
        const runs = byHalf(changedRuns(former, world.shown(rows, after.generation, length)));
        t.is(runs.length, length);
        for (const [i, { isChanged }] of runs.entries()) {
          const [one, other] = [cellOf(before.content, i), cellOf(after.content, i)];
          if (one.bytes !== other.bytes) t.true(isChanged, 'a difference is told');
          if (one.change === other.change) t.false(isChanged, 'nobody touched it');
        }
      }
    }
  }
}

const draw: fc.Arbitrary<Draw> = fc.record({
  kind: fc.integer({ min: 0, max: 17 }),
  a: fc.nat({ max: 3 }),
  b: fc.nat({ max: HALVES - 1 }),
});

test('layers and differences are what the model says after any sequence, whichever rows are dropped already', (t) => {
  fc.assert(
    fc.property(fc.array(draw, { minLength: 5, maxLength: 40 }), (draws) => {
      const world = new World();
      for (const d of draws) step(world, d);
      checkShown(t, world);
      checkChanged(t, world);
    }),
    { numRuns: 200 },
  );
});

const run = (kib: number, layer?: number, isAllocated = true): ShownRun => {
  const length = kib * KIB;
  return layer === undefined
    ? { length, isAllocated }
    : { length, isAllocated, layer: layer as GenerationId, depth: 1 };
};

const told = (before: ShownRun[], after: ShownRun[]): string => {
  const runs = changedRuns(before, after);
  return runs.map((one) => `${one.isChanged ? 'x' : '='}${one.length / KIB}`).join(' ');
};

test('what is not known has changed; what both know to be zeroes has not; the answer ends with the shorter one', (t) => {
  t.is(told([run(64)], [run(64)]), 'x64');
  t.is(told([run(64, 3)], [run(128)]), 'x64');
  t.is(told([run(64, 3, false)], [run(64, 4, false)]), '=64');
  t.is(told([run(64, 3)], [run(64, 4, false)]), 'x64', 'a discard is a change');
  t.is(told([run(64, 3), run(64, 5)], [run(128, 3)]), '=64 x64');
  t.is(told([], [run(64, 3)]), '');
  t.is(told([holeOf(0), run(64, 3)], [run(64, 3)]), '=64');
});

test('an object of many layers: the nearest owner shows, a limit cuts inside of a region, nothing shows below it', (t) => {
  const path = [
    { generation: 9 as GenerationId, limitBytes: 2 ** 47 },
    { generation: 5 as GenerationId, limitBytes: OBJECT_BYTES + 100 * KIB },
    { generation: 2 as GenerationId, limitBytes: OBJECT_BYTES + 100 * KIB },
  ];
  const rows = new Map([
    [9, { kind: 'zero', ownLow: 1, ownHigh: 0 } as const],
    [2, { kind: 'data', ownLow: 0b1111, ownHigh: 0x80000000 } as const],
  ]);
  const text = (index: number, held?: { low: number; high: number }): string =>
    shownRuns(path, index, (one) => rows.get(one), held)
      .map((one) => `${one.layer}/${one.depth}${one.isAllocated ? '+' : '-'}${one.length / KIB}`)
      .join(' ');
  t.is(text(1), '9/1-64 2/3+36 0/0-3996');
  t.is(text(2), '9/1-64 0/0-4032', 'an object beyond the limit');
  t.is(text(0), '9/1-64 2/3+192 0/0-3776 2/3+64');
  t.is(text(0, { low: 0b110, high: 0 }), '9/1-64 2/3+128 2/3-64 0/0-3776 2/3-64');
});
