// What this node met that should not be: a second process with a member's identity, another node at its address, somebody of
// another history. Kept for a while for whoever asks (health); and whom the network lets in.

import type { Agreement } from './agreement/agreement.ts';
import { isGivenUp } from './core/cluster-settings.ts';
import type { NodeId } from './core/ids.ts';
import { type KnownMixUp, MixUpMemory } from './core/mix-up.ts';
import type { ClusterView } from './core/view.ts';
import type { Clock, MixUp, PeerAddress } from './ports/ports.ts';

export interface MixUpContext {
  readonly clock: Pick<Clock, 'now'>;
  readonly agreement: () => Agreement;
  readonly view: () => ClusterView | undefined;
}

export class MixUpDuties {
  readonly #context: MixUpContext;
  readonly #memory = new MixUpMemory();

  constructor(context: MixUpContext) {
    this.#context = context;
  }

  /** The network met it; who is no member is nobody's matter. */
  note({ kind, peer, address, found }: MixUp): void {
    const view = this.#context.view();
    const node = view?.memberByKey(peer)?.node;
    if (node === undefined) return;
    const by = found === undefined ? 0 : (view?.memberByKey(found)?.node ?? 0);
    const what = kind === 'barred-came' ? 'other-history' : kind;
    this.#memory.note({ kind: what, node, address, found: by }, this.#context.clock.now());
  }

  /** Lately, or still. */
  get current(): readonly KnownMixUp[] {
    const { agreement, clock, view } = this.#context;
    const split = agreement().driver.splitFrom.map(
      (node) => ({ kind: 'other-history', node, address: '', found: 0 }) as const,
    );
    const members = view()?.members;
    return [...this.#memory.current(clock.now()), ...split].filter(({ node }) =>
      members?.has(node),
    );
  }
}

/** Whom the network lets in. A voter that was given up knows another history: nothing of it may be heard (section 6). */
export function peersOf(view: ClusterView, self: NodeId): readonly PeerAddress[] {
  return [...view.members.values()]
    .filter(({ node }) => node !== self)
    .map(({ node, peerKey, addresses }) => ({
      peer: peerKey,
      addresses,
      isBarred: isGivenUp(view, node),
    }));
}
