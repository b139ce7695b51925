// The bytes of a backup stream: records of 64 bytes of header and a body, in the order of the volume. docs/FORMATS.md has
// them one by one. What is read comes from anywhere: every number is checked before it is used, every byte has a sum, and
// what does not fit is refused with the place where it stands. It knows nothing of volumes, files or compression.

import { crc32 } from '../core/checksum.ts';
import { OperatingError } from '../core/errors.ts';
import { MIB, SECTOR_BYTES } from '../core/units.ts';
import { MAX_VOLUME_BYTES } from '../core/volume.ts';
import { getU16, getU32, getU48, putU16, putU32, putU48 } from '../wire/bytes.ts';

export const BACKUP_VERSION = 1;
export const HEADER_BYTES = 64;
/** "SBKR" */
const MAGIC = 0x524b4253;
const SUM_AT = 60;
/** Content of one record, and the range that it is about: a piece. */
export const MAX_CONTENT_BYTES = MIB;
/** Runs of one record: every other sector of a piece. */
export const MAX_RUNS = MAX_CONTENT_BYTES / SECTOR_BYTES;
const RUN_BYTES = 4;
/** Of the text in the first record. */
export const MAX_HEAD_BYTES = 64 * 1024;
const END_BYTES = 24;
const ZERO_RUN = 0x8000;

export type RecordKind = 'head' | 'data' | 'zero' | 'end';
const KINDS: readonly RecordKind[] = ['head', 'data', 'zero', 'end'];
export type Coding = 'plain' | 'zstd';
const CODINGS: readonly Coding[] = ['plain', 'zstd'];

export interface RecordHeader {
  readonly kind: RecordKind;
  readonly coding: Coding;
  /** The same in all records of a stream. */
  readonly stream: number;
  /** From 0 on, without gaps. */
  readonly number: number;
  /** Range of the volume; 0 and 0 in head and end. */
  readonly offset: number;
  readonly length: number;
  /** Runs in the table that the body begins with. */
  readonly runs: number;
  /** Of the body as it stands in the stream, table included. */
  readonly bodyBytes: number;
  /** Of what the body says, decoded. */
  readonly contentBytes: number;
  readonly bodySum: number;
  readonly contentSum: number;
}

/** Sectors of a record's range that are all given, or all zeroes. What no run names stays as it was. */
export interface Run {
  /** Number of the first sector, from the start of the range. */
  readonly sector: number;
  readonly sectors: number;
  readonly isZero: boolean;
}

/** What all of a stream is about, in its last record. */
export interface StreamEnd {
  /** Records before it. */
  readonly records: number;
  readonly contentBytes: number;
  /** Bytes that are said to be zeroes. */
  readonly zeroBytes: number;
  /** Of the sums of all headers before it. */
  readonly chain: number;
}

/** The bytes at this place are not what was written there. */
export function damaged(position: number, why: string, end?: number): OperatingError {
  const where = end === undefined ? `at byte ${position}` : `between bytes ${position} and ${end}`;
  return new OperatingError('corrupt', `the stream is damaged ${where}: ${why}`, {
    remedy: 'fetch that backup again from where it is kept, or make it anew',
  });
}

/** The stream ends before its end record. */
export function cutShort(position: number): OperatingError {
  return new OperatingError('corrupt', `the stream is cut: it ends at byte ${position}`, {
    remedy: 'complete it where it was made: dog vdi backup ... --resume FILE',
  });
}

/** The header with its sum. */
export function encodeHeader(header: RecordHeader): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES);
  putU32(bytes, 0, MAGIC);
  putU16(bytes, 4, BACKUP_VERSION);
  bytes[6] = KINDS.indexOf(header.kind) + 1;
  bytes[7] = CODINGS.indexOf(header.coding);
  putU32(bytes, 8, header.stream);
  putU32(bytes, 12, header.number);
  putU48(bytes, 16, header.offset);
  putU48(bytes, 22, header.length);
  putU32(bytes, 28, header.bodyBytes);
  putU32(bytes, 32, header.contentBytes);
  putU32(bytes, 36, header.bodySum);
  putU32(bytes, 40, header.contentSum);
  putU16(bytes, 44, header.runs);
  putU32(bytes, SUM_AT, crc32(bytes, 0, SUM_AT));
  return bytes;
}

