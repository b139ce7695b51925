// Who watches whom, and when an edge is down (PROTOCOL 1.1). Liveness only: a wrong verdict costs time, never data. What
// the leader makes of the words of many observers is tally.ts.

import { hash32, hashText } from './hash.ts';
import type { NodeId } from './ids.ts';
import type { ClusterView, Member } from './view.ts';

/** K: most observers of a node. */
export const MAX_OBSERVERS = 10;
/** Clusters up to this size judge an edge by the short window (C1.8). */
export const SMALL_CLUSTER_NODES = 5;
export const SMALL_WINDOW_PINGS = 5;
export const WINDOW_PINGS = 10;
/** Share of lost pings that makes an edge down (C1.2). */
export const LOST_SHARE = 0.4;

/** What the rings are drawn from. */
export type Observed = Pick<ClusterView, 'clusterId' | 'members'>;

/** Both directions of "observes", for one epoch. A cache: it says nothing that the view does not say. */
interface Table {
  readonly observers: ReadonlyMap<NodeId, readonly NodeId[]>;
  readonly subjects: ReadonlyMap<NodeId, readonly NodeId[]>;
}

const NOBODY: readonly NodeId[] = [];
/** Above the number of members: a hash and a place in one exact number. */
const PLACE_END = 2 ** 20;
const tables = new WeakMap<object, Table>();
const counts = new WeakMap<object, number>();

/** The observers of a node (C1.1): all other up nodes in a small cluster, else one of each of K seeded rings. */
export function observersOf(view: Observed, subject: NodeId): readonly NodeId[] {
  return tableOf(view).observers.get(subject) ?? NOBODY;
}

/** The nodes that `self` pings, ascending. Nobody observes, or is observed, who is not up in the map. */
export function subjectsOf(view: Observed, self: NodeId): readonly NodeId[] {
  return tableOf(view).subjects.get(self) ?? NOBODY;
}

/** Nodes that the map calls up: N of C1.1 and C1.8, for rings are drawn over them. Draws none: it is asked at each view. */
export function upCount(view: Observed): number {
  let count = counts.get(view.members);
  if (count === undefined) {
    count = 0;
    for (const member of view.members.values()) if (isUp(member)) count += 1;
    counts.set(view.members, count);
  }
  return count;
}

/** Members change with each epoch, so the map of members stands for it. */
function tableOf(view: Observed): Table {
  let table = tables.get(view.members);
  if (table === undefined) {
    const observers = drawTable(view);
    table = { observers, subjects: inverted(observers) };
    tables.set(view.members, table);
  }
  return table;
}

function inverted(observers: Table['observers']): Table['subjects'] {
  const subjects = new Map<NodeId, NodeId[]>();
  // Ascending: a table lists its subjects in the order of ids.
  for (const [subject, watchers] of observers) {
    for (const observer of watchers) {
      const list = subjects.get(observer);
      if (list === undefined) subjects.set(observer, [subject]);
      else list.push(subject);
    }
  }
  return subjects;
}

function drawTable(view: Observed): Map<NodeId, readonly NodeId[]> {
  const up = [...view.members.values()].filter(isUp).map((member) => member.node);
  up.sort((a, b) => a - b);
  const table = new Map<NodeId, readonly NodeId[]>();
  const seed = hashText(view.clusterId);
  const k = Math.min(MAX_OBSERVERS, up.length - 1);
  const isSmall = up.length - 1 <= MAX_OBSERVERS;
  const rings = isSmall ? [] : Array.from({ length: k }, (_, i) => ringOf(up, hash32(seed, i)));
  const places = rings.map((ring) => new Map(ring.map((node, place) => [node, place])));
  for (const subject of up) {
    if (isSmall)
      table.set(
        subject,
        up.filter((node) => node !== subject),
      );
    else table.set(subject, predecessors(subject, rings, places));
  }
  return table;
}

/**
 * One ring: the nodes in the order of a hash of seed and id. It does not depend on the epoch: who comes or goes changes the
 * edges beside it, not those of everybody, each of which is a channel to be dialled. `nodes` ascending.
 */
function ringOf(nodes: readonly NodeId[], seed: number): NodeId[] {
  const places = Float64Array.from(nodes, (node, at) => hash32(seed, node) * PLACE_END + at);
  return Array.from(places.sort(), (place) => nodes[place % PLACE_END] as NodeId);
}

/** On each ring the nearest one before the subject that was not chosen on an earlier ring: K distinct observers. */
function predecessors(
  subject: NodeId,
  rings: readonly (readonly NodeId[])[],
  places: readonly ReadonlyMap<NodeId, number>[],
): NodeId[] {
  const chosen: NodeId[] = [];
  rings.forEach((ring, i) => {
    const place = places[i]?.get(subject) ?? 0;
    for (let back = 1; back < ring.length; back += 1) {
      const node = ring[(place - back + ring.length) % ring.length] as NodeId;
      if (chosen.includes(node)) continue;
      chosen.push(node);
      return;
    }
  });
  return chosen;
}

function isUp(member: Member): boolean {
  return member.state === 'up';
}

/** The last pings of one edge. */
export class EdgeWindow {
  /** True = lost; the newest last; at most WINDOW_PINGS. */
  readonly #lost: boolean[] = [];

  note(isAnswered: boolean): void {
    this.#lost.push(!isAnswered);
    if (this.#lost.length > WINDOW_PINGS) this.#lost.shift();
  }

  /**
   * C1.2: LOST_SHARE of a whole window was lost, also while the window is not full yet.
   * @param clusterSize nodes that are up, this one included: few are judged by fewer pings (C1.8)
   */
  isDown(clusterSize: number): boolean {
    const size = windowPings(clusterSize);
    const lost = this.#lost.slice(-size).filter((isLost) => isLost).length;
    return lost >= Math.ceil(size * LOST_SHARE);
  }
}

/** How many pings judge an edge in a cluster of this size (C1.8). */
export function windowPings(clusterSize: number): number {
  return clusterSize <= SMALL_CLUSTER_NODES ? SMALL_WINDOW_PINGS : WINDOW_PINGS;
}
