/**
 * The leader's care for in-sync sets (4.4, C4.1): shrink what is down, join what the ring wants, release what it no
 * longer wants. What to propose is core/recovery-plan.ts; one list is under way at a time.
 *
 *   following ──role.changed(leader)──▶ leading { watching ──changeDue──▶ proposing ──▶ watching }
 *       ▲                                  │        view.changed, or every look
 *       └────── role.changed(other) ───────┘
 */
import { fromPromise, setup } from 'xstate';
import type { RoleChanged, ViewChanged } from './events.ts';

/** A rule with time in it (a spare joins after 60 s) is looked at this often. */
export const REPLICATOR_LOOK_MS = 1000;
/** After a proposal that failed. */
export const REPLICATOR_PAUSE_MS = 500;

export interface ReplicatorInput {
  /** True when the present view asks for a change. */
  readonly changeDue: () => boolean;
  /** Proposes the most urgent lists; resolves when they are applied. */
  readonly proposeChanges: () => Promise<void>;
  readonly warn: (what: string) => void;
}

export type ReplicatorEvent = RoleChanged | ViewChanged;

export const replicatorMachine = setup({
  types: {
    input: {} as ReplicatorInput,
    context: {} as ReplicatorInput,
    events: {} as ReplicatorEvent,
  },
  actors: {
    proposeChanges: fromPromise(({ input }: { input: ReplicatorInput }) => input.proposeChanges()),
  },
  guards: {
    isLeader: ({ event }) => event.type === 'role.changed' && event.role === 'leader',
    changeDue: ({ context }) => context.changeDue(),
  },
  actions: { warnFailed: ({ context }) => context.warn('replicas.change.failed') },
  delays: { look: REPLICATOR_LOOK_MS, pause: REPLICATOR_PAUSE_MS },
}).createMachine({
  id: 'replicator',
  context: ({ input }) => input,
  initial: 'following',
  on: {
    'view.changed': {},
    'role.changed': [{ guard: 'isLeader', target: '.leading' }, { target: '.following' }],
  },
  states: {
    following: {},
    leading: {
      initial: 'watching',
      states: {
        watching: {
          always: { guard: 'changeDue', target: 'proposing' },
          on: { 'view.changed': { target: 'watching', reenter: true } },
          after: { look: { target: 'watching', reenter: true } },
        },
        proposing: {
          invoke: {
            id: 'proposeChanges',
            src: 'proposeChanges',
            input: ({ context }) => context,
            onDone: 'watching',
            onError: { target: 'pausing', actions: 'warnFailed' },
          },
        },
        pausing: { after: { pause: 'watching' } },
      },
    },
  },
});
