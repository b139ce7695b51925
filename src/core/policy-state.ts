// What the state machine keeps of one policy: cfg(p) of every p, T(p), and (I, J) only where I != T or J is not empty
// (C2.8). Values are immutable; a change goes through a `PolicyDraft`, which copies what it touches once. cfg never
// restarts (I11).
//
// How a partition gets its first in-sync set: I(p) is empty only while T(p) has been empty ever since the policy was
// made, that is before the first member came up. Then nothing can have been stored, and the first T(p) that is not
// empty fills I(p) with its live part. From then on I(p) is never empty and never filled again (A7, A8).

import type { ConfigVersion, NodeId } from './ids.ts';
import { invariant } from './invariant.ts';
import { containsAll, type IsLive, isAtRest } from './partition.ts';
import { type Ring, type TargetSet, targetTable } from './ring.ts';
import type { PartitionConfig, Policy } from './view.ts';

export interface PolicyState {
  readonly policy: Policy;
  /** True for ever once a writeback volume was made here: unclean starts make doubtful (R8). */
  readonly everWriteback: boolean;
  /** cfg(p) of every p. */
  readonly cfg: Uint32Array;
  readonly targets: readonly TargetSet[];
  readonly explicit: ReadonlyMap<number, ExplicitSets>;
  /** `unsureAt` of each p that has one, for ever. */
  readonly unsure: ReadonlyMap<number, ConfigVersion>;
  /** Filled by `configOf`; says nothing that the fields above do not say. */
  readonly cache: (PartitionConfig | undefined)[];
}

/** I(p), J(p) and the doubtful of I(p), sorted. */
export interface ExplicitSets {
  readonly inSync: readonly NodeId[];
  readonly joining: readonly NodeId[];
  readonly doubtful: readonly NodeId[];
}

const NOBODY: readonly NodeId[] = [];
const NO_CONFIG: PartitionConfig = {
  cfg: 0 as ConfigVersion,
  targets: NOBODY,
  inSync: NOBODY,
  joining: NOBODY,
  doubtful: NOBODY,
};

/** A new policy: I(p) = the live part of T(p), or all of T(p) where none of it is live: nothing is stored yet. */
export function createPolicy(
  policy: Policy,
  ring: Ring,
  context: { partitions: number; isLive: IsLive },
): PolicyState {
  const targets = targetTable(ring, policy, context.partitions);
  const explicit = new Map<number, ExplicitSets>();
  for (let p = 0; p < targets.length; p += 1) {
    const wanted = targets[p] as TargetSet;
    const inSync = firstInSync(wanted, context.isLive);
    if (inSync.length !== wanted.sorted.length)
      explicit.set(p, { inSync, joining: NOBODY, doubtful: NOBODY });
  }
  const cfg = new Uint32Array(context.partitions).fill(1);
  return { policy, everWriteback: false, cfg, targets, explicit, unsure: new Map(), cache: [] };
}

function firstInSync(wanted: TargetSet, isLive: IsLive): readonly NodeId[] {
  const live = wanted.sorted.filter(isLive);
  return live.length === 0 ? wanted.sorted : live;
}

/** Config of one partition; an empty one with cfg 0 when p is out of range. */
export function configOf(state: PolicyState, p: number): PartitionConfig {
  const cached = state.cache[p];
  if (cached !== undefined) return cached;
  const targets = state.targets[p];
  if (targets === undefined) return NO_CONFIG;
  const sets = state.explicit.get(p);
  const unsureAt = state.unsure.get(p);
  const config: PartitionConfig = {
    ...(unsureAt === undefined ? {} : { unsureAt }),
    cfg: state.cfg[p] as ConfigVersion,
    targets: targets.walk,
    inSync: sets?.inSync ?? targets.sorted,
    joining: sets?.joining ?? NOBODY,
    doubtful: sets?.doubtful ?? NOBODY,
  };
  state.cache[p] = config;
  return config;
}

/** What a policy's T is worked out from. */
interface DrawnFrom {
  readonly base: PolicyState;
  readonly ring: () => Ring;
  readonly isLive: IsLive;
}

/** Policies whose T is not worked out yet: the one before, whose (I, J) they have. */
const undrawn = new WeakMap<PolicyState, PolicyState>();

/**
 * The same policy under another ring. T changes alone; cfg stays, for (I, J) stay: each I that differs from the new T
 * becomes explicit in the same step. Only the first T after "no member at all" fills I, and raises cfg.
 *
 * T is worked out when somebody asks: while hundreds of members come up, ring follows ring, and as (I, J) stay, the last
 * one says all that matters. `ring` is called once at most.
 */
export function withRing(before: PolicyState, ring: () => Ring, isLive: IsLive): PolicyState {
  const base = undrawn.get(before) ?? before;
  const isFilled = base.cfg.length > 0 && configOf(base, 0).inSync.length > 0;
  if (!isFilled) return drawn(base, ring(), isLive);
  // Let go of once drawn: else each ring would keep the one before it.
  let from: DrawnFrom | undefined = { base, ring, isLive };
  let later: PolicyState | undefined;
  const now = (): PolicyState => {
    if (from !== undefined) later = drawn(from.base, from.ring(), from.isLive);
    from = undefined;
    undrawn.delete(state);
    invariant(later !== undefined, 'what was drawn is kept');
    return later;
  };
  const state: PolicyState = {
    policy: base.policy,
    everWriteback: base.everWriteback,
    cfg: base.cfg,
    unsure: base.unsure,
    get targets() {
      return now().targets;
    },
    get explicit() {
      return now().explicit;
    },
    get cache() {
      return now().cache;
    },
  };
  undrawn.set(state, base);
  return state;
}

