// What the node says of snapshots: of which cluster, which generation. A frozen generation of a cluster never changes, and
// its number is never given again: the two name its contents. A volume that was restored notes whose its snapshots' are.

import type { StatusData } from '../core/admin-shapes.ts';
import { parseVolumeName, snapshotName } from '../core/snapshot-name.ts';
import type { AttributeData, AttributeInfo, LayerData } from '../core/volume-shapes.ts';
import type { Session } from './context.ts';
import { CommandError } from './failure.ts';

/** Attribute of a restored volume: whose contents its snapshots are. */
const ORIGINS_KEY = 'sheep.backup';
/** Of one volume: the newest are kept. */
const MAX_ORIGINS = 64;

export interface NamedSnapshot {
  readonly name: string;
  readonly tag: string;
}

/** Contents of a snapshot here, by what they are called where they were made. */
export interface Origin {
  readonly cluster: string;
  readonly generation: number;
  /** Generation of the snapshot here. */
  readonly local: number;
}

/** `NAME@TAG`. @throws CommandError 'usage' for a volume */
export function parseSnapshot(text: string): NamedSnapshot {
  const { name, tag } = parseVolumeName(text);
  if (tag !== undefined) return { name, tag };
  const remedy = `dog vdi snapshot ${name} -s TAG makes one, also under a guest`;
  throw new CommandError('usage', `${text} is a volume, which changes: name a snapshot`, remedy);
}

export async function clusterIdOf(session: Session): Promise<string> {
  const { clusterId } = (await session.ask<StatusData>('/v1/status')).data;
  if (clusterId !== null) return clusterId;
  throw new CommandError('not-formatted', 'the node that was asked belongs to no cluster');
}

/** Layers of the volume's family; none where nothing is called so. */
export async function familyOf(session: Session, name: string): Promise<readonly LayerData[]> {
  try {
    const route = `/v1/tree?volume=${encodeURIComponent(name)}`;
    return (await session.ask<readonly LayerData[]>(route)).data;
  } catch (error) {
    if (error instanceof CommandError && error.code === 'missing') return [];
    throw error;
  }
}

/** @throws CommandError 'missing' */
export async function snapshotRow(
  session: Session,
  { name, tag }: NamedSnapshot,
): Promise<LayerData> {
  const wanted = snapshotName(name, tag);
  const rows = await familyOf(session, name);
  const found = rows.find((row) => row.kind === 'snapshot' && row.name === wanted);
  if (found !== undefined) return found;
  const remedy = `dog vdi tree ${name} shows the snapshots`;
  throw new CommandError('missing', `there is no snapshot ${wanted}`, remedy);
}

export async function deleteSnapshot(session: Session, name: string): Promise<void> {
  await session.ask(`/v1/snapshots/${encodeURIComponent(name)}`, { method: 'DELETE' });
}

/** What this volume's snapshots were restored from; none for one that was not. */
export async function originsOf(session: Session, name: string): Promise<readonly Origin[]> {
  const route = attributesOf(name);
  const { data } = await session.ask<readonly AttributeInfo[]>(route);
  if (!data.some(({ key }) => key === ORIGINS_KEY)) return [];
  const found = await session.ask<AttributeData>(`${route}/${ORIGINS_KEY}`);
  const text = Buffer.from(found.data.value, 'base64').toString();
  try {
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) ? parsed.filter(isOrigin) : [];
  } catch {
    // Somebody else's words under our key: nothing is known.
    return [];
  }
}

/** Notes whose contents a snapshot here has. */
export async function noteOrigin(session: Session, name: string, origin: Origin): Promise<void> {
  const known = await originsOf(session, name);
  const others = known.filter(({ local }) => local !== origin.local);
  const kept = [...others, origin].slice(-MAX_ORIGINS);
  await setAttribute(session, name, ORIGINS_KEY, JSON.stringify(kept));
}

export async function setAttribute(
  session: Session,
  name: string,
  key: string,
  text: string,
): Promise<void> {
  const value = Buffer.from(text).toString('base64');
  await session.ask(attributesOf(name), { method: 'POST', body: { key, value } });
}

export async function attributeOf(
  session: Session,
  name: string,
  key: string,
): Promise<string | undefined> {
  try {
    const found = await session.ask<AttributeData>(`${attributesOf(name)}/${key}`);
    return Buffer.from(found.data.value, 'base64').toString();
  } catch (error) {
    if (error instanceof CommandError && error.code === 'missing') return undefined;
    throw error;
  }
}

export async function attributesCount(session: Session, name: string): Promise<number> {
  return (await session.ask<readonly AttributeInfo[]>(attributesOf(name))).data.length;
}

export async function removeAttribute(session: Session, name: string, key: string): Promise<void> {
  await session.ask(`${attributesOf(name)}/${key}`, { method: 'DELETE' });
}

function attributesOf(name: string): string {
  return `/v1/volumes/${encodeURIComponent(name)}/attributes`;
}

function isOrigin(value: unknown): value is Origin {
  const { cluster, generation, local } = value as Partial<Origin>;
  return typeof cluster === 'string' && Number.isInteger(generation) && Number.isInteger(local);
}
