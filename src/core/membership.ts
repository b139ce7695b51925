// Who watches whom, when an edge is down, and when the leader calls a node down (PROTOCOL 1.1). Liveness only: a wrong
// verdict costs time, never data. Nothing here reads a clock: times are arguments, in ms of one monotonic clock.

import { hash32, hashText, shuffled } from './hash.ts';
import type { Incarnation, NodeId } from './ids.ts';
import type { ClusterView, Member } from './view.ts';

/** K: most observers of a node. */
export const MAX_OBSERVERS = 10;
/** Clusters up to this size judge an edge by the short window (C1.8). */
export const SMALL_CLUSTER_NODES = 5;
export const SMALL_WINDOW_PINGS = 5;
export const WINDOW_PINGS = 10;
/** Share of lost pings that makes an edge down (C1.2). */
export const LOST_SHARE = 0.4;
/** What hangs between the marks so long counts as down (C1.5). */
export const UNSETTLED_MS = 5000;
/** What is below the low mark so long, and out of the leader's reach, counts as down (C1.5). */
export const LONELY_ALERT_MS = 15_000;
/** Observers that saw a refused dial: a process that is gone, not a slow one (C1.8). */
export const REFUSALS_NEEDED = 2;

/** Observers of each node of one epoch. A cache: it says nothing that the view does not say. */
const tables = new WeakMap<object, ReadonlyMap<NodeId, readonly NodeId[]>>();

/** The observers of a node (C1.1): all other up nodes in a small cluster, else one of each of K seeded rings. */
export function observersOf(view: ClusterView, subject: NodeId): readonly NodeId[] {
  return tableOf(view).get(subject) ?? [];
}

/** The nodes that `self` pings, ascending. Nobody observes, or is observed, who is not up in the map. */
export function subjectsOf(view: ClusterView, self: NodeId): NodeId[] {
  const subjects: NodeId[] = [];
  for (const [subject, observers] of tableOf(view)) {
    if (observers.includes(self)) subjects.push(subject);
  }
  return subjects.sort((a, b) => a - b);
}

/** Members change with each epoch, so the map of members stands for it. */
function tableOf(view: ClusterView): ReadonlyMap<NodeId, readonly NodeId[]> {
  let table = tables.get(view.members);
  if (table === undefined) {
    table = drawTable(view);
    tables.set(view.members, table);
  }
  return table;
}

