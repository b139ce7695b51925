// The Disk port on node:fs: one folder of the machine, and nothing outside it. Every error of the file system becomes an
// OperatingError ('no-space' or 'io') that names the path. Nothing here makes anything durable but `sync` and
// `syncFolder`. It knows nothing of what the files hold.

import * as fs from 'node:fs';
import * as path from 'node:path';
import { OperatingError } from '../core/errors.ts';
import { invariant } from '../core/invariant.ts';
import type { Disk, DiskFile } from '../ports/ports.ts';
import { BulkFile, BulkWrites } from './bulk-writes.ts';
import { makeFolders } from './make-folders.ts';
import { HOLE_ALIGN_BYTES, punchHole } from './punch-hole.ts';

/** Files and folders are for the account of the node only. */
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
/** Most pieces handed to one writev call; more go in further calls. IOV_MAX of Linux. */
const MAX_PIECES_PER_CALL = 1024;
/** Codes of the system that mean: full. */
const FULL_CODES = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

const NO_SPACE_REMEDY = 'free space on this file system, or make it larger, then start sheep again';
const IO_REMEDY = 'check the disk and the kernel log (dmesg), then start sheep again';
/** What a person does about a code of the system. */
const REMEDIES: Readonly<Record<string, string>> = {
  EROFS:
    'the file system is read-only: look into dmesg, repair it (fsck), mount it again, start sheep again',
  EIO: 'the disk fails: look into dmesg, replace it, and let the node join anew',
  ENOENT: 'the data directory or a file of it was moved or removed: put it back, start sheep again',
  ENOTDIR: 'a part of the path is a file: give another directory',
  EACCES: 'give this user the right to write there, or give another directory',
  EMFILE: 'allow more open files (ulimit -n), then start sheep again',
};

function codeOf(error: unknown): string {
  return (error as { code?: string } | null)?.code ?? '';
}

function operatingError(error: unknown, doing: string, name: string): OperatingError {
  const full = FULL_CODES.has(codeOf(error));
  const message = error instanceof Error ? error.message : String(error);
  // Without the path that the system was told: the name says it better.
  const text = message.replace(/ '\/proc\/self\/fd\/.*$/, '');
  return new OperatingError(full ? 'no-space' : 'io', `${doing} ${name}: ${text}`, {
    remedy: REMEDIES[codeOf(error)] ?? (full ? NO_SPACE_REMEDY : IO_REMEDY),
    cause: error,
  });
}

/** Runs a call of the file system; what it throws names the path. */
function guarded<T>(doing: string, name: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw operatingError(error, doing, name);
  }
}

/**
 * Opens a folder as a Disk; makes it when absent.
 * @throws OperatingError 'io' when the folder can not be made or is no folder
 */
export function openFileDisk(root: string): Disk {
  const top = path.resolve(root);
  guarded('make folder', top, () => makeFolders(top, FOLDER_MODE));
  return new FileDisk(top, anchorOf(top));
}

/**
 * A path that leads to this very folder for as long as the process lives, wherever it is moved: nothing is ever written
 * into another folder that took its path. The descriptor stays open. Where there is no /proc: the path itself.
 */
function anchorOf(top: string): string {
  const fd = guarded('open', top, () => fs.openSync(top, fs.constants.O_DIRECTORY));
  const anchor = `/proc/self/fd/${fd}`;
  if (fs.existsSync(`${anchor}/.`)) return anchor;
  fs.closeSync(fd);
  return top;
}

class FileDisk implements Disk {
  readonly #root: string;
  readonly #anchor: string;
  readonly #bulk = new BulkWrites();
  #syncFailed: (error: Error) => void = () => {};

  constructor(root: string, anchor: string) {
    this.#root = root;
    this.#anchor = anchor;
  }

