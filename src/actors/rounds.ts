/**
 * Rounds of work that this node does by itself: catch-up, and care for copies. One round at a time; what a round does
 * and when one is due is said by its input.
 *
 *   idle ──workDue──▶ working ──▶ idle        news, or every look
 *                        └─error─▶ pausing ──▶ idle
 *
 * A round that is overtaken, or told to pause, ends by itself: it looks before each piece.
 */
import { fromPromise, setup } from 'xstate';
import type { ScrubChanged, ViewChanged } from './events.ts';

export interface RoundsInput {
  readonly workDue: () => boolean;
  /** Does one round. */
  readonly work: () => Promise<void>;
  readonly warn: (what: string, reason: unknown) => void;
}

/** News: it looks at once, unless a round is under way. */
type RoundsEvent = ViewChanged | ScrubChanged;

/** What tells one machine of rounds from another. */
interface RoundsOf {
  readonly id: string;
  /** What makes it look at once; the root sends it nothing else. */
  readonly news: RoundsEvent['type'];
  /** Between two looks without news. */
  readonly lookMs: number;
  /** After a round that failed. */
  readonly pauseMs: number;
}

/** A machine of rounds; what failed is warned of as `<id>.round.failed`. */
export function roundsMachine({ id, news, lookMs, pauseMs }: RoundsOf) {
  return setup({
    types: {
      input: {} as RoundsInput,
      context: {} as RoundsInput,
      events: {} as RoundsEvent,
    },
    actors: { work: fromPromise(({ input }: { input: RoundsInput }) => input.work()) },
    guards: { workDue: ({ context }) => context.workDue() },
    actions: {
      warnFailed: ({ context }, params: { error: unknown }) =>
        context.warn(`${id}.round.failed`, params.error),
    },
    delays: { look: lookMs, pause: pauseMs },
  }).createMachine({
    id,
    context: ({ input }) => input,
    initial: 'idle',
    on: { [news]: {} },
    states: {
      idle: {
        always: { guard: 'workDue', target: 'working' },
        on: { [news]: { target: 'idle', reenter: true } },
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
}
