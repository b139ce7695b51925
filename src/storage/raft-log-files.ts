// Whole log files: a new one with given contents takes the place of what is there in one rename, so that a crash leaves
// the old one or the new one. Used to make the first log, to compact, to install a snapshot, and after damage.

import { OperatingError } from '../core/errors.ts';
import { invariant } from '../core/invariant.ts';
import { alignUp } from '../core/units.ts';
import type { Disk, DiskFile } from '../ports/ports.ts';
import {
  type BatchPlace,
  encodeBatch,
  encodeFileHeader,
  encodeRecord,
  type LogRecord,
  MAP_LOG_ALIGN,
  MAP_LOG_PATH,
  MAP_LOG_STEP_BYTES,
  MAX_LOG_BATCH_BYTES,
} from './raft-log-format.ts';
import type { LogContents, ReplayedLog } from './raft-log-replay.ts';

const NEW_PATH = `${MAP_LOG_PATH}.new`;

/** A log file that was just written, open, and what a replay of it would say. */
export interface WrittenLog {
  readonly file: DiskFile;
  readonly replayed: ReplayedLog;
}

/** Writes, syncs and renames; durable when it resolves. */
export async function writeLogFile(disk: Disk, contents: LogContents): Promise<WrittenLog> {
  const file = disk.open(NEW_PATH, { create: true });
  invariant(file !== undefined, 'create gives a file');
  try {
    file.truncateSync(0);
    file.writeSync(encodeFileHeader(), 0);
    const replayed = writeBatches(file, contents);
    await untilSynced((done) => file.sync(done));
    disk.rename(NEW_PATH, MAP_LOG_PATH);
    await untilSynced((done) => disk.syncFolder('', done));
    return { file, replayed };
  } catch (error) {
    file.close();
    throw error;
  }
}

function writeBatches(file: DiskFile, contents: LogContents): ReplayedLog {
  let place: BatchPlace = { position: MAP_LOG_ALIGN, sequence: 0, syncedEnd: MAP_LOG_ALIGN };
  for (const batch of batchesOf(recordsOf(contents).map(encodeRecord))) {
    if (batch.length === 0) continue;
    place = { ...place, sequence: place.sequence + 1 };
    const bytes = encodeBatch(place, batch);
    file.writeSync(bytes, place.position);
    place = { ...place, position: place.position + bytes.length };
  }
  const { position: end, sequence } = place;
  const allocatedBytes = alignUp(end, MAP_LOG_STEP_BYTES);
  file.writeSync(new Uint8Array(allocatedBytes - end), end);
  // Nothing of it can be torn: it has its name only after its sync. The attest record makes it show.
  return { contents, end, sequence, namedEnd: MAP_LOG_ALIGN, contentEnd: end, allocatedBytes };
}

function recordsOf(contents: LogContents): readonly LogRecord[] {
  const { hardState, base, entries, commit, isMuted } = contents;
  const records: LogRecord[] = [];
  if (hardState.term > 0) records.push({ kind: 'hardState', hardState });
  if (isMuted) records.push({ kind: 'muted', isMuted });
  if (base.index > 0) records.push({ kind: 'base', base, isReset: true });
  for (const entry of entries) records.push({ kind: 'entry', entry });
  if (commit > base.index) records.push({ kind: 'commit', index: commit });
  return records;
}

/** Groups of encoded records that fit a batch each. */
export function batchesOf(records: readonly Uint8Array[]): readonly (readonly Uint8Array[])[] {
  const batches: Uint8Array[][] = [[]];
  let bytes = 0;
  for (const record of records) {
    if (bytes + record.length > MAX_LOG_BATCH_BYTES) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1)?.push(record);
    bytes += record.length;
  }
  return batches;
}

/** A sync as a promise. Rejects with an OperatingError. */
export function untilSynced(
  start: (done: (error: Error | undefined) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error === undefined ? resolve() : reject(asOperating(error))));
  });
}

function asOperating(error: Error): OperatingError {
  if (error instanceof OperatingError) return error;
  return new OperatingError('io', error.message, { cause: error });
}
