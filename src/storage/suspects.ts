// What a store knows to be damaged and not healed yet: objects whose file, sums or sectors failed a check (4.10). Only
// bookkeeping in memory: damage that is forgotten by a restart is found again by the next read or scrub.

import type { ObjectId } from '../core/ids.ts';

/** Objects noted at once; what comes beyond is found again later. */
export const MAX_SUSPECTS = 65_536;

export interface Suspect extends ObjectId {
  /** partitionKey(policy, p). */
  readonly partition: number;
  /** File or sums are gone: nothing of the copy counts but what was written since. */
  readonly isWhole: boolean;
}

export class SuspectList {
  readonly #items = new Map<string, Suspect>();
  readonly #listeners: (() => void)[] = [];

  get size(): number {
    return this.#items.size;
  }

  /** Notes damage; listeners hear of objects that were not noted, or not as a whole. */
  note(object: ObjectId & { readonly partition: number }, isWhole: boolean): void {
    const { generation, index, partition } = object;
    const key = keyOf(object);
    const known = this.#items.get(key);
    if (known !== undefined && (known.isWhole || !isWhole)) return;
    if (known === undefined && this.#items.size >= MAX_SUSPECTS) return;
    this.#items.set(key, { generation, index, partition, isWhole });
    for (const listener of this.#listeners) listener();
  }

  /** The object is whole again, or gone. */
  forget(object: ObjectId): void {
    this.#items.delete(keyOf(object));
  }

  find(object: ObjectId): Suspect | undefined {
    return this.#items.get(keyOf(object));
  }

  /** In the order in which they were noted. */
  list(): readonly Suspect[] {
    return [...this.#items.values()];
  }

  /** One after the other; what is noted meanwhile comes last. */
  [Symbol.iterator](): Iterator<Suspect> {
    return this.#items.values();
  }

  onNews(fn: () => void): void {
    this.#listeners.push(fn);
  }
}

function keyOf({ generation, index }: ObjectId): string {
  return `${generation}/${index}`;
}
