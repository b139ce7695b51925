// What restores have in common: a stream is put into a volume that is held meanwhile, and what came of it is told.

import { snapshotName } from '../core/snapshot-name.ts';
import type { BackupHead } from '../streams/backup-head.ts';
import { type OpenStream, restoreInto } from '../streams/restore.ts';
import type { FarVolume } from '../streams/volume-copy.ts';
import type { Io, Session } from './context.ts';
import { holdOf, using } from './hold.ts';
import { formatBytes, rawFacts, show } from './output.ts';
import { progressOn, rateMeter } from './progress.ts';
import { noteOrigin } from './snapshot-facts.ts';
import {
  clearStaged,
  deleteStaged,
  markStaged,
  nameStaged,
  refuseTaken,
  snapshotOf,
  stagedName,
} from './staged-volume.ts';

/** What is made, and how. */
export interface NewVolume {
  readonly name: string;
  readonly sizeBytes: number;
  readonly copies?: number | undefined;
  readonly mode?: string | undefined;
}

/** Whose contents it has. */
export interface Contents {
  readonly cluster: string;
  readonly generation: number;
  readonly tag: string;
}

/**
 * A new volume that has its name when `fill` has put all into it, with a snapshot; nothing is left where that fails.
 * @returns what `fill` does: bytes written
 */
export async function stagedNew(
  session: Session,
  io: Io,
  { name, sizeBytes, copies, mode }: NewVolume,
  { cluster, generation, tag }: Contents,
  fill: (volume: FarVolume) => Promise<number>,
): Promise<number> {
  await refuseTaken(session, name);
  await clearStaged(session, io, name);
  const staged = stagedName(name);
  const body = {
    ...{ name: staged, sizeBytes },
    ...(copies === undefined ? {} : { copies }),
    ...(mode === undefined ? {} : { mode }),
  };
  await session.ask('/v1/volumes', { method: 'POST', body });
  try {
    await markStaged(session, name, tag);
    const hold = await holdOf(session.options, io.env, staged);
    const writtenBytes = await using(hold, () => fill(hold.volume));
    const local = await snapshotOf(session, staged, tag);
    await noteOrigin(session, staged, { cluster, generation, local });
    await nameStaged(session, name);
    return writtenBytes;
  } catch (error) {
    await deleteStaged(session, name).catch(() => undefined);
    throw error;
  }
}

/** All of the stream is in the volume. */
export async function filled(
  session: Session,
  io: Io,
  volume: FarVolume,
  stream: OpenStream,
  isFresh: boolean,
): Promise<number> {
  const { sizeBytes } = stream.head;
  const text = progressOn(io, 'restore', session.format !== 'human');
  const rate = rateMeter();
  try {
    return await restoreInto(volume, stream, { isFresh }, (offset, position) => {
      text.at(offset, sizeBytes, rate(position));
    });
  } finally {
    text.end();
  }
}

export function told(
  session: Session,
  {
    volume,
    target,
    sizeBytes,
    madeAt,
  }: Pick<BackupHead, 'volume' | 'target' | 'sizeBytes' | 'madeAt'>,
  name: string,
  writtenBytes: number,
): void {
  const from = snapshotName(volume, target.tag);
  const data = { name, from, madeAt, sizeBytes, writtenBytes };
  show(session, { schema: '', epoch: 0, data, warnings: [] }, 'vdi.restore', {
    human: () =>
      `Volume ${name} is what ${from} was (${madeAt}): ${formatBytes(sizeBytes)}, ${formatBytes(writtenBytes)} written; ` +
      `snapshot ${snapshotName(name, target.tag)} keeps it.\n`,
    raw: () => rawFacts(Object.entries(data)),
  });
}
