// This life of a formed node: the incarnation in which the map knows it, how it gets called up by the map (C4.2, C4.3),
// what it may not do before that, and what it says of itself to its peers.

import type { Agreement } from './agreement/agreement.ts';
import type { Prober } from './agreement/prober.ts';
import { wouldStay } from './agreement/return-check.ts';
import type { OperatingError } from './core/errors.ts';
import type { Incarnation, NodeId } from './core/ids.ts';
import { invariant } from './core/invariant.ts';
import type { ApplyResult } from './core/log-entry.ts';
import { heldKey } from './core/recovery-settings.ts';
import { isOlderImage, witnessesOf } from './core/sightings.ts';
import type { ClusterView, Member } from './core/view.ts';
import { identityTaken, otherHistory, refusedDisk, waitingFor } from './formed-errors.ts';
import type { MemberDesk } from './member-desk.ts';
import { DEFAULT_CREDITS_BYTES } from './p2p/channel-rules.ts';
import type { Ports } from './ports/ports.ts';
import type { LocalObjectStore } from './storage/local-store.ts';
import type { Superblock } from './storage/superblock.ts';
import { FRAME_VERSION } from './wire/frame.ts';
import { encodePingInfo, type Hello, type PingInfo } from './wire/payloads.ts';

/** A pong has room for no more. */
const MAX_LAG_TOLD_MS = 0xffff;
/** One try to be called up by the map. */
export const ANNOUNCE_PROPOSE_MS = 5000;
/** What the map declined is not proposed again unchanged before this: each try is an entry of the log. */
export const DECLINED_PAUSE_MS = 60_000;

interface OwnLifeParts {
  readonly self: NodeId;
  readonly ports: Ports;
  readonly superblock: Superblock;
  readonly store: LocalObjectStore;
  readonly agreement: Agreement;
  readonly prober: Prober;
  readonly desk: MemberDesk;
  readonly view: () => ClusterView | undefined;
  /** Started with recovery held on this node. */
  readonly isRecoveryHeld: boolean;
  readonly onFatal: (error: Error) => void;
}

export class OwnLife {
  readonly #parts: OwnLifeParts;
  /** The incarnation that this process started with; later ones go on from it (C4.2). */
  readonly #firstLife: Incarnation;
  /** Where this process said that it is: one list unless the host's addresses changed between two tries. */
  readonly #saidAddresses = new Set<string>();
  /** Members were asked whether this node is wanted. */
  #hasRung = false;
  /** This process asked to be called up. A map that knows its life before that knows it of another image of this disk. */
  #hasAsked = false;
  #isTwice = false;
  /** What the last pong told, and as which bytes. */
  #told: { readonly info: PingInfo; readonly bytes: Uint8Array } | undefined;
  /** The life that the map declined last, from which it was to go on, and when it may be proposed again. */
  #declined: { incarnation: number; continues: number; untilMs: number } | undefined;

  constructor(parts: OwnLifeParts) {
    this.#parts = parts;
    this.#firstLife = parts.superblock.incarnation;
  }

  /** Its log is damaged: what it had refused before it may not know any more, until the map has called it up (A10). */
  get isForgetful(): boolean {
    return this.#parts.agreement.driver.isMuted && this.isDisowned;
  }

  /** True unless the map calls this very life up. */
  get isDisowned(): boolean {
    const me = this.#me;
    return (
      !this.#hasAsked || me?.state !== 'up' || me.incarnation !== this.#parts.superblock.incarnation
    );
  }

  /** Last words end whoever is up in this life: it must not be another process, of a copy of this disk. */
  get maySayLast(): boolean {
    return this.#me?.state === 'down' || (this.#hasAsked && !this.#isTwice);
  }

  /** True once this node has applied that its present process is up, also while a later life of it is announced. */
  get isAnnounced(): boolean {
    return this.#hasAsked && (this.#me?.incarnation ?? 0) >= this.#firstLife;
  }

