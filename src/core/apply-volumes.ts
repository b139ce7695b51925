// Entries about volumes and their locks. The token rises by one with each grant and takeover, for ever (A6); what is
// legal for a lock is lock.ts's to say.

import { withGeneration, withoutGeneration } from './generation-state.ts';
import { type Generation, rootHead } from './generations.ts';
import type { FamilyId, FencingToken, GenerationId, VolumeId } from './ids.ts';
import { nameBar } from './layers.ts';
import {
  FRESH_LOCK,
  holderText,
  isHolderOver,
  judgeAcquire,
  judgeAttachMode,
  judgeBreak,
  judgeRelease,
  judgeTakeover,
  type LockAnswer,
  MAX_FROM_CHARACTERS,
  NOBODY,
  superseded,
} from './lock.ts';
import type { EntryBody } from './log-entry.ts';
import { withFreshMove, withoutMove, withWriteback } from './move-state.ts';
import {
  type Applied,
  accepted,
  type ClusterState,
  declined,
  isUp,
  isWithin,
  withEntry,
  withoutEntry,
} from './state.ts';
import type { Volume, VolumeLock } from './view.ts';
import {
  MAX_IO_TIMEOUT_MS,
  MAX_VOLUMES,
  nameProblem,
  protectedText,
  sizeProblem,
} from './volume.ts';
import { NO_RATES } from './volume-rates.ts';

type Body<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

/** A new volume of a new family with a new head generation; `value` = its id. */
export function applyVolumeCreate(state: ClusterState, body: Body<'volumeCreate'>): Applied {
  const taken = nameBar(state, body.name);
  if (taken !== undefined) return taken;
  const problem = nameProblem(body.name) ?? sizeProblem(body.sizeBytes);
  if (problem !== undefined) return declined(state, 'refused', problem);
  if (!state.policies.has(body.policy)) return declined(state, 'missing', 'no such policy');
  if (state.volumes.size >= MAX_VOLUMES) return declined(state, 'full', 'too many volumes');
  const { counters } = state;
  const volume: Volume = {
    id: (counters.volume + 1) as VolumeId,
    name: body.name,
    family: (counters.family + 1) as FamilyId,
    policy: body.policy,
    head: (counters.generation + 1) as GenerationId,
    sizeBytes: body.sizeBytes,
    durability: body.durability,
    attachMode: body.attachMode,
    ioTimeoutMs: 0,
    isProtected: false,
    rates: NO_RATES,
    lock: FRESH_LOCK,
  };
  const next: ClusterState = {
    ...state,
    policies: withWriteback(state, volume),
    volumes: withEntry(state.volumes, volume.id, volume),
    volumeOfName: withEntry(state.volumeOfName, volume.name, volume.id),
    volumeOfHead: withEntry(state.volumeOfHead, volume.head, volume.id),
    generations: withGeneration(state, headOf(volume)),
    counters: {
      ...counters,
      volume: volume.id,
      family: volume.family,
      generation: volume.head,
    },
  };
  return accepted(next, volume.id);
}

function headOf({ id: volume, family, policy, head: id }: Volume): Generation {
  return rootHead({ id, family, policy, volume });
}

/**
 * Removes the record of a volume whose lock is free, or its holder over, and its move. Its generations stay below the
 * counter: GONE (S5).
 */
export function applyVolumeDelete(state: ClusterState, body: Body<'volumeDelete'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const { lock } = volume;
  if (lock.state === 'held' && !isHolderOver(state.members, lock)) {
    return declined(
      state,
      'held',
      `"${volume.name}" is in use through ${holderText(lock)}`,
      lock.node,
    );
  }
  if (lock.token !== body.token) return declined(state, 'stale', 'it was used since', lock.token);
  if (volume.isProtected) return declined(state, 'refused', protectedText(volume));
  const ended = withoutMove(state, volume);
  const next: ClusterState = {
    ...ended,
    volumes: withoutEntry(state.volumes, volume.id),
    volumeOfName: withoutEntry(state.volumeOfName, volume.name),
    attributes: withoutEntry(state.attributes, volume.id),
    volumeOfHead: withoutEntry(ended.volumeOfHead, volume.head),
    generations: withoutGeneration(ended, volume.head),
  };
  return accepted(next, volume.id);
}