/** @throws OperatingError 'corrupt' with its position; 'newer-format' */
export function decodeHeader(bytes: Uint8Array, position: number): RecordHeader {
  if (getU32(bytes, 0) !== MAGIC) {
    throw damaged(position, position === 0 ? 'this is no backup stream' : 'no record begins there');
  }
  if (getU32(bytes, SUM_AT) !== crc32(bytes, 0, SUM_AT)) {
    throw damaged(position, 'the header fails its sum', position + HEADER_BYTES);
  }
  const version = getU16(bytes, 4);
  if (version !== BACKUP_VERSION) {
    throw new OperatingError('newer-format', `the stream has format ${version}`, {
      remedy: `this dog reads format ${BACKUP_VERSION}: use a newer one`,
    });
  }
  const kind = KINDS[(bytes[6] as number) - 1];
  const coding = CODINGS[bytes[7] as number];
  if (kind === undefined || coding === undefined) throw damaged(position, 'no such record');
  const header: RecordHeader = {
    ...{ kind, coding, stream: getU32(bytes, 8), number: getU32(bytes, 12) },
    ...{ offset: getU48(bytes, 16), length: getU48(bytes, 22), runs: getU16(bytes, 44) },
    ...{ bodyBytes: getU32(bytes, 28), contentBytes: getU32(bytes, 32) },
    ...{ bodySum: getU32(bytes, 36), contentSum: getU32(bytes, 40) },
  };
  const problem = headerProblem(header);
  if (problem !== undefined) throw damaged(position, problem);
  return header;
}

/** Of what a right sum may still say wrongly; undefined when all fits. */
function headerProblem(header: RecordHeader): string | undefined {
  const { kind, length, offset, runs, bodyBytes, contentBytes } = header;
  if (offset % SECTOR_BYTES !== 0) return 'a range begins inside a sector';
  if (offset + length > MAX_VOLUME_BYTES) return 'a range ends beyond any volume';
  const tableBytes = runs * RUN_BYTES;
  switch (kind) {
    case 'data':
      if (length < 1 || length > MAX_CONTENT_BYTES) return 'a record has too long a range';
      if (runs < 1 || runs > MAX_RUNS) return 'a record has too many runs';
      if (contentBytes > length) return 'a record has more content than range';
      break;
    case 'zero':
      if (length < 1 || runs > 0 || bodyBytes + contentBytes > 0) return 'zeroes have no body';
      break;
    case 'head':
    case 'end':
      if (runs > 0 || contentBytes > MAX_HEAD_BYTES) return 'a record has too much content';
  }
  return bodyBytes > tableBytes + contentBytes ? 'a record has too long a body' : undefined;
}

/** The table that the body of a data record begins with. */
export function encodeRuns(runs: readonly Run[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(runs.length * RUN_BYTES);
  for (const [at, { sector, sectors, isZero }] of runs.entries()) {
    putU16(bytes, at * RUN_BYTES, sector);
    putU16(bytes, at * RUN_BYTES + 2, sectors | (isZero ? ZERO_RUN : 0));
  }
  return bytes;
}

/**
 * The table of this body: runs in order, none over another, inside the range; with as much content as the header says.
 * @throws OperatingError 'corrupt' with its position
 */
export function decodeRuns(header: RecordHeader, body: Uint8Array, position: number): Run[] {
  const { runs: count, length, contentBytes } = header;
  const runs: Run[] = [];
  let past = 0;
  let content = 0;
  for (let at = 0; at < count * RUN_BYTES; at += RUN_BYTES) {
    const sector = getU16(body, at);
    const note = getU16(body, at + 2);
    const run = { sector, sectors: note & ~ZERO_RUN, isZero: (note & ZERO_RUN) !== 0 };
    const bytes = runBytes(run, length);
    if (sector < past || run.sectors < 1 || bytes <= 0) throw damaged(position, 'runs overlap');
    past = sector + run.sectors;
    if ((past - 1) * SECTOR_BYTES >= length) throw damaged(position, 'a run leaves its range');
    if (!run.isZero) content += bytes;
    runs.push(run);
  }
  if (content !== contentBytes) throw damaged(position, 'runs and content differ in length');
  return runs;
}

/** Bytes of a run in a range of this length: the last sector of a volume may be a part of one. */
export function runBytes({ sector, sectors }: Run, length: number): number {
  return Math.min(length, (sector + sectors) * SECTOR_BYTES) - sector * SECTOR_BYTES;
}

/** Where the content begins in a body. */
export function tableBytes({ runs }: Pick<RecordHeader, 'runs'>): number {
  return runs * RUN_BYTES;
}

export function encodeEnd({ records, contentBytes, zeroBytes, chain }: StreamEnd): Uint8Array {
  const bytes = new Uint8Array(END_BYTES);
  putU48(bytes, 0, records);
  putU48(bytes, 6, contentBytes);
  putU48(bytes, 12, zeroBytes);
  putU32(bytes, 18, chain);
  return bytes;
}

/** @throws OperatingError 'corrupt' with its position */
export function decodeEnd(bytes: Uint8Array, position: number): StreamEnd {
  if (bytes.length !== END_BYTES) throw damaged(position, 'the end record has another length');
  return {
    records: getU48(bytes, 0),
    contentBytes: getU48(bytes, 6),
    zeroBytes: getU48(bytes, 12),
    chain: getU32(bytes, 18),
  };
}

/** Adds a header's sum to the chain over all of them: none can be taken out, put in, or moved. */
export function chained(chain: number, header: Uint8Array): number {
  const pair = new Uint8Array(8);
  putU32(pair, 0, chain);
  pair.set(header.subarray(SUM_AT, HEADER_BYTES), 4);
  return crc32(pair);
}
