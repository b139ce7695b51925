// Who is where is not as it should be, as members noticed it: a second process with the identity of one, another node at its
// address, somebody of another history. Remembered for a while, so that health can tell of it from any node. Pure: times
// are arguments, in ms of one monotonic clock.

import type { NodeId } from './ids.ts';
import { MINUTE_MS } from './units.ts';

export type MixUpKind = 'identity-twice' | 'address-taken' | 'other-history';

export interface KnownMixUp {
  readonly kind: MixUpKind;
  /** The member that it is about. */
  readonly node: NodeId;
  /** Of the process that should not be there; '' = not known. */
  readonly address: string;
  /** The member that answers at a taken address; 0 = none, or not known. */
  readonly found: NodeId | 0;
}

/** Told for so long after it was seen last; what lasts is seen again each minute. */
export const MIX_UP_TOLD_MS: Readonly<Record<MixUpKind, number>> = {
  // Whoever is refused ends at once, and its copy lies there still.
  'identity-twice': 10 * MINUTE_MS,
  'address-taken': 2 * MINUTE_MS,
  'other-history': 2 * MINUTE_MS,
};
/** Remembered by one node; beyond, the oldest is forgotten. */
export const MAX_MIX_UPS = 32;

interface Noted {
  readonly mixUp: KnownMixUp;
  readonly at: number;
}

/** The newest of each kind and member. */
export class MixUpMemory {
  readonly #noted = new Map<string, Noted>();

  note(mixUp: KnownMixUp, now: number): void {
    const key = `${mixUp.kind} ${mixUp.node}`;
    this.#noted.delete(key);
    this.#noted.set(key, { mixUp, at: now });
    const [oldest] = this.#noted.keys();
    if (this.#noted.size > MAX_MIX_UPS && oldest !== undefined) this.#noted.delete(oldest);
  }

  /** Those that were seen lately, by time. */
  current(now: number): readonly KnownMixUp[] {
    for (const [key, { mixUp, at }] of this.#noted) {
      if (now - at >= MIX_UP_TOLD_MS[mixUp.kind]) this.#noted.delete(key);
    }
    return [...this.#noted.values()].map(({ mixUp }) => mixUp);
  }
}
