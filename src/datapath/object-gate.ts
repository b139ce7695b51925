// The replica's own order of things: while one object is being copied or replaced, writes to it wait here in order of
// arrival; a SEAL makes copies in progress void and waits only for those that are past the point of return.

import { invariant } from '../core/invariant.ts';

/** Writes and copies that wait for one object; more are answered BUSY. */
export const MAX_GATE_QUEUE = 512;

interface Gate {
  readonly queue: (() => void)[];
}

/** Exclusive use of single objects. */
export class ObjectGates {
  readonly #gates = new Map<string, Gate>();

  /** No object is busy: the usual case, in which writes need no key. */
  get isOpen(): boolean {
    return this.#gates.size === 0;
  }

  isBusy(key: string): boolean {
    return this.#gates.has(key);
  }

  /** Runs `fn` when the object is free, before what comes later. False = too many wait, `fn` is dropped. */
  wait(key: string, fn: () => void): boolean {
    const gate = this.#gates.get(key);
    if (gate === undefined) {
      fn();
      return true;
    }
    if (gate.queue.length >= MAX_GATE_QUEUE) return false;
    gate.queue.push(fn);
    return true;
  }

  /** Takes the object. Only when it is not busy; call `leave` exactly once. */
  enter(key: string): void {
    invariant(!this.#gates.has(key), 'an object is taken by one at a time');
    this.#gates.set(key, { queue: [] });
  }

  /** Frees the object and runs `first`, then those who waited, in order, until one of them takes it again. */
  leave(key: string, first?: () => void): void {
    const gate = this.#gates.get(key);
    this.#gates.delete(key);
    if (gate === undefined) return;
    if (first !== undefined) gate.queue.unshift(first);
    while (gate.queue.length > 0) {
      const again = this.#gates.get(key);
      if (again !== undefined) {
        // Taken again: the rest goes before whoever came meanwhile.
        again.queue.unshift(...gate.queue.splice(0));
        return;
      }
      (gate.queue.shift() as () => void)();
    }
  }
}

/** Marks of a joining member, in memory only: a crash takes it out of every J (4.6, D7). Cleared by each new cfg. */
export class JoinMarks {
  readonly #marks = new Map<number, { cfg: number; readonly synced: Set<string> }>();

  /** True when this node holds everything of the stack for the present cfg: a drain may only extend it (Trap 1). */
  isSynced(partition: number, cfg: number, key: string): boolean {
    const mark = this.#marks.get(partition);
    return mark !== undefined && mark.cfg === cfg && mark.synced.has(key);
  }

  set(partition: number, cfg: number, key: string): void {
    let mark = this.#marks.get(partition);
    if (mark === undefined || mark.cfg !== cfg) {
      mark = { cfg, synced: new Set() };
      this.#marks.set(partition, mark);
    }
    mark.synced.add(key);
  }

  /** Forgets a partition that this node does not join any more. */
  forget(partition: number): void {
    this.#marks.delete(partition);
  }

  partitions(): readonly number[] {
    return [...this.#marks.keys()];
  }
}

/** Which copies a SEAL has made void, and which are being committed. */
export class CopyFence {
  readonly #seals = new Map<number, number>();
  readonly #commits = new Map<number, number>();
  readonly #waiters = new Map<number, (() => void)[]>();

  /** Number of seals of a partition so far; a copy is void when it rose since the copy began. */
  sealsOf(partition: number): number {
    return this.#seals.get(partition) ?? 0;
  }

  /** Makes copies in progress void; calls `done` when those past the point of return have ended. */
  seal(partitions: readonly number[], done: () => void): void {
    let left = 1;
    const one = (): void => {
      left -= 1;
      if (left === 0) done();
    };
    for (const partition of partitions) {
      this.#seals.set(partition, this.sealsOf(partition) + 1);
      if ((this.#commits.get(partition) ?? 0) === 0) continue;
      left += 1;
      const list = this.#waiters.get(partition) ?? [];
      list.push(one);
      this.#waiters.set(partition, list);
    }
    one();
  }

  beginCommit(partition: number): void {
    this.#commits.set(partition, (this.#commits.get(partition) ?? 0) + 1);
  }

  endCommit(partition: number): void {
    const left = (this.#commits.get(partition) ?? 1) - 1;
    if (left > 0) {
      this.#commits.set(partition, left);
      return;
    }
    this.#commits.delete(partition);
    const waiters = this.#waiters.get(partition) ?? [];
    this.#waiters.delete(partition);
    for (const fn of waiters) fn();
  }
}

/** One key per object. */
export function objectKey(generation: number, index: number): string {
  return `${generation}/${index}`;
}
