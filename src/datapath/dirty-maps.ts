// What members that are away miss, noted by the members of I (4.7): per partition and absent node, the 64 KiB regions of
// each object whose bytes changed since it left. Only in memory: a member that restarts has no notes of earlier outages,
// and says so. Too many notes are dropped: then whole objects are copied, which is always right.

import type { RegionMask } from '../core/extent.ts';
import type { ConfigVersion, GenerationId, NodeId, ObjectId } from '../core/ids.ts';
import { partitionKey, partitionOfKey } from '../core/ids.ts';
import { outageStep } from '../core/outage.ts';
import type { ClusterView, PartitionConfig } from '../core/view.ts';
import type { Trace } from '../ports/ports.ts';
import type { ObjectStore } from '../storage/store-types.ts';
import type { DirtyObject, RowImage } from '../wire/payloads.ts';
import { objectKey } from './object-gate.ts';
import type { ViewCell } from './view-cell.ts';

/** Objects noted at once, of all partitions and absent nodes together; about 200 bytes each. */
export const MAX_DIRTY_OBJECTS = 262_144;

export const ALL_REGIONS: RegionMask = { low: 0xffffffff, high: 0xffffffff };

/** Regions in which other copies may lack what this one has (R6). */
export function openRegionsOf(row: RowImage): RegionMask {
  if (row.closed >= row.verCount) return { low: 0, high: 0 };
  return { low: row.openLow, high: row.openHigh };
}

export interface DirtyMapsParts {
  readonly self: NodeId;
  readonly views: ViewCell;
  readonly store: ObjectStore;
  readonly trace: Trace;
  isAnnounced(): boolean;
}

/** What one absent node misses in one partition. */
interface DirtyMap {
  /** cfg at which it left the write set. */
  readonly since: ConfigVersion;
  readonly objects: Map<string, { readonly oid: ObjectId; low: number; high: number }>;
  /** It is joining: it gets each change itself. */
  isFrozen: boolean;
  /** By (generation, index), while it is asked for. */
  sorted: readonly DirtyObject[] | undefined;
}

export interface DirtyPage {
  readonly since: ConfigVersion;
  readonly objects: readonly DirtyObject[];
  readonly hasMore: boolean;
}

export class DirtyMaps {
  readonly #parts: DirtyMapsParts;
  readonly #maps = new Map<number, Map<NodeId, DirtyMap>>();
  #view: ClusterView;
  #wasAnnounced: boolean;
  #count = 0;

  constructor(parts: DirtyMapsParts) {
    this.#parts = parts;
    this.#view = parts.views.current();
    this.#wasAnnounced = parts.isAnnounced();
  }

  /** Objects noted now. */
  get objectCount(): number {
    return this.#count;
  }

