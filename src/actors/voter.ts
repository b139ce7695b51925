/**
 * This node's part in the agreement. The rules are core/raft, the timers and messages the raft driver's; this machine
 * is told the role at its edges and, while leading, asks for changes of voters (1.3, C2.4): who should vote is said by
 * core/voter-choice.ts.
 *
 *   learner ◀──▶ follower ◀──▶ candidate ◀──▶ leader { watching ──votersDue──▶ changing ──▶ watching, pausing }
 */
import { fromPromise, setup } from 'xstate';
import type { RoleChanged, ViewChanged } from './events.ts';

/** How often a leader looks whether the voters should change: who is down for long, or under load, is a matter of time. */
export const VOTERS_LOOK_MS = 1000;
/** The same while candidates are fed: they catch up without a new view. */
export const VOTERS_FEED_LOOK_MS = 100;

/** After a proposal that failed. */
export const VOTERS_PAUSE_MS = 500;

export interface VoterInput {
  /** True when a change of voters is due and its candidates have caught up. Starts feeding candidates as learners. */
  readonly votersDue: () => boolean;
  /** True while candidates are being fed that have not caught up, as far as `votersDue` saw. */
  readonly areFed: () => boolean;
  /** Proposes the next step of the change; resolves when it is applied. */
  readonly changeVoters: () => Promise<void>;
  readonly warn: (what: string) => void;
}

export type VoterEvent = RoleChanged | ViewChanged;

const roleTransitions = {
  'role.changed': [
    { guard: { type: 'isRole' as const, params: { role: 'leader' } }, target: '#voter.leader' },
    {
      guard: { type: 'isRole' as const, params: { role: 'candidate' } },
      target: '#voter.candidate',
    },
    { guard: { type: 'isRole' as const, params: { role: 'follower' } }, target: '#voter.follower' },
    { target: '#voter.learner' },
  ],
};

export const voterMachine = setup({
  types: { input: {} as VoterInput, context: {} as VoterInput, events: {} as VoterEvent },
  actors: {
    changeVoters: fromPromise(({ input }: { input: VoterInput }) => input.changeVoters()),
  },
  guards: {
    isRole: ({ event }, params: { role: string }) =>
      event.type === 'role.changed' && event.role === params.role,
    votersDue: ({ context }) => context.votersDue(),
    areFed: ({ context }) => context.areFed(),
  },
  actions: { warnFailed: ({ context }) => context.warn('voters.change.failed') },
  delays: {
    votersLook: ({ context }) => (context.areFed() ? VOTERS_FEED_LOOK_MS : VOTERS_LOOK_MS),
    votersPause: VOTERS_PAUSE_MS,
  },
}).createMachine({
  id: 'voter',
  context: ({ input }) => input,
  initial: 'learner',
  on: { 'view.changed': {}, ...roleTransitions },
  states: {
    learner: {},
    follower: {},
    candidate: {},
    leader: {
      initial: 'watching',
      states: {
        watching: {
          on: {
            'view.changed': [
              { guard: 'votersDue', target: 'changing' },
              { guard: 'areFed', target: 'watching', reenter: true },
            ],
          },
          after: {
            votersLook: [
              { guard: 'votersDue', target: 'changing' },
              { target: 'watching', reenter: true },
            ],
          },
        },
        changing: {
          invoke: {
            id: 'changeVoters',
            src: 'changeVoters',
            input: ({ context }) => context,
            onDone: 'watching',
            onError: { target: 'pausing', actions: 'warnFailed' },
          },
        },
        pausing: { after: { votersPause: 'watching' } },
      },
    },
  },
});
