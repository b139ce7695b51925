// What a node tells of its recovery is honest (done never above the total, the total never changes, nothing over while an
// object of it failed or a partition is not in sync), and what the leader lets begin keeps the order of 4.8.

import type { NodeId } from '../../src/core/ids.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { URGENCY, type Urgency, urgencyOf } from '../../src/core/recovery-order.ts';
import type { NodeRecovery, RecoveryTask } from '../../src/core/recovery-progress.ts';
import { lacksOf } from '../../src/core/recovery-work.ts';
import { OBJECT_BYTES } from '../../src/core/units.ts';
import type { ClusterView } from '../../src/core/view.ts';

/** Remembers what each process said of each task. */
export class RecoveryChecker {
  readonly #last = new Map<string, RecoveryTask>();

  /** @param life names one process of a node: a restart begins to count anew */
  note(life: string, said: NodeRecovery, view: ClusterView): string | undefined {
    for (const [at, task] of said.tasks.entries()) {
      const name = `${life}: ${task.kind} of ${task.partitions} partitions`;
      const wrong =
        dishonest(task) ?? this.#changed(`${life} ${keyOf(task, said.tasks, at)}`, task);
      if (wrong !== undefined) return `recovery of ${name}: ${wrong}`;
    }
    const isOver = said.tasks.every(({ endedMs }) => endedMs > 0);
    const left = lacksOf(view, said.node).length;
    if (isOver && left > 0)
      return `${life}: its recovery is over, and ${left} partitions are not in sync`;
    return undefined;
  }

  #changed(key: string, task: RecoveryTask): string | undefined {
    const before = this.#last.get(key);
    this.#last.set(key, task);
    if (before === undefined) return undefined;
    if (before.isCounted && before.totalBytes !== task.totalBytes) {
      return `its total was ${before.totalBytes} and is ${task.totalBytes}`;
    }
    if (task.doneBytes < before.doneBytes)
      return `${before.doneBytes} were done, now ${task.doneBytes}`;
    return undefined;
  }
}

/** Tasks have no number: of those that began at one moment the kind and the place tell them apart. */
function keyOf(task: RecoveryTask, all: readonly RecoveryTask[], at: number): string {
  const twins = all.slice(0, at).filter(({ kind, startedMs }) => {
    return kind === task.kind && startedMs === task.startedMs;
  });
  return `${task.kind} ${task.startedMs} ${task.partitions} ${twins.length}`;
}

function dishonest(task: RecoveryTask): string | undefined {
  const { doneBytes, totalBytes, partitions, partitionsDone, partitionsGone, endedMs } = task;
  const over = partitionsDone + partitionsGone;
  if (doneBytes > totalBytes) return `${doneBytes} of ${totalBytes} bytes are done`;
  if (over > partitions) return `${over} of ${partitions} partitions are over`;
  if (endedMs > 0 && over < partitions)
    return `it is over with ${over} of ${partitions} partitions`;
  if (endedMs > 0 && task.failures.length > 0) return 'it is over though an object failed';
  return undefined;
}

/**
 * 4.8, for one member that joins: what began between two views is not less urgent than what still waits, and no move
 * begins beside a repair. A partition without an object is joined with nothing to copy, and delays nobody: it may begin
 * at any time. Only for times in which nobody dies: the leader plans by what it knows.
 */
export function checkOrder(
  before: ClusterView,
  after: ClusterView,
  node: NodeId,
): string | undefined {
  const full = placesOf(after);
  const begun = partitionsOf(after, ({ policy, p, joining }) => {
    const isNew = joining.includes(node) && !before.partition(policy, p).joining.includes(node);
    return isNew && full.has(`${policy} ${p}`);
  });
  const waiting = partitionsOf(after, ({ targets, inSync, joining }) => {
    return targets.includes(node) && !inSync.includes(node) && !joining.includes(node);
  });
  const joining = partitionsOf(after, (config) => config.joining.includes(node));
  for (const { p, urgency } of begun) {
    const sooner = waiting.find((one) => one.urgency < urgency);
    if (sooner !== undefined) {
      return `4.8: partition ${p} (urgency ${urgency}) joined before ${sooner.p} (${sooner.urgency})`;
    }
    const repair = joining.find((one) => one.urgency < URGENCY.move);
    if (urgency === URGENCY.move && repair !== undefined) {
      return `4.8: partition ${p} is moved while ${repair.p} is repaired`;
    }
  }
  return undefined;
}

/** `policy partition` of all that volumes can have objects in. */
function placesOf({ volumes, partitions }: ClusterView): Set<string> {
  const found = new Set<string>();
  for (const { policy, family, sizeBytes } of volumes.values()) {
    for (let index = 0; index * OBJECT_BYTES < sizeBytes; index += 1) {
      found.add(`${policy} ${partitionOf(family, index, partitions)}`);
    }
  }
  return found;
}

interface Found {
  readonly p: number;
  readonly urgency: Urgency;
}

type Place = ReturnType<ClusterView['partition']> & { readonly policy: never; readonly p: number };

function partitionsOf(view: ClusterView, isMeant: (place: Place) => boolean): Found[] {
  const found: Found[] = [];
  const isLive = (node: NodeId): boolean => view.members.get(node)?.state === 'up';
  for (const [policy, rule] of view.policies) {
    for (const p of view.explicitPartitions(policy)) {
      const config = view.partition(policy, p);
      if (!isMeant({ ...config, policy: policy as never, p })) continue;
      found.push({ p, urgency: urgencyOf(config, rule, isLive) });
    }
  }
  return found;
}
