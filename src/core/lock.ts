// Who may have the lock of a volume. The judge... functions are the state machine's word; `judgeLock` is what a gateway
// reads from its view before it proposes. No clock takes part: a holder is dead when the map says so (3.1).

import type { FencingToken, Incarnation, NodeId, SessionId } from './ids.ts';
import type { ApplyResult } from './log-entry.ts';
import type { ClusterView, VolumeLock } from './view.ts';

/** Highest token; a lock that reached it is never granted again. */
export const MAX_TOKEN = 0xffffffff;

/** A session of a node's life. */
export interface SessionKey {
  readonly node: NodeId;
  readonly incarnation: Incarnation;
  readonly session: SessionId;
}

/** Why a lock stays as it is. */
export interface LockAnswer {
  readonly code: Exclude<ApplyResult['code'], 'ok'>;
  readonly detail: string;
  readonly value: number;
}

/**
 * What a session finds: `free`: acquire; `mine`: go on; `dead`: its holder's life is over, take over; `live`: another
 * session holds it, `sibling`: another session of this same life does.
 */
export type LockStanding = 'free' | 'mine' | 'dead' | 'live' | 'sibling';

/** How a lock stands for a session, by this node's view. The log has the last word. */
export function judgeLock(view: ClusterView, lock: VolumeLock, self: SessionKey): LockStanding {
  if (lock.state === 'free') return 'free';
  if (lock.node === self.node && lock.incarnation === self.incarnation) {
    return lock.session === self.session ? 'mine' : 'sibling';
  }
  return isHolderDead(view, lock) ? 'dead' : 'live';
}

/** True when the holder's life is over: its node is down or gone, or lives on in a later incarnation. */
export function isHolderDead(view: ClusterView, lock: VolumeLock): boolean {
  const member = view.members.get(lock.node);
  return member === undefined || member.state !== 'up' || member.incarnation !== lock.incarnation;
}

type Request = SessionKey & { readonly token: FencingToken };

/** Undefined: grant. */
export function judgeAcquire(
  lock: VolumeLock,
  request: Request,
  isTakerUp: boolean,
): LockAnswer | undefined {
  if (isHeldBy(lock, request)) return answerOf('duplicate', '', lock.token);
  if (lock.state === 'held') return heldAnswer(lock);
  return grantBar(lock, request, isTakerUp);
}

/** Undefined: grant. */
export function judgeTakeover(
  lock: VolumeLock,
  request: Request,
  context: { readonly isTakerUp: boolean; readonly isHolderDead: boolean; readonly force: boolean },
): LockAnswer | undefined {
  if (isHeldBy(lock, request)) return answerOf('duplicate', '', lock.token);
  if (lock.state === 'free') return answerOf('refused', 'the lock is free: acquire it', lock.token);
  const bar = grantBar(lock, request, context.isTakerUp);
  if (bar !== undefined) return bar;
  return context.isHolderDead || context.force ? undefined : heldAnswer(lock);
}

/** Undefined: free it. */
export function judgeRelease(lock: VolumeLock, token: FencingToken): LockAnswer | undefined {
  if (lock.token !== token) return answerOf('stale', `the token is ${lock.token}`, lock.token);
  return lock.state === 'free' ? answerOf('duplicate', 'it is free', lock.token) : undefined;
}

function grantBar(lock: VolumeLock, request: Request, isTakerUp: boolean): LockAnswer | undefined {
  if (lock.token !== request.token) {
    return answerOf('stale', `the token is ${lock.token}`, lock.token);
  }
  if (!isTakerUp) return answerOf('refused', `n${request.node} is not up in that life`, 0);
  return lock.token >= MAX_TOKEN ? answerOf('full', 'no token is left', 0) : undefined;
}

function isHeldBy(lock: VolumeLock, who: SessionKey): boolean {
  const sameLife = lock.node === who.node && lock.incarnation === who.incarnation;
  return lock.state === 'held' && sameLife && lock.session === who.session;
}

function heldAnswer(lock: VolumeLock): LockAnswer {
  return answerOf('held', `held through n${lock.node}`, lock.node);
}

function answerOf(code: LockAnswer['code'], detail: string, value: number): LockAnswer {
  return { code, detail, value };
}
