// The pipeline of a backup: where a snapshot may have data, or may differ from another one, in pieces, several on their way
// at once, as records to a sink. Memory is bounded by the pieces on their way, whatever the size; holes are not read.

import { pipe } from 'it-pipe';
import { changedRuns as changedExtents } from '../core/changed-regions.ts';
import { REGION_BYTES } from '../core/units.ts';
import type { BackupHead } from './backup-head.ts';
import type { RecordWriter } from './backup-records.ts';
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
interface Wanted extends Extent {
  readonly isZero: boolean;
}

interface Read extends Wanted {
  readonly bytes: Uint8Array;
  readonly before: Uint8Array | undefined;
}

const NO_BYTES = new Uint8Array(0);

/**
 * Gives the sink all records that are missing, the end among them, in order; it is not called again before it is done.
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
      await give(recordsFor(writer, piece));
      const readBytes = progress.readBytes + piece.bytes.length;
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

/** Ranges from this byte on, in order: of a full backup those with data, else those that may differ. */
async function* wantedFrom({ target, base }: BackupSource, from: number): AsyncGenerator<Wanted> {
  const end = target.sizeBytes;
  for (let at = from; at < end; ) {
    const length = Math.min(ASKED_BYTES, end - at);
    const runs = await runsOf(target, { offset: at, length });
    if (base === undefined) {
      for (const run of runs) {
        if (run.isAllocated) yield { offset: at, length: run.length, isZero: false };
        at += run.length;
      }
      continue;
    }
    const known = runs.reduce((sum, run) => sum + run.length, 0);
    const former = await paddedRuns(base, { offset: at, length: known });
    for (const run of changedExtents(former, runs)) {
      if (run.isChanged) yield { offset: at, length: run.length, isZero: !run.isAllocated };
      at += run.length;
    }
  }
}

async function runsOf(volume: FarSnapshot, extent: Extent): Promise<readonly FarExtent[]> {
  const runs: FarExtent[] = [];
  let left = extent.length;
  for (const run of await volume.extents(extent)) {
    const length = Math.min(run.length, left);
    if (length > 0) runs.push({ ...run, length });
    left -= length;
  }
  return runs;
}

/** As far as the former volume goes; behind its end all is zeroes. */
async function paddedRuns(
  base: FarSnapshot,
  { offset, length }: Extent,
): Promise<readonly FarExtent[]> {
  const within = Math.max(0, Math.min(length, base.sizeBytes - offset));
  const runs = within === 0 ? [] : await runsOf(base, { offset, length: within });
  return within === length
    ? runs
    : [...runs, { length: length - within, isAllocated: false, layer: 0 }];
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

/** None where nothing is to be said. */
function recordsFor(writer: RecordWriter, piece: Read): readonly Uint8Array[] {
  const { offset, length, bytes, before, isZero } = piece;
  if (isZero) return writer.zero(offset, length);
  const runs = before === undefined ? dataRuns(bytes, REGION_BYTES) : changedRuns(bytes, before);
  if (runs.length === 0) return [];
  return writer.data(offset, length, runs, gathered(bytes, runs));
}