function drawTable(view: ClusterView): Map<NodeId, readonly NodeId[]> {
  const up = [...view.members.values()].filter(isUp).map((member) => member.node);
  up.sort((a, b) => a - b);
  const table = new Map<NodeId, readonly NodeId[]>();
  const seed = hash32(hashText(view.clusterId), view.epoch);
  const k = Math.min(MAX_OBSERVERS, up.length - 1);
  const isSmall = up.length - 1 <= MAX_OBSERVERS;
  const rings = isSmall ? [] : Array.from({ length: k }, (_, i) => shuffled(up, hash32(seed, i)));
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
  readonly #size: number;
  /** True = lost; the newest last. */
  readonly #lost: boolean[] = [];

  /** @param clusterSize nodes of the cluster, this one included */
  constructor(clusterSize: number) {
    this.#size = clusterSize <= SMALL_CLUSTER_NODES ? SMALL_WINDOW_PINGS : WINDOW_PINGS;
  }

  note(isAnswered: boolean): void {
    this.#lost.push(!isAnswered);
    if (this.#lost.length > this.#size) this.#lost.shift();
  }

  /** C1.2: LOST_SHARE of a whole window was lost, also while the window is not full yet. */
  isDown(): boolean {
    const lost = this.#lost.filter((isLost) => isLost).length;
    return lost >= Math.ceil(this.#size * LOST_SHARE);
  }
}

/** Low and high mark of C1.5 for a node with k observers. */
export function marksOf(k: number): { readonly low: number; readonly high: number } {
  if (k >= MAX_OBSERVERS) return { low: 4, high: 9 };
  if (k < 5) return { low: 1, high: Math.ceil((k + 1) / 2) };
  return { low: Math.ceil(k / 3), high: k - 1 };
}

/** One observer's word on one life of a node. `down: false` takes an earlier word back. */
export interface Claim {
  readonly observer: NodeId;
  readonly subject: NodeId;
  readonly incarnation: Incarnation;
  readonly down: boolean;
  readonly refused: boolean;
  /** The subject's own last words (`observer` is the subject then). */
  readonly reason?: string;
}

export interface Victim {
  readonly node: NodeId;
  readonly incarnation: Incarnation;
}

/** A member that said itself why it ends. */
export interface Failure extends Victim {
  readonly reason: string;
}

interface Suspect {
  readonly incarnation: Incarnation;
  /** Observer -> saw a refused dial. At most one word of each. */
  readonly alerts: Map<NodeId, boolean>;
  /** Since when there is an alert / the low mark is reached. */
  readonly since: number;
  lowSince: number | undefined;
}

type Standing = 'high' | 'between' | 'below';

/** The leader's count of alerts (C1.5). Bounded by members times observers: what the view does not know is dropped. */
export class Tally {
  readonly #suspects = new Map<NodeId, Suspect>();
  /** Last words of members, until the map has them or a later life. At most one of each. */
  readonly #failures = new Map<NodeId, Failure>();

  /** Takes one observer's word; an old life's word is ignored, a new life starts from nothing. */
  note(claim: Claim, now: number): void {
    const { subject: node, incarnation, reason } = claim;
    if (reason !== undefined && claim.observer === node) {
      this.#failures.set(node, { node, incarnation, reason });
      return;
    }
    let suspect = this.#suspects.get(claim.subject);
    if (suspect !== undefined && claim.incarnation < suspect.incarnation) return;
    if (!claim.down) {
      if (suspect?.incarnation !== claim.incarnation) return;
      suspect.alerts.delete(claim.observer);
      if (suspect.alerts.size === 0) this.#suspects.delete(claim.subject);
      return;
    }
    if (suspect === undefined || suspect.incarnation < claim.incarnation) {
      const { incarnation } = claim;
      suspect = { incarnation, alerts: new Map(), since: now, lowSince: undefined };
      this.#suspects.set(claim.subject, suspect);
    }
    const wasRefused = suspect.alerts.get(claim.observer) ?? false;
    suspect.alerts.set(claim.observer, claim.refused || wasRefused);
  }

  /**
   * Who is to be called down now, all in one entry; nobody while a node hangs between the marks, at most UNSETTLED_MS.
   * @param isOutOfReach what this leader itself can not reach, either
   */
  verdict(
    view: ClusterView,
    now: number,
    isOutOfReach: (node: NodeId) => boolean = () => false,
  ): Victim[] {
    const victims: Victim[] = [];
    let isUnsettled = false;
    let isOverdue = false;
    for (const [node, suspect] of this.#suspects) {
      if (!isThisLife(view, node, suspect)) continue;
      const standing = standingOf(view, node, suspect);
      if (standing === 'below') suspect.lowSince = undefined;
      else suspect.lowSince ??= now;
      const waited = suspect.lowSince === undefined ? 0 : now - suspect.lowSince;
      const isLonely = now - suspect.since >= LONELY_ALERT_MS && isOutOfReach(node);
      const isLate = waited >= UNSETTLED_MS;
      if (standing === 'high' || isLate || (standing === 'below' && isLonely)) {
        victims.push({ node, incarnation: suspect.incarnation });
        isOverdue ||= isLate;
      } else if (standing === 'between') isUnsettled = true;
    }
    return isUnsettled && !isOverdue ? [] : victims.sort((a, b) => a.node - b.node);
  }

  /** Whose last words the map does not have yet. */
  failures(view: ClusterView): Failure[] {
    return [...this.#failures.values()].filter((failure) => isUntold(view, failure));
  }

  /** Forgets what a new view made pointless: nodes that are not up in that life, observers that observe no more. */
  settle(view: ClusterView): void {
    for (const [node, suspect] of this.#suspects) {
      const observers = observersOf(view, node);
      for (const observer of suspect.alerts.keys()) {
        if (!observers.includes(observer)) suspect.alerts.delete(observer);
      }
      const isOld = !isThisLife(view, node, suspect);
      if (isOld || suspect.alerts.size === 0) this.#suspects.delete(node);
    }
    for (const failure of this.#failures.values()) {
      if (!isUntold(view, failure)) this.#failures.delete(failure.node);
    }
  }

  get size(): number {
    return this.#suspects.size;
  }
}

function isUntold(view: ClusterView, { node, incarnation }: Failure): boolean {
  const member = view.members.get(node);
  return member !== undefined && member.incarnation === incarnation && member.failure === '';
}

function isThisLife(view: ClusterView, node: NodeId, suspect: Suspect): boolean {
  const member = view.members.get(node);
  return member?.state === 'up' && member.incarnation === suspect.incarnation;
}

function standingOf(view: ClusterView, node: NodeId, suspect: Suspect): Standing {
  const observers = observersOf(view, node);
  const words = observers.filter((observer) => suspect.alerts.has(observer));
  const refusals = words.filter((observer) => suspect.alerts.get(observer) === true).length;
  const { low, high } = marksOf(observers.length);
  if (observers.length === 0 || words.length === 0) return 'below';
  if (words.length >= high) return 'high';
  if (refusals >= Math.min(REFUSALS_NEEDED, observers.length)) return 'high';
  return words.length >= low ? 'between' : 'below';
}
