// Members do not talk to strangers, so one that was retired while it was away would wait for ever: it knocks, with nothing
// in its hand, to hear whether it is a member still.

import type { NodeId } from './core/ids.ts';
import type { ClusterView } from './core/view.ts';
import { knockAt } from './formation.ts';
import type { Clock, Network } from './ports/ports.ts';

/** Between two questions, while nobody answers. */
export const RETIRED_ASK_MS = 5000;
/** So many members are asked, one after the other. */
export const MAX_MEMBERS_ASKED = 8;

export class Retirement {
  readonly #network: Network;
  readonly #clock: Pick<Clock, 'now'>;
  #askedAt = Number.NEGATIVE_INFINITY;

  constructor(network: Network, clock: Pick<Clock, 'now'>) {
    this.#network = network;
    this.#clock = clock;
  }

  /**
   * Asks, at most every RETIRED_ASK_MS. Never rejects.
   * @returns why this node is a member no more; undefined: it is one, or nobody could be asked
   */
  async ask(view: ClusterView | undefined, self: NodeId): Promise<string | undefined> {
    const me = view?.members.get(self);
    const now = this.#clock.now();
    if (view === undefined || me === undefined || now - this.#askedAt < RETIRED_ASK_MS) {
      return undefined;
    }
    this.#askedAt = now;
    const nothing = { clusterId: view.clusterId, addresses: [], inviteId: '', secret: '' };
    const others = [...view.members.values()].filter(({ node }) => node !== self);
    for (const { peerKey, addresses } of others.slice(0, MAX_MEMBERS_ASKED)) {
      const [address] = addresses;
      if (address === undefined) continue;
      const at = `${address}/p2p/${peerKey}`;
      const reply = await knockAt(this.#network, at, nothing, me).catch(() => undefined);
      if (reply?.type === 'refused' && reply.code === 'gone') return reply.text;
      if (reply !== undefined) return undefined;
    }
    return undefined;
  }
}
