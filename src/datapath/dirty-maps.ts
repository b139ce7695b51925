// What members that are away miss, noted by the members of I (4.7): per partition and absent node, the 64 KiB regions of
// each object whose bytes changed since it left. The store keeps the notes over a restart. Too many are dropped, and so are
// those of which anything is doubtful: then objects are compared, which is always right.

import { changedPartitions } from '../core/cluster-state.ts';
import type { RegionMask } from '../core/extent.ts';
import type { ConfigVersion, GenerationId, NodeId, ObjectId } from '../core/ids.ts';
import { partitionKey, partitionOfKey } from '../core/ids.ts';
import { MAX_DIRTY_OBJECTS, outageStep } from '../core/outage.ts';
import { REGION_BYTES } from '../core/units.ts';
import type { ClusterView, PartitionConfig } from '../core/view.ts';
import type { Trace } from '../ports/ports.ts';
import { countRegions } from '../storage/object-state.ts';
import { missedKey } from '../storage/outage-file.ts';
import type { KeptOutages, MissedObject, ObjectStore } from '../storage/store-types.ts';
import type { DirtyObject, RowImage } from '../wire/payloads.ts';
import type { ViewCell } from './view-cell.ts';

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
  /** Of an earlier life: judged by views from this index on only, for that life had seen it. */
  readonly keptAt: number;
  readonly objects: Map<string, MissedObject>;
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
  /** Notes of an earlier life wait for a view that is as new as that life's last. */
  #waitsFor = 0;
  /** Notes began that the store does not have yet. */
  #hasBegun = false;

  constructor(parts: DirtyMapsParts) {
    this.#parts = parts;
    this.#view = parts.views.current();
    this.#wasAnnounced = parts.isAnnounced();
    const kept = parts.store.keptOutages;
    if (kept !== undefined) this.#adopt(kept);
    parts.store.followOutages(() => this.#kept());
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
    const isAwaited = before.index < this.#waitsFor;
    if (view.placement === before.placement && !isAwaited) return;
    for (const key of this.#keysToJudge(before, view, isAwaited)) {
      const { policy, p } = partitionOfKey(key);
      this.#step(key, before.partition(policy, p), view.partition(policy, p), wasAnnounced);
    }
    if (this.#hasBegun) this.#parts.store.saveOutages();
    this.#hasBegun = false;
  }

  /** Partitions whose config changed; while notes of an earlier life wait for this view, all that may be away or noted. */
  #keysToJudge(before: ClusterView, view: ClusterView, isAwaited: boolean): ReadonlySet<number> {
    const keys = new Set<number>();
    for (const policy of new Set([...before.policies.keys(), ...view.policies.keys()])) {
      const found = isAwaited
        ? view.explicitPartitions(policy)
        : changedPartitions(before, view, policy);
      for (const p of found) keys.add(partitionKey(policy, p));
    }
    if (isAwaited) for (const key of this.#maps.keys()) keys.add(key);
    return keys;
  }

  /**
   * What an earlier life of this node noted, with all that it changed after that. It misses nothing: whatever became of
   * the members in between, the bytes here differ from the absent one's in these regions and in open ones at most.
   */
  #adopt(kept: KeptOutages): void {
    this.#waitsFor = kept.mapIndex;
    for (const { partition, node, since, objects } of kept.maps) {
      const map = this.#begin(partition, node, since, kept.mapIndex);
      for (const [key, object] of objects) map.objects.set(key, object);
      this.#count += objects.size;
      const { policy, p } = partitionOfKey(partition);
      const now = this.#view.policies.has(policy) ? this.#view.partition(policy, p) : undefined;
      if (now === undefined || this.#count > MAX_DIRTY_OBJECTS) this.#forget(partition, node);
      else this.#judge(partition, node, now, now, false);
    }
  }

  /**
   * For the disk. What changes while a member joins is not noted, for it gets that itself; what is not closed then counts
   * again when it leaves, and is not known any more in another life: so it is noted now.
   */
  #kept(): KeptOutages {
    this.follow();
    for (const [partition, maps] of this.#maps) {
      for (const [node, map] of maps) if (map.isFrozen) this.#addOpen(partition, node, map);
    }
    const maps = [...this.#maps].flatMap(([partition, byNode]) =>
      [...byNode].map(([node, { since, objects }]) => ({ partition, node, since, objects })),
    );
    return { mapIndex: Math.max(this.#view.index, this.#waitsFor), maps };
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

  /** Bytes of the regions noted for a member that is away or joins; undefined: not known here. */
  missedBytes(partition: number, node: NodeId): number | undefined {
    this.follow();
    const map = this.#maps.get(partition)?.get(node);
    if (map === undefined) return undefined;
    let regions = 0;
    for (const { low, high } of map.objects.values()) regions += countRegions(low, high);
    return regions * REGION_BYTES;
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
      this.#judge(partition, node, before, after, wasAnnounced);
    }
  }

  #judge(
    partition: number,
    node: NodeId,
    before: PartitionConfig,
    after: PartitionConfig,
    wasAnnounced: boolean,
  ): void {
    const { self } = this.#parts;
    const map = this.#maps.get(partition)?.get(node);
    if (map !== undefined && this.#view.index < map.keptAt) return;
    const isNoting = map !== undefined;
    const step = outageStep({ self, node, before, after, isNoting, wasAnnounced });
    if (step === 'none') return;
    if (step === 'forget') {
      this.#forget(partition, node);
      return;
    }
    this.#hasBegun ||= map === undefined;
    const noted = map ?? this.#begin(partition, node, after.cfg, 0);
    noted.isFrozen = after.joining.includes(node);
    if (!noted.isFrozen) noted.sorted = undefined;
    if (step === 'begin' || step === 'reopen') this.#addOpen(partition, node, noted);
  }

  #begin(partition: number, node: NodeId, since: ConfigVersion, keptAt: number): DirtyMap {
    let maps = this.#maps.get(partition);
    if (maps === undefined) {
      maps = new Map();
      this.#maps.set(partition, maps);
    }
    const objects = new Map<string, MissedObject>();
    const map: DirtyMap = { since, keptAt, objects, isFrozen: false, sorted: undefined };
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
    const { generation, index } = oid;
    const key = missedKey(generation, index);
    const known = map.objects.get(key);
    if (known !== undefined) {
      const all = { low: (known.low | low) >>> 0, high: (known.high | high) >>> 0 };
      if (all.low === known.low && all.high === known.high) return;
      map.sorted = undefined;
      map.objects.set(key, { generation, index, ...all });
      return;
    }
    map.sorted = undefined;
    if (this.#count >= MAX_DIRTY_OBJECTS) {
      this.#parts.trace.warn('dirty.overflow', { partition, node, objects: map.objects.size });
      this.#forget(partition, node);
      return;
    }
    // A map that was just forgotten takes no more.
    if (this.#maps.get(partition)?.get(node) !== map) return;
    map.objects.set(key, { generation, index, low, high });
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
  return [...map.objects.values()].sort(compare);
}

function compare(
  a: { readonly generation: GenerationId; readonly index: number },
  b: { readonly generation: GenerationId; readonly index: number },
): number {
  return a.generation - b.generation || a.index - b.index;
}
