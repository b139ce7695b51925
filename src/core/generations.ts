// The tree of generations (S1, S5): a volume's head, its snapshots, its clones. A generation is one layer of data; a read
// goes from the layer up to the root, and the nearest layer that owns a region shows there. The tree is in the map log,
// the rows are on the replicas. Promises: pure functions of an immutable map, ids are never used again, and what a limit
// hides never shows below it. It knows nothing of rows, objects or nodes.

import type { FamilyId, GenerationId, MapIndex, PolicyId, VolumeId } from './ids.ts';

/**
 * `head`: a volume writes to it. `frozen`: a snapshot; nothing can be added to it. `deleted`: nobody names it any more,
 * but it shows through to what lies below: its rows stay, and requests to settle them are answered, until it is reclaimed.
 */
export type GenerationState = 'head' | 'frozen' | 'deleted';

/** One layer of a volume's history. */
export interface Generation {
  readonly id: GenerationId;
  readonly family: FamilyId;
  /** Of the family: where its objects lie. */
  readonly policy: PolicyId;
  /** The layer that shows where this one owns nothing; 0 = none: zeroes. */
  readonly parent: GenerationId | 0;
  /** From this byte on nothing of an ancestor shows through it (S5); NO_LIMIT: all does. */
  readonly limitBytes: number;
  readonly state: GenerationState;
  /** Entry that froze it: replicas that have applied it refuse writes (S3). 0 while it is a head. */
  readonly frozenAt: MapIndex;
  /** The volume that writes to it, or wrote to it when it was frozen. It may be deleted since. */
  readonly volume: VolumeId;
  /** Of a snapshot: name and size of its volume, its tag, the date of the node that made it (for people). */
  readonly name: string;
  readonly tag: string;
  readonly sizeBytes: number;
  readonly createdMs: number;
  /** Of a snapshot: it can not be deleted. */
  readonly isProtected: boolean;
}

export type Generations = ReadonlyMap<GenerationId, Generation>;

/** What a generation is read from: itself, its parent, and so on; how much of each shows. */
export interface Layer {
  readonly generation: GenerationId;
  /** Bytes of the layer from here on are hidden: the least limit of the layers before it. The first has none. */
  readonly limitBytes: number;
}

/** What an id stands for (S5). `gone`: deleted for good, rows of it are dropped. `ahead`: this view is behind. */
export type GenerationStanding = GenerationState | 'gone' | 'ahead';

/** More than any volume has: nothing is hidden. */
export const NO_LIMIT = 2 ** 47;
/** Most generations of a cluster: heads, snapshots, and deleted ones that are not reclaimed yet. */
export const MAX_GENERATIONS = 2 ** 17;
/** Most generations from a root to a head, the head among them. */
export const MAX_DEPTH = 4096;
/** Paths that are remembered for one tree; then all are forgotten. */
export const MAX_PATHS_KEPT = 1024;

interface Tree {
  readonly generations: Generations;
}

const NOTHING: readonly Layer[] = [];
const NOBODY: readonly GenerationId[] = [];
/** A tree never changes: another entry makes another map. */
const paths = new WeakMap<Generations, Map<GenerationId, readonly Layer[]>>();
const broods = new WeakMap<Generations, ReadonlyMap<number, readonly GenerationId[]>>();

/** A generation with nothing above it that a volume writes to. */
export function rootHead(of: Pick<Generation, 'id' | 'family' | 'policy' | 'volume'>): Generation {
  return headBelow(undefined, of);
}

/** A head whose reads fall through to its parent; a root without one. */
export function headBelow(
  parent: Generation | undefined,
  of: Pick<Generation, 'id' | 'family' | 'policy' | 'volume'>,
  limitBytes: number = NO_LIMIT,
): Generation {
  const { id, family, policy, volume } = of;
  return {
    ...{ id, family, policy },
    parent: parent?.id ?? 0,
    limitBytes,
    state: 'head',
    frozenAt: 0 as MapIndex,
    volume,
    name: '',
    tag: '',
    sizeBytes: 0,
    createdMs: 0,
    isProtected: false,
  };
}

/** True for what follows from its volume's record: it need not be written down. */
export function isPlainHead({ state, parent, limitBytes }: Generation): boolean {
  return state === 'head' && parent === 0 && limitBytes === NO_LIMIT;
}

/** What this id stands for in a view. */
export function standingOf(
  view: Tree & { readonly lastGeneration: GenerationId },
  id: GenerationId,
): GenerationStanding {
  const known = view.generations.get(id);
  if (known !== undefined) return known.state;
  return id > view.lastGeneration ? 'ahead' : 'gone';
}

/**
 * The generation and all that it may show, nearest first, each with the least visible limit on the way to it; empty when
 * the generation is not known. Remembered: the same array as long as the tree is the same.
 */
export function ancestry(view: Tree, id: GenerationId): readonly Layer[] {
  const { generations } = view;
  let known = paths.get(generations);
  if (known === undefined) {
    known = new Map();
    paths.set(generations, known);
  }
  const found = known.get(id);
  if (found !== undefined) return found;
  const path = pathOf(generations, id);
  if (known.size >= MAX_PATHS_KEPT) known.clear();
  known.set(id, path);
  return path;
}

function pathOf(generations: Generations, id: GenerationId): readonly Layer[] {
  let at = generations.get(id);
  if (at === undefined) return NOTHING;
  const path: Layer[] = [];
  let limitBytes = NO_LIMIT;
  for (let depth = 0; at !== undefined && depth < MAX_DEPTH; depth += 1) {
    path.push({ generation: at.id, limitBytes });
    limitBytes = Math.min(limitBytes, at.limitBytes);
    at = at.parent === 0 ? undefined : generations.get(at.parent);
  }
  return path;
}

/** Generations right below this one, by id. */
export function childrenOf(view: Tree, id: GenerationId): readonly GenerationId[] {
  const { generations } = view;
  let brood = broods.get(generations);
  if (brood === undefined) {
    brood = broodOf(generations);
    broods.set(generations, brood);
  }
  return brood.get(id) ?? NOBODY;
}

function broodOf(generations: Generations): ReadonlyMap<number, readonly GenerationId[]> {
  const brood = new Map<number, GenerationId[]>();
  for (const { id, parent } of generations.values()) {
    if (parent === 0) continue;
    const known = brood.get(parent);
    if (known === undefined) brood.set(parent, [id]);
    else known.push(id);
  }
  for (const ids of brood.values()) ids.sort((a, b) => a - b);
  return brood;
}

/** Heads and snapshots that this generation may show through to, itself not among them: who keeps its rows (S6). */
export function readersBelow(view: Tree, id: GenerationId): readonly GenerationId[] {
  const readers: GenerationId[] = [];
  const open = [...childrenOf(view, id)];
  // Each generation has one parent: each is met once.
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    if (view.generations.get(at)?.state !== 'deleted') readers.push(at);
    for (const child of childrenOf(view, at)) open.push(child);
  }
  return readers.sort((a, b) => a - b);
}

/** Deleted generations, by id: what is to be reclaimed. */
export function deletedOf(view: Tree): readonly Generation[] {
  const deleted = [...view.generations.values()].filter(({ state }) => state === 'deleted');
  return deleted.sort((a, b) => a.id - b.id);
}
