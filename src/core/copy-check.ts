// Comparing all copies of one object (dog vdi check): what each member in sync says of its own, and what follows. Version
// and checksum decide, never votes: bytes that fail their own sums are wrong, and a lower version lacks what was
// acknowledged, for every member in sync has all of it. Copies of one version that differ though each passes its sums are
// told and never guessed at. Pure.

import type { GenerationId, NodeId, ObjectId } from './ids.ts';

/** `absent`: never written here; `busy`: it changed during each look; `lost`: file or sums are gone. */
export const COPY_STATES = ['absent', 'whole', 'damaged', 'lost', 'busy'] as const;
export type CopyState = (typeof COPY_STATES)[number];

/** What a member says of its copy of one object. */
export interface CopyLook extends ObjectId {
  readonly state: CopyState;
  readonly verToken: number;
  readonly verCount: number;
  readonly closed: number;
  readonly kind: 'data' | 'zero';
  /** Regions 0-31 and 32-63 that it owns. */
  readonly ownLow: number;
  readonly ownHigh: number;
  /** Sectors with data, as far as they were looked at. */
  readonly sectors: number;
  /** Sectors that fail their sums; the first of them. */
  readonly bad: readonly number[];
  /** SHA-256 of all sums and all data; empty where nobody looked at them, or could not. */
  readonly digest: Uint8Array;
}

export type CopyProblem = 'damaged' | 'lost' | 'stale' | 'differs';

/** What is wrong with one copy. */
export interface CopyFinding {
  readonly node: NodeId;
  readonly problem: CopyProblem;
  /** Of `damaged`. */
  readonly bad: readonly number[];
}

/** `again`: in use, nothing can be said now. */
export type CopyVerdict =
  | { readonly verdict: 'equal' | 'again' }
  | { readonly verdict: 'wrong'; readonly findings: readonly CopyFinding[] };

/** Judges the copies of one object; each is of a member in sync that answered. */
export function judgeCopies(looks: ReadonlyMap<NodeId, CopyLook>): CopyVerdict {
  const all = [...looks];
  const broken = all
    .filter(([, { state }]) => state === 'damaged' || state === 'lost')
    .map(([node, { state, bad }]): CopyFinding => {
      return { node, problem: state === 'lost' ? 'lost' : 'damaged', bad };
    });
  if (broken.length > 0) return { verdict: 'wrong', findings: broken };
  if (all.some(([, look]) => look.state === 'busy' || isOpen(look))) return { verdict: 'again' };
  const newest = all.reduce((best, [, look]) => (isNewer(look, best) ? look : best), NEVER_WRITTEN);
  const stale = all.filter(([, look]) => isNewer(newest, look));
  if (stale.length > 0) return { verdict: 'wrong', findings: stale.map(findingOf('stale')) };
  const [first, ...others] = all;
  if (first === undefined || others.every(([, look]) => isSame(first[1], look))) {
    return { verdict: 'equal' };
  }
  return { verdict: 'wrong', findings: all.map(findingOf('differs')) };
}

const NEVER_WRITTEN = { verToken: 0, verCount: 0 };

function findingOf(problem: CopyProblem): (one: readonly [NodeId, CopyLook]) => CopyFinding {
  return ([node]) => ({ node, problem, bad: [] });
}

/** A write of it may be under way. */
function isOpen({ state, closed, verCount }: CopyLook): boolean {
  return state === 'whole' && closed < verCount;
}

type Version = Pick<CopyLook, 'verToken' | 'verCount'>;

function isNewer(a: Version, b: Version): boolean {
  return a.verToken > b.verToken || (a.verToken === b.verToken && a.verCount > b.verCount);
}

function isSame(a: CopyLook, b: CopyLook): boolean {
  const isRow = a.kind === b.kind && a.ownLow === b.ownLow && a.ownHigh === b.ownHigh;
  return (
    isRow && a.digest.length === b.digest.length && a.digest.every((x, i) => x === b.digest[i])
  );
}

/** What the rows of one generation hold on one member, in partitions that were asked for. */
export interface LayerUsage {
  readonly generation: GenerationId;
  readonly objects: number;
  readonly bytes: number;
}

/** The sum of what members said, by generation. */
export function sumUsage(parts: readonly (readonly LayerUsage[])[]): Map<GenerationId, LayerUsage> {
  const sums = new Map<GenerationId, LayerUsage>();
  for (const { generation, objects, bytes } of parts.flat()) {
    const known = sums.get(generation);
    sums.set(generation, {
      generation,
      objects: objects + (known?.objects ?? 0),
      bytes: bytes + (known?.bytes ?? 0),
    });
  }
  return sums;
}
