// `dog vdi restore NAME --onto`: what differs between two snapshots, onto a volume that has the first one. It is done to a
// clone of that snapshot; the volume becomes what the clone is by one entry of the log, which is refused when anybody used
// the volume since it was looked at. Until then the volume is as it was.

import type { VolumeDetail } from '../core/admin-shapes.ts';
import { changedRuns } from '../core/changed-regions.ts';
import { snapshotName } from '../core/snapshot-name.ts';
import type { LayerData } from '../core/volume-shapes.ts';
import { type FarSnapshot, runsFrom } from '../streams/backup.ts';
import type { BackupHead } from '../streams/backup-head.ts';
import type { OpenStream } from '../streams/restore.ts';
import type { Io, Session } from './context.ts';
import { CommandError } from './failure.ts';
import { holdOf, using } from './hold.ts';
import { filled, told } from './restore-run.ts';
import { clusterIdOf, familyOf, noteOrigin, originsOf } from './snapshot-facts.ts';
import {
  clearStaged,
  deleteStaged,
  markStaged,
  snapshotOf,
  stagedMark,
  stagedName,
  volumeCalled,
} from './staged-volume.ts';

/** Ends of a request that say nothing about whether it was done. */
const OPEN_ENDS: ReadonlySet<string> = new Set([
  ...['unreachable', 'timeout', 'no-quorum', 'shutting-down'],
]);

export async function restoreOnto(
  session: Session,
  io: Io,
  name: string,
  stream: OpenStream,
): Promise<void> {
  const { head } = stream;
  const { base, target } = await baseRows(session, name, head);
  if (await isFinished(session, io, name, head)) return told(session, head, name, 0);
  if (target !== undefined) {
    const remedy = `it may be what you want already; else delete ${target.name} first`;
    throw new CommandError('exists', `${target.name} exists already`, remedy);
  }
  const token = await tokenOf(session, io, name, base);
  await clearStaged(session, io, name);
  await session.ask('/v1/clones', {
    method: 'POST',
    body: { from: base.name, to: stagedName(name) },
  });
  let writtenBytes = 0;
  try {
    await markStaged(session, name, markOf(name, head));
    writtenBytes = await prepared(session, io, name, stream, base);
    const body = { snapshot: snapshotName(stagedName(name), head.target.tag), token };
    await session.ask(`/v1/volumes/${encodeURIComponent(name)}/become`, { method: 'POST', body });
  } catch (error) {
    if (!isOpen(error)) await deleteStaged(session, name).catch(() => undefined);
    throw error;
  }
  await finish(session, name, head);
  told(session, head, name, writtenBytes);
}

/** What is to be known of the command that made a volume in the making: which stream goes into it. */
function markOf(name: string, { cluster, target }: BackupHead): string {
  return `${snapshotName(name, target.tag)} ${cluster} ${target.generation}`;
}

/** It may have been done all the same: what was prepared tells the next command. */
function isOpen(error: unknown): boolean {
  return error instanceof CommandError && OPEN_ENDS.has(error.code);
}

/** The volume is what was prepared: it gets its snapshot, says whose contents that is, and the rest goes. */
async function finish(session: Session, name: string, head: BackupHead): Promise<void> {
  const { cluster, target } = head;
  const local = await snapshotOf(session, name, target.tag);
  await noteOrigin(session, name, { cluster, generation: target.generation, local });
  await deleteStaged(session, name);
}

/**
 * A command with this stream was killed after the volume had become what was prepared: what was left to do is done. False:
 * there was no such command, or its volume was written since. What one left that had all done but its clearing goes.
 */
async function isFinished(
  session: Session,
  io: Io,
  name: string,
  head: BackupHead,
): Promise<boolean> {
  const rows = await familyOf(session, name);
  const wanted = snapshotName(name, head.target.tag);
  const staged = snapshotName(stagedName(name), head.target.tag);
  const isCalled = (text: string) => (row: LayerData) => row.name === text;
  const [target, volume, source] = [wanted, name, staged].map((one) => rows.find(isCalled(one)));
  const isOurs = (await stagedMark(session, name)) === markOf(name, head);
  if (!isOurs) {
    if (target !== undefined && source !== undefined) await clearStaged(session, io, name);
    return false;
  }
  if (source === undefined || volume === undefined) return false;
  if (target === undefined) {
    if (volume.parent !== source.generation) return false;
    if (!(await isAs(session, io, name, staged))) return false;
    await finish(session, name, head);
    return true;
  }
  if (target.parent !== source.generation) return false;
  const { cluster } = head;
  const { generation } = head.target;
  await noteOrigin(session, name, { cluster, generation, local: target.generation });
  await deleteStaged(session, name);
  return true;
}