function drawn(state: PolicyState, ring: Ring, isLive: IsLive): PolicyState {
  const targets = targetTable(ring, state.policy, state.cfg.length);
  const explicit = new Map<number, ExplicitSets>();
  const cfg = state.cfg.slice();
  for (let p = 0; p < targets.length; p += 1) {
    const wanted = targets[p] as TargetSet;
    const before = configOf(state, p);
    let inSync = before.inSync;
    if (inSync.length === 0 && wanted.walk.length > 0) {
      inSync = firstInSync(wanted, isLive);
      cfg[p] = raised(before.cfg);
    }
    const { joining, doubtful } = before;
    const after = { cfg: before.cfg, targets: wanted.walk, inSync, joining, doubtful };
    if (!isAtRest(after)) explicit.set(p, { inSync, joining, doubtful });
  }
  return { ...state, cfg, targets, explicit, cache: [] };
}

/** Other rules for the same partitions. Changed numbers of live copies that writes need raise cfg everywhere (1.5). */
export function changePolicy(
  state: PolicyState,
  policy: Policy,
  ring: () => Ring,
  isLive: IsLive,
): PolicyState {
  const cfg =
    policy.minCopies === state.policy.minCopies ? state.cfg : state.cfg.map((one) => raised(one));
  return withRing({ ...state, policy, cfg, cache: [] }, ring, isLive);
}

/** Gathers changes of many partitions; each copies its array or map once. */
export class PolicyDraft {
  readonly #base: PolicyState;
  readonly #cfg: Uint32Array;
  readonly #explicit: Map<number, ExplicitSets>;
  #unsure: ReadonlyMap<number, ConfigVersion>;
  readonly #cache: (PartitionConfig | undefined)[];
  #changes = 0;

  constructor(base: PolicyState) {
    this.#base = base;
    this.#cfg = base.cfg.slice();
    this.#explicit = new Map(base.explicit);
    this.#unsure = base.unsure;
    this.#cache = base.cache.slice();
  }

  config(p: number): PartitionConfig {
    return this.#cache[p] ?? configOf(this.#base, p);
  }

  /** Replaces a config by the one that a change of partition.ts made of it. */
  set(p: number, config: PartitionConfig): void {
    const before = this.config(p);
    invariant(config.cfg === before.cfg + 1, 'cfg rises by one with each change (I11)');
    invariant(containsAll(before.targets, config.targets), 'a change of sets leaves T alone');
    this.#cfg[p] = raised(before.cfg);
    this.#cache[p] = config;
    if (isAtRest(config)) this.#explicit.delete(p);
    else this.#explicit.set(p, explicitOf(config));
    const { unsureAt } = config;
    // Copied for each: it happens to few, after losses only.
    if (unsureAt !== before.unsureAt && unsureAt !== undefined)
      this.#unsure = new Map(this.#unsure).set(p, unsureAt);
    this.#changes += 1;
  }

  /** The policy after the changes; the old one when there was none. */
  finish(): PolicyState {
    if (this.#changes === 0) return this.#base;
    const { policy, everWriteback, targets } = this.#base;
    const changes = {
      cfg: this.#cfg,
      explicit: this.#explicit,
      unsure: this.#unsure,
      cache: this.#cache,
    };
    return { policy, everWriteback, targets, ...changes };
  }
}

function explicitOf({ inSync, joining, doubtful }: PartitionConfig): ExplicitSets {
  return { inSync, joining, doubtful };
}

/** Partitions whose config may differ between two states of one policy with as many partitions; each once. */
export function changedConfigs(before: PolicyState, after: PolicyState): number[] {
  const changed: number[] = [];
  const isSameRing = before.targets === after.targets;
  const [was, is] = [before.cfg, after.cfg];
  for (let p = 0; p < is.length; p += 1) {
    // cfg rises with each change of a set (I11); T is the ring's alone.
    if (was[p] !== is[p] || (!isSameRing && before.targets[p] !== after.targets[p]))
      changed.push(p);
  }
  return changed;
}

/** Partitions whose W holds one of these nodes. */
export function partitionsWith(state: PolicyState, nodes: ReadonlySet<NodeId>): number[] {
  const found: number[] = [];
  for (let p = 0; p < state.targets.length; p += 1) {
    const config = configOf(state, p);
    if (config.inSync.some((node) => nodes.has(node))) found.push(p);
    else if (config.joining.some((node) => nodes.has(node))) found.push(p);
  }
  return found;
}

/** True when this node is in I or J of a partition. One that T does not want is found among the explicit ones. */
export function holdsPlace(state: PolicyState, node: NodeId): boolean {
  for (const sets of state.explicit.values()) {
    if (sets.inSync.includes(node) || sets.joining.includes(node)) return true;
  }
  for (const { sorted } of new Set(state.targets)) if (sorted.includes(node)) return true;
  return false;
}

function raised(cfg: number): number {
  invariant(cfg < 0xffffffff, 'cfg fits 32 bits (I11)');
  return cfg + 1;
}
