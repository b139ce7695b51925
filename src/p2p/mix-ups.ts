// What this node meets that should not be (MixUp): told to the log and to the owner, at most once a minute for each kind
// and peer, as long as it lasts.

import type { PeerKey } from '../core/ids.ts';
import type { Clock, MixUp, Trace } from '../ports/ports.ts';

/** The same is said again after this, in ms. */
export const MIX_UP_REPEAT_MS = 60_000;

const WORDS: Readonly<Record<MixUp['kind'], readonly [event: string, reason: string]>> = {
  'address-taken': [
    'peer.address.taken',
    'another node answers at the address of this member: a foreign one, or a new disk',
  ],
  'identity-twice': [
    'peer.identity.twice',
    'a second process has the identity of this member, which is there: a copy of its data directory',
  ],
  'barred-came': [
    'peer.barred.came',
    'a voter that a forced recovery gave up runs: its history is another one',
  ],
};

export class MixUps {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #trace: Pick<Trace, 'warn'>;
  /** By kind and peer; forgotten with the peer. */
  readonly #toldAt = new Map<string, number>();
  /** Set by the owner. */
  onMixUp: ((mixUp: MixUp) => void) | undefined;

  constructor(clock: Pick<Clock, 'now'>, trace: Pick<Trace, 'warn'>) {
    this.#clock = clock;
    this.#trace = trace;
  }

  tell(mixUp: MixUp): void {
    const { kind, peer, address, found } = mixUp;
    const key = `${kind} ${peer}`;
    const now = this.#clock.now();
    if (now - (this.#toldAt.get(key) ?? Number.NEGATIVE_INFINITY) < MIX_UP_REPEAT_MS) return;
    this.#toldAt.set(key, now);
    const [event, reason] = WORDS[kind];
    this.#trace.warn(event, { peer, address, ...(found === undefined ? {} : { found }), reason });
    this.onMixUp?.(mixUp);
  }

  /** It is a peer no more. */
  forget(peer: PeerKey): void {
    for (const kind of Object.keys(WORDS)) this.#toldAt.delete(`${kind} ${peer}`);
  }
}

/**
 * The key that a dialled peer proved where another one was expected, in libp2p's words for it; one dial of several
 * addresses fails with all their errors. '' = it did not say which one; undefined: the dial failed for another reason.
 */
export function otherIdentity(error: unknown): string | undefined {
  if (error instanceof AggregateError) {
    return error.errors.map(otherIdentity).find((found) => found !== undefined);
  }
  const text = error instanceof Error ? error.message : '';
  const match = /identity key (?:(\w+) )?.*does not match/.exec(text);
  return match === null ? undefined : (match[1] ?? '');
}
