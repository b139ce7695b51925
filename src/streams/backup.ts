// The pipeline of a backup: where a snapshot may have data, or may differ from another one, in pieces, several on their way
// at once, as records to a sink. Memory is bounded by the pieces on their way, whatever the size; holes are not read.

import { pipe } from 'it-pipe';
import { changedRuns as changedExtents, holeOf } from '../core/changed-regions.ts';
import { OperatingError } from '../core/errors.ts';
import { alignDown, alignUp, REGION_BYTES, SECTOR_BYTES } from '../core/units.ts';
import type { BackupHead } from './backup-head.ts';
import type { RecordWriter } from './backup-records.ts';
import { freed } from './freed.ts';
import { type Extent, extentsOf, inOrder, totalOf } from './pieces.ts';
import { changedRuns, dataRuns, gathered } from './sector-runs.ts';
import { type FarExtent, type FarVolume, MAX_PIECES_MOVING } from './volume-copy.ts';

/** Runs that are asked for at once. */
const ASKED_BYTES = 2 ** 30;

export type FarSnapshot = Pick<FarVolume, 'sizeBytes' | 'pieceBytes' | 'read' | 'extents'>;

/** What is read, and from what it differs. */
export interface BackupSource {
  readonly target: FarSnapshot;
  /** Absent: from nothing, so zeroes need not be said. */
  readonly base?: FarSnapshot;
}

/** How far it is, for people. */
export interface Progress {
  /** Up to this byte of the volume. */
  readonly offset: number;
  /** Bytes that were read. */
  readonly readBytes: number;
  /** Bytes that were given. */
  readonly writtenBytes: number;
}

/** A range of the volume that a backup must say something about. */
export interface Wanted extends Extent {
  readonly isZero: boolean;
}

interface Read extends Wanted {
  readonly bytes: Uint8Array;
  readonly before: Uint8Array | undefined;
}

const NO_BYTES = new Uint8Array(0);

/**
 * Gives the sink all records that are missing, the end among them, in order; it is not called again before it is done, and
 * must not keep the bytes after that: their memory goes to the next ones. So does that of what `source` reads.
 * @param writer a fresh one, or one that goes on behind the last whole record
 */
export async function writeBackup(
  source: BackupSource,
  head: BackupHead,
  writer: RecordWriter,
  sink: (bytes: Uint8Array) => Promise<void>,
  onProgress: (progress: Progress) => void = () => undefined,
): Promise<Progress> {
  let progress: Progress = { offset: writer.state.offset, readBytes: 0, writtenBytes: 0 };
  const give = async (parts: readonly Uint8Array[]): Promise<void> => {
    for (const part of parts) {
      await sink(part);
      progress = { ...progress, writtenBytes: progress.writtenBytes + part.length };
    }
  };
  if (writer.state.records === 0) await give(writer.head(head));
  await pipe(
    wantedFrom(source, writer.state.offset),
    inPieces(source.target.pieceBytes),
    inOrder(MAX_PIECES_MOVING, (piece: Wanted) => readPiece(source, piece)),
    inOrder(1, async (piece: Read) => {
      const readBytes = progress.readBytes + piece.bytes.length;
      await giveRecords(writer, piece, give);
      progress = { ...progress, readBytes, offset: piece.offset + piece.length };
      onProgress(progress);
      return piece.length;
    }),
    totalOf((count: number) => count),
  );
  await give(writer.end());
  return { ...progress, offset: source.target.sizeBytes };
}

/** Pieces of data end at multiples of a piece; zeroes are said in one. */
function inPieces(pieceBytes: number): (source: AsyncIterable<Wanted>) => AsyncGenerator<Wanted> {
  return async function* pieces(source) {
    for await (const wanted of source) {
      if (wanted.isZero) yield wanted;
      else
        for (const one of extentsOf(wanted.offset, wanted.length, pieceBytes))
          yield { ...one, isZero: false };
    }
  };
}

/**
 * Ranges from this byte on, in order: of a full backup those with data, else those that may differ. A volume may end inside
 * a sector, and a longer one go on there: what is meant of a part of a sector is read as a whole.
 */
export async function* wantedFrom(source: BackupSource, from: number): AsyncGenerator<Wanted> {
  const { sizeBytes } = source.target;
  let past = from;
  for await (const { offset, length, isZero } of meantFrom(source, from)) {
    const start = Math.max(past, alignDown(offset, SECTOR_BYTES));
    const end = Math.min(sizeBytes, alignUp(offset + length, SECTOR_BYTES));
    if (end <= start) continue;
    const isWhole = start === offset && end === offset + length;
    yield { offset: start, length: end - start, isZero: isZero && isWhole };
    past = end;
  }
}

async function* meantFrom({ target, base }: BackupSource, from: number): AsyncGenerator<Wanted> {
  for (let at = from; at < target.sizeBytes; ) {
    const runs = await runsFrom(target, at);
    if (base === undefined) {
      for (const run of runs) {
        if (run.isAllocated) yield { offset: at, length: run.length, isZero: false };
        at += run.length;
      }
      continue;
    }
    const former = at < base.sizeBytes ? await runsFrom(base, at) : [holeOf(totalLength(runs))];
    for (const run of changedExtents(former, runs)) {
      if (run.isChanged) yield { offset: at, length: run.length, isZero: !run.isAllocated };
      at += run.length;
    }
  }
}

/** What a volume says of itself from this byte on, as far as one answer goes. */
export async function runsFrom(volume: FarSnapshot, offset: number): Promise<readonly FarExtent[]> {
  const length = Math.min(ASKED_BYTES, volume.sizeBytes - offset);
  const runs: FarExtent[] = [];
  let left = length;
  for (const run of await volume.extents({ offset, length })) {
    if (left > 0) runs.push({ ...run, length: Math.min(run.length, left) });
    left -= run.length;
  }
  if (runs.length > 0) return runs;
  throw new OperatingError('io', 'the node did not say where there is data');
}

function totalLength(runs: readonly FarExtent[]): number {
  return runs.reduce((sum, { length }) => sum + length, 0);
}

async function readPiece({ target, base }: BackupSource, piece: Wanted): Promise<Read> {
  if (piece.isZero) return { ...piece, bytes: NO_BYTES, before: undefined };
  if (base === undefined) return { ...piece, bytes: await target.read(piece), before: undefined };
  const [bytes, before] = await Promise.all([target.read(piece), readPadded(base, piece)]);
  return { ...piece, bytes, before };
}

async function readPadded(base: FarSnapshot, { offset, length }: Extent): Promise<Uint8Array> {
  const within = Math.min(length, base.sizeBytes - offset);
  if (within === length) return base.read({ offset, length });
  const bytes = new Uint8Array(length);
  if (within > 0) bytes.set(await base.read({ offset, length: within }));
  return bytes;
}

/** What a piece has to say, none where nothing is; all of it is freed when it was given. */
async function giveRecords(
  writer: RecordWriter,
  piece: Read,
  give: (parts: readonly Uint8Array[]) => Promise<void>,
): Promise<void> {
  const { offset, length, bytes, before, isZero } = piece;
  if (isZero) return give(writer.zero(offset, length));
  const runs = before === undefined ? dataRuns(bytes, REGION_BYTES) : changedRuns(bytes, before);
  if (runs.length > 0) {
    const content = gathered(bytes, runs);
    const parts = writer.data(offset, length, runs, content);
    await give(parts);
    freed(content, ...parts);
  }
  freed(bytes, before);
}
