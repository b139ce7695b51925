// Every node is a learner of the map log: applies what is committed and synced here, strictly in order (C2.9), publishes
// one immutable view per batch, and closes its own gaps by pulling (C8.3). Gossip only makes it quicker (C8.5).

import {
  applyEntry,
  type ClusterState,
  emptyState,
  hashOf,
  viewOf,
} from '../core/cluster-state.ts';
import { OperatingError } from '../core/errors.ts';
import type { MapIndex, NodeId, PeerKey } from '../core/ids.ts';
import type { ApplyResult, LogEntry } from '../core/log-entry.ts';
import type { ClusterView } from '../core/view.ts';
import type { Clock, Random, Trace } from '../ports/ports.ts';
import type { ReplyBody, RequestBody } from '../wire/messages.ts';
import type { RaftDriver } from './raft-driver.ts';
import { pause } from './waiting.ts';

/** The state is hashed after each so many entries and the hash compared in digests (C2.8). */
export const AUDIT_EVERY = 1000;
/** Bytes of entries in one answer to a pull. */
export const PULL_BYTES = 512 * 1024;
export const PULL_TIMEOUT_MS = 2000;
/** Between two tries; each asks another node. */
export const PULL_PAUSE_MS = 50;
/** Tries for one target; the next digest starts anew. */
export const MAX_PULL_TRIES = 20;

export interface LearnerOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly trace: Trace;
  readonly driver: () => RaftDriver;
  readonly ask: (peer: PeerKey, body: RequestBody, timeoutMs: number) => Promise<ReplyBody>;
  /** Whom to ask when nobody is named: known members but this one. */
  readonly sources: () => readonly PeerKey[];
  readonly keyOf: (node: NodeId) => PeerKey | undefined;
  /** After each entry, in order, before the view changes. */
  readonly onApplied: (entry: LogEntry, result: ApplyResult) => void;
  /** After a batch. */
  readonly onView: (view: ClusterView) => void;
}

/** Index and hash of the state at the last audit point; 0 and '' before the first. */
export interface Audit {
  readonly index: number;
  readonly hash: string;
}

export class Learner {
  readonly #options: LearnerOptions;
  #state: ClusterState = emptyState();
  #applied = 0;
  #audit: Audit = { index: 0, hash: '' };
  #pullTarget = 0;
  /** In vain, for this target. */
  #tries = 0;
  #isPulling = false;
  #isStopped = false;

  constructor(options: LearnerOptions) {
    this.#options = options;
  }

  get applied(): MapIndex {
    return this.#applied as MapIndex;
  }

  get audit(): Audit {
    return this.#audit;
  }

  get state(): ClusterState {
    return this.#state;
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Applies entries (applied, commit] of a log whose commit index is synced. */
  advance(entries: readonly LogEntry[], commit: number): void {
    const from = this.#applied;
    for (let index = from + 1; index <= commit; index += 1) {
      const entry = entries[index - 1];
      if (entry === undefined) break;
      const { state, result } = applyEntry(this.#state, entry);
      this.#state = state;
      this.#applied = index;
      if (index % AUDIT_EVERY === 0) this.#audit = { index, hash: hashOf(state) };
      this.#options.onApplied(entry, result);
    }
    if (this.#applied > from) this.#options.onView(viewOf(this.#state));
  }

  /** Gets the log up to `index`, first from `from` when given. Returns at once; one pull runs at a time. */
  pull(index: number, from?: NodeId): void {
    if (index <= this.#applied || this.#isStopped) return;
    if (index > this.#pullTarget) this.#tries = 0;
    this.#pullTarget = Math.max(this.#pullTarget, index);
    if (this.#isPulling) return;
    this.#isPulling = true;
    const first = from === undefined ? undefined : this.#options.keyOf(from);
    this.#run(first).finally(() => {
      this.#isPulling = false;
      // Asked for between the last look and here.
      if (this.#pullTarget > this.#options.driver().commit) this.pull(this.#pullTarget);
    });
  }

  /** One question to one node: what is committed beyond what I have? Returns its commit index. */
  async pullOnce(source: PeerKey): Promise<number> {
    const { ask, driver } = this.#options;
    const from = (driver().commit + 1) as MapIndex;
    const reply = await ask(source, { type: 'pull', from, maxBytes: PULL_BYTES }, PULL_TIMEOUT_MS);
    if (reply.type !== 'entries' || this.#isStopped) return 0;
    driver().learn(reply.entries, reply.commit);
    return reply.commit;
  }

  async #run(first: PeerKey | undefined): Promise<void> {
    const { clock, driver } = this.#options;
    let source = first ?? this.#draw();
    this.#tries = 0;
    while (this.#tries < MAX_PULL_TRIES && !this.#isStopped) {
      if (driver().commit >= this.#pullTarget) return;
      const before = driver().commit;
      if (source !== undefined) await this.pullOnce(source).catch(nothingCame);
      if (driver().commit > before) continue;
      this.#tries += 1;
      source = this.#draw();
      await pause(clock, PULL_PAUSE_MS);
    }
    this.#options.trace.event('map.pull.gave-up', { target: this.#pullTarget });
    this.#pullTarget = 0;
  }

  #draw(): PeerKey | undefined {
    const sources = this.#options.sources();
    return sources[this.#options.random.u32() % Math.max(1, sources.length)];
  }
}

/** What the network could not do is tried elsewhere; a broken invariant must not pass for it. */
function nothingCame(error: unknown): number {
  if (!(error instanceof OperatingError)) throw error;
  return 0;
}