  /** Takes note of the view known now, before anything is judged by it. */
  follow(): void {
    const before = this.#view;
    const view = this.#parts.views.current();
    if (view === before) return;
    const wasAnnounced = this.#wasAnnounced;
    this.#view = view;
    this.#wasAnnounced = this.#parts.isAnnounced();
    if (view.placement === before.placement) return;
    // Where all is as the ring wants it nobody is away.
    const keys = new Set(this.#maps.keys());
    for (const policy of view.policies.keys()) {
      for (const p of view.explicitPartitions(policy)) keys.add(partitionKey(policy, p));
    }
    for (const key of keys) {
      const { policy, p } = partitionOfKey(key);
      this.#step(key, before.partition(policy, p), view.partition(policy, p), wasAnnounced);
    }
  }

  /** Bytes of these regions change here: a write, a zero, or a copy from elsewhere. */
  note(partition: number, oid: ObjectId, { low, high }: RegionMask): void {
    this.follow();
    const maps = this.#maps.get(partition);
    if (maps === undefined) return;
    for (const [node, map] of maps) {
      if (!map.isFrozen) this.#add(partition, node, map, oid, low, high);
    }
  }

  /** What a joining node misses, after the named object; undefined: not known here, copy whole objects. */
  page(
    where: { readonly partition: number; readonly node: NodeId },
    after: ObjectId,
    limit: number,
  ): DirtyPage | undefined {
    this.follow();
    const map = this.#maps.get(where.partition)?.get(where.node);
    if (map === undefined || !map.isFrozen) return undefined;
    map.sorted ??= sortedObjects(map);
    const start = map.sorted.findIndex((one) => compare(one, after) > 0);
    const rest = start < 0 ? [] : map.sorted.slice(start, start + limit + 1);
    const objects = rest.slice(0, limit);
    return { since: map.since, objects, hasMore: rest.length > limit };
  }

  #step(
    partition: number,
    before: PartitionConfig,
    after: PartitionConfig,
    wasAnnounced: boolean,
  ): void {
    const { self } = this.#parts;
    const maps = this.#maps.get(partition);
    const away = after.targets.filter((node) => node !== self && !after.inSync.includes(node));
    for (const node of new Set([...away, ...(maps?.keys() ?? [])])) {
      const map = maps?.get(node);
      const isNoting = map !== undefined;
      const step = outageStep({ self, node, before, after, isNoting, wasAnnounced });
      if (step === 'none') continue;
      if (step === 'forget') {
        this.#forget(partition, node);
        continue;
      }
      const noted = map ?? this.#begin(partition, node, after.cfg);
      noted.isFrozen = after.joining.includes(node);
      if (!noted.isFrozen) noted.sorted = undefined;
      if (step === 'begin' || step === 'reopen') this.#addOpen(partition, node, noted);
    }
  }

  #begin(partition: number, node: NodeId, since: ConfigVersion): DirtyMap {
    let maps = this.#maps.get(partition);
    if (maps === undefined) {
      maps = new Map();
      this.#maps.set(partition, maps);
    }
    const map: DirtyMap = { since, objects: new Map(), isFrozen: false, sorted: undefined };
    maps.set(node, map);
    return map;
  }

  /** 4.3: writes that may be here and not there. */
  #addOpen(partition: number, node: NodeId, map: DirtyMap): void {
    for (const row of this.#parts.store.rowsOf(partition)) {
      if (row.closed >= row.verCount) continue;
      const { low, high } = openRegionsOf(row);
      this.#add(partition, node, map, row, low, high);
    }
  }

  #add(
    partition: number,
    node: NodeId,
    map: DirtyMap,
    oid: ObjectId,
    low: number,
    high: number,
  ): void {
    const key = objectKey(oid.generation, oid.index);
    const known = map.objects.get(key);
    map.sorted = undefined;
    if (known !== undefined) {
      known.low = (known.low | low) >>> 0;
      known.high = (known.high | high) >>> 0;
      return;
    }
    if (this.#count >= MAX_DIRTY_OBJECTS) {
      this.#parts.trace.warn('dirty.overflow', { partition, node, objects: map.objects.size });
      this.#forget(partition, node);
      return;
    }
    // A map that was just forgotten takes no more.
    if (this.#maps.get(partition)?.get(node) !== map) return;
    const { generation, index } = oid;
    map.objects.set(key, { oid: { generation, index }, low, high });
    this.#count += 1;
  }

  #forget(partition: number, node: NodeId): void {
    const maps = this.#maps.get(partition);
    const map = maps?.get(node);
    if (maps === undefined || map === undefined) return;
    this.#count -= map.objects.size;
    maps.delete(node);
    if (maps.size === 0) this.#maps.delete(partition);
  }
}

function sortedObjects(map: DirtyMap): readonly DirtyObject[] {
  const all = [...map.objects.values()].map(({ oid, low, high }) => ({ ...oid, low, high }));
  return all.sort(compare);
}

function compare(
  a: { readonly generation: GenerationId; readonly index: number },
  b: { readonly generation: GenerationId; readonly index: number },
): number {
  return a.generation - b.generation || a.index - b.index;
}
