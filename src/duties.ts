// What the actors ask of this node while it leads, answered from its present view: what to propose for in-sync sets and
// voters. The rules are in core; here they meet the agreement. Whom it watches, and who is down: watch-duties.ts.

import type { ReplicatorInput } from './actors/replicator.ts';
import type { VoterInput } from './actors/voter.ts';
import type { Agreement } from './agreement/agreement.ts';
import type { Prober } from './agreement/prober.ts';
import { OperatingError } from './core/errors.ts';
import type { NodeId } from './core/ids.ts';
import type { EntryBody } from './core/log-entry.ts';
import { ChangePlanner } from './core/recovery-plan.ts';
import type { ClusterView } from './core/view.ts';
import type { Clock, Trace } from './ports/ports.ts';

/** How many entries a candidate may lack and still count as caught up. */
export const CANDIDATE_LAG_ENTRIES = 16;
/** Voters of a cluster of three or more, in Part 1. */
export const VOTERS_WANTED = 3;
/** A leader's own proposals are given up early: the next look plans anew. */
export const DUTY_PROPOSE_MS = 3000;

export interface DutiesContext {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly agreement: Agreement;
  readonly prober: Prober;
  readonly view: () => ClusterView | undefined;
}

/** The leader's care for in-sync sets (4.4). */
export function replicatorDuties(context: DutiesContext): ReplicatorInput {
  const { clock, agreement, trace } = context;
  const planner = new ChangePlanner();
  const plan = (): readonly EntryBody[] => {
    const view = context.view();
    return view === undefined ? [] : planner.plan(view, clock.now());
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

/** The one change of voters of Part 1: 1 -> 3 by joint consensus (C2.4). */
export function voterDuties(context: DutiesContext): VoterInput {
  const { agreement, trace } = context;
  return {
    votersDue: () => nextVoterEntry(context) !== undefined,
    changeVoters: async () => {
      const body = nextVoterEntry(context);
      if (body !== undefined) await agreement.propose(body, DUTY_PROPOSE_MS);
    },
    warn: (what) => trace.warn(what),
  };
}

function nextVoterEntry(context: DutiesContext): EntryBody | undefined {
  const view = context.view();
  const { agreement, self } = context;
  if (view === undefined) return undefined;
  const { voters, nextVoters } = view;
  // The second half of a change, votersFinal, is the leader's reducer's own.
  if (voters.length !== 1 || nextVoters.length > 0) return undefined;
  const candidates = candidatesOf(view, self);
  if (candidates.length < VOTERS_WANTED - 1) return undefined;
  agreement.driver.setLearners(candidates);
  const due = agreement.driver.commit - CANDIDATE_LAG_ENTRIES;
  const areCaughtUp = candidates.every(
    (node) => agreement.driver.matchOf(node) >= Math.max(1, due),
  );
  if (!areCaughtUp) return undefined;
  const next = [...voters, ...candidates].sort((a, b) => a - b);
  return { type: 'votersJoint', old: voters, next };
}

/** Members to vote beside the first: up, from other zones first, then by id (1.3). */
function candidatesOf(view: ClusterView, self: NodeId): readonly NodeId[] {
  const up = [...view.members.values()]
    .filter((member) => member.state === 'up' && member.node !== self)
    .sort((a, b) => a.node - b.node);
  const zones = new Set([view.members.get(self)?.zone]);
  const distinct: NodeId[] = [];
  for (const member of up) {
    if (zones.has(member.zone)) continue;
    zones.add(member.zone);
    distinct.push(member.node);
  }
  const rest = up.map((member) => member.node).filter((node) => !distinct.includes(node));
  return [...distinct, ...rest].slice(0, VOTERS_WANTED - 1);
}
