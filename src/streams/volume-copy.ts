// The pipelines of `dog vdi read` and `dog vdi write`: a range of a volume to a sink, a stream into a volume. In pieces,
// several on their way at once: memory is bounded by their number, whatever the length.

import { pipe } from 'it-pipe';
import { OperatingError } from '../core/errors.ts';
import type { GenerationId } from '../core/ids.ts';
import { OBJECT_BYTES } from '../core/units.ts';
import { atMost, type Extent, extentsOf, inOrder, type Piece, recut, totalOf } from './pieces.ts';

/** Pieces on their way at once. */
export const MAX_PIECES_MOVING = 4;

/** A run of bytes that are all of one kind. */
export interface FarExtent {
  readonly length: number;
  /** False: zeroes. */
  readonly isAllocated: boolean;
  /** The layer whose bytes show there, 0 = nobody's; absent: not known. */
  readonly layer?: GenerationId | 0;
}

/** A volume that can be reached in pieces. */
export interface FarVolume {
  readonly sizeBytes: number;
  readonly pieceBytes: number;
  /** Most bytes that are zeroed at once. */
  readonly zeroBytes: number;
  read(extent: Extent): Promise<Uint8Array>;
  write(piece: Piece): Promise<void>;
  /** They read as zeroes afterwards. */
  zero(extent: Extent): Promise<void>;
  /** Where there may be data, from the start of the range on: at least one run, perhaps of its first part only. */
  extents(extent: Extent): Promise<readonly FarExtent[]>;
}

/** Gives the range to the sink, in order; resolves with the bytes when it has taken all. */
export async function readRange(
  volume: Pick<FarVolume, 'pieceBytes' | 'read'>,
  range: Extent,
  sink: (bytes: Uint8Array) => Promise<void>,
): Promise<number> {
  return pipe(
    extentsOf(range.offset, range.length, volume.pieceBytes),
    inOrder(MAX_PIECES_MOVING, (extent: Extent) => volume.read(extent)),
    inOrder(1, async (bytes: Uint8Array) => {
      await sink(bytes);
      return bytes.length;
    }),
    totalOf((count: number) => count),
  );
}

/**
 * Writes the stream from `offset` on; resolves with the bytes when all of them are written.
 * @throws OperatingError 'too-large' (`tooLong`) when the stream is longer than the range; the range is written by then
 */
export async function writeRange(
  volume: Pick<FarVolume, 'pieceBytes' | 'write'>,
  range: Extent & { readonly tooLong?: string },
  input: AsyncIterable<Uint8Array>,
): Promise<number> {
  const { offset, length, tooLong } = range;
  let hasMore = false;
  const written = await pipe(
    input,
    atMost(length, () => {
      hasMore = true;
    }),
    recut(offset, volume.pieceBytes),
    inOrder(MAX_PIECES_MOVING, async (piece: Piece) => {
      await volume.write(piece);
      return piece.bytes.length;
    }),
    totalOf((count: number) => count),
  );
  if (hasMore && tooLong !== undefined) throw new OperatingError('too-large', tooLong);
  return written;
}

/** Has something done with all of a volume, an object at a time, several at once; resolves with the bytes. */
export async function eachObject(
  sizeBytes: number,
  work: (extent: Extent) => Promise<void>,
): Promise<number> {
  return pipe(
    extentsOf(0, sizeBytes, OBJECT_BYTES),
    inOrder(MAX_PIECES_MOVING, async (extent: Extent) => {
      await work(extent);
      return extent.length;
    }),
    totalOf((count: number) => count),
  );
}
