/**
 * This node's care for copies that nobody reads (4.10): light and deep scrubs, one partition per round.
 *
 *   idle ──workDue──▶ working ──▶ idle        scrub.changed (start, pause, resume), or every look
 *                        └─error─▶ pausing ──▶ idle
 *
 * A pause ends the round under way by itself: the work asks, before each piece, whether it shall go on.
 */
import { fromPromise, setup } from 'xstate';

/** Between two looks at what is due. */
export const SCRUB_LOOK_MS = 10_000;
/** After a round that failed. */
export const SCRUB_PAUSE_MS = 5000;

export interface ScrubInput {
  readonly workDue: () => boolean;
  /** Does one round. */
  readonly work: () => Promise<void>;
  readonly warn: (what: string, reason: unknown) => void;
}

/** Somebody asked for a run, a pause or its end. */
export interface ScrubChanged {
  readonly type: 'scrub.changed';
}

export const scrubMachine = setup({
  types: { input: {} as ScrubInput, context: {} as ScrubInput, events: {} as ScrubChanged },
  actors: { work: fromPromise(({ input }: { input: ScrubInput }) => input.work()) },
  guards: { workDue: ({ context }) => context.workDue() },
  actions: {
    warnFailed: ({ context }, params: { error: unknown }) =>
      context.warn('scrub.round.failed', params.error),
  },
  delays: { look: SCRUB_LOOK_MS, pause: SCRUB_PAUSE_MS },
}).createMachine({
  id: 'scrub',
  context: ({ input }) => input,
  initial: 'idle',
  on: { 'scrub.changed': {} },
  states: {
    idle: {
      always: { guard: 'workDue', target: 'working' },
      on: { 'scrub.changed': { target: 'idle', reenter: true } },
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
