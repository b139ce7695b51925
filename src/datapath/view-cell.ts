// The cell that holds the node's current ClusterView. One actor writes it (after the log prefix is synced, C2.9); the
// data path reads it, is told of changes, and waits in it for an index. It never calls up.

import type { MapIndex } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { ClusterView } from '../core/view.ts';

/** Most callers that wait for an index at once. Callers bound themselves below this. */
export const MAX_VIEW_WAITERS = 16384;

interface Waiter {
  readonly index: MapIndex;
  readonly fn: () => void;
}

export class ViewCell {
  #view: ClusterView;
  readonly #listeners = new Set<(view: ClusterView) => void>();
  #waiters: Waiter[] = [];

  constructor(view: ClusterView) {
    this.#view = view;
  }

  current(): ClusterView {
    return this.#view;
  }

  /** Replaces the view. Its index never goes back (A10). Listeners first, then who waits for the index, in order. */
  set(view: ClusterView): void {
    invariant(view.index >= this.#view.index, 'the applied index never goes back (A10)');
    this.#view = view;
    for (const fn of [...this.#listeners]) fn(view);
    const due = this.#waiters.filter((waiter) => waiter.index <= view.index);
    if (due.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => waiter.index > view.index);
    for (const waiter of due) waiter.fn();
  }

  /** Calls `fn` after each new view; returns the way to stop it. */
  onChange(fn: (view: ClusterView) => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  /**
   * Calls `fn` once the view has this index: now if it has. In order of asking among those that become due together.
   * @returns the way to give up; undefined when it was called already
   */
  whenIndex(index: MapIndex, fn: () => void): (() => void) | undefined {
    if (this.#view.index >= index) {
      fn();
      return undefined;
    }
    invariant(this.#waiters.length < MAX_VIEW_WAITERS, 'waits for a view are bounded');
    const waiter: Waiter = { index, fn };
    this.#waiters.push(waiter);
    return () => {
      const at = this.#waiters.indexOf(waiter);
      if (at >= 0) this.#waiters.splice(at, 1);
    };
  }
}
