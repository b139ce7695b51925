/**
 * The leader's judgement of who is down (C1.5). Every node gets alerts; only a leader acts on them.
 *
 *   following ──role.changed(leader)──▶ leading { calm ◀──▶ tallying ──verdictReady──▶ proposing ──▶ tallying, pausing }
 *       ▲                                  │              every look while something is suspected
 *       └────── role.changed(other) ───────┘
 */
import { fromPromise, setup } from 'xstate';
import type { NodeId } from '../core/ids.ts';
import type { RoleChanged, Suspicion, ViewChanged } from './events.ts';

/** How often an unsettled tally is looked at again: time is part of its rules. */
export const TALLY_LOOK_MS = 100;

/** After a proposal that failed. */
export const TALLY_PAUSE_MS = 500;

export interface RingInput {
  /** Counts one observer's claim. */
  readonly tally: (observer: NodeId, suspicion: Suspicion) => void;
  /** True while there are claims: time is part of what becomes of them. Without any there is nothing to look at. */
  readonly isSuspicious: () => boolean;
  /** True when ONE nodesDown entry should be proposed now. */
  readonly verdictReady: () => boolean;
  /** Proposes it; resolves when it is applied. */
  readonly proposeDown: () => Promise<void>;
  /** Drops claims that the new view has answered. */
  readonly settle: () => void;
  /** Nothing to judge, or this node leads no more: what it did for its judgement alone ends. */
  readonly rest: () => void;
  readonly warn: (what: string) => void;
}

export type RingEvent =
  | RoleChanged
  | ViewChanged
  | ({ readonly type: 'alert.received'; readonly observer: NodeId } & Suspicion);

export const ringMachine = setup({
  types: { input: {} as RingInput, context: {} as RingInput, events: {} as RingEvent },
  actors: { proposeDown: fromPromise(({ input }: { input: RingInput }) => input.proposeDown()) },
  guards: {
    isLeader: ({ event }) => event.type === 'role.changed' && event.role === 'leader',
    isSuspicious: ({ context }) => context.isSuspicious(),
    verdictReady: ({ context }) => context.verdictReady(),
  },
  actions: {
    tally: ({ context }, params: { observer: NodeId } & Suspicion) =>
      context.tally(params.observer, params),
    settle: ({ context }) => context.settle(),
    rest: ({ context }) => context.rest(),
    warnFailed: ({ context }) => context.warn('nodes.down.failed'),
  },
  delays: { tallyLook: TALLY_LOOK_MS, tallyPause: TALLY_PAUSE_MS },
}).createMachine({
  id: 'ring',
  context: ({ input }) => input,
  initial: 'following',
  on: {
    // Claims are counted by every node: whoever leads next knows them already.
    'alert.received': { actions: { type: 'tally', params: ({ event }) => event } },
    'view.changed': { actions: 'settle' },
    'role.changed': [{ guard: 'isLeader', target: '.leading' }, { target: '.following' }],
  },
  states: {
    following: {},
    leading: {
      initial: 'tallying',
      exit: 'rest',
      states: {
        calm: { entry: 'rest', always: { guard: 'isSuspicious', target: 'tallying' } },
        tallying: {
          always: { guard: 'verdictReady', target: 'proposing' },
          after: {
            tallyLook: [
              { guard: 'isSuspicious', target: 'tallying', reenter: true },
              { target: 'calm' },
            ],
          },
        },
        proposing: {
          invoke: {
            id: 'proposeDown',
            src: 'proposeDown',
            input: ({ context }) => context,
            onDone: 'tallying',
            onError: { target: 'pausing', actions: 'warnFailed' },
          },
        },
        pausing: { after: { tallyPause: 'tallying' } },
      },
    },
  },
});