  /** C4.2, C4.3: gets this life called up by the map. */
  async announce(): Promise<void> {
    const { self, superblock, ports, agreement, desk, store } = this.#parts;
    await this.#askWhetherWanted();
    const isCaughtUp = await agreement.catchUp();
    // Again, for who had no view before it heard of the log.
    await this.#askWhetherWanted();
    await this.#compareHistories();
    await desk.lookForVoters();
    if (!isCaughtUp && !this.#isSoleVoter()) {
      await desk.endIfRetired();
      throw waitingFor('another member to answer');
    }
    const me = this.#me;
    if (me === undefined) throw waitingFor('the map log');
    if (!this.isDisowned) return;
    if (!this.#hasAsked && me.state !== 'joined' && (await this.#isOlderImage())) return;
    const continues = me.incarnation >= this.#firstLife ? me.incarnation : (0 as Incarnation);
    if (continues !== 0 && me.state === 'down' && !(await this.#wouldStay())) {
      throw waitingFor('its data path to the other members');
    }
    if (continues === superblock.incarnation) await superblock.raiseIncarnation();
    await this.#tellHold();
    if (this.#wasDeclined(continues)) throw waitingFor('the map to call this node up');
    this.#hasAsked = true;
    const addresses = ports.network.addresses();
    this.#saidAddresses.add(addresses.join());
    const result = await agreement.propose(
      {
        type: 'nodeUp',
        node: self,
        incarnation: superblock.incarnation,
        addresses,
        storeGeneration: superblock.storeGeneration,
        journalSeq: store.journalSequence,
        continues,
        cleanStop: superblock.wasClean,
      },
      ANNOUNCE_PROPOSE_MS,
    );
    this.#noteAnswer(result, continues);
    this.#endIfTwice();
    if (this.isDisowned) throw waitingFor('the map to call this node up');
  }

  /** Once, and only of what was a member before: a joiner was let in just now. */
  async #askWhetherWanted(): Promise<void> {
    const me = this.#me;
    if (this.#hasRung || me === undefined || me.state === 'joined') return;
    this.#hasRung = true;
    const refusal = await this.#parts.desk.refusalAtStart();
    if (refusal !== undefined) this.#end(refusal);
  }

  /** For good: whoever announces waits from now on, until the process has ended. */
  #end(reason: OperatingError): never {
    this.#parts.onFatal(reason);
    throw reason;
  }

  /** Before this life is announced: what it brings with it must be of this history (section 6). */
  async #compareHistories(): Promise<void> {
    const { agreement, self } = this.#parts;
    if (this.#hasAsked) return;
    const by = await agreement.contradictedBy();
    if (by !== undefined) this.#end(otherHistory(self, by));
  }

  /** This life is up by the map, and somewhere else: two copies of one disk began the same life at once. */
  #endIfTwice(): void {
    const me = this.#me;
    if (me === undefined || this.isDisowned || this.#saidAddresses.has(me.addresses.join())) return;
    this.#isTwice = true;
    this.#end(identityTaken(me));
  }

  /** Before the map calls this node up, and gives it partitions to join: whether it was started with recovery held. */
  async #tellHold(): Promise<void> {
    const { self, agreement, isRecoveryHeld, view } = this.#parts;
    const key = heldKey(self);
    if (this.#hasAsked || !isRecoveryHeld || view()?.settings.has(key) === true) return;
    await agreement.propose({ type: 'setting', key, value: '1' }, ANNOUNCE_PROPOSE_MS);
  }

  #wasDeclined(continues: Incarnation): boolean {
    const { superblock, ports } = this.#parts;
    const known = this.#declined;
    if (known?.incarnation !== superblock.incarnation || known.continues !== continues)
      return false;
    return ports.clock.now() < known.untilMs;
  }

  /** Ends the process where no later try can succeed. */
  #noteAnswer({ code, value, detail }: ApplyResult, continues: Incarnation): void {
    const { onFatal, ports, self, superblock } = this.#parts;
    const { incarnation } = superblock;
    this.#declined = undefined;
    if (code === 'ok' || code === 'duplicate') return;
    const untilMs = ports.clock.now() + DECLINED_PAUSE_MS;
    this.#declined = { incarnation, continues, untilMs };
    if (code === 'refused') onFatal(refusedDisk(detail));
    // A life is on the disk before it is proposed: a later one was proposed from another copy of this disk.
    if (code !== 'stale' || value <= incarnation) return;
    const known = `the map knows its life ${value}, this is life ${incarnation}`;
    onFatal(refusedDisk(`a copy of the disk of n${self} is, or was, in use elsewhere: ${known}`));
  }

