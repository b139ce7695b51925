// The routes about members: what they are, what becomes of them, and what an operator decides. Each decision is one call
// of the node's ClusterAdmin; the answer is the member as it is afterwards.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type {
  InviteListData,
  LossData,
  MovePlanData,
  NodeData,
  NodeSpaceData,
  RecoverData,
} from '../core/admin-shapes.ts';
import type { NodeCondition } from '../core/condition.ts';
import { OperatingError } from '../core/errors.ts';
import type { NodeId } from '../core/ids.ts';
import type {
  ClusterAdmin,
  InviteInfo,
  LossPlan,
  MovePlan,
  NodeHandle,
  RecoverPlan,
} from '../node-handle.ts';
import { answer, viewOf } from './answer.ts';
import { policyWarnings } from './health.ts';
import { dateText, nodeData, nodeName, nodesData } from './report.ts';
import {
  parseAlterCopies,
  parseEmpty,
  parseInviteRequest,
  parseMaintenance,
  parseSetting,
  parseWeight,
  parseZone,
} from './requests.ts';

type Named = FastifyRequest<{ Params: { name: string } }>;
type Planned = FastifyRequest<{ Params: { name: string; kind: string } }>;

/** Verbs without more to say. */
const DECISIONS = ['drain', 'undrain', 'out', 'in', 'forget', 'kill'] as const;

export function addMemberRoutes(app: FastifyInstance, handle: NodeHandle): void {
  app.get('/v1/nodes', async () => {
    viewOf(handle);
    await handle.admin().lookForVoters();
    const view = viewOf(handle);
    const admin = handle.admin();
    const nodes = nodesData(view, handle.status(), (node) => admin.fate(node));
    return answer(handle, 'nodes', nodes);
  });
  app.get('/v1/space', async () => {
    viewOf(handle);
    return answer(handle, 'space', spaceData(await handle.conditions()));
  });
  app.get('/v1/nodes/:name/plan/:kind', async (request: Planned) => {
    const { name, kind } = request.params;
    if (kind !== 'drain' && kind !== 'out' && kind !== 'forget') {
      throw new OperatingError('usage', `no plan of ${kind}`);
    }
    viewOf(handle);
    return answer(handle, 'plan', planData(handle.admin().plan(kind, nodeNamed(name))));
  });
  for (const verb of DECISIONS) {
    app.post(`/v1/nodes/:name/${verb}`, async (request: Named) => {
      parseEmpty(request.body);
      return decide(handle, request.params.name, (admin, node) => admin[verb](node));
    });
  }
  app.post('/v1/nodes/:name/maintenance', async (request: Named) => {
    const { forMs } = parseMaintenance(request.body);
    return decide(handle, request.params.name, (admin, node) => admin.maintenance(node, forMs));
  });
  app.post('/v1/nodes/:name/weight', async (request: Named) => {
    const { weight } = parseWeight(request.body);
    return decide(handle, request.params.name, (admin, node) => admin.weigh(node, weight));
  });
  app.post('/v1/nodes/:name/zone', async (request: Named) => {
    const { zone } = parseZone(request.body);
    return decide(handle, request.params.name, (admin, node) => admin.rezone(node, zone));
  });
  addInviteRoutes(app, handle);
  addClusterRoutes(app, handle);
}

function addInviteRoutes(app: FastifyInstance, handle: NodeHandle): void {
  app.post('/v1/cluster/invite', async (request) => {
    const options = parseInviteRequest(request.body);
    return answer(handle, 'invite', { token: await handle.invite(options) });
  });
  app.get('/v1/invites', async () => {
    viewOf(handle);
    return answer(handle, 'invites', handle.admin().invites().map(inviteData));
  });
  app.delete('/v1/invites/:name', async (request: Named) => {
    viewOf(handle);
    const { name } = request.params;
    await handle.admin().revokeInvite(name);
    return answer(handle, 'revoked', { id: name });
  });
}

