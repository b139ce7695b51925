// The routes about the copies of a volume or a snapshot (`name@tag`, percent-encoded): where an object is and was, what the
// layers hold, what changed between two of them, and whether all copies are equal, a slice at a time.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { CopyLook } from '../core/copy-check.ts';
import type {
  ChangedRangeData,
  ChangesData,
  CheckData,
  CopyEpochData,
  CopyPlaceData,
  CopyRowData,
  LayerUsageData,
  ObjectHistoryData,
  ObjectListData,
  ObjectLocationData,
  UsageData,
} from '../core/copy-shapes.ts';
import { OperatingError } from '../core/errors.ts';
import { ancestry } from '../core/generations.ts';
import type { GenerationId, NodeId } from '../core/ids.ts';
import { layerVolume } from '../core/layer-volume.ts';
import { partitionOf } from '../core/partition.ts';
import { snapshotName } from '../core/snapshot-name.ts';
import { readableNamed } from '../core/snapshots.ts';
import { divideUp, OBJECT_BYTES, REGION_BYTES } from '../core/units.ts';
import type { ClusterView, Volume } from '../core/view.ts';
import { MAX_VOLUME_BYTES, MAX_VOLUME_OBJECTS } from '../core/volume.ts';
import type { NodeHandle } from '../node-handle.ts';
import { answer, viewOf } from './answer.ts';
import { nodeName, volumeNamed } from './report.ts';
import { parseCheck } from './requests.ts';

/** Objects of one page of a list. */
export const MAX_LISTED_OBJECTS = 4096;

type Named = FastifyRequest<{ Params: { name: string } }>;
type Indexed = FastifyRequest<{ Params: { name: string; index: string } }>;
type Ranged = FastifyRequest<{
  Params: { name: string };
  Querystring: { to?: string; offset?: string; length?: string; from?: string };
}>;

export function addCopyRoutes(app: FastifyInstance, handle: NodeHandle): void {
  app.get('/v1/volumes/:name/objects', async (request: Ranged) => {
    const from = numberOf(request.query.from ?? '0', MAX_VOLUME_OBJECTS);
    return answer(handle, 'volume.objects', listData(viewOf(handle), request.params.name, from));
  });
  app.get('/v1/volumes/:name/objects/:index', async (request: Indexed) => {
    const { name } = request.params;
    const index = numberOf(request.params.index, MAX_VOLUME_OBJECTS);
    viewOf(handle);
    const { volume, found } = await handle.copies().locate(name, index);
    const view = viewOf(handle);
    const [first] = found;
    if (first === undefined) throw new OperatingError('missing', `${name} has no layers any more`);
    const { p, config } = first;
    const nodes = [...new Set([...config.inSync, ...config.joining, ...config.targets])];
    const data: ObjectLocationData = {
      ...{ volume: name, index, offset: index * OBJECT_BYTES },
      ...{ policy: volume.policy, partition: p, config: config.cfg },
      copies: nodes.map((node): CopyPlaceData => placeData(view, found, node)),
    };
    return answer(handle, 'volume.object', data);
  });
  app.get('/v1/volumes/:name/objects/:index/history', async (request: Indexed) => {
    const { name } = request.params;
    const index = numberOf(request.params.index, MAX_VOLUME_OBJECTS);
    viewOf(handle);
    const { policy, p, knownFrom, epochs } = await handle.copies().history(name, index);
    const data: ObjectHistoryData = {
      ...{ volume: name, index, offset: index * OBJECT_BYTES, policy, partition: p, knownFrom },
      epochs: epochs.map(({ cfg, inSync, joining, ...one }): CopyEpochData => {
        const [there, coming] = [inSync.map(nodeName), joining.map(nodeName)];
        return { ...one, config: cfg, inSync: there, joining: coming };
      }),
    };
    return answer(handle, 'volume.object.history', data);
  });
  app.get('/v1/volumes/:name/usage', async (request: Named) => {
    const { name } = request.params;
    viewOf(handle);
    const usage = await handle.copies().usage(name);
    return answer(handle, 'volume.usage', usageData(viewOf(handle), name, usage));
  });
  addComparisons(app, handle);
}

function addComparisons(app: FastifyInstance, handle: NodeHandle): void {
  app.get('/v1/volumes/:name/changes', async (request: Ranged) => {
    const { to = '', offset, length } = request.query;
    const { name } = request.params;
    const view = viewOf(handle);
    const [before, after] = [volumeOf(view, name), volumeOf(view, to)];
    const from = numberOf(offset ?? '0', MAX_VOLUME_BYTES);
    const most = Math.max(0, after.sizeBytes - from);
    const wanted = Math.min(most, numberOf(length ?? String(most), MAX_VOLUME_BYTES));
    const runs =
      wanted === 0 ? [] : await handle.copies().changes(name, to, { offset: from, length: wanted });
    const ranges: ChangedRangeData[] = [];
    let at = from;
    for (const { length: bytes, isChanged, isAllocated } of runs) {
      if (isChanged) ranges.push({ offset: at, length: bytes, isData: isAllocated });
      at += bytes;
    }
    const sizes = { beforeBytes: before.sizeBytes, afterBytes: after.sizeBytes };
    const data: ChangesData = { ranges, to: at, ...sizes };
    return answer(handle, 'volume.changes', data);
  });
  app.post('/v1/volumes/:name/check', async (request: Named) => {
    const { from, count, heal } = parseCheck(request.body);
    const { name } = request.params;
    viewOf(handle);
    const { findings, ...sums } = await handle.copies().check(name, { from, count, heals: heal });
    const view = viewOf(handle);
    const data: CheckData = {
      ...sums,
      findings: findings.map(({ index, generation, node, problem, bad, isRepaired }) => {
        const where = { index, offset: index * OBJECT_BYTES, layer: layerName(view, generation) };
        return { ...where, node: nodeName(node), problem, badSectors: bad, isRepaired };
      }),
    };
    return answer(handle, 'volume.check', data);
  });
}

