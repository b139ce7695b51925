// What people ask of the copies of a volume: where an object is and was, how much space the layers take, what changed
// between two of them, whether all copies are equal. Everything is asked of members at that moment; only `check` with
// repair changes anything, and that by the repairer of the node that has the bad copy.

import { missing } from './admin.ts';
import type { ChangedRun } from './core/changed-regions.ts';
import { emptyState } from './core/cluster-state.ts';
import { CopyHistory } from './core/copy-history.ts';
import { OperatingError } from './core/errors.ts';
import { ancestry } from './core/generations.ts';
import type { NodeId, PartitionId } from './core/ids.ts';
import { layerVolume } from './core/layer-volume.ts';
import { holderText, isHolderDead } from './core/lock.ts';
import { partitionOf } from './core/partition.ts';
import { readableNamed } from './core/snapshots.ts';
import { divideUp, OBJECT_BYTES } from './core/units.ts';
import type { ClusterView, Volume } from './core/view.ts';
import { lookUpChanges } from './datapath/changes.ts';
import { type CheckOf, CopyChecker } from './datapath/copy-checker.ts';
import type { Datapath } from './datapath/datapath.ts';
import type { VolumeSession } from './datapath/volume-session.ts';
import type { CopyAdmin, ObjectHistory } from './node-handle.ts';
import type { Clock } from './ports/ports.ts';
import type { RaftLog } from './storage/raft-log.ts';
import { decodeSnapshot } from './wire/snapshot-codec.ts';

/** Entries that a look into the past plays in one turn of the event loop. */
export const HISTORY_ENTRIES_PER_TURN = 16;
/** Rows that one slice of a check asks for: indexes times layers. */
export const MAX_CHECK_ROWS = 16_384;
/** What changed is told as far as this goes, */
export const CHANGES_SLICE_MS = 4000;
/** and so many runs. */
export const MAX_CHANGED_RUNS = 8192;

/** The node, as much of it as this needs. */
export interface CopyDesk {
  readonly self: NodeId;
  readonly datapath: Datapath;
  readonly log: RaftLog;
  openVolume(name: string): VolumeSession;
}

interface Desk {
  readonly node: CopyDesk;
  readonly viewNow: () => ClusterView;
  readonly clock: Clock;
}

export function copyAdmin(node: CopyDesk, viewNow: () => ClusterView, clock: Clock): CopyAdmin {
  const { datapath } = node;
  const desk = { node, viewNow, clock };
  const checker = new CopyChecker({ clock }, datapath.looks);
  const of = (name: string) => subjectOf(viewNow(), name);
  return {
    async locate(name, index) {
      const { volume, layers, ...place } = of(name);
      checkIndex(volume, index);
      const objects = layers.map((generation) => ({ generation, index }));
      return { volume, found: await datapath.looks.locate(place, objects) };
    },
    check: async (name, slice) => {
      const subject = of(name);
      const { objects } = subject;
      const most = Math.max(1, Math.floor(MAX_CHECK_ROWS / subject.layers.length));
      const count = Math.max(0, Math.min(slice.count, objects - slice.from, most));
      const checked = await checker.check(subject, { ...slice, count });
      return { ...checked, isDone: checked.next >= objects, total: objects };
    },
    usage: (name) => datapath.looks.usage(of(name)),
    history: async (name, index) => {
      const { volume, family, policy } = of(name);
      checkIndex(volume, index);
      const p = partitionOf(family, index, viewNow().partitions);
      return historyOf(desk, { policy, p });
    },
    changes: (before, after, range) => changesBetween(desk, before, after, range),
  };
}

interface Subject extends CheckOf {
  readonly volume: Volume;
  readonly objects: number;
}

/** @throws OperatingError 'missing' */
function subjectOf(view: ClusterView, name: string): Subject {
  const found = readableNamed(view, name);
  if (found === undefined) throw missing(name);
  const volume = 'lock' in found ? found : layerVolume(found, view.volumes.get(found.volume));
  const { family, policy, head, sizeBytes } = volume;
  const layers = ancestry(view, head).map(({ generation }) => generation);
  return { volume, family, policy, layers, objects: divideUp(sizeBytes, OBJECT_BYTES) };
}

function checkIndex({ name, sizeBytes }: Volume, index: number): void {
  const objects = divideUp(sizeBytes, OBJECT_BYTES);
  if (index < objects) return;
  throw new OperatingError(
    'usage',
    `${name} has ${objects} objects: the last one is ${objects - 1}`,
  );
}

/** From the newest snapshot on, or from the first entry where there is none. */
async function historyOf({ node, clock }: Desk, where: PartitionId): Promise<ObjectHistory> {
  const { log } = node;
  const { head } = log.snapshots;
  const snapshot = head && decodeSnapshot(log.snapshots.read(0, head.bytes));
  const history = new CopyHistory(where, snapshot?.state ?? emptyState());
  const { entries, commit } = log;
  let turn = 0;
  for (const entry of entries) {
    if (entry.index > commit) break;
    history.apply(entry);
    turn += 1;
    if (turn % HISTORY_ENTRIES_PER_TURN === 0) await new Promise<void>((go) => clock.soon(go));
  }
  return { ...where, knownFrom: snapshot?.base.index ?? 0, epochs: history.all };
}

/** Through sessions here, page by page as far as the time goes. */
async function changesBetween(
  { node, viewNow, clock }: Desk,
  before: string,
  after: string,
  range: { readonly offset: number; readonly length: number },
): Promise<readonly ChangedRun[]> {
  const view = viewNow();
  const volumes = [subjectOf(view, before).volume, subjectOf(view, after).volume] as const;
  if (volumes[0].family !== volumes[1].family) {
    throw new OperatingError('refused', `${before} and ${after} have no layer in common`, {
      remedy: 'compare a volume with its own snapshots or clones: dog vdi tree',
    });
  }
  for (const volume of volumes) refuseElsewhere(view, volume, node.self);
  const sessions = [node.openVolume(before), node.openVolume(after)] as const;
  for (const session of sessions) session.connect('dog (diff)');
  try {
    const until = clock.now() + CHANGES_SLICE_MS;
    const found: ChangedRun[] = [];
    let { offset } = range;
    const end = offset + range.length;
    while (offset < end && clock.now() < until && found.length < MAX_CHANGED_RUNS) {
      const runs = await changesOf(sessions, { offset, length: end - offset });
      found.push(...runs);
      const length = runs.reduce((sum, run) => sum + run.length, 0);
      if (length === 0) break;
      offset += length;
    }
    return found;
  } finally {
    await Promise.all(sessions.map((session) => session.disconnect()));
  }
}

function changesOf(
  [before, after]: readonly [VolumeSession, VolumeSession],
  range: { readonly offset: number; readonly length: number },
): Promise<readonly ChangedRun[]> {
  return new Promise((resolve, reject) => {
    lookUpChanges(before, after, range, (error, runs) => {
      if (error === undefined) resolve(runs);
      else reject(error);
    });
  });
}

/** Beside a holder nobody knows which layers show: all would be called changed. */
function refuseElsewhere(view: ClusterView, { name, lock }: Volume, self: NodeId): void {
  if (lock.state === 'free' || lock.node === self || isHolderDead(view, lock)) return;
  throw new OperatingError('held', `${name} is in use through ${holderText(lock)}`, {
    remedy: `ask that node, or compare with a snapshot: dog vdi snapshot ${name} -s TAG`,
  });
}
