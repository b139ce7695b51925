// When the leader calls a node down: the count of its observers' words (C1.5). Liveness only. Nothing here reads a clock:
// times are arguments, in ms of one monotonic clock.
//
// A word lives as long as it is repeated (CLAIM_LIFE_MS), counts once for each observer, and counts for one life of its
// subject. The word of a node that is itself called down does not count: of two that accuse each other, one goes. An
// observer that is doubted itself and says nothing counts as one that would: it may have died with its subject.

import type { Incarnation, NodeId } from './ids.ts';
import { MAX_OBSERVERS, observersOf, SMALL_CLUSTER_NODES, upCount } from './membership.ts';
import type { ClusterView } from './view.ts';

/** What hangs between the marks so long counts as down (C1.5). */
export const UNSETTLED_MS = 5000;
/**
 * In a cluster above SMALL_CLUSTER_NODES a leader waits so long after the first victim for the words of others: what died
 * in one moment goes in one entry (C1.5).
 */
export const GATHER_MS = 200;
/** And so long for further words on a node of which the first one came just now: observers ping once a second. */
export const FRESH_MS = 1200;
/** What is below the low mark so long, and out of the leader's reach, counts as down (C1.5). */
export const LONELY_ALERT_MS = 15_000;
/** A leader tries to reach what has been below the low mark for so long: it knows before LONELY_ALERT_MS. */
export const LONELY_PROBE_AFTER_MS = 5000;
/** Nodes that a leader tries to reach at once for that reason. */
export const MAX_LONELY_PROBES = 16;
/** Observers that saw a refused dial: a process that is gone, not a slow one (C1.8). */
export const REFUSALS_NEEDED = 2;
/** Observers whose words make a silent one count as a witness. */
const ACCUSERS_NEEDED = 2;
/** A word that was not repeated for so long is forgotten: its observer is dead, or has changed its mind unheard. */
export const CLAIM_LIFE_MS = 5000;

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
  /** The subject's own last words; absent in what others say. */
  readonly reason?: string;
}

export interface Victim {
  readonly node: NodeId;
  readonly incarnation: Incarnation;
}

/** A member that said itself that it can not go on. */
export interface Failure extends Victim {
  readonly reason: string;
}

interface Word {
  readonly refused: boolean;
  readonly saidAt: number;
}

interface Suspect {
  readonly incarnation: Incarnation;
  /** At most one word of each observer. */
  readonly words: Map<NodeId, Word>;
  /** Since when there is an alert / the low mark is reached. */
  readonly since: number;
  lowSince: number | undefined;
  highSince: number | undefined;
}

const NO_ROUND = { victims: new Map<NodeId, Victim>(), doubted: new Set<NodeId>() };

type Standing = 'high' | 'between' | 'below';

/** What a leader knows beside the words. */
export interface Judge {
  /** The leader itself: of two that accuse each other, it stays. */
  readonly self?: NodeId;
  /** What this leader itself can not reach, either. */
  readonly isOutOfReach?: (node: NodeId) => boolean;
}

/** The leader's count of alerts (C1.5). Bounded by members times observers: what the view does not know is dropped. */
export class Tally {
  readonly #suspects = new Map<NodeId, Suspect>();
  readonly #lastWords = new Map<NodeId, Failure>();

  /** Takes one observer's word; an old life's word is ignored, a new life starts from nothing. */
  note(claim: Claim, now: number): void {
    if (claim.observer === claim.subject) {
      this.#noteLastWords(claim);
      return;
    }
    let suspect = this.#suspects.get(claim.subject);
    if (suspect !== undefined && claim.incarnation < suspect.incarnation) return;
    if (!claim.down) {
      if (suspect?.incarnation === claim.incarnation) this.#takeBack(claim, suspect);
      return;
    }
    if (suspect === undefined || suspect.incarnation < claim.incarnation) {
      const { incarnation } = claim;
      suspect = {
        incarnation,
        words: new Map(),
        since: now,
        lowSince: undefined,
        highSince: undefined,
      };
      this.#suspects.set(claim.subject, suspect);
    }
    const wasRefused = suspect.words.get(claim.observer)?.refused ?? false;
    suspect.words.set(claim.observer, { refused: claim.refused || wasRefused, saidAt: now });
  }