/** What the map says: nobody is asked. */
function listData(view: ClusterView, name: string, from: number): ObjectListData {
  const { family, policy, sizeBytes } = volumeOf(view, name);
  const count = divideUp(sizeBytes, OBJECT_BYTES);
  const end = Math.min(count, from + MAX_LISTED_OBJECTS);
  const objects: ObjectListData['objects'][number][] = [];
  for (let index = from; index < end; index += 1) {
    const p = partitionOf(family, index, view.partitions);
    const { inSync, joining } = view.partition(policy, p);
    const places = { inSync: inSync.map(nodeName), joining: joining.map(nodeName) };
    objects.push({ index, partition: p, ...places });
  }
  return { objects, next: end < count ? end : null };
}

function numberOf(text: string, most: number): number {
  const value = Number(text);
  if (/^\d{1,15}$/.test(text) && value <= most) return value;
  throw new OperatingError(
    'usage',
    `a whole number up to ${most} is wanted, not "${text.slice(0, 40)}"`,
  );
}

/** @throws OperatingError 'missing' */
function volumeOf(view: ClusterView, name: string): Volume {
  const found = readableNamed(view, name);
  if (found === undefined || 'lock' in found) return found ?? volumeNamed(view, name);
  return layerVolume(found, view.volumes.get(found.volume));
}

/** `name` or `name@tag`; empty for a deleted one. */
function layerName(view: ClusterView, generation: GenerationId): string {
  const layer = view.generations.get(generation);
  if (layer?.state === 'frozen') return snapshotName(layer.name, layer.tag);
  return layer?.state === 'deleted' ? '' : (view.volumeOfGeneration(generation)?.name ?? '');
}

function placeData(
  view: ClusterView,
  found: Awaited<ReturnType<ReturnType<NodeHandle['copies']>['locate']>>['found'],
  node: NodeId,
): CopyPlaceData {
  const member = view.members.get(node);
  const looks = found.map((one) => one.looks.get(node));
  const rows = looks.filter((look) => look !== undefined && look.state !== 'absent');
  const config = found[0]?.config;
  const isIn = config?.inSync.includes(node) === true;
  const isDoubtful = config?.doubtful.includes(node) === true;
  const isJoining = config?.joining.includes(node) === true;
  return {
    ...{ node: nodeName(node), zone: member?.zone ?? '', isUp: member?.state === 'up' },
    role: isIn ? (isDoubtful ? 'doubtful' : 'in sync') : isJoining ? 'joining' : 'wanted',
    hasAnswered: looks.every((look) => look !== undefined),
    rows: rows.map((look) => rowData(view, look as CopyLook)),
  };
}

function rowData(view: ClusterView, look: CopyLook): CopyRowData {
  const { generation, verToken, verCount, closed, kind, ownLow, ownHigh, state } = look;
  return {
    ...{ generation, layer: layerName(view, generation), version: `${verToken}.${verCount}` },
    ...{ isOpen: closed < verCount, kind },
    ownedBytes: (bits(ownLow) + bits(ownHigh)) * REGION_BYTES,
    state: state === 'absent' ? 'whole' : state,
  };
}

function bits(mask: number): number {
  let count = 0;
  for (let rest = mask >>> 0; rest > 0; rest = (rest & (rest - 1)) >>> 0) count += 1;
  return count;
}

function usageData(
  view: ClusterView,
  name: string,
  usage: Awaited<ReturnType<ReturnType<NodeHandle['copies']>['usage']>>,
): UsageData {
  const volume = volumeOf(view, name);
  const [own, ...above] = ancestry(view, volume.head).map(({ generation }) => generation);
  const bytesOf = (of: GenerationId | undefined) => (of && usage.get(of)?.bytes) ?? 0;
  const layers = [...usage.values()]
    .filter(({ generation }) => view.volumeOfGeneration(generation) !== undefined)
    .sort((a, b) => a.generation - b.generation)
    .map(({ generation, objects, bytes }): LayerUsageData => {
      const state = view.generations.get(generation)?.state ?? 'head';
      const kind = state === 'frozen' ? 'snapshot' : state === 'deleted' ? 'deleted' : 'volume';
      return { generation, name: layerName(view, generation), kind, objects, bytes };
    });
  return {
    name,
    copies: view.policies.get(volume.policy)?.copies ?? 0,
    sizeBytes: volume.sizeBytes,
    ownBytes: bytesOf(own),
    sharedBytes: above.reduce((sum, of) => sum + bytesOf(of), 0),
    familyBytes: layers.reduce((sum, { bytes }) => sum + bytes, 0),
    layers,
  };
}
