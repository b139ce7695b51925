// What an operator asks of one volume's redundancy: that it moves to another policy, or stays (S8). As in admin.ts the log
// answers. The copy is the holder's work; nothing here waits for it.

import { type Asking, checkCopies, missing, policyWith, proposed, volumeNow } from './admin.ts';
import { OperatingError } from './core/errors.ts';
import type { GenerationId } from './core/ids.ts';
import type { EntryBody } from './core/log-entry.ts';
import type { ClusterView, Policy, Volume } from './core/view.ts';
import type { MoveAnswer, MoveVolumeOptions } from './node-handle.ts';

/** Entries that one command proposes, each because others used or moved the volume since this node looked. */
export const MAX_MOVE_TRIES = 8;

type Step = 'again' | MoveAnswer;

/**
 * Begins the move, or says why there is nothing to do.
 * @throws OperatingError 'missing', 'usage', 'busy', 'no-quorum'
 */
export function moveVolume(
  agreement: Asking,
  viewNow: () => ClusterView,
  name: string,
  options: MoveVolumeOptions,
): Promise<MoveAnswer> {
  return untilDecided(name, async () => {
    const volume = await volumeNow(agreement, viewNow, name);
    const wanted = wantedPolicy(viewNow(), volume, options);
    checkCopies(wanted.copies, wanted.minCopies);
    const { id, lock } = volume;
    const move = viewNow().moves.get(id);
    if (isSame(viewNow().policies.get(volume.policy), wanted)) {
      if (move === undefined) return 'same';
      return ask(agreement, { type: 'moveCancel', volume: id, token: lock.token }, 'cancelled');
    }
    const policy = await policyWith(agreement, viewNow(), wanted);
    if (move?.policy === policy) return 'moving';
    const former = move?.generation ?? (0 as GenerationId);
    return ask(
      agreement,
      { type: 'moveStart', volume: id, token: lock.token, policy, former },
      'begun',
    );
  });
}

/**
 * The volume stays where it is.
 * @throws OperatingError 'missing', 'busy', 'no-quorum'
 */
export function cancelMove(
  agreement: Asking,
  viewNow: () => ClusterView,
  name: string,
): Promise<MoveAnswer> {
  return untilDecided(name, async () => {
    const { id, lock } = await volumeNow(agreement, viewNow, name);
    if (!viewNow().moves.has(id)) return 'same';
    return ask(agreement, { type: 'moveCancel', volume: id, token: lock.token }, 'cancelled');
  });
}

async function untilDecided(name: string, step: () => Promise<Step>): Promise<MoveAnswer> {
  for (let tries = 0; tries < MAX_MOVE_TRIES; tries += 1) {
    const answer = await step();
    if (answer !== 'again') return answer;
  }
  throw new OperatingError('busy', `${name} is used and moved by others again and again`, {
    advice: 'retry',
  });
}

/** Answered once this node has applied the entry: the next look knows why it was refused. */
async function ask(agreement: Asking, body: EntryBody, answer: MoveAnswer): Promise<Step> {
  const result = await agreement.propose(body);
  const isOver = body.type === 'moveCancel' && result.code === 'duplicate';
  if (result.code === 'missing' || result.code === 'stale' || isOver) return 'again';
  proposed(result, 'move the volume');
  return answer;
}

/** What is not said stays as it is; another number of copies has the usual number that writes need. */
function wantedPolicy(
  view: ClusterView,
  volume: Volume,
  { copies, minCopies, strict }: MoveVolumeOptions,
): Omit<Policy, 'id'> {
  const now = view.policies.get(volume.policy);
  if (now === undefined) throw missing(volume.name);
  const usual = copies === now.copies ? now.minCopies : Math.floor(copies / 2) + 1;
  return { copies, minCopies: minCopies ?? usual, strict: strict ?? now.strict };
}

function isSame(policy: Policy | undefined, wanted: Omit<Policy, 'id'>): boolean {
  if (policy === undefined) return false;
  const { copies, minCopies, strict } = policy;
  return copies === wanted.copies && minCopies === wanted.minCopies && strict === wanted.strict;
}