  /** Nobody else may say it: the sender of last words is their subject. */
  #noteLastWords({ subject: node, incarnation, reason }: Claim): void {
    const known = this.#lastWords.get(node);
    if (reason === undefined || (known !== undefined && known.incarnation > incarnation)) return;
    this.#lastWords.set(node, { node, incarnation, reason });
  }

  /** Last words that the map does not know yet. */
  failures(view: ClusterView): Failure[] {
    return [...this.#lastWords.values()].filter((one) => isUntold(view, one));
  }

  #takeBack({ observer, subject }: Claim, suspect: Suspect): void {
    suspect.words.delete(observer);
    if (suspect.words.size === 0) this.#suspects.delete(subject);
  }

  /** Who is to be called down now, all in one entry; nobody while a node hangs between the marks, at most UNSETTLED_MS. */
  verdict(view: ClusterView, now: number, judge: Judge = {}): Victim[] {
    this.#forgetStale(now);
    const victims = new Map<NodeId, Victim>();
    const isGathering = upCount(view) > SMALL_CLUSTER_NODES;
    let mustWait = false;
    let isOverdue = false;
    const suspects = this.#worstFirst(view, judge.self);
    const round: Round = { victims, doubted: doubtedIn(view, suspects, judge) };
    for (const [node, suspect] of suspects) {
      const standing = standingOf(view, node, suspect, round);
      noteStanding(suspect, standing, now);
      const waited = now - (suspect.lowSince ?? now);
      if (standing === 'high' || waited >= UNSETTLED_MS || isLost(node, suspect, { now, judge })) {
        victims.set(node, { node, incarnation: suspect.incarnation });
        isOverdue ||= waited >= UNSETTLED_MS;
        mustWait ||= isGathering && now - (suspect.highSince ?? 0) < GATHER_MS;
      } else if (standing === 'between') mustWait = true;
      else mustWait ||= isGathering && now - suspect.since < FRESH_MS;
    }
    if (mustWait && !isOverdue) return [];
    return [...victims.values()].sort((a, b) => a.node - b.node);
  }

  /** Whom the leader should try to reach itself, ascending: below the low mark for some time (C1.5). */
  lonely(view: ClusterView, now: number): NodeId[] {
    this.#forgetStale(now);
    const lonely: NodeId[] = [];
    for (const [node, suspect] of this.#suspects) {
      if (!isThisLife(view, node, suspect) || now - suspect.since < LONELY_PROBE_AFTER_MS) continue;
      if (standingOf(view, node, suspect, NO_ROUND) === 'below') lonely.push(node);
    }
    return lonely.sort((a, b) => a - b).slice(0, MAX_LONELY_PROBES);
  }

  /** Forgets what a new view made pointless: nodes that are not up in that life, observers that observe no more. */
  settle(view: ClusterView): void {
    for (const [node, suspect] of this.#suspects) {
      const observers = observersOf(view, node);
      for (const observer of suspect.words.keys()) {
        if (!observers.includes(observer)) suspect.words.delete(observer);
      }
      const isOld = !isThisLife(view, node, suspect);
      if (isOld || suspect.words.size === 0) this.#suspects.delete(node);
    }
    for (const [node, failure] of this.#lastWords) {
      if (!isUntold(view, failure)) this.#lastWords.delete(node);
    }
  }

  /** Nodes that somebody said something of. */
  get size(): number {
    return this.#suspects.size + this.#lastWords.size;
  }

  #forgetStale(now: number): void {
    for (const [node, suspect] of this.#suspects) {
      for (const [observer, { saidAt }] of suspect.words) {
        if (now - saidAt >= CLAIM_LIFE_MS) suspect.words.delete(observer);
      }
      if (suspect.words.size === 0) this.#suspects.delete(node);
    }
  }

  /** Most words first, the leader last, then the highest id first: whoever is called down accuses nobody after that. */
  #worstFirst(view: ClusterView, self: NodeId | undefined): [NodeId, Suspect][] {
    return [...this.#suspects]
      .filter(([node, suspect]) => isThisLife(view, node, suspect))
      .sort(([a, one], [b, other]) => {
        if (one.words.size !== other.words.size) return other.words.size - one.words.size;
        return Number(a === self) - Number(b === self) || b - a;
      });
  }
}

