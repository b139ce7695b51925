/**
 * The root of a node that belongs to a cluster: joins the others, supervises, stops in order. It is the picture of the
 * system: siblings talk through it.
 *
 *   member { announcing ──▶ up } ──stop──▶ stopping ──▶ stopped (final)
 *              ▲  ▲          │
 *        waiting  └──────────┘ disowned: the map calls this life down (C4.2)
 *
 *   member's children:  membership (peer actors)   suspicions out
 *                       voter, ring, replicator    duties of the leader
 *                       recovery                   this node's own catch-up
 *                       scrub                      this node's own copies
 *                       vdi-lock, one per session
 */
import { assign, enqueueActions, fromPromise, sendTo, setup } from 'xstate';
import type { FencingToken, NodeId, SessionId } from '../core/ids.ts';
import type { LockEnded, RoleChanged, ScrubChanged, Suspicion, ViewChanged } from './events.ts';
import { type MembershipInput, membershipMachine } from './membership.ts';
import { recoveryMachine } from './recovery.ts';
import { type ReplicatorInput, replicatorMachine } from './replicator.ts';
import { type RingInput, ringMachine } from './ring.ts';
import type { RoundsInput } from './rounds.ts';
import { scrubMachine } from './scrub.ts';
import { type VdiLockInput, vdiLockMachine } from './vdi-lock.ts';
import { type VoterInput, voterMachine } from './voter.ts';

/** Between two tries to be up in the map. */
export const ANNOUNCE_PAUSE_MS = 200;

export interface NodeInput {
  /** Catches up with the log and proposes `nodeUp`; resolves when this life is up in the map. */
  readonly announce: () => Promise<void>;
  /** True when the map has this node down, or in another life. */
  readonly isDisowned: () => boolean;
  /** Ends sessions, network, disk. Never rejects. */
  readonly close: () => Promise<void>;
  readonly onFailed: (error: unknown) => void;
  readonly warn: (what: string, reason: unknown) => void;
  readonly membership: MembershipInput;
  readonly voter: VoterInput;
  readonly ring: RingInput;
  readonly replicator: ReplicatorInput;
  readonly recovery: RoundsInput;
  readonly scrub: RoundsInput;
  readonly lockOf: (session: SessionId) => VdiLockInput;
  /** The lock actor of this session is final. */
  readonly onLockEnded: (session: SessionId) => void;
}

interface NodeContext extends NodeInput {
  readonly sessions: ReadonlySet<SessionId>;
}

export type NodeEvent =
  | ViewChanged
  | RoleChanged
  | LockEnded
  | ScrubChanged
  | { readonly type: 'stop' }
  | ({ readonly type: 'alert.received'; readonly observer: NodeId } & Suspicion)
  | { readonly type: 'edge.lost'; readonly node: NodeId }
  | { readonly type: 'edge.regained'; readonly node: NodeId }
  | { readonly type: 'peer.refused'; readonly node: NodeId }
  | { readonly type: 'lock.wanted'; readonly session: SessionId }
  | { readonly type: 'lock.offered'; readonly session: SessionId; readonly token: FencingToken }
  | { readonly type: 'session.drained'; readonly session: SessionId };

const lockId = (session: SessionId): string => `vdi-lock-${session}`;

