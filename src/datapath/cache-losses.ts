// Which volumes lost unflushed writes under a session of this node (R8), for health to tell. In memory only: a gateway
// that starts anew has no guest that could go on as if nothing had happened.

import { type CacheLoss, MAX_CACHE_LOSSES } from '../core/condition.ts';
import type { VolumeId } from '../core/ids.ts';

export class CacheLosses {
  /** Date of the last loss, in the order of the dates. */
  readonly #dates = new Map<VolumeId, number>();

  note(volume: VolumeId, dateMs: number): void {
    this.#dates.delete(volume);
    this.#dates.set(volume, dateMs);
    const [oldest] = this.#dates.keys();
    if (this.#dates.size > MAX_CACHE_LOSSES && oldest !== undefined) this.#dates.delete(oldest);
  }

  /** The newest per volume. */
  get all(): readonly CacheLoss[] {
    return [...this.#dates].map(([volume, dateMs]) => ({ volume, dateMs }));
  }
}
