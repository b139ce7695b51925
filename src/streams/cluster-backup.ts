// The pipelines of a cluster's backup: a snapshot into pieces that are kept by their contents, of which only those are read
// that may differ from the last backup's; and back, each piece checked by its hash. Several pieces are on their way at once;
// memory is bounded by them and by one list, whatever the size.

import { pipe } from 'it-pipe';
import { OperatingError } from '../core/errors.ts';
import { REGION_BYTES, SECTOR_BYTES } from '../core/units.ts';
import { type FarSnapshot, type Wanted, wantedFrom } from './backup.ts';
import { freed } from './freed.ts';
import type { BackedVolume, ListPart } from './manifest.ts';
import {
  decodeList,
  encodeList,
  hashOf,
  LIST_PIECES,
  type ListEntry,
  PIECE_BYTES,
  type PieceHash,
} from './piece-codec.ts';
import { type Extent, inOrder, type Piece, totalOf } from './pieces.ts';
import { dataRuns } from './sector-runs.ts';
import { type FarVolume, MAX_PIECES_MOVING } from './volume-copy.ts';

/** Where pieces are kept. */
export interface PieceShelf {
  /** The bytes that had to be written: 0 where it is there. The content is not needed any more when it resolves. */
  put(name: PieceHash, content: Uint8Array): Promise<number>;
  has(name: PieceHash): Promise<boolean>;
  /** Bytes of whoever asked: they are freed by that one. @throws OperatingError 'missing', 'corrupt' */
  get(name: PieceHash): Promise<Uint8Array>;
}

/** What the last backup has of this volume, and the snapshot that it was made of. */
export interface Former {
  readonly snapshot: FarSnapshot;
  readonly parts: readonly ListPart[];
}

export interface Kept extends Pick<BackedVolume, 'parts' | 'pieces' | 'newBytes'> {
  readonly readBytes: number;
}

interface Looked {
  readonly index: number;
  /** Undefined: zeroes. */
  readonly hash: PieceHash | undefined;
  readonly readBytes: number;
  readonly newBytes: number;
}

/** Keeps all of a snapshot. Resolves when the shelf has taken every piece and list. */
export async function keepSnapshot(
  target: FarSnapshot,
  former: Former | undefined,
  shelf: PieceShelf,
  onProgress: (offset: number, readBytes: number) => void = () => undefined,
): Promise<Kept> {
  const source = former === undefined ? { target } : { target, base: former.snapshot };
  const parts: ListPart[] = [];
  const sum = { pieces: 0, newBytes: 0, readBytes: 0 };
  for await (const { first, indexes } of listsOf(target.sizeBytes, wantedFrom(source, 0))) {
    const found = new Map<number, PieceHash>();
    for (const one of await entriesOf(former?.parts, first, shelf)) found.set(one.index, one.hash);
    await pipe(
      await withMissing(indexes, found, target.sizeBytes, shelf),
      inOrder(MAX_PIECES_MOVING, (index: number) => keepPiece(target, index, shelf)),
      inOrder(1, async ({ index, hash, readBytes, newBytes }: Looked) => {
        if (hash === undefined) found.delete(index);
        else found.set(index, hash);
        sum.readBytes += readBytes;
        sum.newBytes += newBytes;
        onProgress(index * PIECE_BYTES, sum.readBytes);
        return readBytes;
      }),
      totalOf((count: number) => count),
    );
    const entries = listed(found, target.sizeBytes);
    sum.pieces += entries.length;
    if (entries.length === 0) continue;
    const list = encodeList(entries);
    const name = hashOf(list);
    sum.newBytes += await shelf.put(name, list);
    parts.push({ first, hash: name });
  }
  return { parts, ...sum };
}

/** Those, and pieces that are as they were and not on the shelf any more: somebody removed a damaged one. */
async function withMissing(
  indexes: readonly number[],
  found: ReadonlyMap<number, PieceHash>,
  sizeBytes: number,
  shelf: PieceShelf,
): Promise<readonly number[]> {
  const wanted = new Set(indexes);
  for (const [index, hash] of found) {
    const isInside = index * PIECE_BYTES < sizeBytes;
    if (isInside && !wanted.has(index) && !(await shelf.has(hash))) wanted.add(index);
  }
  return wanted.size === indexes.length ? indexes : [...wanted].sort((a, b) => a - b);
}

