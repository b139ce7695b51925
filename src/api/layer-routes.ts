// The routes about snapshots, clones, rollbacks, sizes, and the tree of layers. A snapshot is `name@tag`, percent-encoded.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { OperatingError } from '../core/errors.ts';
import type { FencingToken } from '../core/ids.ts';
import { parseVolumeName, snapshotName } from '../core/snapshot-name.ts';
import { treeOf } from '../core/snapshots.ts';
import type { ClusterView } from '../core/view.ts';
import type { LayerData, SnapshotData } from '../core/volume-shapes.ts';
import type { NodeHandle } from '../node-handle.ts';
import { answer, viewOf } from './answer.ts';
import { dateText, volumeDetail, volumeNamed } from './report.ts';
import {
  parseBecome,
  parseClone,
  parseProtect,
  parseResize,
  parseRollback,
  parseSnapshot,
} from './requests.ts';

type Named = FastifyRequest<{ Params: { name: string } }>;

export function addLayerRoutes(app: FastifyInstance, handle: NodeHandle): void {
  app.get('/v1/tree', async (request: FastifyRequest<{ Querystring: { volume?: string } }>) => {
    const view = viewOf(handle);
    const { volume } = request.query;
    return answer(handle, 'tree', treeData(view, volume));
  });
  app.post('/v1/snapshots', async (request) => {
    const { volumes, tag } = parseSnapshot(request.body);
    viewOf(handle);
    const made = await handle.layers().snapshot(volumes, tag);
    const data: readonly SnapshotData[] = volumes.map((name, at) => {
      return { name: snapshotName(name, tag), generation: made[at] ?? 0 };
    });
    return answer(handle, 'snapshot', data);
  });
  app.delete('/v1/snapshots/:name', async (request: Named) => {
    const { name, tag } = snapshotIn(request);
    await handle.layers().deleteSnapshot(name, tag);
    return answer(handle, 'deleted', { name: snapshotName(name, tag) });
  });
  app.post('/v1/snapshots/:name/protect', async (request: Named) => {
    const { isProtected } = parseProtect(request.body);
    const { name, tag } = snapshotIn(request);
    await handle.layers().protectSnapshot(name, tag, isProtected);
    return answer(handle, 'snapshot.protect', { name: snapshotName(name, tag), isProtected });
  });
  addVolumeLayers(app, handle);
}

function addVolumeLayers(app: FastifyInstance, handle: NodeHandle): void {
  const say = (name: string) => {
    const view = viewOf(handle);
    return answer(handle, 'volume', volumeDetail(view, volumeNamed(view, name)));
  };
  app.post('/v1/clones', async (request, reply) => {
    const { from, to, ...how } = parseClone(request.body);
    viewOf(handle);
    await handle.layers().clone(from, to, how);
    reply.code(201);
    return say(to);
  });
  app.post('/v1/volumes/:name/rollback', async (request: Named) => {
    const { tag } = parseRollback(request.body);
    viewOf(handle);
    const { name } = request.params;
    await handle.layers().rollback(name, tag);
    return say(name);
  });
  app.post('/v1/volumes/:name/become', async (request: Named) => {
    const { snapshot, token } = parseBecome(request.body);
    viewOf(handle);
    const { name } = request.params;
    await handle.layers().become(name, snapshotOf(snapshot), token as FencingToken);
    return say(name);
  });
  app.post('/v1/volumes/:name/resize', async (request: Named) => {
    const { sizeBytes, force = false } = parseResize(request.body);
    const { name } = request.params;
    const now = volumeNamed(viewOf(handle), name).sizeBytes;
    if (sizeBytes < now && !force) {
      const text = `${name} has ${now} bytes: what lies beyond ${sizeBytes} would be gone for good`;
      throw new OperatingError('refused', text, { remedy: 'shrink it with --force' });
    }
    await handle.layers().resize(name, sizeBytes);
    return say(name);
  });
}

function snapshotIn(request: Named): { readonly name: string; readonly tag: string } {
  return snapshotOf(request.params.name);
}

function snapshotOf(text: string): { readonly name: string; readonly tag: string } {
  const { name, tag } = parseVolumeName(text);
  if (tag !== undefined) return { name, tag };
  throw new OperatingError('usage', `${name} is a volume: a snapshot is NAME@TAG`);
}

/** @throws OperatingError 'missing' for a volume that has no layers */
function treeData(view: ClusterView, name: string | undefined): readonly LayerData[] {
  const volume = name === undefined ? undefined : view.volumeByName(name);
  const rows = treeOf(view, (layer) => {
    if (name === undefined) return true;
    return layer.id === volume?.head || (layer.state === 'frozen' && layer.name === name);
  });
  if (rows.length === 0 && name !== undefined) volumeNamed(view, name);
  return rows.map(({ layer, depth }): LayerData => {
    const of = layer.state === 'head' ? view.volumes.get(layer.volume) : undefined;
    const isSnapshot = layer.state === 'frozen';
    return {
      ...{ depth, generation: layer.id, parent: layer.parent, family: layer.family },
      kind: isSnapshot ? 'snapshot' : layer.state === 'head' ? 'volume' : 'deleted',
      name: isSnapshot ? snapshotName(layer.name, layer.tag) : (of?.name ?? ''),
      sizeBytes: of?.sizeBytes ?? layer.sizeBytes,
      createdAt: layer.createdMs === 0 ? null : dateText(layer.createdMs),
      isProtected: of?.isProtected ?? layer.isProtected,
    };
  });
}
