// The Disk port of one process on a simulated disk. When the process is dead its calls change nothing.

import { OperatingError } from '../src/core/errors.ts';
import { invariant } from '../src/core/invariant.ts';
import type { Disk, DiskFile } from '../src/ports/ports.ts';
import type { SimDisk } from './sim-disk.ts';
import { FileInode, FolderInode, PAGE_BYTES } from './sim-inode.ts';
import type { SimProcess } from './sim-process.ts';

export class SimDiskPort implements Disk {
  readonly #disk: SimDisk;
  readonly #process: SimProcess;
  #syncFailed: (error: Error) => void = () => {};

  constructor(disk: SimDisk, process: SimProcess) {
    this.#disk = disk;
    this.#process = process;
  }

  open(path: string, options: { readonly create: boolean }): DiskFile | undefined {
    const place = this.#disk.find(path);
    if (place?.inode?.kind === 'folder') throw new OperatingError('io', `${path} is a folder`);
    if (place?.inode !== undefined) return this.#fileOf(place.inode, path);
    if (!options.create) return undefined;
    if (place === undefined) throw new OperatingError('io', `no folder for ${path}`);
    this.#disk.checkWritable(path);
    const inode = new FileInode();
    if (this.#process.isAlive) {
      this.#disk.change([{ folder: place.folder, name: place.name, inode }]);
    }
    return this.#fileOf(inode, path);
  }