/** In order; a volume that was cut has no pieces behind its end. */
function listed(found: ReadonlyMap<number, PieceHash>, sizeBytes: number): readonly ListEntry[] {
  return [...found]
    .map(([index, hash]) => ({ index, hash }))
    .filter(({ index }) => index * PIECE_BYTES < sizeBytes)
    .sort((a, b) => a.index - b.index);
}

interface Wants {
  readonly first: number;
  /** Pieces that may differ, in order. */
  readonly indexes: readonly number[];
}

/** All lists of a volume, in order, also those of which nothing differs. */
async function* listsOf(sizeBytes: number, ranges: AsyncIterable<Wanted>): AsyncGenerator<Wants> {
  let first = 0;
  let indexes: number[] = [];
  for await (const { offset, length } of ranges) {
    const end = Math.ceil((offset + length) / PIECE_BYTES);
    for (let index = Math.floor(offset / PIECE_BYTES); index < end; index += 1) {
      for (; index >= first + LIST_PIECES; first += LIST_PIECES) {
        yield { first, indexes };
        indexes = [];
      }
      if (indexes.at(-1) !== index) indexes.push(index);
    }
  }
  for (; first * PIECE_BYTES < sizeBytes; first += LIST_PIECES) {
    yield { first, indexes };
    indexes = [];
  }
}

async function entriesOf(
  parts: readonly ListPart[] | undefined,
  first: number,
  shelf: PieceShelf,
): Promise<readonly ListEntry[]> {
  const part = parts?.find((one) => one.first === first);
  return part === undefined ? [] : decodeList(await shelf.get(part.hash), first);
}

async function keepPiece(target: FarSnapshot, index: number, shelf: PieceShelf): Promise<Looked> {
  const extent = extentOf(index, target.sizeBytes);
  const bytes = await target.read(extent);
  const readBytes = bytes.length;
  if (dataRuns(bytes, REGION_BYTES).length === 0) {
    freed(bytes);
    return { index, hash: undefined, readBytes, newBytes: 0 };
  }
  const hash = hashOf(bytes);
  const newBytes = await shelf.put(hash, bytes);
  freed(bytes);
  return { index, hash, readBytes, newBytes };
}

function extentOf(index: number, sizeBytes: number): Extent {
  const offset = index * PIECE_BYTES;
  return { offset, length: Math.min(PIECE_BYTES, sizeBytes - offset) };
}

/**
 * Writes all pieces of a volume to a fresh one, each checked by its hash; zeroes are left out.
 * @returns bytes written
 */
export async function bringBack(
  { parts, sizeBytes }: Pick<BackedVolume, 'parts' | 'sizeBytes'>,
  shelf: PieceShelf,
  volume: Pick<FarVolume, 'write'>,
  onProgress: (offset: number, writtenBytes: number) => void = () => undefined,
): Promise<number> {
  let written = 0;
  return pipe(
    entriesIn(parts, shelf),
    inOrder(MAX_PIECES_MOVING, async ({ index, hash }: ListEntry) => {
      const bytes = await shelf.get(hash);
      const { offset, length } = extentOf(index, sizeBytes);
      if (bytes.length !== length) {
        throw new OperatingError('corrupt', `piece ${hash} has another length than its place`);
      }
      for (const run of dataRuns(bytes, REGION_BYTES))
        await volume.write(pieceOf(run, offset, bytes));
      freed(bytes);
      return { offset, count: length };
    }),
    inOrder(1, async ({ offset, count }: { offset: number; count: number }) => {
      written += count;
      onProgress(offset + count, written);
      return count;
    }),
    totalOf((count: number) => count),
  );
}

function pieceOf(
  { sector, sectors }: { readonly sector: number; readonly sectors: number },
  offset: number,
  bytes: Uint8Array,
): Piece {
  const from = sector * SECTOR_BYTES;
  return { offset: offset + from, bytes: bytes.subarray(from, from + sectors * SECTOR_BYTES) };
}

/** All that a volume has, in order. */
export async function* entriesIn(
  parts: readonly ListPart[],
  shelf: PieceShelf,
): AsyncGenerator<ListEntry> {
  for (const { first } of parts) yield* await entriesOf(parts, first, shelf);
}
