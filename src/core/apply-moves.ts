// Entries about volumes that move to another policy (S8). The log knows that a volume moves, into which generation, and
// whose copy that is; the holder writes to both and copies. Only the session that made a copy can make it the head: a new
// token begins a fresh one (apply-volumes.ts), so no write that went to the old copies alone is ever left behind.

import { withoutGeneration } from './generation-state.ts';
import type { EntryBody } from './log-entry.ts';
import { withFreshMove, withoutMove } from './move-state.ts';
import {
  type Applied,
  accepted,
  type ClusterState,
  declined,
  withEntry,
  withoutEntry,
} from './state.ts';
import type { Volume } from './view.ts';

type Body<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

/** Begins a move, or begins the copy of one anew; `value` = the generation that is copied into. */
export function applyMoveStart(state: ClusterState, body: Body<'moveStart'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  if (volume.lock.token !== body.token) return stale(state, volume);
  if (!state.policies.has(body.policy)) return declined(state, 'missing', 'no such policy');
  const former = state.moves.get(volume.id)?.generation ?? 0;
  if (former !== body.former) {
    return declined(state, 'stale', `"${volume.name}" has begun to move since`, former);
  }
  if (volume.policy === body.policy) {
    return declined(state, 'duplicate', `"${volume.name}" is in that policy`, volume.head);
  }
  const next = withFreshMove(state, volume, body);
  return accepted(next, next.counters.generation);
}

/** The volume stays in its policy. */
export function applyMoveCancel(state: ClusterState, body: Body<'moveCancel'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const move = state.moves.get(volume.id);
  if (move === undefined) return declined(state, 'duplicate', `"${volume.name}" does not move`);
  if (volume.lock.token !== body.token) return stale(state, volume);
  return accepted(withoutMove(state, volume), move.generation);
}

/** All is copied: the volume is its copy from here on. The former head is a deleted generation (S5). */
export function applyVolumeMove(state: ClusterState, body: Body<'volumeMove'>): Applied {
  const volume = state.volumes.get(body.volume);
  if (volume === undefined) return declined(state, 'missing', 'no such volume');
  const { lock } = volume;
  if (lock.state !== 'held' || lock.token !== body.token) return stale(state, volume);
  const move = state.moves.get(volume.id);
  if (move === undefined || move.generation !== body.head || move.token !== body.token) {
    return declined(state, 'stale', 'that copy is not the present one', move?.generation ?? 0);
  }
  const { family, policy, generation: head } = move;
  const moved: Volume = { ...volume, family, policy, head };
  return accepted(
    {
      ...state,
      volumes: withEntry(state.volumes, volume.id, moved),
      volumeOfHead: withoutEntry(state.volumeOfHead, volume.head),
      moves: withoutEntry(state.moves, volume.id),
      generations: withoutGeneration(state, volume.head),
    },
    head,
  );
}

function stale(state: ClusterState, { name, lock }: Volume): Applied {
  return declined(state, 'stale', `"${name}" has another token since`, lock.token);
}