  open(name: string, options: { readonly create: boolean }): DiskFile | undefined {
    const full = this.#resolve(name);
    const flags = fs.constants.O_RDWR | (options.create ? fs.constants.O_CREAT : 0);
    try {
      const fd = fs.openSync(this.#at(full), flags, FILE_MODE);
      return new OpenFile(full, fd, this.#bulk, (error) => this.#syncFailed(error));
    } catch (error) {
      if (!options.create && codeOf(error) === 'ENOENT') return undefined;
      throw operatingError(error, 'open', full);
    }
  }

  makeFolder(name: string): void {
    const full = this.#resolve(name);
    guarded('make folder', full, () => makeFolders(this.#at(full), FOLDER_MODE));
  }

  list(name: string): readonly string[] {
    const full = this.#resolve(name);
    try {
      return fs.readdirSync(this.#at(full)).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw operatingError(error, 'list', full);
    }
  }

  rename(from: string, to: string): void {
    const source = this.#resolve(from);
    const target = this.#resolve(to);
    guarded('rename', source, () => fs.renameSync(this.#at(source), this.#at(target)));
  }

  remove(name: string): void {
    const full = this.#resolve(name);
    guarded('remove', full, () => fs.rmSync(this.#at(full), { force: true }));
  }

  syncFolder(name: string, done: (error: Error | undefined) => void): void {
    const full = this.#resolve(name);
    const ended = (error: NodeJS.ErrnoException | null): void => {
      const failure = error === null ? undefined : operatingError(error, 'sync folder', full);
      done(failure);
      if (failure !== undefined) this.#syncFailed(failure);
    };
    fs.open(this.#at(full), fs.constants.O_RDONLY, (openError, fd) => {
      if (openError !== null) return ended(openError);
      fs.fsync(fd, (syncError) => fs.close(fd, () => ended(syncError)));
    });
  }

  onSyncFailed(listener: (error: Error) => void): void {
    this.#syncFailed = listener;
  }

  blocksRead(): number {
    return process.resourceUsage().fsRead;
  }

  space(): { readonly totalBytes: number; readonly freeBytes: number } {
    const stat = guarded('space of', this.#root, () => fs.statfsSync(this.#anchor));
    return { totalBytes: stat.blocks * stat.bsize, freeBytes: stat.bavail * stat.bsize };
  }

  /** What the system is told for a path that people are told. */
  #at(full: string): string {
    return this.#anchor + full.slice(this.#root.length);
  }

  /** @throws OperatingError 'io' for a path that leaves the root */
  #resolve(name: string): string {
    const full = path.resolve(this.#root, name);
    const inside = full === this.#root || full.startsWith(this.#root + path.sep);
    if (path.isAbsolute(name) || !inside || name.includes('\0')) {
      throw new OperatingError('io', `path leaves the data directory: ${JSON.stringify(name)}`);
    }
    return full;
  }
}

class OpenFile implements DiskFile {
  readonly #name: string;
  readonly #fd: number;
  readonly #file: BulkFile;
  readonly #bulk: BulkWrites;
  readonly #syncFailed: (error: Error) => void;
  #isOpen = true;

  constructor(name: string, fd: number, bulk: BulkWrites, syncFailed: (error: Error) => void) {
    this.#name = name;
    this.#fd = fd;
    this.#file = new BulkFile(fd);
    this.#bulk = bulk;
    this.#syncFailed = syncFailed;
  }

  readSync(target: Uint8Array, at: number, length: number, position: number): number {
    this.#check(target, at, length, position);
    let count = 0;
    try {
      while (count < length) {
        const got = fs.readSync(this.#fd, target, at + count, length - count, position + count);
        if (got === 0) break;
        count += got;
      }
    } catch (error) {
      throw operatingError(error, 'read', this.#name);
    }
    return count;
  }

  read(
    target: Uint8Array,
    at: number,
    length: number,
    position: number,
    done: (error: Error | undefined, count: number) => void,
  ): void {
    this.#check(target, at, length, position);
    const next = (count: number): void => {
      fs.read(this.#fd, target, at + count, length - count, position + count, (error, got) => {
        if (error !== null) return done(operatingError(error, 'read', this.#name), count);
        if (got === 0 || count + got >= length) return done(undefined, count + got);
        next(count + got);
      });
    };
    next(0);
  }

  writeSync(bytes: Uint8Array, position: number): void {
    this.#check(bytes, 0, bytes.length, position);
    try {
      let count = 0;
      while (count < bytes.length) {
        count += fs.writeSync(this.#fd, bytes, count, bytes.length - count, position + count);
      }
    } catch (error) {
      throw operatingError(error, 'write', this.#name);
    }
  }

  writevSync(pieces: readonly Uint8Array[], position: number): void {
    invariant(this.#isOpen, 'the file is open');
    let at = position;
    for (let i = 0; i < pieces.length; i += MAX_PIECES_PER_CALL) {
      at = this.#writeGroup(pieces.slice(i, i + MAX_PIECES_PER_CALL), at);
    }
  }

  writeBulk(bytes: Uint8Array, position: number, done: (error: Error | undefined) => void): void {
    this.#check(bytes, 0, bytes.length, position);
    const file = this.#file;
    file.begin();
    const ended = (error: NodeJS.ErrnoException | null): void => {
      file.end();
      done(error === null ? undefined : operatingError(error, 'write', this.#name));
    };
    this.#bulk.write({ file, bytes, position, done: ended });
  }

  sizeSync(): number {
    invariant(this.#isOpen, 'the file is open');
    return guarded('size of', this.#name, () => fs.fstatSync(this.#fd).size);
  }

  punch(position: number, length: number): boolean {
    invariant(this.#isOpen, 'the file is open');
    invariant(Number.isSafeInteger(position + length) && position >= 0, 'a range of a file');
    const isAligned = position % HOLE_ALIGN_BYTES === 0 && length % HOLE_ALIGN_BYTES === 0;
    invariant(isAligned, 'whole pages are punched');
    return length > 0 && punchHole(this.#fd, position, length);
  }

  truncateSync(bytes: number): void {
    invariant(this.#isOpen, 'the file is open');
    invariant(Number.isSafeInteger(bytes) && bytes >= 0, 'a size is not negative');
    guarded('truncate', this.#name, () => fs.ftruncateSync(this.#fd, bytes));
  }

  sync(done: (error: Error | undefined) => void): void {
    invariant(this.#isOpen, 'the file is open');
    this.#file.rest();
    fs.fdatasync(this.#fd, (error) => {
      const failure = error === null ? undefined : operatingError(error, 'sync', this.#name);
      done(failure);
      if (failure !== undefined) this.#syncFailed(failure);
    });
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    guarded('close', this.#name, () => this.#file.close());
  }

  /** Writes one group with one call; what the system left over goes piece by piece. Returns the next position. */
  #writeGroup(group: readonly Uint8Array[], position: number): number {
    let total = 0;
    for (const piece of group) total += piece.length;
    let written = guarded('write', this.#name, () => fs.writevSync(this.#fd, group, position));
    if (written === total) return position + total;
    let at = position;
    for (const piece of group) {
      const already = Math.min(written, piece.length);
      if (already < piece.length) this.writeSync(piece.subarray(already), at + already);
      written -= already;
      at += piece.length;
    }
    return at;
  }

  #check(bytes: Uint8Array, at: number, length: number, position: number): void {
    invariant(this.#isOpen, 'the file is open');
    invariant(
      at >= 0 && length >= 0 && at + length <= bytes.length,
      'the range lies in the buffer',
    );
    invariant(Number.isSafeInteger(position) && position >= 0, 'a position is not negative');
  }
}
