// The tree of layers against a plain model: in the model each volume and each snapshot has all its bytes; in the tree they
// are rows of layers, read through the ancestry with its limits. After any sequence of snapshots of groups, clones,
// rollbacks, shrinks, growths, deletes and reclaims both say the same, and in the end nothing is left over.

import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { hashOf, viewOf } from '../../src/core/cluster-state.ts';
import { ancestry, deletedOf, readersBelow } from '../../src/core/generations.ts';
import type { FencingToken, GenerationId, VolumeId } from '../../src/core/ids.ts';
import { SECTOR_BYTES } from '../../src/core/units.ts';
import type { Volume } from '../../src/core/view.ts';
import { decodeState, encodeState } from '../../src/wire/state-codec.ts';
import { clusterOf, entryBodies as make, type StateCell } from '../fixtures.ts';

const SECTORS = 6;

interface Draw {
  kind: number;
  a: number;
  b: number;
  c: number;
}

/** Bytes of one volume, or of a snapshot of it: one number per sector, 0 = zeroes. */
type Content = readonly number[];

class World {
  readonly cell: StateCell;
  /** What replicas hold: by layer, the sectors that it owns. */
  readonly rows = new Map<GenerationId, Map<number, number>>();
  readonly volumes = new Map<VolumeId, Content>();
  readonly snapshots = new Map<GenerationId, Content>();
  #written = 0;

  constructor() {
    this.cell = clusterOf({ nodes: 1, copies: 1 });
    this.create('v');
  }

  get view() {
    return viewOf(this.cell.state);
  }

  create(name: string): void {
    const sizeBytes = SECTORS * SECTOR_BYTES;
    const result = this.cell.apply(make.volumeCreate({ name, sizeBytes }));
    if (result.code === 'ok') this.volumes.set(result.value as VolumeId, zeroes(SECTORS));
  }

  pick(n: number): Volume | undefined {
    const all = [...this.view.volumes.values()];
    return all[n % Math.max(1, all.length)];
  }

  snapshot(n: number): GenerationId | undefined {
    const all = [...this.snapshots.keys()];
    return all[n % Math.max(1, all.length)];
  }