/** The volume shows what the snapshot shows. */
async function isAs(session: Session, io: Io, name: string, snapshot: string): Promise<boolean> {
  const hold = await holdOf(session.options, io.env, name);
  return using(hold, async () => {
    const other = await holdOf(session.options, io.env, snapshot);
    return using(other, () => isUnchanged(hold.volume, other.volume));
  });
}

/** The clone is all that the stream says, and frozen. */
async function prepared(
  session: Session,
  io: Io,
  name: string,
  stream: OpenStream,
  base: LayerData,
): Promise<number> {
  const { sizeBytes, target } = stream.head;
  const staged = stagedName(name);
  if (sizeBytes !== base.sizeBytes) {
    const route = `/v1/volumes/${encodeURIComponent(staged)}/resize`;
    await session.ask(route, { method: 'POST', body: { sizeBytes, force: true } });
  }
  const hold = await holdOf(session.options, io.env, staged);
  const writtenBytes = await using(hold, () => filled(session, io, hold.volume, stream, false));
  await snapshotOf(session, staged, target.tag);
  return writtenBytes;
}

/** The snapshot of this volume that has the contents that the stream builds on. */
async function baseRows(
  session: Session,
  name: string,
  head: BackupHead,
): Promise<{ readonly base: LayerData; readonly target: LayerData | undefined }> {
  if (head.base === null) {
    const text = `the stream has all of ${head.volume}@${head.target.tag}: it builds on nothing`;
    throw new CommandError('usage', text, `leave out --onto: dog vdi restore ${name}`);
  }
  if ((await volumeCalled(session, name)) === undefined) {
    throw new CommandError('missing', `there is no volume ${name}`, baseCure(head));
  }
  const rows = (await familyOf(session, name)).filter((row) => {
    return row.kind === 'snapshot' && row.name.startsWith(snapshotName(name, ''));
  });
  const generations = new Set(
    await generationsOf(session, name, head.cluster, head.base.generation),
  );
  const base = rows.find(({ generation }) => generations.has(generation));
  if (base === undefined) throw new CommandError('missing', baseText(name, head), baseCure(head));
  const wanted = snapshotName(name, head.target.tag);
  return { base, target: rows.find((row) => row.name === wanted) };
}

/** Generations here that have these contents: the very one where it was made here, or what was restored from it. */
async function generationsOf(
  session: Session,
  name: string,
  cluster: string,
  generation: number,
): Promise<readonly number[]> {
  const origins = await originsOf(session, name);
  const restored = origins.filter(
    (one) => one.cluster === cluster && one.generation === generation,
  );
  const isHere = (await clusterIdOf(session)) === cluster;
  return [...restored.map(({ local }) => local), ...(isHere ? [generation] : [])];
}

function baseText(name: string, { volume, base, cluster }: BackupHead): string {
  const what = `${volume}@${base?.tag} (generation ${base?.generation} of cluster ${cluster})`;
  return `no snapshot of ${name} has the contents that the stream builds on, ${what}`;
}

function baseCure({ volume, base }: BackupHead): string {
  const from = `${volume}@${base?.tag}`;
  return `restore the backup of ${from} first, or name the volume that was restored from it`;
}

/** What its lock has while it is still what the snapshot is: who uses it from here on makes another one. */
async function tokenOf(session: Session, io: Io, name: string, base: LayerData): Promise<number> {
  const hold = await holdOf(session.options, io.env, name);
  return using(hold, async () => {
    const snapshot = await holdOf(session.options, io.env, base.name);
    const isSame = await using(snapshot, () => isUnchanged(hold.volume, snapshot.volume));
    if (!isSame && session.options.force !== true) {
      const remedy = `keep it by a snapshot and roll back: dog vdi rollback ${base.name}; -f gives up what was written since`;
      throw new CommandError('changed', `${name} was written since ${base.name}`, remedy);
    }
    const route = `/v1/volumes/${encodeURIComponent(name)}`;
    const { holder } = (await session.ask<VolumeDetail>(route)).data;
    return holder?.token ?? 0;
  });
}

/** By the tables: no block is read. */
async function isUnchanged(volume: FarSnapshot, snapshot: FarSnapshot): Promise<boolean> {
  if (volume.sizeBytes !== snapshot.sizeBytes) return false;
  for (let at = 0; at < volume.sizeBytes; ) {
    const now = await runsFrom(volume, at);
    const then = await runsFrom(snapshot, at);
    for (const run of changedRuns(then, now)) {
      if (run.isChanged) return false;
      at += run.length;
    }
  }
  return true;
}
