// What the detector's actors ask of this node, answered from its present view: whom to observe, what to report, and,
// while it leads, who is down (C1). The rules are in core; here they meet the agreement. No state but the tally.

import type { MembershipInput, Subject } from './actors/membership.ts';
import type { RingInput } from './actors/ring.ts';
import type { NodeId } from './core/ids.ts';
import { subjectsOf } from './core/membership.ts';
import { Tally, type Victim } from './core/tally.ts';
import { DUTY_PROPOSE_MS, type DutiesContext } from './duties.ts';

/** A suspicion goes to the voters; after this many repetitions that the map did not answer, also by gossip (C1.4). */
export const GOSSIP_AFTER_REPEATS = 2;
/** Longest wait between two rumours of one suspicion, in repetitions: who is cut off for long is no news. */
export const MAX_GOSSIP_GAP = 32;

/** The observer's part (C1.1, C1.3, C1.4). */
export function membershipDuties(context: DutiesContext): MembershipInput {
  const { self, agreement, prober, trace } = context;
  return {
    subjects: () => subjectsNow(context),
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

/** Subjects of this observer with the life that the map knows. */
export function subjectsNow(context: Pick<DutiesContext, 'self' | 'view'>): readonly Subject[] {
  const view = context.view();
  if (view === undefined) return [];
  return subjectsOf(view, context.self).map((node) => ({
    node,
    incarnation: view.members.get(node)?.incarnation ?? (0 as Subject['incarnation']),
  }));
}

/** The leader's judgement of who is down (C1.5, C1.6). */
export function ringDuties(context: DutiesContext): RingInput {
  const { self, clock, agreement, trace, prober } = context;
  const tally = new Tally();
  const isOutOfReach = (node: NodeId): boolean => prober.isLost(node);
  const judge = (): readonly Victim[] => {
    const view = context.view();
    if (view === undefined) return [];
    const now = clock.now();
    prober.probe(tally.lonely(view, now));
    return tally.verdict(view, now, { self, isOutOfReach });
  };
  const failures = () => {
    const view = context.view();
    return view === undefined ? [] : tally.failures(view);
  };
  return {
    tally: (observer, suspicion) => tally.note({ observer, ...suspicion }, clock.now()),
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
