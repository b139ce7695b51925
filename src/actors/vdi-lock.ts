/**
 * The lock of one attached volume on this gateway (3.1). Connecting takes nothing: the session's first I/O wants it.
 *
 *   idle ──lock.wanted──▶ deciding ──free──▶ acquiring ─┐granted
 *    ▲  ▲                   │ ▲  └──dead──▶ takingOver ─┼──────▶ held ──lock overtaken──▶ lost (final)
 *    │  │                   │ └── retry ◀─ pausing      │          │
 *    │  └─ holder gone ─ standby ─lock.offered─▶ completing        └─session.drained─▶ releasing ─▶ released (final)
 *    └────────────────────────────── own former session still releasing: pausing
 *
 * A holder whose hand-over was cancelled is granted the next token: it is told, and stays. `lock.offered` comes with the
 * token that the holder was drained under: what the log says since then makes the completion too late.
 *
 * A session says once that it is drained, whatever state this is in then: after that nobody wants the lock, and what is
 * held, or may still be granted, goes back.
 *
 * Safety rests on the token in the log, not on this machine (F1): it may believe to hold a lock for as long as it
 * likes, the replicas know better.
 */
import { assign, fromPromise, sendParent, setup } from 'xstate';
import type { FencingToken, MapIndex, NodeId, SessionId } from '../core/ids.ts';
import type { LockEnded, ViewChanged } from './events.ts';

/** Between two looks at a lock that can not be had now. */
export const LOCK_PAUSE_MS = 100;
/** A session that ended while its grant was under way waits this long for it; later ones are swept (lock-duties.ts). */
export const LOCK_SETTLE_MS = 5000;

export interface LockGrant {
  readonly token: FencingToken;
  readonly grantedAt: MapIndex;
  readonly tookOver: boolean;
}

/** What the map says of the lock, from this session's point of view. */
export type LockVerdict =
  | { readonly kind: 'free' | 'dead' | 'gone' | 'sibling' }
  | { readonly kind: 'live'; readonly holder: NodeId }
  | { readonly kind: 'mine'; readonly grant: LockGrant };

export interface VdiLockInput {
  readonly id: SessionId;
  readonly judge: () => LockVerdict;
  /** Propose the entry. Resolve when it is applied and the next `judge` tells; reject when asking at once is in vain. */
  readonly acquire: () => Promise<void>;
  readonly takeOver: () => Promise<void>;
  /** @param token the holder was drained under it */
  readonly complete: (token: FencingToken) => Promise<void>;
  readonly release: (token: FencingToken) => Promise<void>;
  /** The session's cell (datapath/open-volume.ts). */
  readonly session: {
    granted(grant: LockGrant): void;
    standby(holder: NodeId): void;
    idle(): void;
    lost(reason: string): void;
  };
}

interface VdiLockContext extends VdiLockInput {
  readonly token: FencingToken;
  readonly offered: FencingToken;
}

export type VdiLockEvent =
  | ViewChanged
  | { readonly type: 'lock.wanted' }
  | { readonly type: 'lock.offered'; readonly token: FencingToken }
  | { readonly type: 'session.drained' };

const proposed = { onDone: 'deciding', onError: 'pausing' } as const;