function addClusterRoutes(app: FastifyInstance, handle: NodeHandle): void {
  app.post('/v1/cluster/set', async (request) => {
    const { name, value } = parseSetting(request.body);
    viewOf(handle);
    await handle.admin().set(name, value);
    return answer(handle, 'setting', { name, value });
  });
  app.post('/v1/cluster/alter-copy', async (request) => {
    const { copies, minCopies, strict } = parseAlterCopies(request.body);
    viewOf(handle);
    await handle.admin().alterCopies(copies, minCopies, strict);
    const view = viewOf(handle);
    const policy = view.policies.get(0 as never);
    const data = {
      copies,
      minCopies: policy?.minCopies ?? minCopies ?? 0,
      strict: policy?.strict ?? false,
    };
    const warnings = policy === undefined ? [] : policyWarnings(view, policy);
    return answer(handle, 'copies', data, warnings);
  });
  app.get('/v1/cluster/loss', async () => {
    const view = viewOf(handle);
    return answer(handle, 'loss', lossData(view.name, handle.admin().lossPlan()));
  });
  app.post('/v1/cluster/accept-loss', async (request) => {
    parseEmpty(request.body);
    viewOf(handle);
    return answer(handle, 'accepted', { partitions: await handle.admin().acceptLoss() });
  });
  app.get('/v1/cluster/recover', async () => {
    viewOf(handle);
    const plan = await handle.admin().recoverPlan();
    return answer(handle, 'recover', recoverData(plan, handle.status().node));
  });
}

async function decide(
  handle: NodeHandle,
  name: string,
  act: (admin: ClusterAdmin, node: NodeId) => Promise<void>,
) {
  viewOf(handle);
  const admin = handle.admin();
  const node = nodeNamed(name);
  await act(admin, node);
  const view = viewOf(handle);
  const member = view.members.get(node);
  // Forgotten: there is nothing left to show but the name.
  const data: NodeData | { readonly name: string; readonly node: number } =
    member === undefined
      ? { name: nodeName(node), node }
      : nodeData(view, handle.status(), member, handle.admin().fate(node));
  return answer(handle, 'node', data);
}

/** `n3` or `3`. */
/** @throws OperatingError 'usage' for what is no name of a node */
export function nodeNamed(name: string): NodeId {
  const match = /^n?(\d{1,10})$/.exec(name);
  if (match !== null) return Number(match[1]) as NodeId;
  throw new OperatingError('usage', `"${name.slice(0, 80)}" is no node: nodes are n1, n2, ...`, {
    remedy: 'dog node list shows them',
  });
}

function spaceData(conditions: readonly NodeCondition[]): readonly NodeSpaceData[] {
  return conditions.flatMap(({ node, space }) => {
    return space === undefined ? [] : [{ name: nodeName(node), ...space }];
  });
}

function planData(plan: MovePlan): MovePlanData {
  const { node, partitions, aboutBytes, bar, warnings } = plan;
  const name = nodeName(node);
  return { node: name, partitions, aboutBytes: aboutBytes ?? null, bar: bar ?? '', warnings };
}

function inviteData(invite: InviteInfo): InviteListData {
  const { id, madeMs, expiresMs, isSingleUse } = invite;
  return {
    id,
    made: madeMs === 0 ? null : dateText(madeMs),
    expires: expiresMs === 0 ? null : dateText(expiresMs),
    isSingleUse,
    hasExpired: expiresMs !== 0 && Date.now() >= expiresMs,
  };
}

function lossData(cluster: string, plan: LossPlan): LossData {
  const { partitions, volumes, mayReturn } = plan;
  return {
    cluster,
    partitions,
    volumes: volumes.map(({ volume, bytes, ranges }) => ({ name: volume.name, bytes, ranges })),
    mayReturn: mayReturn.map(nodeName),
  };
}

function recoverData(plan: RecoverPlan, self: NodeId | undefined): RecoverData {
  return {
    voters: plan.voters.map(({ node, commit }) => ({
      name: nodeName(node),
      isReachable: commit !== undefined,
      commit: commit ?? null,
    })),
    needed: plan.needed,
    best: nodeName(plan.best),
    mayLose: plan.mayLose,
    askedBy: self === undefined ? '' : nodeName(self),
  };
}
