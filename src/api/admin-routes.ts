// The routes under /v1: what `dog` can ask one node. Each handler reads the view or calls the NodeHandle, and answers
// with a document of core/admin-shapes.ts. Errors are thrown; http-server.ts turns them into answers.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Warning } from '../core/admin-shapes.ts';
import type { NodeId } from '../core/ids.ts';
import { trashMs } from '../core/trash.ts';
import type { FormatOptions, NodeHandle } from '../node-handle.ts';
import { answer, viewOf } from './answer.ts';
import { copyWarnings } from './copy-health.ts';
import { addCopyRoutes } from './copy-routes.ts';
import { addDataRoutes } from './data-routes.ts';
import { healthWarnings, policyWarnings } from './health.ts';
import { addLayerRoutes } from './layer-routes.ts';
import { addLockRoutes } from './lock-routes.ts';
import { addMemberRoutes } from './member-routes.ts';
import { mixUpWarnings } from './mix-up-health.ts';
import { addMoveRoutes, moveWarnings } from './move-routes.ts';
import { addRecoveryRoutes, recoveryWarnings, sumOf } from './recovery-routes.ts';
import {
  clusterData,
  clusterPartitions,
  scrubData,
  statusData,
  volumeData,
  volumeDetail,
  volumeNamed,
} from './report.ts';
import { parseAlter, parseCreate, parseFormat, parseScrub } from './requests.ts';
import { addTrashRoutes, keepOf } from './trash-routes.ts';
import { addVolumeCareRoutes } from './volume-routes.ts';

/** Copies of a cluster formatted without -c. */
const DEFAULT_COPIES = 3;
const DEFAULT_CLUSTER_NAME = 'sheepdog';

type Named = FastifyRequest<{ Params: { name: string } }>;
type Deleted = FastifyRequest<{ Params: { name: string }; Querystring: { trash?: string } }>;

export function addAdminRoutes(app: FastifyInstance, handle: NodeHandle): void {
  const say = <Data>(schema: string, data: Data, warnings: readonly Warning[] = []) =>
    answer(handle, schema, data, warnings);

  app.get('/v1/status', async () => say('status', statusData(handle.status(), process.pid)));
  const look = () => lookForVoters(handle);
  app.get('/v1/cluster', async (request: FastifyRequest<{ Querystring: { current?: string } }>) => {
    if (request.query.current === 'yes') await handle.admin().catchUp();
    else await look();
    const data = clusterData(viewOf(handle), handle.status());
    return say('cluster', data, warningsOf(handle));
  });
  app.get('/v1/health', async () => {
    await look();
    const warnings = await allWarnings(handle);
    const status = warnings[0]?.severity ?? 'fine';
    const tasks = (await handle.recoveries()).flatMap((one) => one.tasks);
    const recovery = sumOf(tasks);
    return say('health', { status, recovery }, warnings);
  });
  app.get('/v1/scrub', async () => say('scrub', scrubData(handle.status(), handle.scrub())));
  app.post('/v1/scrub', async (request) => {
    const command = parseScrub(request.body);
    return say('scrub', scrubData(handle.status(), handle.scrub(command)));
  });
  addMemberRoutes(app, handle);
  addRecoveryRoutes(app, handle);
  addMoveRoutes(app, handle);
  addLockRoutes(app, handle);
  addVolumeCareRoutes(app, handle);
  addDataRoutes(app, handle);
  addLayerRoutes(app, handle);
  addCopyRoutes(app, handle);
  addTrashRoutes(app, handle);
  app.post('/v1/cluster/format', async (request) => {
    await handle.format(formatOptions(request.body));
    return say('status', statusData(handle.status(), process.pid));
  });
  addVolumeRoutes(app, handle);
}

function addVolumeRoutes(app: FastifyInstance, handle: NodeHandle): void {
  app.get('/v1/volumes', async () => {
    const view = viewOf(handle);
    const volumes = [...view.volumes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    return answer(
      handle,
      'volumes',
      volumes.map((volume) => volumeData(view, volume)),
    );
  });
  app.get('/v1/volumes/:name', async (request: Named) => {
    volumeNamed(viewOf(handle), request.params.name);
    const [conditions, moves] = await Promise.all([handle.conditions(), handle.moves()]);
    const view = viewOf(handle);
    const volume = volumeNamed(view, request.params.name);
    return answer(handle, 'volume', volumeDetail(view, volume, conditions, moves));
  });
  app.post('/v1/volumes', async (request, reply) => {
    const options = parseCreate(request.body);
    viewOf(handle);
    await handle.createVolume(options);
    reply.code(201);
    const view = viewOf(handle);
    const volume = volumeNamed(view, options.name);
    const policy = view.policies.get(volume.policy);
    const warnings = policy === undefined ? [] : policyWarnings(view, policy);
    return answer(handle, 'volume', volumeDetail(view, volume), warnings);
  });
  app.patch('/v1/volumes/:name', async (request: Named) => {
    const options = parseAlter(request.body);
    viewOf(handle);
    const { name } = request.params;
    await handle.alterVolume(name, options);
    const view = viewOf(handle);
    return answer(handle, 'volume', volumeDetail(view, volumeNamed(view, name)));
  });
  app.delete('/v1/volumes/:name', async (request: Deleted) => {
    const { name } = request.params;
    const keepMs = keepOf(request.query.trash, trashMs(viewOf(handle)));
    if (keepMs > 0) await handle.volumes().trash(name, keepMs);
    else await handle.deleteVolume(name);
    return answer(handle, 'deleted', { name, keptMs: keepMs });
  });
}

function formatOptions(body: unknown): FormatOptions {
  const request = parseFormat(body);
  return { name: DEFAULT_CLUSTER_NAME, copies: DEFAULT_COPIES, ...request };
}

/** A node without a leader says who is missing: it asks first. */
async function lookForVoters(handle: NodeHandle): Promise<void> {
  if (handle.status().leader !== undefined || handle.view() === undefined) return;
  await handle.admin().lookForVoters();
}

/** What this node knows without asking anybody. */
export function warningsOf(handle: NodeHandle): readonly Warning[] {
  const mixUps = mixUpWarnings(viewOf(handle), [], handle.status().splitFrom);
  return errorsFirst([...mixUps, ...ownWarnings(handle)]);
}

function ownWarnings(handle: NodeHandle): readonly Warning[] {
  const view = viewOf(handle);
  const admin = handle.admin();
  const fateOf = (node: NodeId) => admin.fate(node);
  return healthWarnings(view, handle.status(), clusterPartitions(view), fateOf);
}

function errorsFirst(all: readonly Warning[]): readonly Warning[] {
  const isError = ({ severity }: Warning): boolean => severity === 'error';
  return [...all.filter(isError), ...all.filter((warning) => !isError(warning))];
}

/** With what the members say of their copies, errors first. */
async function allWarnings(handle: NodeHandle): Promise<readonly Warning[]> {
  const [conditions, moves] = await Promise.all([handle.conditions(), handle.moves()]);
  const view = viewOf(handle);
  const copies = [
    ...copyWarnings(view, conditions, Date.now()),
    ...moveWarnings(view, moves, Date.now()),
  ];
  const mixUps = mixUpWarnings(view, conditions, handle.status().splitFrom);
  const all = [...mixUps, ...ownWarnings(handle), ...copies, ...recoveryWarnings(view)];
  return errorsFirst(all);
}
