// A volume in the making: NAME.restoring, marked as such, until all of it is there. Then one entry of the log gives it its
// name: nobody ever sees a half-restored volume under a name that says it is whole. What an earlier command that was killed
// left of one is deleted by the next, marked or not written to; what another command works on is refused.

import type { VolumeDetail } from '../core/admin-shapes.ts';
import { snapshotName } from '../core/snapshot-name.ts';
import type { LayerData, SnapshotData } from '../core/volume-shapes.ts';
import { type FarSnapshot, runsFrom } from '../streams/backup.ts';
import type { Io, Session } from './context.ts';
import { CommandError } from './failure.ts';
import { holdOf, using } from './hold.ts';
import {
  attributeOf,
  attributesCount,
  deleteSnapshot,
  familyOf,
  removeAttribute,
  setAttribute,
} from './snapshot-facts.ts';

const SUFFIX = '.restoring';
/** Attribute of a volume in the making. */
const MARK = 'sheep.restoring';

export function stagedName(name: string): string {
  return `${name}${SUFFIX}`;
}

export function isStagedName(name: string): boolean {
  return name.endsWith(SUFFIX);
}

function routeOf(name: string): string {
  return `/v1/volumes/${encodeURIComponent(name)}`;
}

/** @throws CommandError 'exists' where the name can not be given at the end */
export async function refuseTaken(session: Session, name: string): Promise<void> {
  const rows = await familyOf(session, name);
  const isThere = (await volumeCalled(session, name)) !== undefined;
  if (rows.length === 0 && !isThere) return;
  // Whole, by a command that was killed at its very end.
  if (isThere && (await attributeOf(session, name, MARK)) !== undefined) {
    await removeAttribute(session, name, MARK);
  }
  const remedy = 'choose another name, or delete that one with its snapshots';
  throw new CommandError('exists', `${name} exists already, or snapshots of it do`, remedy);
}

export async function volumeCalled(
  session: Session,
  name: string,
): Promise<VolumeDetail | undefined> {
  try {
    return (await session.ask<VolumeDetail>(routeOf(name))).data;
  } catch (error) {
    if (error instanceof CommandError && error.code === 'missing') return undefined;
    throw error;
  }
}

/** What a killed command left of this name is deleted. @throws CommandError 'exists' for what is no such thing */
export async function clearStaged(session: Session, io: Io, name: string): Promise<void> {
  const staged = stagedName(name);
  const volume = await volumeCalled(session, staged);
  if (volume === undefined) {
    await deleteSnapshots(session, staged);
    return;
  }
  const isMarked = (await stagedMark(session, name)) !== undefined;
  // One that was killed before it could mark what it had made left nothing that was written.
  if (isMarked || (await isUntouched(session, io, volume))) return deleteStaged(session, name);
  const remedy = `look what it is, and rename or delete it: dog vdi delete ${staged}`;
  throw new CommandError('exists', `${staged} exists already, without a mark`, remedy);
}

/** What the command said that is at it, or was; undefined: there is none, or nobody marked it. */
export async function stagedMark(session: Session, name: string): Promise<string | undefined> {
  return attributeOf(session, stagedName(name), MARK);
}

/** Nothing of its own: no snapshot, no attribute, and by the tables nothing that was written since it was made. */
async function isUntouched(session: Session, io: Io, volume: VolumeDetail): Promise<boolean> {
  const { name, generation } = volume;
  const rows = await familyOf(session, name);
  if (rows.some((row) => row.name.startsWith(snapshotName(name, '')))) return false;
  if ((await attributesCount(session, name)) > 0) return false;
  const hold = await holdOf(session.options, io.env, name);
  return using(hold, () => hasNothingOf(hold.volume, generation));
}

async function hasNothingOf(volume: FarSnapshot, generation: number): Promise<boolean> {
  for (let at = 0; at < volume.sizeBytes; ) {
    for (const { length, isAllocated, layer } of await runsFrom(volume, at)) {
      if (isAllocated && (layer === undefined || layer === generation)) return false;
      at += length;
    }
  }
  return true;
}

/** Marks what was just made as not whole. */
export async function markStaged(session: Session, name: string, what: string): Promise<void> {
  await setAttribute(session, stagedName(name), MARK, what);
}

/** With its snapshots, past the trash. */
export async function deleteStaged(session: Session, name: string): Promise<void> {
  const staged = stagedName(name);
  if ((await volumeCalled(session, staged)) !== undefined) {
    await session.ask(`${routeOf(staged)}?trash=0`, { method: 'DELETE' });
  }
  await deleteSnapshots(session, staged);
}

async function deleteSnapshots(session: Session, staged: string): Promise<void> {
  const isIts = ({ kind, name }: LayerData) =>
    kind === 'snapshot' && name.startsWith(snapshotName(staged, ''));
  for (const { name } of (await familyOf(session, staged)).filter(isIts)) {
    await deleteSnapshot(session, name);
  }
}

/** Its generation. */
export async function snapshotOf(session: Session, name: string, tag: string): Promise<number> {
  const how = { method: 'POST', body: { volumes: [name], tag } } as const;
  const { data } = await session.ask<readonly SnapshotData[]>('/v1/snapshots', how);
  return data[0]?.generation ?? 0;
}

/** The volume is whole: from here on it has its name. The mark goes with what was in the making. */
export async function nameStaged(session: Session, name: string): Promise<void> {
  const how = { method: 'POST', body: { to: name } } as const;
  await session.ask(`${routeOf(stagedName(name))}/rename`, how);
  await removeAttribute(session, name, MARK);
}
