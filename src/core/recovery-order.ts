// In which order partitions are recovered (4.8), and how many a member joins at once: below minCopies first, then those
// that can not lose one more, then those with fewer copies than asked for, then ring moves. Pure.
//
// A write to an object that a joiner lacks waits for that object (4.6). So few partitions are joined at a time where
// guests are: most writes meet none of them. A partition where no volume has an object exposes nobody, and is joined with
// all others of its kind.

import type { FamilyId, NodeId, PolicyId } from './ids.ts';
import { type IsLive, liveCount, partitionOf } from './partition.ts';
import { divideUp, OBJECT_BYTES } from './units.ts';
import type { ClusterView, PartitionConfig, Policy } from './view.ts';

/** Partitions with objects of a policy that one member joins at once while a guest uses a volume of it. */
export const JOINS_BESIDE_GUESTS = 2;
/** The same while no volume of the policy is attached. */
export const JOINS_WITHOUT_GUESTS = 256;

/** The same below minCopies, attached or not: writes there wait anyhow, and the sooner for more at a time. */
export const JOINS_WHILE_HALTED = 32;

/** Smaller is more urgent. */
export const URGENCY = {
  /** Fewer than minCopies live copies: guests wait. */
  below: 0,
  /** Exactly minCopies: one more lost, and guests wait. */
  bare: 1,
  fewer: 2,
  /** As many copies as asked for, but not where the ring wants them. */
  move: 3,
} as const;
export type Urgency = (typeof URGENCY)[keyof typeof URGENCY];

/** How urgent a further copy of this partition is. */
export function urgencyOf(config: PartitionConfig, policy: Policy, isLive: IsLive): Urgency {
  const live = liveCount(config, isLive);
  if (live >= policy.copies) return URGENCY.move;
  if (live < policy.minCopies) return URGENCY.below;
  return live === policy.minCopies ? URGENCY.bare : URGENCY.fewer;
}

/** A member that is to join a partition. */
export interface Wish {
  readonly node: NodeId;
  readonly policy: PolicyId;
  readonly urgency: Urgency;
  /** No volume has an object there: it counts against no window. */
  readonly isEmpty?: boolean;
}

/** What is being joined at present. */
export class JoinLoad {
  /** By member: partitions being repaired, and being moved to it. */
  readonly #repairs = new Map<NodeId, number>();
  readonly #moves = new Map<NodeId, number>();

  note(node: NodeId, urgency: Urgency): void {
    const load = urgency === URGENCY.move ? this.#moves : this.#repairs;
    load.set(node, (load.get(node) ?? 0) + 1);
  }

  repairs(node: NodeId): number {
    return this.#repairs.get(node) ?? 0;
  }

  moves(node: NodeId): number {
    return this.#moves.get(node) ?? 0;
  }
}

/**
 * Which of the wishes may begin now, most urgent first. A member takes new ones when half of what it may join is free,
 * so that the log gets lists and not single partitions. While a repair waits nothing is moved; a member moves nothing
 * while it repairs.
 */
export function admitted<W extends Wish>(
  wishes: readonly W[],
  load: JoinLoad,
  windowOf: (policy: PolicyId) => number,
): W[] {
  const sorted = [...wishes].sort((a, b) => a.urgency - b.urgency);
  const before = new Map<W, number>();
  for (const wish of sorted) {
    const isMove = wish.urgency === URGENCY.move;
    before.set(wish, isMove ? load.moves(wish.node) : load.repairs(wish.node));
  }
  const begun: W[] = [];
  let doesRepairWait = false;
  for (const wish of sorted) {
    const { node, urgency } = wish;
    const usual = windowOf(wish.policy);
    const window = urgency === URGENCY.below ? Math.max(usual, JOINS_WHILE_HALTED) : usual;
    if (urgency === URGENCY.move && (doesRepairWait || load.repairs(node) > 0)) continue;
    if (wish.isEmpty === true) {
      begun.push(wish);
      continue;
    }
    const now = urgency === URGENCY.move ? load.moves(node) : load.repairs(node);
    const isOpen = urgency === URGENCY.below || (before.get(wish) as number) * 2 <= window;
    if (now >= window || !isOpen) {
      doesRepairWait ||= urgency !== URGENCY.move;
      continue;
    }
    load.note(node, urgency);
    begun.push(wish);
  }
  return begun;
}

/** How many partitions of a policy one member may join at once. */
export function joinWindows(view: ClusterView): (policy: PolicyId) => number {
  const windows = new Map<PolicyId, number>();
  for (const { policy, lock } of view.volumes.values()) {
    const window = lock.state === 'held' ? JOINS_BESIDE_GUESTS : JOINS_WITHOUT_GUESTS;
    windows.set(policy, Math.min(window, windows.get(policy) ?? window));
  }
  // Of a policy without volumes nothing is copied.
  return (policy) => windows.get(policy) ?? Number.POSITIVE_INFINITY;
}

/** A policy with this many objects per partition has hardly one without any: they are not counted. */
const OBJECTS_PER_PARTITION_FULL = 8;

/** Where volumes can have objects. Only a hint for what is begun: a wrong answer costs time, never data. */
export class ObjectPlaces {
  #volumes: ClusterView['volumes'] | undefined;
  #generations: ClusterView['generations'] | undefined;
  /** By policy: 1 where there may be objects; undefined: everywhere. */
  readonly #found = new Map<PolicyId, Uint8Array | undefined>();

  /** False where no volume of the policy can have an object. */
  has(view: ClusterView, policy: PolicyId, p: number): boolean {
    if (view.volumes !== this.#volumes || view.generations !== this.#generations) {
      this.#volumes = view.volumes;
      this.#generations = view.generations;
      this.#found.clear();
    }
    if (!this.#found.has(policy)) this.#found.set(policy, placesOf(view, policy));
    return this.#found.get(policy)?.[p] !== 0;
  }
}

/** Each family of the policy once, as large as its largest volume, snapshot or deleted layer. */
function familiesOf(
  { volumes, trash, generations }: ClusterView,
  policy: PolicyId,
): readonly { readonly family: FamilyId; readonly sizeBytes: number }[] {
  const sizes = new Map<FamilyId, number>();
  for (const layer of generations.values()) {
    if (layer.policy !== policy) continue;
    const of = volumes.get(layer.volume) ?? trash.get(layer.volume)?.volume;
    const sizeBytes = Math.max(layer.sizeBytes, of?.sizeBytes ?? 0);
    sizes.set(layer.family, Math.max(sizeBytes, sizes.get(layer.family) ?? 0));
  }
  return [...sizes].map(([family, sizeBytes]) => ({ family, sizeBytes }));
}

function placesOf(view: ClusterView, policy: PolicyId): Uint8Array | undefined {
  const volumes = familiesOf(view, policy);
  const objectsOf = ({ sizeBytes }: { readonly sizeBytes: number }): number =>
    divideUp(sizeBytes, OBJECT_BYTES);
  const total = volumes.reduce((sum, volume) => sum + objectsOf(volume), 0);
  if (total >= OBJECTS_PER_PARTITION_FULL * view.partitions) return undefined;
  const places = new Uint8Array(view.partitions);
  for (const volume of volumes) {
    for (let index = 0; index < objectsOf(volume); index += 1) {
      places[partitionOf(volume.family, index, view.partitions)] = 1;
    }
  }
  return places;
}
