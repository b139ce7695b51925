// What one node knows about the comings and goings of members, for people: how long they have been down, which voters do
// not answer, and the desk where an operator decides. The decisions: member-admin.ts.

import type { Agreement } from './agreement/agreement.ts';
import { MAX_REACH_ASKED, upMembers } from './agreement/ask-members.ts';
import type { OperatingError } from './core/errors.ts';
import type { NodeId } from './core/ids.ts';
import { DownTimes } from './core/life-plan.ts';
import type { PartitionCas } from './core/log-entry.ts';
import type { ClusterView } from './core/view.ts';
import { memberAdmin } from './member-admin.ts';
import type { ClusterAdmin } from './node-handle.ts';
import type { Clock, Network } from './ports/ports.ts';
import { Retirement } from './retirement.ts';

/** Between the request to end and the end: its answer is on the way. */
export const EXIT_PAUSE_MS = 100;

export interface MemberDeskOptions {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly network: Network;
  readonly agreement: Agreement;
  readonly view: () => ClusterView | undefined;
  /** Of copies that this node holds. */
  readonly usedBytes: () => number;
  /** Drops what this node has of lost partitions, durably. */
  readonly dropLost: (partitions: readonly PartitionCas[]) => Promise<void>;
  readonly onExitAsked: () => void;
  /** This node is a member no more, or not alone: it can not go on. */
  readonly onRetired: (error: Error) => void;
}

export class MemberDesk {
  readonly downTimes = new DownTimes();
  readonly #options: MemberDeskOptions;
  readonly #retirement: Retirement;
  #missing: readonly NodeId[] = [];

  constructor(options: MemberDeskOptions) {
    this.#options = options;
    this.#retirement = new Retirement(options.network, options.clock);
  }

  /** A view was applied. */
  note(view: ClusterView): void {
    this.downTimes.note(view, this.#options.clock.now());
  }

  /** Voters that did not answer when they were asked last; nobody while a leader is known. */
  get missingVoters(): readonly NodeId[] {
    const voters = this.#options.view()?.voters ?? [];
    return this.missing.filter((node) => voters.includes(node));
  }

  /** Members, by the map up or voters, that did not answer then; nobody while a leader is known. */
  get missing(): readonly NodeId[] {
    return this.#hasLeader ? [] : this.#missing;
  }

  get #hasLeader(): boolean {
    return this.#options.agreement.driver.leader !== undefined;
  }

  /**
   * Asks the voters who is there, unless a leader is known: a node that waits says for whom. A person wants to know of all
   * that are up by the map, which says so of the dead as well while no majority decides; a start of hundreds asks voters.
   */
  async lookForVoters(whom: 'voters' | 'all' = 'voters'): Promise<void> {
    if (this.#hasLeader) return;
    const view = this.#options.view();
    const asked = [
      ...new Set([...(view?.voters ?? []), ...(whom === 'all' ? upMembers(view) : [])]),
    ];
    const bounded = asked.slice(0, MAX_REACH_ASKED);
    const reached = await this.#options.agreement.reachOf(bounded);
    this.#missing = bounded.filter((node) => !reached.has(node));
  }

  /** Nobody answers: was this node retired while it was away, or is another process it by now? */
  async endIfRetired(): Promise<void> {
    const { view, self, onRetired } = this.#options;
    const refusal = await this.#retirement.ask(view(), self);
    if (refusal !== undefined) onRetired(refusal);
  }

  /** The same at a start, of several members: two histories, or two processes, must not run side by side. */
  refusalAtStart(): Promise<OperatingError | undefined> {
    const { view, self } = this.#options;
    return this.#retirement.askAll(view(), self);
  }

  /** What an operator decides of the members. */
  admin(view: () => ClusterView): ClusterAdmin {
    const { self, agreement, clock, usedBytes, onExitAsked } = this.#options;
    const exitSoon = async (): Promise<void> => {
      // After the answer to whoever asked.
      clock.setTimer(EXIT_PAUSE_MS, onExitAsked);
    };
    return memberAdmin({
      ...{ self, clock, view, usedBytes },
      downTimes: this.downTimes,
      propose: (body) => agreement.propose(body),
      askToExit: (node) => (node === self ? exitSoon() : agreement.askToExit(node)),
      reachOf: (nodes) => agreement.reachOf(nodes),
      leaderAmong: (nodes) => agreement.leaderAmong(nodes),
      learn: () => agreement.catchUp(),
      lookForVoters: () => this.lookForVoters('all'),
      catchUp: () => agreement.readCurrent(),
      hasLeader: () => this.#hasLeader,
      dropLost: this.#options.dropLost,
    });
  }
}
