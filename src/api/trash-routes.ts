// The routes about the trash: what is in it, having it back, purging it. A volume in the trash goes by its number: its name
// may be another one's by now.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { OperatingError } from '../core/errors.ts';
import type { VolumeId } from '../core/ids.ts';
import { MAX_TRASH_MS, MIN_TRASH_MS } from '../core/trash.ts';
import type { TrashedVolume } from '../core/view.ts';
import type { TrashData } from '../core/volume-shapes.ts';
import type { NodeHandle } from '../node-handle.ts';
import { answer, viewOf } from './answer.ts';
import { dateText, volumeDetail, volumeNamed } from './report.ts';
import { parseRestore } from './requests.ts';

type One = FastifyRequest<{ Params: { id: string } }>;

export function addTrashRoutes(app: FastifyInstance, handle: NodeHandle): void {
  app.get('/v1/trash', async () => {
    viewOf(handle);
    const trashed = await handle.volumes().trashed();
    const { ageMs } = viewOf(handle);
    const rows = trashed.map((one) => trashData(one, ageMs)).sort((a, b) => a.id - b.id);
    return answer(handle, 'trash', rows);
  });
  app.post('/v1/trash/:id/restore', async (request: One) => {
    const { name } = parseRestore(request.body);
    viewOf(handle);
    await handle.volumes().restore(idOf(request), name);
    const view = viewOf(handle);
    return answer(handle, 'volume', volumeDetail(view, volumeNamed(view, name)));
  });
  app.delete('/v1/trash/:id', async (request: One) => {
    viewOf(handle);
    const id = idOf(request);
    await handle.volumes().purge(id);
    return answer(handle, 'purged', { id });
  });
}

/** How long a delete keeps the volume: as asked, or by the cluster's setting. @throws OperatingError 'usage' */
export function keepOf(asked: string | undefined, standard: number): number {
  if (asked === undefined) return standard;
  const ms = Number(asked);
  const isTime = /^\d{1,12}$/.test(asked) && ms <= MAX_TRASH_MS;
  if (isTime && (ms === 0 || ms >= MIN_TRASH_MS)) return ms;
  throw new OperatingError(
    'usage',
    'the trash keeps from a second to 366 days; 0: nothing is kept',
  );
}

function trashData({ volume, trashedMs, dueAgeMs }: TrashedVolume, ageMs: number): TrashData {
  const { name, id, sizeBytes } = volume;
  const leftMs = Math.max(0, dueAgeMs - ageMs);
  return { name, id, sizeBytes, trashedAt: dateText(trashedMs), leftMs };
}

function idOf(request: One): VolumeId {
  const { id } = request.params;
  if (/^\d{1,10}$/.test(id)) return Number(id) as VolumeId;
  throw new OperatingError('usage', 'a volume in the trash goes by its number');
}
