// What the actors ask of this node while it leads, answered from its present view: what to propose for the lives of
// members, in-sync sets and voters. The rules are in core; here they meet the agreement. Whom it watches, and who is
// down: watch-duties.ts.

import type { ReplicatorInput } from './actors/replicator.ts';
import type { VoterInput } from './actors/voter.ts';
import type { Agreement } from './agreement/agreement.ts';
import type { Prober } from './agreement/prober.ts';
import { replaceVoterAfterMs } from './core/cluster-settings.ts';
import { OperatingError } from './core/errors.ts';
import type { Incarnation, NodeId } from './core/ids.ts';
import { type DownTimes, planLives } from './core/life-plan.ts';
import type { Loads } from './core/loads.ts';
import type { EntryBody } from './core/log-entry.ts';
import { ChangePlanner, MAX_ENTRIES_PER_PLAN } from './core/recovery-plan.ts';
import { TrashWatch } from './core/trash.ts';
import type { ClusterView } from './core/view.ts';
import { nextVoters } from './core/voter-choice.ts';
import type { Clock, Trace } from './ports/ports.ts';

/** How many entries a candidate may lack and still count as caught up. */
export const CANDIDATE_LAG_ENTRIES = 16;
/** A leader's own proposals are given up early: the next look plans anew. */
export const DUTY_PROPOSE_MS = 3000;

export interface DutiesContext {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly agreement: Agreement;
  readonly prober: Prober;
  /** How long members have been down, as this node saw it. */
  readonly downTimes: DownTimes;
  readonly loads: Pick<Loads, 'stepOf'>;
  /** Who is said to be slow (C1.7), ascending. */
  readonly slowNodes: () => readonly NodeId[];
  /** The map knows that the present process of this node started. */
  readonly isAnnounced: () => boolean;
  /** The life in which a node answered a ping last. */
  readonly lifeOf: (node: NodeId) => Incarnation | undefined;
  readonly view: () => ClusterView | undefined;
}

/** The leader's care for the lives of members (1.4) and for in-sync sets (4.4). */
export function replicatorDuties(context: DutiesContext): ReplicatorInput {
  const { clock, agreement, trace, downTimes } = context;
  const planner = new ChangePlanner();
  const trash = new TrashWatch();
  const plan = (): readonly EntryBody[] => {
    const view = context.view();
    if (view === undefined) return [];
    const moment = { now: clock.now(), dateMs: clock.date() };
    const lives = planLives(view, downTimes, moment);
    const old = trash.plan(view, moment.now);
    return [...lives, ...old, ...planner.plan(view, moment.now, context.slowNodes())].slice(
      0,
      MAX_ENTRIES_PER_PLAN,
    );
  };
  return {
    changeDue: () => plan().length > 0,
    proposeChanges: async () => {
      const results = await Promise.all(
        plan().map((body) => agreement.propose(body, DUTY_PROPOSE_MS)),
      );
      if (results.every((result) => result.code !== 'ok')) {
        throw new OperatingError('stale-config', 'no planned change was applied', {
          advice: 'retry',
        });
      }
    },
    warn: (what) => trace.warn(what),
  };
}

/** A choice of voters holds for one view and this long: of a thousand members it is not made ten times a second. */
export const VOTER_CHOICE_MS = 1000;

/** Who votes (1.3): by joint consensus, once those who are new have caught up as learners (C2.4). */
export function voterDuties(context: DutiesContext): VoterInput {
  const { agreement, trace } = context;
  const chosen = voterChoice(context);
  return {
    votersDue: () => nextVoterEntry(context, chosen) !== undefined,
    areFed: () => agreement.driver.hasLearners,
    changeVoters: async () => {
      const body = nextVoterEntry(context, chosen);
      if (body !== undefined) await agreement.propose(body, DUTY_PROPOSE_MS);
    },
    warn: (what) => trace.warn(what),
  };
}

type VoterChoice = (view: ClusterView) => readonly NodeId[] | undefined;

function voterChoice({ self, clock, downTimes, loads }: DutiesContext): VoterChoice {
  let last: { view: ClusterView; at: number; next: readonly NodeId[] | undefined } | undefined;
  return (view) => {
    const now = clock.now();
    if (last?.view === view && now - last.at < VOTER_CHOICE_MS) return last.next;
    const patienceMs = replaceVoterAfterMs(view);
    const next = nextVoters(view, self, {
      isLongDown: (node) => (downTimes.downMs(node, now) ?? 0) >= patienceMs,
      loadOf: (node) => loads.stepOf(node),
    });
    last = { view, at: now, next };
    return next;
  };
}

function nextVoterEntry(context: DutiesContext, chosen: VoterChoice): EntryBody | undefined {
  const view = context.view();
  const { agreement } = context;
  // The second half of a change, votersFinal, is the leader's reducer's own.
  if (view === undefined || view.nextVoters.length > 0) return undefined;
  const next = chosen(view);
  const { voters } = view;
  const candidates = next?.filter((node) => !voters.includes(node)) ?? [];
  agreement.driver.setLearners(candidates);
  if (next === undefined) return undefined;
  const due = agreement.driver.commit - CANDIDATE_LAG_ENTRIES;
  const areCaughtUp = candidates.every(
    (node) => agreement.driver.matchOf(node) >= Math.max(1, due),
  );
  return areCaughtUp ? { type: 'votersJoint', old: voters, next } : undefined;
}