/**
 * The victims, and with them whoever answered in a later life than the map knows: its former one is over, and what it had
 * confirmed unsynced may be gone. Until its own `nodeUp` is applied it would count as sure, and a shrink beside it could
 * drop the only member that has everything (R8).
 */
export function withRestarted(
  view: ClusterView,
  victims: readonly Victim[],
  lifeOf: (node: NodeId) => Incarnation | undefined,
): readonly Victim[] {
  const all = new Map(victims.map((victim) => [victim.node, victim]));
  for (const { node, state, incarnation } of view.members.values()) {
    if (state === 'up' && (lifeOf(node) ?? 0) > incarnation) all.set(node, { node, incarnation });
  }
  return [...all.values()].sort((a, b) => a.node - b.node);
}

function noteStanding(suspect: Suspect, standing: Standing, now: number): void {
  if (standing === 'below') suspect.lowSince = undefined;
  else suspect.lowSince ??= now;
  if (standing === 'high') suspect.highSince ??= now;
  else suspect.highSince = undefined;
}

/** C1.5: others accuse it, few and for long, and the leader can not reach it either: two links, not one seen twice. */
function isLost(node: NodeId, suspect: Suspect, at: { now: number; judge: Judge }): boolean {
  const { self, isOutOfReach } = at.judge;
  const isAccused = [...suspect.words.keys()].some((observer) => observer !== self);
  const isLonely = isAccused && suspect.lowSince === undefined;
  if (!isLonely || at.now - suspect.since < LONELY_ALERT_MS) return false;
  return isOutOfReach?.(node) ?? false;
}

function isUntold(view: ClusterView, { node, incarnation }: Failure): boolean {
  const member = view.members.get(node);
  if (member?.incarnation !== incarnation || member.state === 'joined') return false;
  return member.failure === '';
}

function isThisLife(view: ClusterView, node: NodeId, suspect: Suspect): boolean {
  const member = view.members.get(node);
  return member?.state === 'up' && member.incarnation === suspect.incarnation;
}

/** What of a round of judgement bears on the words of others. */
interface Round {
  /** Called down in this round: their words do not count. */
  readonly victims: ReadonlyMap<NodeId, Victim>;
  /** At or above the low mark, seen twice: where they are silent, they would say the same of others that are there. */
  readonly doubted: ReadonlySet<NodeId>;
}

function standingOf(view: ClusterView, node: NodeId, suspect: Suspect, round: Round): Standing {
  const observers = observersOf(view, node);
  const words = observers.filter((one) => suspect.words.has(one) && !round.victims.has(one));
  const refusals = words.filter((one) => suspect.words.get(one)?.refused === true).length;
  const { low, high } = marksOf(observers.length);
  if (observers.length === 0 || words.length === 0) return 'below';
  if (refusals >= Math.min(REFUSALS_NEEDED, observers.length)) return 'high';
  if (words.length < low) return 'below';
  const silent = observers.filter((one) => round.doubted.has(one) && !suspect.words.has(one));
  return words.length + silent.length >= high ? 'high' : 'between';
}

/** One accuser is not enough, unless the leader misses the node, too: who is deaf himself would accuse everybody. */
function doubtedIn(
  view: ClusterView,
  suspects: readonly [NodeId, Suspect][],
  { isOutOfReach }: Judge,
): Set<NodeId> {
  const doubted = new Set<NodeId>();
  for (const [node, { words }] of suspects) {
    const observers = observersOf(view, node);
    const count = observers.filter((one) => words.has(one)).length;
    const isSeenTwice = count >= ACCUSERS_NEEDED || isOutOfReach?.(node) === true;
    if (count >= marksOf(observers.length).low && isSeenTwice) doubted.add(node);
  }
  return doubted;
}
