// How loaded the members say that they are: topic `stats` (C8.1). It decides nothing but whom a leader prefers as the next
// voter, after zones and those who vote already (1.3). Lost, late or doubled words cost at most a worse choice.

import type { Incarnation, NodeId } from './ids.ts';
import type { ClusterView } from './view.ts';

/** Nobody says it more often, */
export const MIN_STATS_PAUSE_MS = 10_000;
/** and all members together about once in this time: each rumour reaches a node several times, 80 B/s in all. */
export const STATS_PAUSE_PER_MEMBER_MS = 3000;
/** Per mille. */
export const MAX_LOAD = 1000;
/** Loads within one step are equal: a choice must not follow noise. */
const LOAD_STEP = 100;

/** How long a member waits between two words on its load. */
export function statsPauseMs(members: number): number {
  return Math.max(MIN_STATS_PAUSE_MS, members * STATS_PAUSE_PER_MEMBER_MS);
}

/** Worst event loop lag of the last pings in ms as per mille: who answers late decides late. */
export function loadOfLag(lagMs: number): number {
  return Math.min(MAX_LOAD, Math.round(lagMs));
}

/** One member's word. */
export interface LoadWord {
  readonly node: NodeId;
  readonly incarnation: Incarnation;
  readonly counter: number;
  readonly load: number;
}

/** The last word of each. Bounded by the members: others are dropped. */
export class Loads {
  readonly #words = new Map<NodeId, LoadWord>();

  /** Takes a word unless a later one is known (C8.2). */
  note(word: LoadWord, view: ClusterView): void {
    const member = view.members.get(word.node);
    if (member === undefined || word.incarnation < member.incarnation) return;
    const known = this.#words.get(word.node);
    if (known !== undefined && !isLater(word, known)) return;
    this.#words.set(word.node, word);
    if (this.#words.size <= view.members.size) return;
    for (const node of this.#words.keys()) if (!view.members.has(node)) this.#words.delete(node);
  }

  /** 0 when nothing is known: a stranger to load is not worse than an idle one. */
  stepOf(node: NodeId): number {
    return Math.floor((this.#words.get(node)?.load ?? 0) / LOAD_STEP);
  }
}

function isLater(word: LoadWord, known: LoadWord): boolean {
  if (word.incarnation !== known.incarnation) return word.incarnation > known.incarnation;
  return word.counter > known.counter;
}
