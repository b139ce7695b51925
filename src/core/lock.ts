// Who may have the lock of a volume. The judge... functions are the state machine's word; `judgeLock` is what a gateway
// reads from its view before it proposes. No clock takes part: a holder is dead when the map says so (3.1).

import { utcText } from './date-text.ts';
import type { FencingToken, Incarnation, MapIndex, NodeId, SessionId } from './ids.ts';
import type { ApplyResult } from './log-entry.ts';
import type { ClusterView, Member, VolumeLock } from './view.ts';

/** Highest token; a lock that reached it is never granted again. */
export const MAX_TOKEN = 0xffffffff;

/** Lives are counted from 1. */
const NO_LIFE = 0 as Incarnation;
/** Of a lock without a prepared successor. */
export const NOBODY = 0 as NodeId;
/** Longest text about where a client came from, in characters; more is left out. */
export const MAX_FROM_CHARACTERS = 120;

/** Of a new volume: nobody has had it. */
export const FRESH_LOCK: VolumeLock = {
  state: 'free',
  token: 0 as FencingToken,
  grantedAt: 0 as MapIndex,
  node: 0 as NodeId,
  incarnation: 0 as Incarnation,
  session: 0 as SessionId,
  tookOver: false,
  sinceMs: 0,
  from: '',
  next: NOBODY,
};

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

/** Undefined: it may change. Who holds the volume was promised the mode that it has. */
export function judgeAttachMode(
  lock: VolumeLock,
  token: FencingToken,
  isHolderDead: boolean,
): LockAnswer | undefined {
  if (lock.state === 'held' && !isHolderDead) return heldAnswer(lock);
  if (lock.token !== token) return answerOf('stale', `the token is ${lock.token}`, lock.token);
  return undefined;
}

/** Undefined: break it. */
export function judgeBreak(lock: VolumeLock, token: FencingToken): LockAnswer | undefined {
  if (lock.token !== token) return answerOf('stale', `the token is ${lock.token}`, lock.token);
  if (lock.state === 'free') return answerOf('duplicate', 'it is free', lock.token);
  return lock.token >= MAX_TOKEN ? answerOf('full', 'no token is left', 0) : undefined;
}

/** Undefined: the hand-over to that node may be announced. Announcing another one takes the first one's place. */
export function judgePrepare(
  lock: VolumeLock,
  request: { readonly token: FencingToken; readonly toNode: NodeId },
  standing: { readonly isTargetUp: boolean; readonly isHolderDead: boolean },
): LockAnswer | undefined {
  if (lock.token !== request.token) {
    return answerOf('stale', `the token is ${lock.token}`, lock.token);
  }
  if (lock.state === 'free' || standing.isHolderDead) {
    return answerOf('refused', 'nobody holds it: who writes first has it', 0);
  }
  if (lock.next === request.toNode) return answerOf('duplicate', '', lock.token);
  if (lock.node === request.toNode) {
    return answerOf('refused', `n${request.toNode} holds it already`, lock.node);
  }
  if (standing.isTargetUp) return undefined;
  return answerOf('refused', `n${request.toNode} is not up, or holds no data`, 0);
}

/** Undefined: the lock is that session's. What the former holder still sends is refused from here on (F1). */
export function judgeComplete(
  lock: VolumeLock,
  request: Request,
  isTakerUp: boolean,
): LockAnswer | undefined {
  if (isHeldBy(lock, request)) return answerOf('duplicate', '', lock.token);
  if (lock.state === 'free') return answerOf('stale', 'the lock is free: acquire it', lock.token);
  return grantBar(lock, request, isTakerUp);
}

/** Undefined: the holder stays, with the next token (3.3.6). */
export function judgeCancel(
  lock: VolumeLock,
  token: FencingToken,
  isHolderDead: boolean,
): LockAnswer | undefined {
  if (lock.token !== token) return answerOf('stale', `the token is ${lock.token}`, lock.token);
  if (lock.state === 'free' || isHolderDead) {
    return answerOf('refused', 'nobody holds it', lock.token);
  }
  return lock.token >= MAX_TOKEN ? answerOf('full', 'no token is left', 0) : undefined;
}

/** Held by a life that is over: the next holder takes over, with the barrier (F3). */
export function superseded(lock: VolumeLock): VolumeLock {
  const token = Math.min(lock.token + 1, MAX_TOKEN) as FencingToken;
  return { ...lock, token, incarnation: NO_LIFE, next: NOBODY };
}

/** True after `superseded`: nobody has it, and the next one takes over. */
export function isSuperseded(lock: VolumeLock): boolean {
  return lock.state === 'held' && lock.incarnation === NO_LIFE;
}

/**
 * True when nobody writes any more under a lock that is held: the process that held it has ended, for its node is up in a
 * later life, or an operator said that it is over. What removes a volume need not wait for such a holder.
 */
export function isHolderOver(
  members: ReadonlyMap<NodeId, Pick<Member, 'state' | 'incarnation'>>,
  lock: VolumeLock,
): boolean {
  if (lock.state !== 'held') return false;
  const member = members.get(lock.node);
  return isSuperseded(lock) || (member?.state === 'up' && member.incarnation > lock.incarnation);
}

/** Who holds it since when from where: `n2 since 2026-11-23 12:25:16 UTC, attached from 10.0.0.7`. */
export function holderText(lock: Pick<VolumeLock, 'node' | 'sinceMs' | 'from'>): string {
  const since = utcText(lock.sinceMs);
  const when = since === '' ? '' : ` since ${since}`;
  return `n${lock.node}${when}${lock.from === '' ? '' : `, attached from ${lock.from}`}`;
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
  return answerOf('held', `held through ${holderText(lock)}`, lock.node);
}

function answerOf(code: LockAnswer['code'], detail: string, value: number): LockAnswer {
  return { code, detail, value };
}
