// Entries about hand-overs (3.2, 3.3): the holder lives, and the lock goes from it to a session of another node, or stays;
// and about holders that held still for a snapshot that did not come.
// At each index there is one holder (H2): completing and cancelling compare the same token, so one of the two is too late.

import { granted, refused, withLock } from './apply-volumes.ts';
import { judgeCancel, judgeComplete, judgePrepare } from './lock.ts';
import type { EntryBody } from './log-entry.ts';
import { type Applied, accepted, type ClusterState, declined, isUp } from './state.ts';

type Body<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

/** Names the successor; the holder and its token stay. */
export function applyHandoverPrepare(state: ClusterState, body: Body<'handoverPrepare'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const { lock } = volume;
  const target = state.members.get(body.toNode);
  const answer = judgePrepare(lock, body, {
    isTargetUp: target?.state === 'up' && !target.isWitness,
    isHolderDead: !isUp(state, lock.node, lock.incarnation),
  });
  if (answer !== undefined) return refused(state, answer);
  return accepted(withLock(state, volume, { ...lock, next: body.toNode }), lock.token);
}

/** No barrier is owed: the former holder had nothing in flight. `value` = the new token. */
export function applyHandoverComplete(
  state: ClusterState,
  body: Body<'handoverComplete'>,
): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const isTakerUp = isUp(state, body.node, body.incarnation);
  const answer = judgeComplete(volume.lock, body, isTakerUp);
  return answer === undefined ? granted(state, volume, body, false) : refused(state, answer);
}

/** A grant to the same session. What its last grant owed, this one owes: it may not have touched everything yet (F3). */
export function applyHandoverCancel(state: ClusterState, body: Body<'handoverCancel'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const { lock } = volume;
  const answer = judgeCancel(lock, body.token, !isUp(state, lock.node, lock.incarnation));
  if (answer !== undefined) return refused(state, answer);
  return granted(state, volume, { ...lock, dateMs: lock.sinceMs }, lock.tookOver);
}

/**
 * The holder of a head that was not frozen in time goes on (S4), and whoever still wants to freeze it under the former token
 * comes too late: of a group that would be a snapshot of different moments. An announced hand-over stays announced.
 */
export function applyHoldEnd(state: ClusterState, body: Body<'holdEnd'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const { lock } = volume;
  const answer = judgeCancel(lock, body.token, !isUp(state, lock.node, lock.incarnation));
  if (answer !== undefined) return refused(state, answer);
  const { state: next, result } = granted(
    state,
    volume,
    { ...lock, dateMs: lock.sinceMs },
    lock.tookOver,
  );
  const renewed = next.volumes.get(volume.id) ?? volume;
  return { state: withLock(next, renewed, { ...renewed.lock, next: lock.next }), result };
}
