// The pipeline of a restore: records of a stream, looked at one by one, as writes to a volume, several on their way at once.
// It says that all is there only when the end record came and was right.

import { pipe } from 'it-pipe';
import { hasCode } from '../core/errors.ts';
import { SECTOR_BYTES } from '../core/units.ts';
import { cutShort, runBytes } from './backup-format.ts';
import type { BackupHead } from './backup-head.ts';
import {
  contentOf,
  type Piecework,
  recordBytes,
  recordsOf,
  StreamCheck,
  type StreamRecord,
  type StreamState,
} from './backup-records.ts';
import { freed } from './freed.ts';
import { extentsOf, inOrder, type Piece, totalOf } from './pieces.ts';
import { type FarVolume, MAX_PIECES_MOVING } from './volume-copy.ts';

export type FarTarget = Pick<FarVolume, 'zeroBytes' | 'write' | 'zero'>;

/** A stream whose head was read. */
export interface OpenStream {
  readonly head: BackupHead;
  /** What comes behind the head, each record as it follows from those before it; the end is among them, or it throws. */
  readonly records: AsyncGenerator<StreamRecord>;
}

/** What is done to a volume: bytes that it gets, or zeroes. */
type Work =
  | { readonly kind: 'write'; readonly piece: Piece }
  | { readonly kind: 'zero'; readonly offset: number; readonly length: number };

/** The last work of a record has its content, which nobody needs when all up to it is done. */
type Turn = Work & { readonly used?: Uint8Array };

interface Done {
  readonly writtenBytes: number;
  readonly used: Uint8Array | undefined;
}

/** @throws OperatingError 'corrupt' with the position, 'newer-format' */
export async function openStream(source: AsyncIterable<Uint8Array>): Promise<OpenStream> {
  const check = new StreamCheck();
  const records = checked(source, check);
  await records.next();
  const { head } = check;
  if (head === undefined) throw cutShort(0);
  return { head, records };
}

/** Records that follow from each other. */
async function* checked(
  source: AsyncIterable<Uint8Array>,
  check: StreamCheck,
): AsyncGenerator<StreamRecord> {
  let end = 0;
  for await (const record of recordsOf(source)) {
    check.take(record);
    end = record.position + recordBytes(record);
    yield record;
  }
  if (!check.isEnded) throw cutShort(end);
}

/**
 * Does to the volume what the records say.
 * @param isFresh it reads as zeroes everywhere: zeroes need not be written
 * @returns bytes written
 * @throws OperatingError of the stream or of the volume; what came before is written by then
 */
export async function restoreInto(
  volume: FarTarget,
  { records }: OpenStream,
  options: { readonly isFresh: boolean },
  onProgress: (offset: number, position: number) => void = () => undefined,
): Promise<number> {
  return pipe(
    records,
    worksOf(volume, options.isFresh, onProgress),
    inOrder(MAX_PIECES_MOVING, async (work: Turn): Promise<Done> => {
      const { used } = work;
      if (work.kind === 'zero') {
        await volume.zero(work);
        return { writtenBytes: 0, used };
      }
      await volume.write(work.piece);
      return { writtenBytes: work.piece.bytes.length, used };
    }),
    totalOf(({ writtenBytes, used }: Done) => {
      freed(used);
      return writtenBytes;
    }),
  );
}

function worksOf(
  { zeroBytes }: Pick<FarVolume, 'zeroBytes'>,
  isFresh: boolean,
  onProgress: (offset: number, position: number) => void,
): (source: AsyncIterable<StreamRecord>) => AsyncGenerator<Turn> {
  return async function* works(source) {
    for await (const record of source) {
      const { kind, offset, length } = record.header;
      if (kind === 'data') yield* turnsOf(contentOf(record), isFresh);
      if (kind === 'zero' && !isFresh) {
        for (const one of extentsOf(offset, length, zeroBytes)) yield { kind: 'zero', ...one };
      }
      if (kind !== 'end') onProgress(offset + length, record.position);
    }
  };
}

function turnsOf(piecework: Piecework, isFresh: boolean): readonly Turn[] {
  const works: Turn[] = [...worksIn(piecework, isFresh)];
  const last = works.pop();
  if (last === undefined) freed(piecework.content);
  else works.push({ ...last, used: piecework.content });
  return works;
}

function* worksIn({ offset, length, runs, content }: Piecework, isFresh: boolean): Generator<Work> {
  let at = 0;
  for (const run of runs) {
    const place = offset + run.sector * SECTOR_BYTES;
    const count = runBytes(run, length);
    if (run.isZero) {
      if (!isFresh) yield { kind: 'zero', offset: place, length: count };
      continue;
    }
    yield { kind: 'write', piece: { offset: place, bytes: content.subarray(at, at + count) } };
    at += count;
  }
}

/** What stands in a file that was cut, or is whole. */
export interface Found {
  readonly head: BackupHead | undefined;
  readonly state: StreamState | undefined;
  /** Bytes up to the end of the last whole record. */
  readonly wholeBytes: number;
  readonly isComplete: boolean;
}

/** Looks at a stream up to its end, or up to the first record that is not whole: there it can go on. */
export async function lookThrough(source: AsyncIterable<Uint8Array>): Promise<Found> {
  const check = new StreamCheck();
  let wholeBytes = 0;
  try {
    for await (const record of recordsOf(source)) {
      check.take(record);
      wholeBytes = record.position + recordBytes(record);
      freed(record.body);
    }
  } catch (error) {
    if (!hasCode(error, 'corrupt')) throw error;
  }
  const { head, state, isEnded: isComplete } = check;
  return { head, state, wholeBytes, isComplete };
}
