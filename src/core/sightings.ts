// What an observer has seen of others' disks (C1.9): the highest synced journal sequence that a pong told of, and the life
// that told it. A disk that starts with less than was seen of an earlier life is an older image of itself (section 6).
//
// A sequence only grows, and whoever goes on without a restart raises its incarnation before it names a sequence again
// (C4.2). So no life of a whole disk begins below what an earlier life said: the rule accuses nobody wrongly.

import type { Incarnation, NodeId } from './ids.ts';
import { MAX_OBSERVERS, observersOf } from './membership.ts';
import type { ClusterView, Member } from './view.ts';

/** Of one disk: what it said last. */
export interface DiskWord {
  readonly storeGeneration: number;
  readonly incarnation: Incarnation;
  readonly journalSeq: number;
}

/** The most that was seen of a node. */
export interface Sighting extends DiskWord {
  readonly node: NodeId;
}

/** True when a life that starts with `start` has less than was seen of an earlier one. */
export function isOlderImage(start: DiskWord, seen: DiskWord): boolean {
  if (start.storeGeneration !== seen.storeGeneration) return false;
  return seen.incarnation < start.incarnation && seen.journalSeq > start.journalSeq;
}

/** Whom a node asks at its start what they saw of it: who observed it last, as far as they are up. */
export function witnessesOf(view: ClusterView, node: NodeId): readonly NodeId[] {
  const member = view.members.get(node);
  const noted = member?.state === 'down' ? member.observers : observersOf(view, node);
  return noted.filter((one) => view.members.get(one)?.state === 'up').slice(0, MAX_OBSERVERS);
}

/** One maximum per node. Bounded by the members: the rest is dropped when a view is settled. */
export class Sightings {
  readonly #seen = new Map<NodeId, Sighting>();
  #hasNews = false;

  constructor(known: readonly Sighting[] = []) {
    for (const one of known) this.#seen.set(one.node, one);
  }

  /** What a pong said. A lower sequence changes nothing, whatever life says it. */
  note(node: NodeId, word: DiskWord): void {
    const known = this.#seen.get(node);
    // Life 0: from before pongs named their life.
    if (word.incarnation === 0) return;
    const isSameDisk = known?.storeGeneration === word.storeGeneration;
    if (isSameDisk && word.journalSeq <= known.journalSeq) return;
    const { storeGeneration, incarnation, journalSeq } = word;
    this.#seen.set(node, { node, storeGeneration, incarnation, journalSeq });
    this.#hasNews = true;
  }

  of(node: NodeId): Sighting | undefined {
    return this.#seen.get(node);
  }

  /** All of them if there is news since the last call, for the disk. */
  takeNews(): readonly Sighting[] | undefined {
    if (!this.#hasNews) return undefined;
    this.#hasNews = false;
    return [...this.#seen.values()].sort((a, b) => a.node - b.node);
  }

  /** Forgets who is no member. */
  settle(view: ClusterView): void {
    for (const node of this.#seen.keys()) {
      if (view.members.has(node)) continue;
      this.#seen.delete(node);
      this.#hasNews = true;
    }
  }

  /** Members that came up with less than this node had seen of them. */
  olderImages(view: ClusterView): readonly { readonly member: Member; readonly seen: Sighting }[] {
    const found: { readonly member: Member; readonly seen: Sighting }[] = [];
    for (const seen of this.#seen.values()) {
      const member = view.members.get(seen.node);
      if (member === undefined || member.state === 'joined') continue;
      if (isOlderImage(member, seen)) found.push({ member, seen });
    }
    return found;
  }
}
