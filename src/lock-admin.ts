// What an operator decides of one volume's lock: that its holder loses it. As in admin.ts the log answers. The holder is
// not asked: it may be dead, paused or cut off. What it sends from then on is refused by every copy that knows the entry,
// and the next one who wants the lock takes over behind the barrier (3.4), as from the dead.

import { type Asking, MAX_LOCK_TRIES, proposed, volumeNow } from './admin.ts';
import { OperatingError } from './core/errors.ts';
import { isSuperseded } from './core/lock.ts';
import type { ClusterView, VolumeLock } from './core/view.ts';
import type { UnlockAnswer } from './node-handle.ts';

/** Longest name of an operator in the log, in characters. */
const MAX_BY_CHARACTERS = 100;

/**
 * Takes the lock from whoever holds it.
 * @param expected the token of the holder that the operator was shown; another one holds it now: nothing is done
 * @throws OperatingError 'missing', 'changed', 'busy', 'no-quorum'
 */
export async function unlockVolume(
  agreement: Asking,
  viewNow: () => ClusterView,
  name: string,
  options: { readonly expected?: number; readonly by: string },
): Promise<UnlockAnswer> {
  await agreement.readCurrent();
  for (let tries = 0; tries < MAX_LOCK_TRIES; tries += 1) {
    const { id, lock } = await volumeNow(agreement, viewNow, name);
    const { expected = lock.token } = options;
    if (lock.state === 'free' || isSuperseded(lock)) return { did: 'nothing', former: lock };
    if (lock.token !== expected) throw changed(name, lock);
    const by = options.by.slice(0, MAX_BY_CHARACTERS);
    const body = { type: 'lockBreak', volume: id, token: lock.token, by } as const;
    // Answered once this node has applied the entry: the next look at the view knows why it was refused.
    const result = await agreement.propose(body);
    if (['stale', 'duplicate', 'missing'].includes(result.code)) continue;
    proposed(result, `unlock ${name}`);
    return { did: 'unlocked', former: lock };
  }
  throw new OperatingError('busy', `${name} is taken and given back again and again`, {
    advice: 'retry',
  });
}

function changed(name: string, lock: VolumeLock): OperatingError {
  const text = `${name} has another holder by now: n${lock.node}, token ${lock.token}`;
  return new OperatingError('changed', text, {
    remedy: 'look again with dog vdi lock list, then decide',
  });
}
