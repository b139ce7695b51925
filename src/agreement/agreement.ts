// One node's share of the agreement, put together: log, raft driver, learner, proposer, and the control messages that
// they exchange with the others. Everything above (actors, data path, fronts) sees views, proposals and alerts only.

import { viewOf } from '../core/cluster-state.ts';
import { OperatingError } from '../core/errors.ts';
import { leftBehind } from '../core/history.ts';
import type { Incarnation, MapIndex, NodeId, PeerKey } from '../core/ids.ts';
import type { ApplyResult, EntryBody, LogEntry } from '../core/log-entry.ts';
import type { DiskWord } from '../core/sightings.ts';
import type { ClusterView } from '../core/view.ts';
import { Gossip } from '../p2p/gossip.ts';
import type { TimerHandle } from '../ports/ports.ts';
import {
  type Alert,
  encodeEntry,
  MAX_REFUSAL_CHARS,
  type MapDelta,
  type NoteMessage,
  type ReplyBody,
  type RequestBody,
  type Stats,
} from '../wire/messages.ts';
import {
  type Ask,
  CONTACT_TIMEOUT_MS,
  type Known,
  leaderAmong,
  likelySources,
  NOTHING_SEEN,
  reachOf,
  seenBy,
  sourcesOf,
  upMembers,
} from './ask-members.ts';
import { Auditor } from './audit.ts';
import { Contact } from './contact.ts';
import { readCurrent } from './current-read.ts';
import { contradictedBy } from './history-check.ts';
import { Learner } from './learner.ts';
import { catchUpLog } from './log-catch-up.ts';
import { MapNews } from './map-news.ts';
import type { AgreementOptions } from './options.ts';
import { isLeadersOwn, Proposer } from './proposer.ts';
import { RaftDriver } from './raft-driver.ts';
import { NORMAL_PACE, SnapshotDuties } from './snapshots.ts';
import { pause } from './waiting.ts';

/** One digest to one random member (C8.5). */
export const DIGEST_EVERY_MS = 5000;
/** Entries in one answer to a pull; its bytes are bounded by the asker. */
export const MAX_PULL_ENTRIES = 512;
/** Longest that an orderly stop waits for another leader, */
export const HAND_OVER_MS = 500;
/** and how often it looks. */
export const HAND_OVER_LOOK_MS = 10;
export const EXIT_TIMEOUT_MS = 3000;

export class Agreement {
  readonly driver: RaftDriver;
  readonly learner: Learner;
  readonly #proposer: Proposer;
  readonly #options: AgreementOptions;
  readonly #gossip: Gossip;
  readonly #news: MapNews;
  readonly #contact: Contact;
  readonly #snapshots: SnapshotDuties;
  readonly auditor: Auditor;
  #view: ClusterView | undefined;
  #bootstrap: readonly PeerKey[];
  #digestTimer: TimerHandle | undefined;
  /** Who gave this node entries, or a state, of a history that was forced later. */
  #contradictor: NodeId | undefined;