export const vdiLockMachine = setup({
  types: { input: {} as VdiLockInput, context: {} as VdiLockContext, events: {} as VdiLockEvent },
  actors: {
    acquire: fromPromise(({ input }: { input: VdiLockContext }) => input.acquire()),
    takeOver: fromPromise(({ input }: { input: VdiLockContext }) => input.takeOver()),
    complete: fromPromise(({ input }: { input: VdiLockContext }) => input.complete(input.offered)),
    release: fromPromise(({ input }: { input: VdiLockContext }) => input.release(input.token)),
  },
  guards: {
    isFree: ({ context }) => context.judge().kind === 'free',
    isDead: ({ context }) => context.judge().kind === 'dead',
    isGone: ({ context }) => context.judge().kind === 'gone',
    isLive: ({ context }) => context.judge().kind === 'live',
    isMine: ({ context }) => context.judge().kind === 'mine',
    isOvertaken: ({ context }) => context.judge().kind !== 'mine',
    isGrantedAgain: ({ context }) => {
      const verdict = context.judge();
      return verdict.kind === 'mine' && verdict.grant.token !== context.token;
    },
  },
  actions: {
    noteToken: assign({
      token: ({ context }) => {
        const verdict = context.judge();
        return verdict.kind === 'mine' ? verdict.grant.token : context.token;
      },
    }),
    noteOffer: assign({
      offered: ({ context, event }) =>
        event.type === 'lock.offered' ? event.token : context.offered,
    }),
    tellGranted: ({ context }) => {
      const verdict = context.judge();
      if (verdict.kind === 'mine') context.session.granted(verdict.grant);
    },
    tellStandby: ({ context }) => {
      const verdict = context.judge();
      if (verdict.kind === 'live') context.session.standby(verdict.holder);
    },
    tellIdle: ({ context }) => context.session.idle(),
    tellEnded: sendParent(
      ({ context }): LockEnded => ({ type: 'lock.ended', session: context.id }),
    ),
    tellLost: ({ context }) => context.session.lost('the lock of the volume was taken over'),
    tellGone: ({ context }) => context.session.lost('the volume was deleted'),
  },
  delays: { lockPause: LOCK_PAUSE_MS, settleGrant: LOCK_SETTLE_MS },
}).createMachine({
  id: 'vdi-lock',
  context: ({ input }) => ({ ...input, token: 0 as FencingToken, offered: 0 as FencingToken }),
  initial: 'idle',
  on: {
    'view.changed': {},
    'lock.wanted': {},
    'lock.offered': {},
  },
  states: {
    idle: {
      on: {
        'lock.wanted': 'deciding',
        'view.changed': { guard: 'isGone', target: 'gone' },
        'session.drained': 'released',
      },
    },
    deciding: {
      always: [
        { guard: 'isMine', target: 'held' },
        { guard: 'isFree', target: 'acquiring' },
        { guard: 'isDead', target: 'takingOver' },
        { guard: 'isLive', target: 'standby' },
        { guard: 'isGone', target: 'gone' },
        { target: 'pausing' },
      ],
    },
    acquiring: {
      invoke: { id: 'acquire', src: 'acquire', input: ({ context }) => context, ...proposed },
      on: { 'session.drained': 'unsure' },
    },
    takingOver: {
      invoke: { id: 'takeOver', src: 'takeOver', input: ({ context }) => context, ...proposed },
      on: { 'session.drained': 'unsure' },
    },
    completing: {
      invoke: { id: 'complete', src: 'complete', input: ({ context }) => context, ...proposed },
      on: { 'session.drained': 'unsure' },
    },
    pausing: { after: { lockPause: 'deciding' }, on: { 'session.drained': 'released' } },
    // The cell leaves `standby` by itself when its view has another holder, so each new holder is told, and each wish heard.
    standby: {
      entry: 'tellStandby',
      on: {
        'lock.wanted': 'deciding',
        'lock.offered': { target: 'completing', actions: 'noteOffer' },
        'session.drained': 'released',
        'view.changed': [
          { guard: 'isGone', target: 'gone' },
          { guard: 'isLive', target: 'standby', reenter: true },
          { target: 'idle', actions: 'tellIdle' },
        ],
      },
    },
    held: {
      entry: ['noteToken', 'tellGranted'],
      on: {
        'view.changed': [
          { guard: 'isOvertaken', target: 'lost' },
          { guard: 'isGrantedAgain', target: 'held', reenter: true },
        ],
        'session.drained': 'releasing',
      },
    },
    // The session ended while a grant was under way: what was granted must be given back. Views do not start the wait anew.
    unsure: {
      always: { guard: 'isMine', target: 'releasing', actions: 'noteToken' },
      after: { settleGrant: 'released' },
    },
    releasing: {
      invoke: {
        id: 'release',
        src: 'release',
        input: ({ context }) => context,
        onDone: 'released',
        onError: 'releasePausing',
      },
    },
    releasePausing: {
      after: { lockPause: [{ guard: 'isMine', target: 'releasing' }, { target: 'released' }] },
    },
    lost: { type: 'final', entry: ['tellLost', 'tellEnded'] },
    gone: { type: 'final', entry: ['tellGone', 'tellEnded'] },
    released: { type: 'final', entry: 'tellEnded' },
  },
});
