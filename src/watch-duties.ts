// What the detector's actors ask of this node, answered from its present view: whom to observe, what to report, and,
// while it leads, who is down (C1). The rules are in core; here they meet the agreement. No state but the tally.

import type { MembershipInput, Subject } from './actors/membership.ts';
import type { RingInput } from './actors/ring.ts';
import type { Prober } from './agreement/prober.ts';
import type { NodeId } from './core/ids.ts';
import { MAX_OBSERVERS, subjectsOf, upCount } from './core/membership.ts';
import { Tally, type Victim, withRestarted } from './core/tally.ts';
import type { ClusterView } from './core/view.ts';
import { DUTY_PROPOSE_MS, type DutiesContext } from './duties.ts';
import type { TimerHandle } from './ports/ports.ts';

/** A suspicion goes to the voters; after this many repetitions that the map did not answer, also by gossip (C1.4). */
export const GOSSIP_AFTER_REPEATS = 2;
/** Longest wait between two rumours of one suspicion, in repetitions: who is cut off for long is no news. */
export const MAX_GOSSIP_GAP = 32;

/** In a large cluster rings that were drawn anew are adopted at most this often: each adoption is ten dials. */
export const ADOPT_EVERY_MS = 1000;

export interface WatchContext extends Pick<DutiesContext, 'self' | 'clock' | 'view'> {
  readonly prober: Prober;
  /** The subjects changed later than the view that changed them. */
  readonly onLater: () => void;
}

/** Whom this node observes. Where everybody observes everybody it follows each view at once. */
export class Watch {
  readonly #context: WatchContext;
  #nodes: readonly NodeId[] = [];
  #adoptedAt = Number.NEGATIVE_INFINITY;
  #timer: TimerHandle | undefined;

  constructor(context: WatchContext) {
    this.#context = context;
  }

  /** Subjects with the life that the map knows; nobody who is not up. */
  get subjects(): readonly Subject[] {
    const members = this.#context.view()?.members;
    return this.#nodes.flatMap((node) => {
      const member = members?.get(node);
      return member?.state === 'up' ? [{ node, incarnation: member.incarnation }] : [];
    });
  }

  /** The members changed: the rings are drawn anew (C1.2). */
  noteMembers(): void {
    const { clock, view } = this.#context;
    const now = view();
    if (now === undefined || this.#timer !== undefined) return;
    const waitMs = this.#adoptedAt + ADOPT_EVERY_MS - clock.now();
    if (upCount(now) <= MAX_OBSERVERS + 1 || waitMs <= 0) this.#adopt(now);
    else {
      this.#timer = clock.setTimer(waitMs, () => {
        this.#timer = undefined;
        const later = view();
        if (later !== undefined) this.#adopt(later);
        this.#context.onLater();
      });
    }
  }

  stop(): void {
    if (this.#timer !== undefined) this.#context.clock.clearTimer(this.#timer);
    this.#timer = undefined;
  }

  #adopt(view: ClusterView): void {
    const { clock, prober, self } = this.#context;
    this.#adoptedAt = clock.now();
    this.#nodes = subjectsOf(view, self);
    prober.observe(this.#nodes);
  }
}

/** The observer's part (C1.1, C1.3, C1.4). */
export function membershipDuties(context: DutiesContext, watch: Watch): MembershipInput {
  const { self, agreement, prober, trace } = context;
  return {
    subjects: () => watch.subjects,
    report: (suspicion) => {
      const view = context.view();
      const { subject, incarnation, down, refused, repeats } = suspicion;
      // C1.3 is about pings that this node itself was late for. A refused dial is no matter of time (C1.8), and a word that
      // is taken back must be heard: the leader would go on counting it.
      if (view === undefined || (down && !refused && prober.isDistrustful())) return;
      if (repeats === 0) trace.event('peer.suspicion', { node: subject, down, refused });
      const { epoch } = view;
      const alert = {
        observer: self,
        subject,
        subjectIncarnation: incarnation,
        down,
        refused,
        epoch,
      };
      agreement.alert(alert, isRumour(repeats)).catch(() => trace.count('alert.failed'));
    },
  };
}

/** C1.4: gossip is the fall-back, at growing distances. */
function isRumour(repeats: number): boolean {
  if (repeats < GOSSIP_AFTER_REPEATS) return false;
  return (
    repeats % MAX_GOSSIP_GAP === 0 || (repeats < MAX_GOSSIP_GAP && (repeats & (repeats - 1)) === 0)
  );
}

/** The leader's judgement of who is down (C1.5, C1.6). */
export function ringDuties(context: DutiesContext): RingInput {
  const { self, clock, agreement, trace, prober } = context;
  const tally = new Tally();
  // A leader reaches itself, whatever others say of it: it has no channel to ask.
  const isOutOfReach = (node: NodeId): boolean => node !== self && prober.isLost(node);
  const judge = (): readonly Victim[] => {
    const view = context.view();
    if (view === undefined) return [];
    const now = clock.now();
    prober.probe(tally.lonely(view, now).filter((node) => node !== self));
    const victims = tally.verdict(view, now, { self, isOutOfReach });
    // A leader that the map does not know in this life would count as sure itself (R8): its announcement is on its way.
    if (victims.length === 0 || !context.isAnnounced()) return [];
    return withRestarted(view, victims, (node) => context.lifeOf(node));
  };
  const failures = () => {
    const view = context.view();
    return view === undefined ? [] : tally.failures(view);
  };
  return {
    tally: (observer, suspicion) => tally.note({ observer, ...suspicion }, clock.now()),
    isSuspicious: () => tally.size > 0,
    verdictReady: () => tally.size > 0 && (judge().length > 0 || failures().length > 0),
    proposeDown: async () => {
      // First, so that a cause comes before the verdict of those who only see silence.
      const told = failures().map((failure) =>
        agreement.propose({ type: 'nodeFailed', ...failure }, DUTY_PROPOSE_MS),
      );
      await Promise.all(told);
      const nodes = judge();
      const baseEpoch = context.view()?.epoch;
      if (baseEpoch === undefined || nodes.length === 0) return;
      await agreement.propose({ type: 'nodesDown', nodes, baseEpoch }, DUTY_PROPOSE_MS);
    },
    settle: () => {
      const view = context.view();
      if (view !== undefined) tally.settle(view);
    },
    rest: () => prober.probe([]),
    warn: (what) => trace.warn(what),
  };
}
