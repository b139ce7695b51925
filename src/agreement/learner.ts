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
import { isLaterHistory } from '../core/history.ts';
import type { MapIndex, NodeId, PeerKey } from '../core/ids.ts';
import type { ApplyResult, LogEntry } from '../core/log-entry.ts';
import type { ClusterView } from '../core/view.ts';
import type { Clock, Random, Trace } from '../ports/ports.ts';
import type { ReplyBody, RequestBody } from '../wire/messages.ts';
import type { MapSnapshot } from '../wire/snapshot-codec.ts';
import type { RaftDriver } from './raft-driver.ts';
import { pause } from './waiting.ts';

/** The state is hashed after each so many entries and the hash compared in digests (C2.8). */
export const AUDIT_EVERY = 250;
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
  /** Gets the newest snapshot of that node, which no longer has the entries; installs it where that helps. */
  readonly fetchSnapshot: (peer: PeerKey) => Promise<void>;
  /** That node has otherwise what is committed here; `isLater`: of a history that was forced later. */
  readonly onContradicted: (peer: PeerKey, isLater: boolean) => void;
  /** The state jumped to that of a snapshot, before the view changes. */
  readonly onInstalled: (state: ClusterState) => void;
  /** At each audit point, with the state of that index. */
  readonly onAudit: (audit: Audit, state: ClusterState) => void;
  /** Entries between two audit points; AUDIT_EVERY unless a test has less patience. */
  readonly auditEvery?: number;
}

/** What the learner needs to see of the log on disk. */
export interface CommittedLog {
  readonly commit: number;
  entryAt(index: number): LogEntry | undefined;
}

/** Audits remembered, so that nodes which are not equally far can compare. */
export const AUDITS_KEPT = 16;

/** Index and hash of the state at the last audit point; 0 and '' before the first. */
export interface Audit {
  readonly index: number;
  readonly hash: string;
}

export class Learner {
  readonly #options: LearnerOptions;
  #state: ClusterState = emptyState();
  #applied = 0;
  /** Oldest first, at most AUDITS_KEPT. */
  readonly #audits: Audit[] = [];
  /** A snapshot that the log was told of: adopted when the log says that it is committed. */
  #installed: MapSnapshot | undefined;
  #pullTarget = 0;
  /** In vain, for this target. */
  #tries = 0;
  /** The pull that runs. */
  #pulling: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: LearnerOptions) {
    this.#options = options;
  }

  get applied(): MapIndex {
    return this.#applied as MapIndex;
  }

  /** The last one; index 0 before the first. */
  get audit(): Audit {
    return this.#audits.at(-1) ?? { index: 0, hash: '' };
  }

  /** Hash of the state at that audit point; '' when it is not known (any more). */
  auditAt(index: number): string {
    return this.#audits.find((audit) => audit.index === index)?.hash ?? '';
  }

  get state(): ClusterState {
    return this.#state;
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Starts from what a former life of this node kept. */
  restore(snapshot: MapSnapshot): void {
    this.#state = snapshot.state;
    this.#applied = snapshot.base.index;
    this.#noteAudit();
  }

  /** A snapshot is on disk, and the log is told. */
  expect(snapshot: MapSnapshot): void {
    this.#installed = snapshot;
  }

  /** Applies entries (applied, commit] of a log whose commit index is synced; what it has no more, by snapshot. */
  advance(log: CommittedLog): void {
    const from = this.#applied;
    while (this.#applied < log.commit) {
      const entry = log.entryAt(this.#applied + 1);
      if (entry !== undefined) this.#apply(entry);
      else if (!this.#adopt(log.commit)) break;
    }
    if ((this.#installed?.base.index ?? Infinity) <= this.#applied) this.#installed = undefined;
    if (this.#applied > from) this.#options.onView(viewOf(this.#state));
  }

  #apply(entry: LogEntry): void {
    const { state, result } = applyEntry(this.#state, entry);
    this.#state = state;
    this.#applied = entry.index;
    if (this.#applied % this.#auditEvery === 0) {
      this.#noteAudit();
      this.#options.onAudit(this.audit, state);
    }
    this.#options.onApplied(entry, result);
  }

  /** False when there is no snapshot that the log covers. */
  #adopt(commit: number): boolean {
    const snapshot = this.#installed;
    const index = snapshot?.base.index ?? 0;
    if (snapshot === undefined || index <= this.#applied || index > commit) return false;
    this.restore(snapshot);
    this.#options.onInstalled(snapshot.state);
    return true;
  }

  #noteAudit(): void {
    const index = this.#applied;
    if (index % this.#auditEvery !== 0) return;
    this.#audits.push({ index, hash: hashOf(this.#state) });
    if (this.#audits.length > AUDITS_KEPT) this.#audits.shift();
  }

  get #auditEvery(): number {
    return this.#options.auditEvery ?? AUDIT_EVERY;
  }

  /** Gets the log up to `index`, first from `from` when given. Returns at once; one pull runs at a time. */
  pull(index: number, from?: NodeId): void {
    this.#pull(index, from === undefined ? undefined : this.#options.keyOf(from));
  }

  /** The same; resolves when the log goes that far, though perhaps not synced yet, or the pull gave up. */
  async reach(index: number, source: PeerKey): Promise<void> {
    if (index > this.#options.driver().commit) await this.#pull(index, source);
  }

  #pull(index: number, first: PeerKey | undefined): Promise<void> | undefined {
    if (index <= this.#applied || this.#isStopped) return undefined;
    if (index > this.#pullTarget) this.#tries = 0;
    this.#pullTarget = Math.max(this.#pullTarget, index);
    this.#pulling ??= this.#run(first).finally(() => {
      this.#pulling = undefined;
      // Asked for between the last look and here.
      if (this.#pullTarget > this.#options.driver().commit) this.pull(this.#pullTarget);
    });
    return this.#pulling;
  }

  /**
   * One question to one node: what is committed beyond what I have? Returns its commit index. The last entry that both
   * should have is asked for, too: of another history nothing is taken (A3).
   */
  async pullOnce(source: PeerKey): Promise<number> {
    const { driver, onContradicted } = this.#options;
    const reply = await this.#askFrom(source, Math.max(1, driver().commit));
    if (this.#isStopped) return 0;
    if (reply.type === 'compacted') {
      await this.#options.fetchSnapshot(source);
      return reply.commit;
    }
    if (reply.type !== 'entries') return 0;
    if (driver().learn(reply.entries, reply.commit)) return reply.commit;
    onContradicted(source, isLaterHistory(reply.entries[0]?.term ?? 0, this.#state.settings));
    return 0;
  }

  #askFrom(source: PeerKey, index: number): Promise<ReplyBody> {
    const isShort = this.#options.clock.rarely?.('pull-one-entry') === true;
    const maxBytes = isShort ? 1 : PULL_BYTES;
    const body = { type: 'pull', from: index as MapIndex, maxBytes } as const;
    return this.#options.ask(source, body, PULL_TIMEOUT_MS);
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