  constructor(options: AgreementOptions) {
    this.#options = options;
    this.#bootstrap = options.bootstrap;
    const { self, log, clock, random, trace, rpc } = options;
    this.driver = new RaftDriver({
      ...{ self, log, clock, trace },
      random: random.fork('raft'),
      send: (to, message) => this.#note(to, { kind: 'raft', message }),
      onCommitted: () => this.#advance(),
      onRole: options.onRole,
      onSnapshotNeeded: (index, from) => this.learner.pull(index, from),
    });
    this.#snapshots = new SnapshotDuties({
      log,
      trace,
      driver: () => this.driver,
      pace: options.pace ?? NORMAL_PACE,
      ask: (peer, body, timeoutMs) => rpc.request(peer, body, timeoutMs),
      expect: (snapshot) => this.learner.expect(snapshot),
      leftBehind: (state) => leftBehind(this.learner.state, state),
      onContradicted: (peer, isLater) => this.#noteSplit(peer, isLater),
    });
    this.auditor = new Auditor({
      self,
      trace,
      voters: () => this.#view?.voters ?? [],
      members: () => upMembers(this.#view),
      hashAt: (index) => this.learner.auditAt(index),
      ask: (node, body, timeoutMs) => this.#ask(node, body, timeoutMs),
      onSplit: (node) => this.driver.noteSplit(node),
      onBroken: options.onBroken,
    });
    this.learner = new Learner({
      clock,
      random: random.fork('pull'),
      trace,
      driver: () => this.driver,
      ask: (peer, body, timeoutMs) => rpc.request(peer, body, timeoutMs),
      sources: () => likelySources(this.#known, random),
      keyOf: (node) => this.#keyOf(node),
      onApplied: (entry, result) => this.#noteApplied(entry, result),
      onView: (view) => this.#noteView(view),
      fetchSnapshot: (peer) => this.#snapshots.fetch(peer),
      onContradicted: (peer, isLater) => this.#noteSplit(peer, isLater),
      onInstalled: (state) => {
        this.#proposer.noteInstalled(state);
        options.onJumped();
      },
      onAudit: ({ index }, state) => this.#snapshots.consider(index, state),
      ...(options.auditEvery === undefined ? {} : { auditEvery: options.auditEvery }),
    });
    this.#gossip = this.#makeGossip(options);
    this.#news = this.#makeNews(options);
    this.#contact = new Contact({
      self,
      clock,
      voters: () => this.#view?.voters ?? [],
      ask: (voter) => this.#ask(voter, { type: 'contact' }, CONTACT_TIMEOUT_MS),
    });
    this.#proposer = new Proposer({
      self,
      incarnation: options.incarnation,
      clock,
      driver: this.driver,
      voters: () => this.#view?.voters ?? [],
      ask: (node, body, timeoutMs) => this.#ask(node, body, timeoutMs),
      pull: (index, from) => this.learner.pull(index, from),
    });
  }

  #makeGossip(options: AgreementOptions): Gossip {
    return new Gossip(options, {
      map: (delta) => this.#takeDelta(delta),
      alert: (alert) => this.#takeAlert(alert),
      stats: options.onStats,
    });
  }

  /** Applies what the disk knows as committed, then takes part. */
  start(): void {
    const { rpc, log, trace } = this.#options;
    const found = log.snapshots.takeFound();
    if (found !== undefined) {
      this.learner.restore(found);
      this.#options.onJumped();
    }
    if (log.damage !== undefined) trace.warn('map.log.damaged', { what: log.damage });
    this.learner.advance(log);
    // A snapshot and nothing behind it: no entry told of the view.
    if (this.#view === undefined && found !== undefined) this.#noteView(viewOf(found.state));
    rpc.onRequest((peer, body) => this.#answer(peer, body));
    rpc.onNote((peer, note) => this.#take(peer, note));
    this.driver.start();
    this.#armDigest();
  }

  stop(): void {
    if (this.#digestTimer !== undefined) this.#options.clock.clearTimer(this.#digestTimer);
    this.#proposer.stop();
    this.#news.stop();
    this.#snapshots.stop();
    this.learner.stop();
    this.driver.stop();
  }

  /** C2.3: resolves when this node has applied all that was committed anywhere when it was called. */
  readCurrent(timeoutMs?: number): Promise<void> {
    const { self, clock } = this.#options;
    const options = {
      self,
      clock,
      driver: () => this.driver,
      voters: () => this.#view?.voters ?? [],
      applied: () => this.learner.applied,
      pull: (index: number, from: NodeId) => this.learner.pull(index, from),
      ask: (node: NodeId, body: RequestBody, ms: number) => this.#ask(node, body, ms),
    };
    return readCurrent(options, timeoutMs);
  }

  /** The same for who can not wait: `done` once, false when no majority says so in time. */
  whenCurrent(done: (isCurrent: boolean) => void): void {
    this.readCurrent().then(
      () => done(true),
      () => done(false),
    );
  }

  /** Before an orderly stop: a leader gives its lead away, so that nobody waits for an election. Bounded. */
  async handOver(): Promise<void> {
    const { clock } = this.#options;
    const end = clock.now() + HAND_OVER_MS;
    if (this.driver.role !== 'leader' || this.#otherVoters().length === 0) return;
    this.driver.handOver();
    while (this.driver.role === 'leader' && clock.now() < end)
      await pause(clock, HAND_OVER_LOOK_MS);
  }

  /** Tells everybody how loaded this node is. */
  publishStats(stats: Omit<Stats, 'counter'>): number {
    return this.#gossip.publishStats(stats);
  }

  /** See Proposer.propose. */
  propose(body: EntryBody, timeoutMs?: number): Promise<ApplyResult> {
    return this.#proposer.propose(body, timeoutMs);
  }

  /** See catchUpLog. */
  catchUp(): Promise<boolean> {
    const { random, rpc } = this.#options;
    return catchUpLog({
      sources: sourcesOf(this.#known),
      random,
      ask: (peer, body, timeoutMs) => rpc.request(peer, body, timeoutMs),
      reach: (index, source) => this.learner.reach(index, source),
    });
  }

  #makeNews({ clock, log }: AgreementOptions): MapNews {
    return new MapNews({
      clock,
      entries: (first, last) => log.entriesBetween(first, last),
      termAt: (index) => this.driver.termAt(index),
      publish: (delta) => this.#gossip.publishMap(delta),
    });
  }

  #noteSplit(peer: PeerKey, isLater: boolean): void {
    const node = this.#view?.memberByKey(peer)?.node;
    if (node === undefined) return;
    if (isLater) this.#contradictor = node;
    this.driver.noteSplit(node);
  }

  /** A member whose log is of another history than this node's; undefined: none that answers. See contradictedBy. */
  async contradictedBy(): Promise<NodeId | undefined> {
    if (this.#contradictor !== undefined) return this.#contradictor;
    const { settings } = this.learner.state;
    const members = [...new Set([...this.#otherVoters(), ...upMembers(this.#view)])];
    const ask: Ask = (...question) => this.#ask(...question);
    return contradictedBy({ last: this.driver.lastCommitted, settings, members, ask });
  }

  /** Whom to ask while there is no view, as a second knock named them. */
  setBootstrap(peers: readonly PeerKey[]): void {
    this.#bootstrap = peers;
  }

  /**
   * C1.3, C1.4: tells the voters, an accusation only while a majority of them (this node counted) is in reach.
   * @param isRumour tells everybody, too: the fall-back where the voters do not seem to hear
   */
  async alert(alert: Alert, isRumour: boolean): Promise<void> {
    if (alert.down && !(await this.#contact.isMajorityInReach())) {
      this.#options.onAlone();
      return;
    }
    for (const voter of this.#otherVoters()) this.#note(voter, { kind: 'alert', ...alert });
    if (isRumour) this.#gossip.publishAlert(alert);
    this.#takeAlert(alert);
  }

  /** Tells all voters, this node included, that a replica is slow (C1.7). */
  tellSlow(subject: NodeId, subjectIncarnation: Incarnation): void {
    const note = { kind: 'slow', subject, subjectIncarnation } as const;
    for (const voter of this.#otherVoters()) this.#note(voter, note);
    this.#options.onSlow(subject, subjectIncarnation);
  }

  /** Only a voter may lead and judge (C1.5). */
  #takeAlert(alert: Alert): void {
    const { voters = [], nextVoters = [] } = this.#view ?? {};
    const { self, onAlert } = this.#options;
    if (voters.includes(self) || nextVoters.includes(self)) onAlert(alert);
  }

  /**
   * Last words of a node that can not go on, to every other voter: whoever leads, or leads next, makes them known.
   * Resolves when all have heard, or after `timeoutMs`; never rejects. Nothing else is said or answered any more.
   * @param reason undefined: it ends without a word
   */
  async sayFailing(reason: string | undefined, timeoutMs: number): Promise<void> {
    const { rpc, incarnation } = this.#options;
    const said = reason?.slice(0, MAX_REFUSAL_CHARS).toWellFormed();
    this.stop();
    rpc.onRequest(() => Promise.reject(new OperatingError('shutting-down', 'the node failed')));
    rpc.onNote(() => {});
    if (said === undefined) return;
    const words = { type: 'failing', incarnation: incarnation(), reason: said } as const;
    await Promise.allSettled(
      this.#otherVoters().map((voter) => this.#ask(voter, words, timeoutMs)),
    );
  }

  /** Asks one member to end its process in order. @throws OperatingError when it does not answer */
  async askToExit(node: NodeId): Promise<void> {
    await this.#ask(node, { type: 'exit' }, EXIT_TIMEOUT_MS);
  }

  /** Which of these members answer now, and how far their logs are committed. Never rejects. */
  async reachOf(nodes: readonly NodeId[]): Promise<ReadonlyMap<NodeId, number>> {
    const { self, log } = this.#options;
    const others = nodes.filter((node) => node !== self);
    const reached = await reachOf((...question) => this.#ask(...question), others);
    if (nodes.includes(self)) reached.set(self, log.commit);
    return reached;
  }

  /** Who of these members leads now. Never rejects. */
  leaderAmong(nodes: readonly NodeId[]): Promise<NodeId | undefined> {
    return leaderAmong((...question) => this.#ask(...question), nodes);
  }

  /** What these members saw of this node's disk (C1.9). Never rejects. */
  seenBy(nodes: readonly NodeId[]): ReturnType<typeof seenBy> {
    return seenBy((...question) => this.#ask(...question), nodes);
  }

  #otherVoters(): readonly NodeId[] {
    return (this.#view?.voters ?? []).filter((voter) => voter !== this.#options.self);
  }

  // ---------------------------------------------------------------------------------------- from the others

  async #answer(peer: PeerKey, body: RequestBody): Promise<ReplyBody> {
    switch (body.type) {
      case 'contact':
        return { type: 'contact', term: this.driver.term };
      case 'pull':
        return this.#answerPull(body.from, body.maxBytes);
      case 'snapshot':
        return this.#snapshots.answerPiece(body.offset, body.maxBytes);
      case 'audit':
        return { type: 'audit', hash: this.learner.auditAt(body.index) };
      case 'readIndex':
        return this.#answerRead();
      case 'seen':
        return { type: 'seen', ...this.#seenOf(peer) };
      case 'failing':
        this.#takeLastWords(peer, body.incarnation, body.reason);
        return { type: 'contact', term: this.driver.term };
      case 'exit':
        this.#options.onExitAsked(peer);
        return { type: 'contact', term: this.driver.term };
      case 'propose': {
        if (isLeadersOwn(body.body)) {
          return { type: 'refusal', code: 'refused', text: 'only a leader itself proposes that' };
        }
        if (body.origin.node !== this.#view?.memberByKey(peer)?.node) {
          return {
            type: 'refusal',
            code: 'refused',
            text: 'a member proposes in its own name only',
          };
        }
        const outcome = this.driver.propose(body.origin, body.body);
        if (outcome.index !== undefined) {
          return { type: 'proposed', index: outcome.index as MapIndex };
        }
        return { type: 'notLeader', leader: outcome.leader ?? (0 as NodeId) };
      }
    }
  }

  async #answerRead(): Promise<ReplyBody> {
    const outcome = await this.driver.read();
    if (outcome.index !== undefined) return { type: 'readIndex', index: outcome.index as MapIndex };
    return { type: 'notLeader', leader: outcome.leader ?? (0 as NodeId) };
  }

  #seenOf(peer: PeerKey): DiskWord {
    const node = this.#view?.memberByKey(peer)?.node;
    return (node === undefined ? undefined : this.#options.seen(node)) ?? NOTHING_SEEN;
  }

  #takeLastWords(peer: PeerKey, incarnation: Incarnation, reason: string): void {
    const from = this.#view?.memberByKey(peer)?.node;
    if (from !== undefined) this.#options.onFailing(from, incarnation, reason);
  }

  #answerPull(from: MapIndex, maxBytes: number): ReplyBody {
    const entries: LogEntry[] = [];
    let bytes = 0;
    const committed = this.driver.committedFrom(from, MAX_PULL_ENTRIES);
    if (committed === undefined) return this.#snapshots.answerCompacted();
    for (const entry of committed) {
      bytes += encodeEntry(entry).length;
      if (bytes > maxBytes && entries.length > 0) break;
      entries.push(entry);
    }
    return { type: 'entries', entries, commit: this.#options.log.commit as MapIndex };
  }

  #take(peer: PeerKey, note: NoteMessage): void {
    const from = this.#view?.memberByKey(peer)?.node;
    if (from === undefined) return;
    if (note.kind === 'raft') this.driver.receive(from, note.message);
    else if (note.kind === 'alert') {
      if (note.observer === from) this.#takeAlert(note);
    } else if (note.kind === 'slow') {
      this.#options.onSlow(note.subject, note.subjectIncarnation);
    } else this.#takeDigest(from, note);
  }

  #takeDelta({ entries, commit, prevTerm }: MapDelta): void {
    const first = entries[0]?.index ?? commit + 1;
    const isNext = first <= this.driver.commit + 1 && entries.length > 0;
    if (isNext && !this.driver.learn(entries, commit, prevTerm)) return;
    if (this.driver.commit < commit) this.learner.pull(commit);
  }

  #takeDigest(from: NodeId, digest: Extract<NoteMessage, { kind: 'digest' }>): void {
    const { learner } = this;
    if (digest.applied > learner.applied) learner.pull(digest.applied, from);
    else if (digest.applied < learner.applied) this.#sendDigest(from);
    this.auditor.compare(from, digest.auditIndex, digest.auditHash);
  }

  // ------------------------------------------------------------------------------------------- to the others

  #advance(): void {
    const before = this.learner.applied;
    const { log } = this.#options;
    this.learner.advance(log);
    const { applied } = this.learner;
    if (this.driver.role === 'leader' && applied > before) this.#news.note(before + 1, applied);
  }

  #noteApplied(entry: LogEntry, result: ApplyResult): void {
    this.#options.onApplied(entry, result);
    this.#proposer.noteApplied(entry, result);
  }

  #noteView(view: ClusterView): void {
    this.#view = view;
    this.#considerUnmute(view);
    this.#options.onView(view);
  }

  /** C2.6: the entry that called this life up was proposed after the damage. */
  #considerUnmute({ members }: ClusterView): void {
    const { self, incarnation, trace } = this.#options;
    const me = members.get(self);
    const isUp = me?.state === 'up' && me.incarnation === incarnation();
    if (!this.driver.isMuted || !isUp) return;
    trace.event('raft.unmuted');
    this.#options.clock.soon(() => this.driver.unmute());
  }

  #armDigest(): void {
    this.#digestTimer = this.#options.clock.setTimer(DIGEST_EVERY_MS, () => {
      const others = [...(this.#view?.members.keys() ?? [])].filter(
        (n) => n !== this.#options.self,
      );
      const to = others[this.#options.random.u32() % Math.max(1, others.length)];
      if (to !== undefined) this.#sendDigest(to);
      this.#armDigest();
    });
  }

  #sendDigest(to: NodeId): void {
    const { index, hash } = this.learner.audit;
    const applied = this.learner.applied;
    this.#note(to, { kind: 'digest', applied, auditIndex: index as MapIndex, auditHash: hash });
  }

  #note(to: NodeId, note: NoteMessage): void {
    const peer = this.#keyOf(to);
    if (peer !== undefined) this.#options.rpc.note(peer, note);
  }

  async #ask(node: NodeId, body: RequestBody, timeoutMs: number): Promise<ReplyBody> {
    const peer = this.#keyOf(node);
    if (peer === undefined) throw new OperatingError('missing', `n${node} is no member`);
    return this.#options.rpc.request(peer, body, timeoutMs);
  }

  get #known(): Known {
    return { view: this.#view, self: this.#options.self, bootstrap: this.#bootstrap };
  }

  #keyOf(node: NodeId): PeerKey | undefined {
    return this.#view?.members.get(node)?.peerKey;
  }
}