  makeFolder(path: string): void {
    if (!this.#process.isAlive) return;
    let sub = '';
    for (const part of path.split('/').filter((name) => name !== '')) {
      sub = sub === '' ? part : `${sub}/${part}`;
      const place = this.#disk.find(sub);
      if (place === undefined) throw new OperatingError('io', `no folder for ${sub}`);
      if (place.inode?.kind === 'file') throw new OperatingError('io', `${sub} is a file`);
      if (place.inode !== undefined) continue;
      this.#disk.checkWritable(sub);
      this.#disk.change([{ folder: place.folder, name: part, inode: new FolderInode() }]);
    }
  }

  list(path: string): readonly string[] {
    return [...(this.#disk.folder(path)?.entries.keys() ?? [])].sort();
  }

  rename(from: string, to: string): void {
    if (!this.#process.isAlive) return;
    const source = this.#disk.find(from);
    const target = this.#disk.find(to);
    if (source?.inode === undefined || target === undefined) {
      throw new OperatingError('io', `cannot rename ${from} to ${to}: no such file or folder`);
    }
    if (target.inode === source.inode) return;
    if (target.inode?.kind === 'folder') throw new OperatingError('io', `${to} is a folder`);
    this.#disk.checkWritable(from);
    this.#freePages(target.inode);
    this.#disk.noteRename(source, target);
    this.#disk.change([
      { folder: source.folder, name: source.name, inode: undefined },
      { folder: target.folder, name: target.name, inode: source.inode },
    ]);
  }

  remove(path: string): void {
    if (!this.#process.isAlive) return;
    const place = this.#disk.find(path);
    if (place?.inode === undefined) return;
    this.#disk.checkWritable(path);
    this.#freePages(place.inode);
    this.#disk.change([{ folder: place.folder, name: place.name, inode: undefined }]);
  }

  syncFolder(path: string, done: (error: Error | undefined) => void): void {
    if (!this.#process.isAlive) return;
    const folder = this.#disk.folder(path);
    const changes = folder === undefined ? undefined : this.#disk.changesOf(folder);
    this.#disk.world.schedule(this.#disk.syncTimeMs(), this.#process, () => {
      if (changes === undefined) {
        const missing = new OperatingError('io', `cannot sync ${path}: no such folder`);
        done(missing);
        this.#syncFailed(missing);
        return;
      }
      const failure = this.#disk.takeSyncFailure();
      if (failure === undefined && !this.#disk.ignoresSync(path)) this.#disk.applyDurably(changes);
      done(failure);
      if (failure !== undefined) this.#syncFailed(failure);
    });
  }

  onSyncFailed(listener: (error: Error) => void): void {
    this.#syncFailed = listener;
  }

  space(): { readonly totalBytes: number; readonly freeBytes: number } {
    if (this.#disk.isMovedAway) throw new OperatingError('io', 'space: no such file or folder');
    const totalBytes = this.#disk.capacityBytes;
    return { totalBytes, freeBytes: Math.max(0, totalBytes - this.#disk.usedBytes) };
  }

  #fileOf(inode: FileInode, path: string): DiskFile {
    return new SimFile(this.#disk, this.#process, inode, path, (error) => this.#syncFailed(error));
  }

  #freePages(inode: FileInode | FolderInode | undefined): void {
    if (inode?.kind === 'file') this.#disk.addUsedPages(-inode.pageCount);
  }
}

class SimFile implements DiskFile {
  readonly #disk: SimDisk;
  readonly #process: SimProcess;
  readonly #inode: FileInode;
  readonly #path: string;
  readonly #syncFailed: (error: Error) => void;
  #isOpen = true;

  constructor(
    disk: SimDisk,
    process: SimProcess,
    inode: FileInode,
    path: string,
    syncFailed: (error: Error) => void,
  ) {
    this.#syncFailed = syncFailed;
    this.#disk = disk;
    this.#process = process;
    this.#inode = inode;
    this.#path = path;
  }

  readSync(target: Uint8Array, at: number, length: number, position: number): number {
    this.#checkOpen();
    this.#disk.checkRead(this.#path);
    const stopMs = this.#disk.stopTimeMs(this.#path);
    if (stopMs > 0) this.#process.block(stopMs);
    const place = this.#disk.targetOf('reads', this.#path, this.#inode, position);
    return place.inode.read(target, at, length, place.position);
  }

  read(
    target: Uint8Array,
    at: number,
    length: number,
    position: number,
    done: (error: Error | undefined, count: number) => void,
  ): void {
    this.#checkOpen();
    if (!this.#process.isAlive) return;
    this.#disk.world.schedule(this.#disk.readTimeMs(this.#path), this.#process, () => {
      let count = 0;
      try {
        this.#disk.checkRead(this.#path);
        const place = this.#disk.targetOf('reads', this.#path, this.#inode, position);
        count = place.inode.read(target, at, length, place.position);
      } catch (error) {
        return done(error instanceof Error ? error : new OperatingError('io', this.#path), 0);
      }
      done(undefined, count);
    });
  }

  writeSync(bytes: Uint8Array, position: number): void {
    this.writevSync([bytes], position);
  }

  /** The first half is there at once, the rest when it is done: a crash may find either. */
  writeBulk(bytes: Uint8Array, position: number, done: (error: Error | undefined) => void): void {
    this.#checkOpen();
    invariant(position % PAGE_BYTES === 0 && bytes.length % PAGE_BYTES === 0, 'whole pages');
    if (!this.#process.isAlive) return;
    this.#disk.bulkCount += 1;
    const half = Math.floor(bytes.length / PAGE_BYTES / 2) * PAGE_BYTES;
    const failed = this.#tryWrite(bytes.subarray(0, half), position);
    this.#disk.world.schedule(this.#disk.readTimeMs(), this.#process, () => {
      done(failed ?? this.#tryWrite(bytes.subarray(half), position + half));
    });
  }

  /** A file that was closed meanwhile is left alone. */
  #tryWrite(bytes: Uint8Array, position: number): Error | undefined {
    if (!this.#isOpen) return undefined;
    try {
      this.writeSync(bytes, position);
      return undefined;
    } catch (error) {
      return error instanceof Error ? error : new OperatingError('io', this.#path);
    }
  }

  writevSync(pieces: readonly Uint8Array[], position: number): void {
    this.#checkOpen();
    if (!this.#process.isAlive) return;
    this.#disk.checkWrite(this.#path);
    const place = this.#disk.targetOf('writes', this.#path, this.#inode, position);
    let at = place.position;
    for (const piece of pieces) {
      if (piece.length === 0) continue;
      const before = place.inode.pageCount;
      this.#disk.reserve(place.inode.newPages(at, piece.length));
      place.inode.write(piece, at);
      this.#disk.addUsedPages(place.inode.pageCount - before);
      at += piece.length;
    }
  }

  punch(position: number, length: number): boolean {
    this.#checkOpen();
    invariant(position % PAGE_BYTES === 0 && length % PAGE_BYTES === 0, 'whole pages are punched');
    if (!this.#process.isAlive || this.#disk.isReadOnly || this.#disk.failsWrites) return false;
    const before = this.#inode.pageCount;
    this.#inode.punch(position, length);
    this.#disk.addUsedPages(this.#inode.pageCount - before);
    return length > 0;
  }

  sizeSync(): number {
    this.#checkOpen();
    return this.#inode.size;
  }

  truncateSync(bytes: number): void {
    this.#checkOpen();
    if (!this.#process.isAlive) return;
    this.#disk.checkWrite(this.#path);
    const before = this.#inode.pageCount;
    this.#inode.truncate(bytes);
    this.#disk.addUsedPages(this.#inode.pageCount - before);
  }

  sync(done: (error: Error | undefined) => void): void {
    this.#checkOpen();
    if (!this.#process.isAlive) return;
    const frozen = this.#inode.freeze();
    this.#disk.world.schedule(this.#disk.syncTimeMs(), this.#process, () => {
      const failure = this.#disk.takeSyncFailure();
      if (failure === undefined && !this.#disk.ignoresSync(this.#path))
        this.#inode.makeDurable(frozen);
      done(failure);
      if (failure !== undefined) this.#syncFailed(failure);
    });
  }

  close(): void {
    this.#isOpen = false;
  }

  #checkOpen(): void {
    invariant(this.#isOpen || !this.#process.isAlive, `a closed file is not used: ${this.#path}`);
  }
}
