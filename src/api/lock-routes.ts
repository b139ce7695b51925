// The routes about locks: who holds what since when from where, taking a lock from its holder, announcing its hand-over.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { LockData, UnlockData } from '../core/admin-shapes.ts';
import { OperatingError } from '../core/errors.ts';
import { isHolderDead, isSuperseded } from '../core/lock.ts';
import type { ClusterView, Volume, VolumeLock } from '../core/view.ts';
import type { MigrateData } from '../core/volume-shapes.ts';
import type { NodeHandle } from '../node-handle.ts';
import { answer, viewOf } from './answer.ts';
import { nodeNamed } from './member-routes.ts';
import { holderOf, nodeName } from './report.ts';
import { parseMigrate, parseUnlock } from './requests.ts';

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
  addMigrateRoute(app, handle);
}

/** A hand-over that is announced, or is not any more (3.3). */
function addMigrateRoute(app: FastifyInstance, handle: NodeHandle): void {
  app.post('/v1/volumes/:name/migrate', async (request: Named) => {
    const { node, cancel = false } = parseMigrate(request.body);
    viewOf(handle);
    const { name } = request.params;
    const volumes = handle.volumes();
    if (cancel === (node !== undefined)) {
      throw new OperatingError('usage', 'either a node, or cancel');
    }
    const asked = node === undefined ? undefined : nodeNamed(node);
    const { did, lock, replaced } = await (asked === undefined
      ? volumes.cancelHandover(name)
      : volumes.prepareHandover(name, asked));
    const holder = lock.state === 'free' ? null : nodeName(lock.node);
    const former = replaced === undefined ? null : nodeName(replaced);
    const data: MigrateData = { volume: name, did, holder, next: nextOf(lock), replaced: former };
    return answer(handle, 'migrate', data);
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
    next: nextOf(lock),
  };
}

function nextOf(lock: VolumeLock): string | null {
  return lock.next === 0 ? null : nodeName(lock.next);
}

function formerOf(view: ClusterView, lock: VolumeLock): UnlockData['former'] {
  return lock.state === 'free' || isSuperseded(lock) ? null : holderOf(view, lock);
}
