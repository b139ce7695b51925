// The routes about locks: who holds what since when from where, and taking a lock from its holder.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { LockData, UnlockData } from '../core/admin-shapes.ts';
import { isHolderDead, isSuperseded } from '../core/lock.ts';
import type { ClusterView, Volume, VolumeLock } from '../core/view.ts';
import type { NodeHandle } from '../node-handle.ts';
import { answer, viewOf } from './answer.ts';
import { holderOf } from './report.ts';
import { parseUnlock } from './requests.ts';

type Named = FastifyRequest<{ Params: { name: string } }>;

export function addLockRoutes(app: FastifyInstance, handle: NodeHandle): void {
  // What the log says now, not what this node has heard of: it is asked for to decide about it.
  app.get('/v1/locks', async () => {
    viewOf(handle);
    await handle.admin().catchUp();
    const view = viewOf(handle);
    const held = [...view.volumes.values()].filter(({ lock }) => lock.state === 'held');
    const locks = held.map((volume) => lockData(view, volume));
    return answer(
      handle,
      'locks',
      locks.sort((a, b) => (a.volume < b.volume ? -1 : 1)),
    );
  });
  app.post('/v1/volumes/:name/unlock', async (request: Named) => {
    const { token, by = '' } = parseUnlock(request.body);
    viewOf(handle);
    const { name } = request.params;
    const options = { by, ...(token === undefined ? {} : { expected: token }) };
    const { did, former } = await handle.unlockVolume(name, options);
    const data: UnlockData = { volume: name, did, former: formerOf(viewOf(handle), former) };
    return answer(handle, 'unlock', data);
  });
}

function lockData(view: ClusterView, volume: Volume): LockData {
  const { lock } = volume;
  const standing = isHolderDead(view, lock) ? 'dead' : 'live';
  return {
    volume: volume.name,
    attach: volume.attachMode,
    standing: isSuperseded(lock) ? 'unlocked' : standing,
    ...holderOf(view, lock),
  };
}

function formerOf(view: ClusterView, lock: VolumeLock): UnlockData['former'] {
  return lock.state === 'free' || isSuperseded(lock) ? null : holderOf(view, lock);
}
