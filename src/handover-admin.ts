// What an operator, or a hook of a hypervisor's manager, asks of a volume that is about to move: announce the hand-over to
// a node, or take that back (3.3). As in admin.ts the log answers. Nothing moves here: the first write of a client on that
// node does it.

import { type Asking, MAX_LOCK_TRIES, proposed, volumeNow } from './admin.ts';
import { OperatingError } from './core/errors.ts';
import type { NodeId } from './core/ids.ts';
import { isHolderDead } from './core/lock.ts';
import type { ApplyResult, EntryBody } from './core/log-entry.ts';
import type { ClusterView, Volume, VolumeLock } from './core/view.ts';
import type { HandoverPlan } from './node-handle.ts';

/** @throws OperatingError 'missing', 'refused', 'busy', 'no-quorum' */
export function prepareHandover(
  agreement: Asking,
  viewNow: () => ClusterView,
  name: string,
  to: NodeId,
): Promise<HandoverPlan> {
  return decided(agreement, viewNow, name, (volume) => {
    const { id, lock } = volume;
    if (!viewNow().members.has(to)) {
      throw new OperatingError('missing', `there is no node n${to}`, { remedy: 'dog node list' });
    }
    if (lock.state === 'free' || isHolderDead(viewNow(), lock)) return 'nothing';
    if (lock.node === to) return 'same';
    return { type: 'handoverPrepare', volume: id, token: lock.token, toNode: to };
  });
}

/** @throws OperatingError 'missing', 'busy', 'no-quorum' */
export function cancelHandover(
  agreement: Asking,
  viewNow: () => ClusterView,
  name: string,
): Promise<HandoverPlan> {
  return decided(agreement, viewNow, name, ({ id, lock }) => {
    const isAnnounced = lock.state === 'held' && lock.next !== 0;
    if (!isAnnounced || isHolderDead(viewNow(), lock)) return 'nothing';
    return { type: 'handoverCancel', volume: id, token: lock.token };
  });
}

type Wanted = EntryBody | 'nothing' | 'same';

/** Proposes until the entry meets the lock that it was made for. */
async function decided(
  agreement: Asking,
  viewNow: () => ClusterView,
  name: string,
  wanted: (volume: Volume) => Wanted,
): Promise<HandoverPlan> {
  await agreement.readCurrent();
  for (let tries = 0; tries < MAX_LOCK_TRIES; tries += 1) {
    const volume = await volumeNow(agreement, viewNow, name);
    const body = wanted(volume);
    if (body === 'nothing' || body === 'same') return { did: body, lock: volume.lock };
    const result = await agreement.propose(body);
    if (result.code === 'stale' || result.code === 'missing') continue;
    refuse(name, result);
    const lock = lockNow(viewNow(), volume);
    if (body.type !== 'handoverPrepare') return { did: 'cancelled', lock };
    const { next } = volume.lock;
    const isOther = next !== 0 && next !== body.toNode;
    return { did: 'prepared', lock, ...(isOther ? { replaced: next } : {}) };
  }
  throw new OperatingError('busy', `${name} is taken and given back again and again`, {
    advice: 'retry',
  });
}

function refuse(name: string, result: ApplyResult): void {
  if (result.code === 'refused') {
    throw new OperatingError('refused', `${name} can not be handed over: ${result.detail}`, {
      remedy: 'dog node list shows who is up; dog vdi lock list shows who holds what',
    });
  }
  proposed(result, `announce the hand-over of ${name}`);
}

function lockNow(view: ClusterView, volume: Volume): VolumeLock {
  return view.volumes.get(volume.id)?.lock ?? volume.lock;
}
