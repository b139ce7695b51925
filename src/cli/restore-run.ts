// What restores have in common: a stream is put into a volume that is held meanwhile, and what came of it is told.

import { snapshotName } from '../core/snapshot-name.ts';
import type { BackupHead } from '../streams/backup-head.ts';
import { type OpenStream, restoreInto } from '../streams/restore.ts';
import type { Io, Session } from './context.ts';
import { holdOf, using } from './hold.ts';
import { formatBytes, rawFacts, show } from './output.ts';
import { progressOn, rateMeter } from './progress.ts';

/** All of the stream is in the volume, and flushed. */
export async function filled(
  session: Session,
  io: Io,
  name: string,
  stream: OpenStream,
  isFresh: boolean,
): Promise<number> {
  const { sizeBytes } = stream.head;
  const text = progressOn(io, 'restore', session.format !== 'human');
  const rate = rateMeter();
  const hold = await holdOf(session.options, io.env, name);
  try {
    return await using(hold, () =>
      restoreInto(hold.volume, stream, { isFresh }, (offset, position) => {
        text.at(offset, sizeBytes, rate(position));
      }),
    );
  } finally {
    text.end();
  }
}

export function told(
  session: Session,
  { volume, target, sizeBytes, madeAt }: BackupHead,
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
