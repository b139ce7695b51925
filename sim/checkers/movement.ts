// C-ring: when one node joins or gets heavier, T'(p) minus T(p) is {} or {new}, at most one old target makes room, and
// nothing else moves; when one leaves or gets lighter, T(p) minus T'(p) is {} or {left}, with at most one newcomer. Exact,
// per partition. The share that moves must also be near the new node's share of the ring. C-move: what was copied is what
// moved; after an outage, what changed meanwhile.

import type { NodeId } from '../../src/core/ids.ts';
import { OBJECT_BYTES, REGION_BYTES } from '../../src/core/units.ts';
import type { ClusterView } from '../../src/core/view.ts';

/** Placements: targets of every partition of the default policy. */
export type Placements = readonly (readonly NodeId[])[];

/** How many standard deviations of the binomial the share may be off; virtual nodes are random, too. */
const SIGMAS = 4;
/** Spread of a member's ring share with 128 virtual nodes, relative. */
const RING_SPREAD = 0.3;
/** C-move: an object that is written while it is copied may be copied twice. */
const COPIED_OVER_MOVED = 1.1;

export function placementsOf(view: ClusterView): Placements {
  const [policy] = view.policies.values();
  if (policy === undefined) return [];
  return Array.from({ length: view.partitions }, (_, p) => view.partition(policy.id, p).targets);
}

/** @returns the first placement that moved without a reason, as a sentence */
export function checkJoinMoves(
  before: Placements,
  after: Placements,
  joined: NodeId,
): string | undefined {
  for (const [p, old] of before.entries()) {
    const now = after[p] ?? [];
    const newcomers = now.filter((node) => !old.includes(node));
    const gone = old.filter((node) => !now.includes(node));
    if (newcomers.some((node) => node !== joined) || newcomers.length > 1) {
      return `C-ring: partition ${p}: ${old.join(',')} became ${now.join(',')} when node ${joined} joined`;
    }
    if (gone.length > newcomers.length)
      return `C-ring: partition ${p} lost targets ${gone.join(',')}`;
  }
  return undefined;
}

/** C-ring of a leave, or of less weight. @returns the first placement that moved without a reason, as a sentence */
export function checkLeaveMoves(
  before: Placements,
  after: Placements,
  left: NodeId,
): string | undefined {
  for (const [p, old] of before.entries()) {
    const now = after[p] ?? [];
    const newcomers = now.filter((node) => !old.includes(node));
    const gone = old.filter((node) => !now.includes(node));
    if (gone.some((node) => node !== left) || newcomers.length > gone.length) {
      return `C-ring: partition ${p}: ${old.join(',')} became ${now.join(',')} when node ${left} left`;
    }
  }
  return undefined;
}

/** T is a function of the members alone: those of before, so the placements of before. */
export function checkSamePlacements(before: Placements, after: Placements): string | undefined {
  for (const [p, old] of before.entries()) {
    const now = after[p] ?? [];
    if ([...old].sort().join() === [...now].sort().join()) continue;
    return `C-ring: partition ${p}: ${old.join(',')} became ${now.join(',')} among the same members`;
  }
  return undefined;
}

/** Objects that moved to a node, by how many lie in each partition. */
export function objectsGained(
  before: Placements,
  after: Placements,
  node: NodeId,
  objectsIn: (p: number) => number,
): number {
  let gained = 0;
  for (const [p, now] of after.entries()) {
    if (now.includes(node) && before[p]?.includes(node) !== true) gained += objectsIn(p);
  }
  return gained;
}

/** @returns a sentence when the share of placements on the newcomer is not about its share of the ring */
export function checkShare(after: Placements, joined: NodeId, share: number): string | undefined {
  const total = after.reduce((sum, targets) => sum + targets.length, 0);
  const moved = after.filter((targets) => targets.includes(joined)).length;
  const expected = total * share;
  const allowed = SIGMAS * Math.sqrt(expected) + RING_SPREAD * expected;
  if (Math.abs(moved - expected) <= allowed) return undefined;
  return `C-ring: ${moved} of ${total} placements went to node ${joined}, about ${expected.toFixed(1)} is its share`;
}

/** What one node copied in a join; `objectsGained` are those that it holds and did not hold before. */
export interface Copied {
  readonly name: string;
  readonly objectsGained: number;
  readonly bytes: number;
}

/** What one node copied after an outage, and what it had to. */
export interface OutageCopied {
  readonly name: string;
  readonly bytes: number;
  /** Blocks that were written while it was away, or whose writes were under way when it left. */
  readonly changedBlocks: readonly number[];
  readonly blockBytes: number;
}

/** C-move of an outage. @returns a sentence when a node that returned copied more than the regions that changed */
export function checkOutageCopies(node: OutageCopied): string | undefined {
  const perRegion = REGION_BYTES / node.blockBytes;
  const regions = new Set(node.changedBlocks.map((block) => Math.floor(block / perRegion))).size;
  if (node.bytes <= COPIED_OVER_MOVED * regions * REGION_BYTES) return undefined;
  return `C-move: ${node.name} copied ${node.bytes} bytes, ${regions} regions changed while it was away`;
}

/** C-move. @returns the first node that copied more than what moved to it, as a sentence */
export function checkBytesCopied(nodes: readonly Copied[]): string | undefined {
  for (const { name, objectsGained, bytes } of nodes) {
    const moved = objectsGained * OBJECT_BYTES;
    if (bytes > COPIED_OVER_MOVED * moved)
      return `C-move: ${name} copied ${bytes} bytes, ${moved} moved to it`;
  }
  return undefined;
}