  write(volume: Volume, sector: number): void {
    const content = [...(this.volumes.get(volume.id) ?? [])];
    if (sector >= content.length) return;
    this.#written += 1;
    content[sector] = this.#written;
    this.volumes.set(volume.id, content);
    const row = this.rows.get(volume.head) ?? new Map<number, number>();
    this.rows.set(volume.head, row.set(sector, this.#written));
  }

  read(head: GenerationId, sectors: number): Content {
    const path = ancestry(this.view, head);
    return Array.from({ length: sectors }, (_, sector) => {
      for (const { generation, limitBytes } of path) {
        const found = this.rows.get(generation)?.get(sector);
        if (found !== undefined && sector * SECTOR_BYTES < limitBytes) return found;
      }
      return 0;
    });
  }

  /** Rows of layers that are gone are dropped, as replicas do. */
  drop(): void {
    for (const id of this.rows.keys()) if (!this.view.generations.has(id)) this.rows.delete(id);
  }

  /** S6: a deleted layer of which nothing shows anywhere, or whose rows the readers below all hide. */
  reclaimable(): GenerationId | undefined {
    return deletedOf(this.view).find(({ id }) => {
      return readersBelow(this.view, id).every((reader) => !this.#shows(reader, id));
    })?.id;
  }

  #shows(reader: GenerationId, id: GenerationId): boolean {
    const path = ancestry(this.view, reader);
    const at = path.findIndex(({ generation }) => generation === id);
    const layer = path[at];
    if (layer === undefined) return false;
    return [...(this.rows.get(id)?.keys() ?? [])].some((sector) => {
      const isHidden = path.slice(0, at).some(({ generation }) => {
        return this.rows.get(generation)?.has(sector) === true;
      });
      return !isHidden && sector * SECTOR_BYTES < layer.limitBytes;
    });
  }
}

const zeroes = (count: number): Content => new Array<number>(count).fill(0);

function casOf({ id, head, lock }: Volume) {
  return { volume: id, token: lock.token, head };
}

function step(world: World, d: Draw): void {
  const volume = world.pick(d.a);
  const { kind } = d;
  if (volume === undefined) world.create(`n${d.b}`);
  else if (kind < 8) world.write(volume, d.b % SECTORS);
  else if (kind < 11) takeSnapshot(world, volume, d);
  else if (kind < 13) clone(world, volume, d);
  else if (kind < 15) rollback(world, d);
  else if (kind < 17) resize(world, volume, d);
  else if (kind === 17) deleteVolume(world, volume);
  else if (kind === 18) deleteSnapshot(world, d);
  else reclaim(world);
}

function deleteVolume({ cell, volumes }: World, { id, lock }: Volume): void {
  const body = make.volumeDelete({ volume: id, token: lock.token });
  if (cell.apply(body).code === 'ok') volumes.delete(id);
}

function deleteSnapshot(world: World, d: Draw): void {
  const generation = world.snapshot(d.b);
  if (generation === undefined) return;
  const result = world.cell.apply({ type: 'snapshotDelete', generation });
  if (result.code === 'ok') world.snapshots.delete(generation);
}

function reclaim(world: World): void {
  const generation = world.reclaimable();
  if (generation !== undefined) world.cell.apply({ type: 'generationReclaimed', generation });
}

function takeSnapshot(world: World, volume: Volume, d: Draw): void {
  const other = world.pick(d.c);
  const volumes = [volume, ...(other === undefined || other === volume ? [] : [other])];
  const body = {
    type: 'snapshot',
    tag: `t${d.b}`,
    dateMs: d.c,
    volumes: volumes.map(casOf),
  } as const;
  if (world.cell.apply(body).code !== 'ok') return;
  for (const { id, head } of volumes) world.snapshots.set(head, world.volumes.get(id) ?? []);
}

function clone(world: World, volume: Volume, d: Draw): void {
  const snapshot = d.c % 2 === 0 ? world.snapshot(d.b) : undefined;
  const from = snapshot === undefined ? casOf(volume) : { ...casOf(volume), head: snapshot };
  const more = { attachMode: 'handover', isDeep: false, dateMs: 0 } as const;
  const how = { durability: 'durable', ...more } as const;
  const result = world.cell.apply({ type: 'volumeClone', from, name: `c${d.b}`, ...how });
  if (result.code !== 'ok') return;
  const shown =
    snapshot === undefined ? world.volumes.get(volume.id) : world.snapshots.get(snapshot);
  world.volumes.set(result.value as VolumeId, shown ?? []);
}

function rollback(world: World, d: Draw): void {
  const generation = world.snapshot(d.b);
  if (generation === undefined) return;
  // Its own, or another of the family: what was prepared in a clone.
  const family = world.view.generations.get(generation)?.family;
  const near = [...world.view.volumes.values()].filter((one) => one.family === family);
  const id = near[d.a % Math.max(1, near.length)]?.id ?? (0 as VolumeId);
  const token = world.view.volumes.get(id)?.lock.token ?? (0 as FencingToken);
  const result = world.cell.apply({ type: 'rollback', volume: id, token, generation });
  if (result.code === 'ok') world.volumes.set(id, world.snapshots.get(generation) ?? []);
}

function resize(world: World, { id: volume, lock }: Volume, d: Draw): void {
  const sectors = 1 + (d.b % SECTORS);
  const sizeBytes = sectors * SECTOR_BYTES;
  const content = world.volumes.get(volume) ?? [];
  const body =
    sectors > content.length
      ? ({ type: 'volumeGrow', volume, sizeBytes } as const)
      : ({ type: 'volumeShrink', volume, token: lock.token, sizeBytes } as const);
  if (world.cell.apply(body).code !== 'ok') return;
  world.volumes.set(
    volume,
    [...content, ...zeroes(SECTORS)].slice(0, Math.min(content.length, sectors)),
  );
  const kept = world.volumes.get(volume) ?? [];
  world.volumes.set(volume, [...kept, ...zeroes(sectors - kept.length)]);
}

/** S1, S5, I11. */
function check(t: ExecutionContext, world: World): void {
  const { view } = world;
  const { state } = world.cell;
  for (const [id, content] of world.volumes) {
    const volume = view.volumes.get(id) as Volume;
    t.is(volume.sizeBytes, content.length * SECTOR_BYTES);
    t.deepEqual(world.read(volume.head, content.length), content, volume.name);
    t.like(view.generations.get(volume.head), { state: 'head', volume: id, family: volume.family });
  }
  for (const [id, content] of world.snapshots) {
    const snapshot = view.generations.get(id);
    t.is(snapshot?.state, 'frozen');
    t.is(snapshot?.sizeBytes, content.length * SECTOR_BYTES);
    t.deepEqual(world.read(id, content.length), content, `${snapshot?.name}@${snapshot?.tag}`);
  }
  const heads = [...view.generations.values()].filter((one) => one.state === 'head');
  t.is(heads.length, view.volumes.size);
  for (const { id } of deletedOf(view))
    t.true(readersBelow(view, id).length > 0, 'kept for somebody');
  for (const { id, parent, family } of view.generations.values()) {
    t.true(id <= view.lastGeneration, 'I11');
    if (parent === 0) continue;
    t.is(view.generations.get(parent)?.family, family, 'a family lies together');
    t.not(view.generations.get(parent)?.state, 'head', 'nothing is added to what shows below');
  }
  const names = [...view.generations.values()]
    .filter((one) => one.state === 'frozen')
    .map(({ name, tag }) => `${name}@${tag}`);
  t.is(new Set(names).size, names.length, 'a name stands for one snapshot');
  t.is(state.volumeOfHead.size, view.volumes.size);
}

const draw: fc.Arbitrary<Draw> = fc.record({
  kind: fc.integer({ min: 0, max: 20 }),
  a: fc.nat({ max: 5 }),
  b: fc.nat({ max: 5 }),
  c: fc.nat({ max: 3 }),
});

test('layers: volumes and snapshots show what the model says after any sequence, and nothing is left at its end', (t) => {
  fc.assert(
    fc.property(fc.array(draw, { maxLength: 60 }), (draws) => {
      const world = new World();
      for (const d of draws) {
        step(world, d);
        world.drop();
        check(t, world);
      }
      const again = decodeState(encodeState(world.cell.state));
      t.is(hashOf(again), hashOf(world.cell.state));
      for (const { id, lock } of world.view.volumes.values()) {
        world.cell.apply(make.volumeDelete({ volume: id, token: lock.token }));
      }
      for (const generation of world.snapshots.keys()) {
        t.is(world.cell.apply({ type: 'snapshotDelete', generation }).code, 'ok');
      }
      t.is(world.view.generations.size, 0, 'C-gc: in whatever order');
    }),
    { numRuns: 300 },
  );
});

// Cuts and growths of one volume: each cut is a layer with a limit, and limits meet where layers are reclaimed.
test('layers: what was cut off never shows again, whatever is cut, grown, written and reclaimed later', (t) => {
  const cuts = fc.record({
    kind: fc.constantFrom(0, 0, 15, 15, 19, 8),
    a: fc.constant(0),
    b: fc.nat({ max: 5 }),
    c: fc.constant(0),
  });
  fc.assert(
    fc.property(fc.array(cuts, { minLength: 10, maxLength: 40 }), (draws) => {
      const world = new World();
      for (const d of draws) {
        step(world, d);
        world.drop();
        check(t, world);
      }
    }),
    { numRuns: 300 },
  );
});
