// Members do not talk to strangers, nor to a second process with the identity of one, nor to whom a forced recovery gave up:
// a node that is one of these hears nothing. So it knocks, with nothing in its hand, to hear whether it is wanted: at its
// start, before it takes part in anything, and while nobody answers.

import { OperatingError } from './core/errors.ts';
import type { NodeId } from './core/ids.ts';
import { NEW_IDENTITY, ONE_OF_TWO } from './core/remedies.ts';
import type { ClusterView, Member } from './core/view.ts';
import { KNOCK_TIMEOUT_MS, knockAt } from './formation.ts';
import type { Clock, Network } from './ports/ports.ts';
import type { JoinReply } from './wire/messages.ts';

/** Between two questions, while nobody answers. */
export const RETIRED_ASK_MS = 5000;
/** So many members are asked, voters first: one after the other, at a start all at once. */
export const MAX_MEMBERS_ASKED = 8;
/** Longest that a start waits for their answers. */
export const START_ASK_MS = 1000;

export class Retirement {
  readonly #network: Network;
  readonly #clock: Pick<Clock, 'now'>;
  #askedAt = Number.NEGATIVE_INFINITY;

  constructor(network: Network, clock: Pick<Clock, 'now'>) {
    this.#network = network;
    this.#clock = clock;
  }

  /**
   * Asks one member after the other until one answers, at most every RETIRED_ASK_MS. Never rejects.
   * @returns why this node can not go on; undefined: it can, or nobody could be asked
   */
  async ask(view: ClusterView | undefined, self: NodeId): Promise<OperatingError | undefined> {
    const now = this.#clock.now();
    const me = view?.members.get(self);
    if (view === undefined || me === undefined || now - this.#askedAt < RETIRED_ASK_MS) {
      return undefined;
    }
    this.#askedAt = now;
    for (const member of askedOf(view, self)) {
      const reply = await this.#knock(view, member, me, KNOCK_TIMEOUT_MS);
      if (reply !== undefined) return refusalOf(reply);
    }
    return undefined;
  }

  /** Asks several at once: one that says no is enough, for each knows others. Never rejects. */
  async askAll(view: ClusterView | undefined, self: NodeId): Promise<OperatingError | undefined> {
    const me = view?.members.get(self);
    if (view === undefined || me === undefined) return undefined;
    const answers = askedOf(view, self).map((member) =>
      this.#knock(view, member, me, START_ASK_MS),
    );
    const refusals = (await Promise.all(answers)).map(refusalOf);
    return refusals.find((refusal) => refusal !== undefined);
  }

  #knock(
    { clusterId }: ClusterView,
    { peerKey, addresses: [address] }: Member,
    me: Member,
    timeoutMs: number,
  ): Promise<JoinReply | undefined> {
    if (address === undefined) return Promise.resolve(undefined);
    const nothing = { clusterId, addresses: [], inviteId: '', secret: '' };
    const at = `${address}/p2p/${peerKey}`;
    return knockAt(this.#network, at, nothing, me, timeoutMs).catch(() => undefined);
  }
}

function askedOf({ members, voters }: ClusterView, self: NodeId): readonly Member[] {
  const others = [...members.values()].filter(({ node }) => node !== self);
  const isVoter = ({ node }: Member): number => (voters.includes(node) ? 0 : 1);
  return others.sort((a, b) => isVoter(a) - isVoter(b)).slice(0, MAX_MEMBERS_ASKED);
}

/** Other refusals are no matter of this node's identity. */
function refusalOf(reply: JoinReply | undefined): OperatingError | undefined {
  if (reply?.type !== 'refused') return undefined;
  const { code, text } = reply;
  if (code === 'locked') return new OperatingError(code, text, { remedy: ONE_OF_TWO });
  if (code === 'gone') return new OperatingError(code, text, { remedy: NEW_IDENTITY });
  return undefined;
}
