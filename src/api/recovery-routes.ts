// The routes about recovery: how far it is on every member and in sum, whether it is paused, and its pause. Totals are
// those that each member fixed when a task of it began; a member that does not answer is named, not guessed.

import type { FastifyInstance } from 'fastify';
import type {
  RecoveryData,
  RecoveryNodeData,
  RecoverySumData,
  RecoveryTaskData,
  Warning,
} from '../core/admin-shapes.ts';
import type { NodeRecovery, RecoveryTask } from '../core/recovery-progress.ts';
import { heldKey, isRecoveryEnabled, manualRate, streamLimits } from '../core/recovery-settings.ts';
import type { ClusterView } from '../core/view.ts';
import type { NodeHandle } from '../node-handle.ts';
import { answer, viewOf } from './answer.ts';
import { dateText, nodeName } from './report.ts';
import { parseRecoveryEnabled } from './requests.ts';

export function addRecoveryRoutes(app: FastifyInstance, handle: NodeHandle): void {
  app.get('/v1/recovery', async () => {
    const view = viewOf(handle);
    return answer(handle, 'recovery', recoveryData(view, await handle.recoveries()));
  });
  app.post('/v1/cluster/recovery', async (request) => {
    const { enabled } = parseRecoveryEnabled(request.body);
    viewOf(handle);
    await handle.admin().enableRecovery(enabled);
    return answer(handle, 'recovery.enabled', { enabled });
  });
}

/** The recovery of all members as one document. Pure. */
export function recoveryData(view: ClusterView, found: readonly NodeRecovery[]): RecoveryData {
  const answered = new Set(found.map(({ node }) => node));
  const silent = [...view.members.values()].filter(({ node }) => !answered.has(node));
  const rate = manualRate(view);
  return {
    isEnabled: isRecoveryEnabled(view),
    heldBy: [...view.members.keys()]
      .filter((node) => view.settings.has(heldKey(node)))
      .map(nodeName),
    rateLimit: rate ?? null,
    ...streamLimits(view),
    sum: sumOf(found.flatMap(({ tasks }) => tasks)),
    nodes: found.map(nodeData),
    silent: silent.map(({ node }) => nodeName(node)),
  };
}

/** Of what is under way, together with what ended meanwhile: a total that shrank when a task ends would tell nothing. */
export function sumOf(all: readonly RecoveryTask[]): RecoverySumData {
  const tasks = roundOf(all);
  const add = (field: 'totalBytes' | 'doneBytes' | 'bytesPerSecond' | 'incomplete'): number =>
    tasks.reduce((sum, task) => sum + task[field], 0);
  const count = (of: (task: RecoveryTask) => number): number =>
    tasks.reduce((sum, task) => sum + of(task), 0);
  return {
    tasks: tasks.filter(isUnderWay).length,
    partitions: count(({ partitions }) => partitions),
    partitionsDone: count(({ partitionsDone, partitionsGone }) => partitionsDone + partitionsGone),
    isCounted: tasks.every(({ isCounted }) => isCounted),
    totalBytes: add('totalBytes'),
    doneBytes: add('doneBytes'),
    bytesPerSecond: add('bytesPerSecond'),
    // Members work side by side: the last one counts.
    leftMs: Math.max(0, ...tasks.map(({ leftMs }) => leftMs)),
    failedObjects: count(({ failures }) => failures.length),
    incompleteObjects: add('incomplete'),
  };
}

/** Tasks under way, and those that ended while one of them, or of these, was; none while nothing is under way. */
function roundOf(all: readonly RecoveryTask[]): readonly RecoveryTask[] {
  const running = all.filter(isUnderWay);
  let since = Math.min(...running.map(({ startedMs }) => startedMs));
  const ended = all.filter((task) => !isUnderWay(task)).sort((a, b) => b.endedMs - a.endedMs);
  // Last end first: whoever overlaps the round may make it longer, never for one that ended later.
  const beside = ended.filter(({ startedMs, endedMs }) => {
    if (endedMs < since) return false;
    since = Math.min(since, startedMs);
    return true;
  });
  return [...running, ...beside];
}

function isUnderWay({ endedMs }: RecoveryTask): boolean {
  return endedMs === 0;
}

/** RECOVERY_PAUSED: somebody switched it off, everywhere or on single members. */
export function recoveryWarnings(view: ClusterView): readonly Warning[] {
  const held = [...view.members.keys()].filter((node) => view.settings.has(heldKey(node)));
  const isEnabled = isRecoveryEnabled(view);
  if (isEnabled && held.length === 0) return [];
  const where = isEnabled ? `on ${held.map(nodeName).join(', ')}` : 'in the whole cluster';
  return [
    {
      code: 'RECOVERY_PAUSED',
      severity: 'warning',
      message: `recovery is paused ${where}: no copies are made or taken away, but for what guests wait for`,
      remedy: 'dog cluster recover enable',
      affected: held.map(nodeName),
    },
  ];
}

function nodeData(found: NodeRecovery): RecoveryNodeData {
  const { node, isHeld, rateLimit, incoming, outgoing, objectsCopied, bytesCopied } = found;
  return {
    name: nodeName(node),
    isHeld,
    rateLimit: rateLimit === 0 ? null : rateLimit,
    ...{ incoming, outgoing, objectsCopied, bytesCopied },
    tasks: found.tasks.map(taskData),
  };
}

function taskData(task: RecoveryTask): RecoveryTaskData {
  const { startedMs, endedMs, failures, incomplete, isHeld, ...rest } = task;
  return {
    ...rest,
    startedAt: dateText(startedMs),
    endedAt: endedMs === 0 ? null : dateText(endedMs),
    state: stateOf(task),
    failures: failures.map(({ policy, p, generation, index, reason }) => {
      return { policy, partition: p, generation, index, reason };
    }),
    incompleteObjects: incomplete,
  };
}

/** Few words: an end with damaged objects is not called done, nor one at which nothing was left to do it for. */
function stateOf({
  endedMs,
  isHeld,
  isCounted,
  incomplete,
  partitionsDone,
  partitionsGone,
}: RecoveryTask): RecoveryTaskData['state'] {
  if (endedMs > 0 && incomplete > 0) return 'incomplete';
  if (endedMs > 0) return partitionsDone === 0 && partitionsGone > 0 ? 'called off' : 'done';
  if (isHeld) return 'paused';
  return isCounted ? 'running' : 'counting';
}
