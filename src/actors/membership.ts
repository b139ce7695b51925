/**
 * Whom this node observes and what it reports. One peer actor per life of a subject; a suspicion becomes an alert to
 * the voters, unless this observer has reason to distrust itself (C1.3): that judgement and the sending are `report`.
 *
 *   watching: view.changed ──▶ spawn actors of new subjects, stop those of former ones
 *             edge.* / peer.refused ──▶ handed to the peer actor of that node
 *             peer.suspected / peer.cleared ──▶ report
 */
import { type ActorRefFrom, enqueueActions, setup } from 'xstate';
import type { Incarnation, NodeId } from '../core/ids.ts';
import type { PeerReport, Suspicion, ViewChanged } from './events.ts';
import { peerMachine } from './peer.ts';

/** One subject of this observer: a node that the map calls up. */
export interface Subject {
  readonly node: NodeId;
  readonly incarnation: Incarnation;
}

export interface MembershipInput {
  /** Subjects by the present view (C1.1), at most 10. */
  readonly subjects: () => readonly Subject[];
  /** Sends one alert; never throws. */
  readonly report: (suspicion: Suspicion) => void;
}

interface Watched extends Subject {
  readonly ref: ActorRefFrom<typeof peerMachine>;
}

interface MembershipContext extends MembershipInput {
  readonly peers: ReadonlyMap<NodeId, Watched>;
}

export type MembershipEvent =
  | ViewChanged
  | PeerReport
  | { readonly type: EdgeType; readonly node: NodeId };

type EdgeType = 'edge.lost' | 'edge.regained' | 'peer.refused';

export const membershipMachine = setup({
  types: {
    input: {} as MembershipInput,
    context: {} as MembershipContext,
    events: {} as MembershipEvent,
  },
  actors: { peer: peerMachine },
  actions: {
    adoptSubjects: enqueueActions(({ context, enqueue }) => {
      const subjects = new Map(context.subjects().map((subject) => [subject.node, subject]));
      const isKept = (watched: Watched) =>
        subjects.get(watched.node)?.incarnation === watched.incarnation;
      for (const watched of context.peers.values()) {
        if (!isKept(watched)) enqueue.stopChild(watched.ref);
      }
      enqueue.assign(({ context: now, spawn }) => {
        const peers = new Map<NodeId, Watched>();
        for (const { node, incarnation } of subjects.values()) {
          const known = now.peers.get(node);
          const id = `peer-${node}-${incarnation}`;
          const fresh = () => spawn('peer', { id, input: { node, incarnation } });
          const ref = known !== undefined && isKept(known) ? known.ref : fresh();
          peers.set(node, { node, incarnation, ref });
        }
        return { peers };
      });
    }),
    handToPeer: ({ context }, params: { node: NodeId; type: EdgeType }) =>
      context.peers.get(params.node)?.ref.send({ type: params.type }),
    report: ({ context }, params: Suspicion) => context.report(params),
  },
}).createMachine({
  id: 'membership',
  context: ({ input }) => ({ ...input, peers: new Map() }),
  initial: 'watching',
  states: {
    watching: {
      entry: 'adoptSubjects',
      on: {
        'view.changed': { actions: 'adoptSubjects' },
        'edge.lost': { actions: { type: 'handToPeer', params: ({ event }) => event } },
        'edge.regained': { actions: { type: 'handToPeer', params: ({ event }) => event } },
        'peer.refused': { actions: { type: 'handToPeer', params: ({ event }) => event } },
        'peer.suspected': { actions: { type: 'report', params: ({ event }) => event } },
        'peer.cleared': { actions: { type: 'report', params: ({ event }) => event } },
      },
    },
  },
});