/** What a guest that is attached need not be asked for. */
export function applyVolumeOptions(state: ClusterState, body: Body<'volumeOptions'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const { ioTimeoutMs } = body;
  if (!isWithin(ioTimeoutMs, 0, MAX_IO_TIMEOUT_MS)) {
    return declined(state, 'refused', 'an io-timeout lasts up to a day');
  }
  const volumes = withEntry(state.volumes, volume.id, { ...volume, ioTimeoutMs });
  return accepted({ ...state, volumes }, volume.id);
}

/** Who may attach. What a holder was promised stays: refused while one lives. */
export function applyVolumeAttach(state: ClusterState, body: Body<'volumeAttach'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const { lock } = volume;
  const isHolderDead = !isUp(state, lock.node, lock.incarnation);
  const answer = judgeAttachMode(lock, body.token, isHolderDead);
  if (answer !== undefined) return refused(state, answer);
  const { attachMode } = body;
  const volumes = withEntry(state.volumes, volume.id, { ...volume, attachMode });
  return accepted({ ...state, volumes }, volume.id);
}

/** Nobody has the lock any more, and the token is another one; `value` = it. */
export function applyLockBreak(state: ClusterState, body: Body<'lockBreak'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const answer = judgeBreak(volume.lock, body.token);
  if (answer !== undefined) return refused(state, answer);
  const lock = superseded(volume.lock);
  return accepted(withLock(state, volume, lock), lock.token);
}

/** Grants a free lock. The same session asking again has it already. */
export function applyLockAcquire(state: ClusterState, body: Body<'lockAcquire'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const isTakerUp = isUp(state, body.node, body.incarnation);
  const answer = judgeAcquire(volume.lock, body, isTakerUp);
  return answer === undefined ? granted(state, volume, body, false) : refused(state, answer);
}

/** Takes the lock of a holder whose life is over, or any by force. The new holder owes the barrier (F3). */
export function applyTakeover(state: ClusterState, body: Body<'takeover'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const { lock } = volume;
  const context = {
    isTakerUp: isUp(state, body.node, body.incarnation),
    isHolderDead: !isUp(state, lock.node, lock.incarnation),
    force: body.force,
  };
  const answer = judgeTakeover(lock, body, context);
  return answer === undefined ? granted(state, volume, body, true) : refused(state, answer);
}

/** Frees the lock after a drain; the token stays as the last one given. */
export function applyLockRelease(state: ClusterState, body: Body<'lockRelease'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const answer = judgeRelease(volume.lock, body.token);
  if (answer !== undefined) return refused(state, answer);
  const lock: VolumeLock = { ...volume.lock, state: 'free', next: NOBODY };
  return accepted(withLock(state, volume, lock), lock.token);
}

/** The lock is that session's, with the next token. */
export function granted(
  state: ClusterState,
  volume: Volume,
  to: Pick<Body<'lockAcquire'>, 'node' | 'incarnation' | 'session' | 'dateMs' | 'from'>,
  tookOver: boolean,
): Applied {
  const token = (volume.lock.token + 1) as FencingToken;
  const { node, incarnation, session, dateMs: sinceMs } = to;
  // `state.index` is that of this entry: see applyEntry.
  const grantedAt = state.index;
  const lock: VolumeLock = {
    state: 'held',
    token,
    grantedAt,
    node,
    incarnation,
    session,
    tookOver,
    sinceMs,
    from: to.from.slice(0, MAX_FROM_CHARACTERS),
    next: NOBODY,
  };
  const next = withLock(state, volume, lock);
  const move = state.moves.get(volume.id);
  // S8: what the session before wrote to both or to one is not known: its copy is begun anew.
  const moved = move && withFreshMove(next, { ...volume, lock }, { policy: move.policy, token });
  return accepted(moved ?? next, token);
}

/** The state with this lock of the volume. */
export function withLock(state: ClusterState, volume: Volume, lock: VolumeLock): ClusterState {
  return { ...state, volumes: withEntry(state.volumes, volume.id, { ...volume, lock }) };
}

/** The lock stays as it is. */
export function refused(state: ClusterState, answer: LockAnswer): Applied {
  return declined(state, answer.code, answer.detail, answer.value);
}
