// The recovery of one node as metrics: totals that each task fixed when it began, what of them is done, and the rate. Sums
// over the nodes are the cluster's.

import type { NodeRecovery, RecoveryKind, RecoveryTask } from '../core/recovery-progress.ts';
import type { Family } from './metric-family.ts';

const KINDS: readonly RecoveryKind[] = ['catch-up', 'repair', 'move'];

export function recoveryFamilies(own: NodeRecovery): readonly Family[] {
  return [...ownFamilies(own), ...taskFamilies(own.tasks.filter(({ endedMs }) => endedMs === 0))];
}

function ownFamilies(own: NodeRecovery): readonly Family[] {
  return [
    {
      name: 'recovery_held',
      help: '1: recovery is paused on this node, or everywhere',
      values: [{ value: own.isHeld ? 1 : 0 }],
    },
    {
      name: 'recovery_rate_limit_bytes',
      help: 'bytes per second that bulk copies to this node may take now; 0: no limit',
      values: [{ value: own.rateLimit }],
    },
    {
      name: 'recovery_bytes_total',
      help: 'bytes of copies that came from other nodes since the start',
      isCounter: true,
      values: [{ value: own.bytesCopied }],
    },
    {
      name: 'recovery_objects_total',
      help: 'objects that were copied, or found equal in part, since the start',
      isCounter: true,
      values: [{ value: own.objectsCopied }],
    },
    {
      name: 'recovery_streams',
      help: 'in: objects being fetched; out: pieces being handed out',
      values: [
        { labels: { direction: 'in' }, value: own.incoming },
        { labels: { direction: 'out' }, value: own.outgoing },
      ],
    },
  ];
}

/** @param tasks those under way; one value for each kind, also where there is none of it */
function taskFamilies(tasks: readonly RecoveryTask[]): readonly Family[] {
  const sum = (kind: RecoveryKind, of: (task: RecoveryTask) => number): number =>
    tasks.reduce((all, task) => all + (task.kind === kind ? of(task) : 0), 0);
  const each = (of: (task: RecoveryTask) => number): Family['values'] =>
    KINDS.map((kind) => ({ labels: { kind }, value: sum(kind, of) }));
  const both = (
    total: (task: RecoveryTask) => number,
    done: (task: RecoveryTask) => number,
  ): Family['values'] =>
    KINDS.flatMap((kind) => [
      { labels: { kind, state: 'total' }, value: sum(kind, total) },
      { labels: { kind, state: 'done' }, value: sum(kind, done) },
    ]);
  const leftMs = (kind: RecoveryKind): number =>
    Math.max(0, ...tasks.filter((task) => task.kind === kind).map((task) => task.leftMs));
  return [
    {
      name: 'task_bytes',
      help: 'of the tasks under way; the total is fixed when a task begins',
      values: both(
        (task) => task.totalBytes,
        (task) => task.doneBytes,
      ),
    },
    {
      name: 'task_partitions',
      help: 'of the tasks under way; done: in sync here, or not wanted here any more',
      values: both(
        (task) => task.partitions,
        (task) => task.partitionsDone + task.partitionsGone,
      ),
    },
    {
      name: 'task_bytes_per_second',
      help: 'of the last ten seconds',
      values: each((task) => task.bytesPerSecond),
    },
    {
      name: 'task_left_seconds',
      help: 'until the last of them is done, at this rate; 0: not known, or nothing is under way',
      values: KINDS.map((kind) => ({ labels: { kind }, value: leftMs(kind) / 1000 })),
    },
    {
      name: 'task_failed_objects',
      help: 'objects whose copy failed and whose partition is not in sync',
      values: each((task) => task.failures.length),
    },
    {
      name: 'task_incomplete_objects',
      help: 'objects that were copied without sectors that no member has right',
      values: each((task) => task.incomplete),
    },
  ];
}
