/**
 * One life of one peer, as this observer sees it (C1.2, C1.8). It owns no timer of the pings: the prober counts them
 * and tells the edges.
 *
 *   alive ──edge.lost / peer.refused──▶ suspect ──edge.regained──▶ cleared ──alertRepeat──▶ alive
 *                                        │  ▲                         │
 *                                        └──┘ every alertRepeat       └──edge.lost / peer.refused──▶ suspect
 *
 * A suspicion is repeated until the edge is back or the map answers it: alerts may be lost, and leaders change. That it
 * was wrong is told twice: if that were lost, or overtaken by a late rumour, a claim would stay that nobody takes back.
 * What the map calls down is no subject any more, so its actor ends; a new life gets a new actor, and late news of the
 * old one finds nobody. The prober tells changes only, of an edge that begins with the actor: an edge is lost, then
 * regained, then lost. What would be told twice has no arrow here.
 */
import { assign, sendParent, setup } from 'xstate';
import type { Incarnation, NodeId } from '../core/ids.ts';
import type { PeerReport } from './events.ts';

/** A suspicion is told again after this long. */
export const ALERT_REPEAT_MS = 1000;

export interface PeerInput {
  readonly node: NodeId;
  readonly incarnation: Incarnation;
}

interface PeerContext extends PeerInput {
  readonly refused: boolean;
  /** Times that the present suspicion was told. */
  readonly told: number;
}

export type PeerEvent =
  | { readonly type: 'edge.lost' }
  | { readonly type: 'edge.regained' }
  | { readonly type: 'peer.refused' };

export const peerMachine = setup({
  types: { input: {} as PeerInput, context: {} as PeerContext, events: {} as PeerEvent },
  actions: {
    reportSuspicion: sendParent(
      ({ context }): PeerReport => ({
        type: 'peer.suspected',
        subject: context.node,
        incarnation: context.incarnation,
        down: true,
        refused: context.refused,
        repeats: context.told,
      }),
    ),
    reportCleared: sendParent(
      ({ context }): PeerReport => ({
        type: 'peer.cleared',
        subject: context.node,
        incarnation: context.incarnation,
        down: false,
        refused: false,
        repeats: 0,
      }),
    ),
    countTold: assign({ told: ({ context }) => context.told + 1 }),
    noteRefused: assign({ refused: true }),
    forgetAll: assign({ refused: false, told: 0 }),
  },
  delays: { alertRepeat: ALERT_REPEAT_MS },
}).createMachine({
  id: 'peer',
  context: ({ input }) => ({ ...input, refused: false, told: 0 }),
  initial: 'alive',
  states: {
    alive: {
      on: {
        'edge.lost': 'suspect',
        'peer.refused': { target: 'suspect', actions: 'noteRefused' },
      },
    },
    suspect: {
      entry: ['reportSuspicion', 'countTold'],
      after: { alertRepeat: { target: 'suspect', reenter: true } },
      on: {
        'peer.refused': { target: 'suspect', reenter: true, actions: 'noteRefused' },
        'edge.regained': { target: 'cleared', actions: 'forgetAll' },
      },
    },
    cleared: {
      entry: 'reportCleared',
      after: { alertRepeat: { target: 'alive', actions: 'reportCleared' } },
      on: {
        'edge.lost': 'suspect',
        'peer.refused': { target: 'suspect', actions: 'noteRefused' },
      },
    },
  },
});
