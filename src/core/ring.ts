// The ring: which members should hold a partition, T(p). A pure function of (members, weights, zones) (C-ring). Each
// member owns hash points by its own weight alone, so that a member which joins or leaves moves only what it gets or
// had: weights are not scaled by their average, since a join would then move points of others.
// The walk starts at the partition's place and takes the first member of each zone, then, where there are fewer zones
// than copies, further members in walk order (unless strict).

import { hash48 } from './hash.ts';
import type { NodeId, PolicyId } from './ids.ts';
import { invariant } from './invariant.ts';
import { MAX_WEIGHT } from './limits.ts';
import { sorted } from './partition.ts';

/** Points of a member of weight 1. */
export const VIRTUAL_NODES = 128;
/** Most members of a ring; an owner fits 11 bits. */
export const MAX_RING_MEMBERS = 2048;

const POINT_SALT = 1;
const PLACE_SALT = 2;
/** Bits of the hash that a point drops, so that hash and owner fit one exact integer. */
const DROPPED = 64;

export interface RingMember {
  readonly node: NodeId;
  readonly zone: string;
  readonly weight: number;
}

export interface Ring {
  /** Ascending: hash * MAX_RING_MEMBERS + owner's place in `nodes`. */
  readonly points: Float64Array;
  /** Ascending. */
  readonly nodes: readonly NodeId[];
  /** Zone number of each of `nodes`. */
  readonly zoneOf: Uint32Array;
  readonly zoneCount: number;
}

/** T(p), in walk order and sorted by id. Equal sets share one object. */
export interface TargetSet {
  readonly walk: readonly NodeId[];
  readonly sorted: readonly NodeId[];
}

/** What a policy asks of the walk. */
export interface WalkRule {
  readonly id: PolicyId;
  readonly copies: number;
  readonly strict: boolean;
}

/** Members of weight 0 own nothing and are left out. Throws nothing; more than MAX_RING_MEMBERS breaks an invariant. */
export function buildRing(members: Iterable<RingMember>): Ring {
  const owners = [...members].filter((one) => one.weight > 0).sort((a, b) => a.node - b.node);
  invariant(owners.length <= MAX_RING_MEMBERS, 'the ring has at most MAX_RING_MEMBERS members');
  const counts = owners.map(pointCount);
  const points = new Float64Array(counts.reduce((sum, count) => sum + count, 0));
  let at = 0;
  owners.forEach((owner, place) => {
    for (let k = 0; k < (counts[place] as number); k += 1) {
      const hash = Math.floor(hash48(owner.node, k, POINT_SALT) / DROPPED);
      points[at] = hash * MAX_RING_MEMBERS + place;
      at += 1;
    }
  });
  points.sort();
  const zones = new Map<string, number>();
  const zoneOf = Uint32Array.from(owners, (one) => numberOfZone(zones, one.zone));
  return { points, nodes: owners.map((one) => one.node), zoneOf, zoneCount: zones.size };
}

function pointCount(member: RingMember): number {
  const weight = Math.min(MAX_WEIGHT, member.weight);
  return Math.max(1, Math.round(weight * VIRTUAL_NODES));
}

function numberOfZone(zones: Map<string, number>, zone: string): number {
  const known = zones.get(zone);
  if (known !== undefined) return known;
  zones.set(zone, zones.size);
  return zones.size - 1;
}

/** T(p) of one partition, in walk order. */
export function targetsOf(ring: Ring, rule: WalkRule, p: number): NodeId[] {
  return walk(ring, rule, p, newScratch(ring));
}

/** T(p) of all partitions of a policy. */
export function targetTable(ring: Ring, rule: WalkRule, partitions: number): TargetSet[] {
  const scratch = newScratch(ring);
  const shared = new Map<string, TargetSet>();
  const table: TargetSet[] = new Array(partitions);
  for (let p = 0; p < partitions; p += 1) {
    const nodes = walk(ring, rule, p, scratch);
    const key = nodes.join();
    let set = shared.get(key);
    if (set === undefined) {
      set = { walk: nodes, sorted: sorted(nodes) };
      shared.set(key, set);
    }
    table[p] = set;
  }
  return table;
}

/** Who was seen in this walk, by a stamp, so that nothing is cleared between walks. */
interface Scratch {
  stamp: number;
  readonly nodeSeen: Uint32Array;
  readonly zoneSeen: Uint32Array;
}

function newScratch(ring: Ring): Scratch {
  const nodeSeen = new Uint32Array(ring.nodes.length);
  return { stamp: 0, nodeSeen, zoneSeen: new Uint32Array(ring.zoneCount) };
}

function walk(ring: Ring, rule: WalkRule, p: number, scratch: Scratch): NodeId[] {
  const { points, nodes, zoneOf } = ring;
  const copies = Math.min(rule.copies, nodes.length);
  const firstCount = Math.min(copies, ring.zoneCount);
  const moreCount = rule.strict ? 0 : copies - firstCount;
  const first: NodeId[] = [];
  const more: NodeId[] = [];
  scratch.stamp += 1;
  const { stamp, nodeSeen, zoneSeen } = scratch;
  let at = startOf(ring, rule.id, p);
  for (let step = 0; step < points.length; step += 1) {
    if (first.length === firstCount && more.length === moreCount) break;
    if (at === points.length) at = 0;
    const place = (points[at] as number) % MAX_RING_MEMBERS;
    at += 1;
    if (nodeSeen[place] === stamp) continue;
    nodeSeen[place] = stamp;
    const zone = zoneOf[place] as number;
    if (zoneSeen[zone] !== stamp) {
      zoneSeen[zone] = stamp;
      if (first.length < firstCount) first.push(nodes[place] as NodeId);
    } else if (more.length < moreCount) {
      more.push(nodes[place] as NodeId);
    }
  }
  return more.length === 0 ? first : first.concat(more);
}

/** Position of the first point at or after the partition's place; may be one past the end. */
function startOf(ring: Ring, policy: PolicyId, p: number): number {
  const place = Math.floor(hash48(policy, p, PLACE_SALT) / DROPPED) * MAX_RING_MEMBERS;
  let low = 0;
  let high = ring.points.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ring.points[middle] as number) < place) low = middle + 1;
    else high = middle;
  }
  return low;
}