export const nodeMachine = setup({
  types: {
    input: {} as NodeInput,
    context: {} as NodeContext,
    events: {} as NodeEvent,
    children: {} as {
      membership: 'membership';
      voter: 'voter';
      ring: 'ring';
      replicator: 'replicator';
      recovery: 'recovery';
      scrub: 'scrub';
    } & Record<string, 'vdiLock' | 'announce' | 'close'>,
  },
  actors: {
    announce: fromPromise(({ input }: { input: NodeContext }) => input.announce()),
    close: fromPromise(({ input }: { input: NodeContext }) => input.close()),
    membership: membershipMachine,
    voter: voterMachine,
    ring: ringMachine,
    replicator: replicatorMachine,
    recovery: recoveryMachine,
    scrub: scrubMachine,
    vdiLock: vdiLockMachine,
  },
  guards: {
    isDisowned: ({ context }) => context.isDisowned(),
  },
  actions: {
    tellView: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'view.changed') return;
      for (const child of ['membership', 'voter', 'ring', 'replicator', 'recovery'] as const) {
        enqueue.sendTo(child, event);
      }
      for (const session of context.sessions) enqueue.sendTo(lockId(session), event);
    }),
    tellRole: enqueueActions(({ event, enqueue }) => {
      if (event.type !== 'role.changed') return;
      for (const child of ['voter', 'ring', 'replicator'] as const) enqueue.sendTo(child, event);
    }),
    wantLock: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'lock.wanted') return;
      const { session } = event;
      if (!context.sessions.has(session)) {
        enqueue.spawnChild('vdiLock', { id: lockId(session), input: context.lockOf(session) });
        enqueue.assign({ sessions: new Set([...context.sessions, session]) });
      }
      enqueue.sendTo(lockId(session), { type: 'lock.wanted' });
    }),
    offerLock: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'lock.offered' || !context.sessions.has(event.session)) return;
      const { token } = event;
      enqueue.sendTo(lockId(event.session), { type: 'lock.offered', token });
    }),
    forgetSession: assign({
      sessions: ({ context }, params: { session: SessionId }) =>
        new Set([...context.sessions].filter((session) => session !== params.session)),
    }),
    tellLockEnded: ({ context }, params: { session: SessionId }) =>
      context.onLockEnded(params.session),
    sessionDrained: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'session.drained' || !context.sessions.has(event.session)) return;
      enqueue.sendTo(lockId(event.session), { type: 'session.drained' });
    }),
    failed: ({ context }, params: { error: unknown }) => context.onFailed(params.error),
    warnAnnounce: ({ context }, params: { error: unknown }) =>
      context.warn('node.announce.failed', params.error),
  },
  delays: { announcePause: ANNOUNCE_PAUSE_MS },
}).createMachine({
  id: 'node',
  context: ({ input }) => ({ ...input, sessions: new Set<SessionId>() }),
  initial: 'member',
  on: {
    'view.changed': {},
    'role.changed': {},
    'alert.received': {},
    'edge.lost': {},
    'edge.regained': {},
    'peer.refused': {},
    'lock.wanted': {},
    'lock.offered': {},
    'scrub.changed': {},
    // Also while stopping: sessions drain then, and their locks are given back.
    'session.drained': { actions: 'sessionDrained' },
    'lock.ended': {
      actions: [
        { type: 'forgetSession', params: ({ event }) => event },
        { type: 'tellLockEnded', params: ({ event }) => event },
      ],
    },
    stop: '.stopping',
  },
  states: {
    member: {
      invoke: [
        {
          id: 'membership',
          src: 'membership',
          input: ({ context }) => context.membership,
          onError: { actions: { type: 'failed', params: ({ event }) => ({ error: event.error }) } },
        },
        {
          id: 'voter',
          src: 'voter',
          input: ({ context }) => context.voter,
          onError: { actions: { type: 'failed', params: ({ event }) => ({ error: event.error }) } },
        },
        {
          id: 'ring',
          src: 'ring',
          input: ({ context }) => context.ring,
          onError: { actions: { type: 'failed', params: ({ event }) => ({ error: event.error }) } },
        },
        {
          id: 'replicator',
          src: 'replicator',
          input: ({ context }) => context.replicator,
          onError: { actions: { type: 'failed', params: ({ event }) => ({ error: event.error }) } },
        },
        {
          id: 'recovery',
          src: 'recovery',
          input: ({ context }) => context.recovery,
          onError: { actions: { type: 'failed', params: ({ event }) => ({ error: event.error }) } },
        },
        {
          id: 'scrub',
          src: 'scrub',
          input: ({ context }) => context.scrub,
          onError: { actions: { type: 'failed', params: ({ event }) => ({ error: event.error }) } },
        },
      ],
      on: {
        'view.changed': { actions: 'tellView' },
        'role.changed': { actions: 'tellRole' },
        'alert.received': { actions: sendTo('ring', ({ event }) => event) },
        'edge.lost': { actions: sendTo('membership', ({ event }) => event) },
        'edge.regained': { actions: sendTo('membership', ({ event }) => event) },
        'peer.refused': { actions: sendTo('membership', ({ event }) => event) },
        'lock.wanted': { actions: 'wantLock' },
        'lock.offered': { actions: 'offerLock' },
        'scrub.changed': { actions: sendTo('scrub', ({ event }) => event) },
      },
      initial: 'announcing',
      states: {
        announcing: {
          invoke: {
            id: 'announce',
            src: 'announce',
            input: ({ context }) => context,
            onDone: 'up',
            onError: {
              target: 'waiting',
              actions: { type: 'warnAnnounce', params: ({ event }) => ({ error: event.error }) },
            },
          },
        },
        waiting: { after: { announcePause: 'announcing' } },
        // Looked at on entry, too: the view may have changed between the announcement's end and here.
        up: { always: { guard: 'isDisowned', target: 'announcing' } },
      },
    },
    stopping: {
      invoke: {
        id: 'close',
        src: 'close',
        input: ({ context }) => context,
        onDone: 'stopped',
        onError: {
          target: 'stopped',
          actions: { type: 'failed', params: ({ event }) => ({ error: event.error }) },
        },
      },
    },
    stopped: { type: 'final' },
  },
});
