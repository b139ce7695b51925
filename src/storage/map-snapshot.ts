// The newest snapshot of the map, file `map.snapshot` in the data directory. A new one is made as `map.snapshot.new`,
// synced and renamed: a crash leaves the old one or the new one, and the log reaches back to both until it is cut.
//
// header, 64 bytes, little-endian
//     0 u32 magic "SSNP"        4 u32 format version       8 u48 index                 14 u48 bytes of contents
//    20 sha256 of the contents (32 bytes)                 52 u32 CRC-32 of 0-51        56 zeroes
// contents: wire/snapshot-codec.ts

import { createHash } from 'node:crypto';
import { crc32 } from '../core/checksum.ts';
import { OperatingError } from '../core/errors.ts';
import { invariant } from '../core/invariant.ts';
import { REPLACE_OR_RESTORE } from '../core/remedies.ts';
import type { Disk, DiskFile } from '../ports/ports.ts';
import { getU32, getU48, putU32, putU48 } from '../wire/bytes.ts';
import { decodeSnapshot, MAX_SNAPSHOT_BYTES, type MapSnapshot } from '../wire/snapshot-codec.ts';
import { untilSynced } from './raft-log-files.ts';

export const MAP_SNAPSHOT_PATH = 'map.snapshot';
/** A reader refuses a higher one. */
export const MAP_SNAPSHOT_VERSION = 1;

const NEW_PATH = `${MAP_SNAPSHOT_PATH}.new`;
const MAGIC = 0x504e5353;
const HEADER_BYTES = 64;
const DIGEST_BYTES = 32;

/** What a snapshot is, without its bytes. */
export interface SnapshotHead {
  readonly index: number;
  readonly bytes: number;
  /** sha256 of the contents, 64 hex digits. */
  readonly digest: string;
}

/** sha256 as 64 hex digits. */
export function digestOf(contents: Uint8Array): string {
  return createHash('sha256').update(contents).digest('hex');
}

/** The snapshot file of one node. One write at a time. */
export class MapSnapshots {
  readonly #disk: Disk;
  #file: DiskFile | undefined;
  #head: SnapshotHead | undefined;
  #found: MapSnapshot | undefined;
  #isWriting = false;

  constructor(disk: Disk, file?: DiskFile, head?: SnapshotHead, found?: MapSnapshot) {
    this.#disk = disk;
    this.#file = file;
    this.#head = head;
    this.#found = found;
  }

  /** The newest durable one. */
  get head(): SnapshotHead | undefined {
    return this.#head;
  }

  /** What was found at the start, until it is taken. */
  get found(): MapSnapshot | undefined {
    return this.#found;
  }

  /** The same, given out once: a state is large. */
  takeFound(): MapSnapshot | undefined {
    const found = this.#found;
    this.#found = undefined;
    return found;
  }

  get isWriting(): boolean {
    return this.#isWriting;
  }

  /** A part of the contents of `head`; fewer bytes only at their end. */
  read(offset: number, length: number): Uint8Array {
    invariant(this.#file !== undefined && this.#head !== undefined, 'a snapshot is there');
    const count = Math.max(0, Math.min(length, this.#head.bytes - offset));
    const bytes = new Uint8Array(count);
    const got = this.#file.readSync(bytes, 0, count, HEADER_BYTES + offset);
    return bytes.subarray(0, got);
  }

  /**
   * Makes these contents the newest snapshot; durable when it resolves.
   * @throws OperatingError from the disk: the one before is still there
   */
  async write(index: number, contents: Uint8Array): Promise<void> {
    invariant(!this.#isWriting, 'one snapshot is written at a time');
    this.#isWriting = true;
    try {
      const file = this.#disk.open(NEW_PATH, { create: true });
      invariant(file !== undefined, 'create gives a file');
      const head = { index, bytes: contents.length, digest: digestOf(contents) };
      file.truncateSync(0);
      file.writeSync(encodeHeader(head), 0);
      file.writeSync(contents, HEADER_BYTES);
      await untilSynced((done) => file.sync(done));
      this.#disk.rename(NEW_PATH, MAP_SNAPSHOT_PATH);
      await untilSynced((done) => this.#disk.syncFolder('', done));
      this.#file?.close();
      this.#file = file;
      this.#head = head;
    } finally {
      this.#isWriting = false;
    }
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
    this.#head = undefined;
  }
}

function encodeHeader({ index, bytes, digest }: SnapshotHead): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  putU32(header, 0, MAGIC);
  putU32(header, 4, MAP_SNAPSHOT_VERSION);
  putU48(header, 8, index);
  putU48(header, 14, bytes);
  header.set(Buffer.from(digest, 'hex'), 20);
  putU32(header, 52, crc32(header, 0, 52));
  return header;
}

/**
 * What the disk has; without a file an empty one.
 * @throws OperatingError 'corrupt' or 'newer-format', naming file and cure
 */
export function openMapSnapshots(disk: Disk): MapSnapshots {
  const file = disk.open(MAP_SNAPSHOT_PATH, { create: false });
  if (file === undefined) return new MapSnapshots(disk);
  try {
    const head = readHeader(file);
    const contents = new Uint8Array(head.bytes);
    const count = file.readSync(contents, 0, head.bytes, HEADER_BYTES);
    if (count !== head.bytes || digestOf(contents) !== head.digest) {
      throw damaged('its contents are not those of its checksum');
    }
    return new MapSnapshots(disk, file, head, decode(contents));
  } catch (error) {
    file.close();
    throw error;
  }
}

function readHeader(file: DiskFile): SnapshotHead {
  const header = new Uint8Array(HEADER_BYTES);
  const count = file.readSync(header, 0, HEADER_BYTES, 0);
  const isWhole = count === HEADER_BYTES && getU32(header, 0) === MAGIC;
  if (!isWhole || getU32(header, 52) !== crc32(header, 0, 52))
    throw damaged('its header is damaged');
  const version = getU32(header, 4);
  if (version > MAP_SNAPSHOT_VERSION) {
    throw new OperatingError(
      'newer-format',
      `${MAP_SNAPSHOT_PATH} has format ${version}, this program knows ${MAP_SNAPSHOT_VERSION}`,
      { remedy: 'start a newer version of Sheepdog on this data directory' },
    );
  }
  const bytes = getU48(header, 14);
  if (bytes > MAX_SNAPSHOT_BYTES) throw damaged(`${bytes} bytes are too many`);
  const digest = Buffer.from(header.subarray(20, 20 + DIGEST_BYTES)).toString('hex');
  return { index: getU48(header, 8), bytes, digest };
}

/** The bytes are those that were written: what makes no sense was written by another version. */
function decode(contents: Uint8Array): MapSnapshot {
  try {
    return decodeSnapshot(contents);
  } catch (error) {
    if (!(error instanceof OperatingError) || error.code === 'corrupt') throw error;
    throw new OperatingError('newer-format', `${MAP_SNAPSHOT_PATH}: ${error.message}`, {
      remedy: 'start a newer version of Sheepdog on this data directory',
      cause: error,
    });
  }
}

function damaged(what: string): OperatingError {
  return new OperatingError('corrupt', `${MAP_SNAPSHOT_PATH} is damaged: ${what}`, {
    remedy: REPLACE_OR_RESTORE,
  });
}
