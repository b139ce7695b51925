/**
 * This node's own catch-up: while the map has it in a joining set it copies what it lacks and asks for promotion (4.6);
 * copies that the ring no longer wants go by a purge entry (I5).
 *
 *   idle ──workDue──▶ working ──▶ idle        view.changed, or every look
 *                        └─error─▶ pausing ──▶ idle
 *
 * One round = copy a bounded batch of partitions, propose their promotion; or propose a purge list. A round that the
 * map overtakes ends by itself: its elements carry cfg, so a late promotion is a no-op.
 */
import { fromPromise, setup } from 'xstate';
import type { ViewChanged } from './events.ts';

export const RECOVERY_LOOK_MS = 1000;
/** After a round that failed: the source may be restarting. */
export const RECOVERY_PAUSE_MS = 300;

export interface RecoveryInput {
  readonly workDue: () => boolean;
  /** Does one round. */
  readonly work: () => Promise<void>;
  readonly warn: (what: string, reason: unknown) => void;
}

export type RecoveryEvent = ViewChanged;

export const recoveryMachine = setup({
  types: { input: {} as RecoveryInput, context: {} as RecoveryInput, events: {} as RecoveryEvent },
  actors: { work: fromPromise(({ input }: { input: RecoveryInput }) => input.work()) },
  guards: { workDue: ({ context }) => context.workDue() },
  actions: {
    warnFailed: ({ context }, params: { error: unknown }) =>
      context.warn('recovery.round.failed', params.error),
  },
  delays: { look: RECOVERY_LOOK_MS, pause: RECOVERY_PAUSE_MS },
}).createMachine({
  id: 'recovery',
  context: ({ input }) => input,
  initial: 'idle',
  on: { 'view.changed': {} },
  states: {
    idle: {
      always: { guard: 'workDue', target: 'working' },
      on: { 'view.changed': { target: 'idle', reenter: true } },
      after: { look: { target: 'idle', reenter: true } },
    },
    working: {
      invoke: {
        id: 'work',
        src: 'work',
        input: ({ context }) => context,
        onDone: 'idle',
        onError: {
          target: 'pausing',
          actions: { type: 'warnFailed', params: ({ event }) => ({ error: event.error }) },
        },
      },
    },
    pausing: { after: { pause: 'idle' } },
  },
});
