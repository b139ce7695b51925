// How the state changes where a volume moves to another policy (S8): what each copy of a move begins with, and what is
// left when it ends. Used by the entries of moves (apply-moves.ts), of locks and of losses.

import { withGeneration, withoutGeneration } from './generation-state.ts';
import { rootHead } from './generations.ts';
import type { FamilyId, FencingToken, GenerationId, PolicyId } from './ids.ts';
import { type ClusterState, withEntry, withoutEntry } from './state.ts';
import type { Volume, VolumeMove } from './view.ts';

/**
 * The volume moves to this policy from here on, into an empty root generation of a new family: what a former copy of it
 * had is deleted by the same step. The copy belongs to the session with this token.
 */
export function withFreshMove(
  state: ClusterState,
  volume: Volume,
  to: { readonly policy: PolicyId; readonly token: FencingToken },
): ClusterState {
  const { counters } = state;
  const move: VolumeMove = {
    volume: volume.id,
    policy: to.policy,
    family: (counters.family + 1) as FamilyId,
    generation: (counters.generation + 1) as GenerationId,
    token: to.token,
  };
  const ended = withoutMove(state, volume);
  return {
    ...ended,
    policies: withWriteback(ended, { ...volume, policy: to.policy }),
    moves: withEntry(ended.moves, volume.id, move),
    volumeOfHead: withEntry(ended.volumeOfHead, move.generation, volume.id),
    generations: withGeneration(ended, rootHead({ ...move, id: move.generation })),
    counters: { ...counters, family: move.family, generation: move.generation },
  };
}

/** The volume stays where it is; what was copied is deleted. */
export function withoutMove(state: ClusterState, volume: Volume): ClusterState {
  const move = state.moves.get(volume.id);
  if (move === undefined) return state;
  return {
    ...state,
    moves: withoutEntry(state.moves, volume.id),
    volumeOfHead: withoutEntry(state.volumeOfHead, move.generation),
    generations: withoutGeneration(state, move.generation),
  };
}

/** From the first writeback volume of a policy on, unclean starts make doubtful there, for ever (R8). */
export function withWriteback(
  state: ClusterState,
  volume: Pick<Volume, 'durability' | 'policy'>,
): ClusterState['policies'] {
  const policy = state.policies.get(volume.policy);
  if (volume.durability === 'durable' || policy === undefined || policy.everWriteback) {
    return state.policies;
  }
  return withEntry(state.policies, volume.policy, { ...policy, everWriteback: true });
}
