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
  stagedName,
  volumeCalled,
} from './staged-volume.ts';

export async function restoreOnto(
  session: Session,
  io: Io,
  name: string,
  stream: OpenStream,
): Promise<void> {
  const { head } = stream;
  const rows = await baseRows(session, name, head);
  const { base, isTargetThere } = rows;
  const result = snapshotName(name, head.target.tag);
  if (isTargetThere) {
    const remedy = `it may be what you want already; else delete ${result} first`;
    throw new CommandError('exists', `${result} exists already`, remedy);
  }
  const token = await tokenOf(session, io, name, base);
  await clearStaged(session, name);
  await session.ask('/v1/clones', {
    method: 'POST',
    body: { from: base.name, to: stagedName(name) },
  });
  let writtenBytes = 0;
  try {
    await markStaged(session, name, result);
    writtenBytes = await prepared(session, io, name, stream, base);
    const body = { snapshot: snapshotName(stagedName(name), head.target.tag), token };
    await session.ask(`/v1/volumes/${encodeURIComponent(name)}/become`, { method: 'POST', body });
  } catch (error) {
    await deleteStaged(session, name).catch(() => undefined);
    throw error;
  }
  const local = await snapshotOf(session, name, head.target.tag);
  const { cluster, target } = head;
  await noteOrigin(session, name, { cluster, generation: target.generation, local });
  await deleteStaged(session, name);
  told(session, head, name, writtenBytes);
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
): Promise<{ readonly base: LayerData; readonly isTargetThere: boolean }> {
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
  return { base, isTargetThere: rows.some((row) => row.name === wanted) };
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