  /** C1.9, section 6: the map, or somebody who observed an earlier life, knows more of this disk than it does itself. */
  async #isOlderImage(): Promise<boolean> {
    const { agreement, onFatal, self, superblock, store, view } = this.#parts;
    // The own log ends where the image does: what it says of this node is no answer.
    await agreement.readCurrent(ANNOUNCE_PROPOSE_MS);
    const me = this.#me;
    if (me !== undefined && me.incarnation >= this.#firstLife) {
      const known = `the map knows its life ${me.incarnation}, this is life ${this.#firstLife}`;
      onFatal(refusedDisk(`the disk of n${self} is an older image: ${known}`));
      return true;
    }
    const known = view();
    if (known === undefined) return false;
    const { storeGeneration, incarnation } = superblock;
    const start = { storeGeneration, incarnation, journalSeq: store.journalSequence };
    const seen = await agreement.seenBy(witnessesOf(known, self));
    const more = seen.find((word) => isOlderImage(start, word));
    if (more === undefined) return false;
    const what = `n${more.by} saw its journal at ${more.journalSeq}, here it ends at ${start.journalSeq}`;
    onFatal(refusedDisk(`the disk of n${self} is an older image: ${what}`));
    return true;
  }

  get #me(): Member | undefined {
    return this.#parts.view()?.members.get(this.#parts.self);
  }

  #wouldStay(): Promise<boolean> {
    const { self, prober, view } = this.#parts;
    const known = view();
    invariant(known !== undefined, 'who is called down has a view');
    return wouldStay(known, self, (node) => prober.ask(node));
  }

  /** Then nothing was committed without this node: it need not wait for the others. */
  #isSoleVoter(): boolean {
    const { voters = [], nextVoters = [] } = this.#parts.view() ?? {};
    return voters.length === 1 && voters[0] === this.#parts.self && nextVoters.length === 0;
  }

  /** The life of this process that the map knows: locks are held in it, also while a later one is announced. */
  get incarnation(): Incarnation {
    const known = this.#me?.incarnation ?? 0;
    return known >= this.#firstLife ? (known as Incarnation) : this.#parts.superblock.incarnation;
  }

  /** What a channel to a peer begins with. */
  hello(): Hello {
    const { superblock } = this.#parts;
    invariant(superblock.clusterId !== undefined, 'a formed node has a cluster');
    return {
      version: FRAME_VERSION,
      clusterId: superblock.clusterId,
      node: this.#parts.self,
      incarnation: superblock.incarnation,
      creditsBytes: DEFAULT_CREDITS_BYTES,
    };
  }

  /** What a pong tells. */
  pingInfo(): Uint8Array {
    const { disk } = this.#parts.ports;
    const { totalBytes, freeBytes } = disk.space();
    const info: PingInfo = {
      freeBytes,
      totalBytes,
      appliedIndex: this.#parts.agreement.learner.applied,
      lagMs: Math.min(MAX_LAG_TOLD_MS, Math.round(this.#parts.prober.worstLagMs)),
      storeGeneration: this.#parts.superblock.storeGeneration,
      journalSeq: this.#parts.store.journalSequence,
      incarnation: this.#parts.superblock.incarnation,
    };
    // Ten observers ask each second; what there is to tell changes rarely.
    const told = this.#told;
    if (told !== undefined && isSameInfo(told.info, info)) return told.bytes;
    const bytes = encodePingInfo(info);
    this.#told = { info, bytes };
    return bytes;
  }
}

function isSameInfo(one: PingInfo, other: PingInfo): boolean {
  return (
    one.journalSeq === other.journalSeq &&
    one.freeBytes === other.freeBytes &&
    one.appliedIndex === other.appliedIndex &&
    one.lagMs === other.lagMs &&
    one.totalBytes === other.totalBytes &&
    one.storeGeneration === other.storeGeneration &&
    one.incarnation === other.incarnation
  );
}
