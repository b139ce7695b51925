// A simulated disk. It outlives the processes that use it: `SimDisk` is the platter with its page cache,
// sim-disk-port.ts is the Disk port of one process. Writes, truncations, creations, renames and removals are volatile
// until `sync` and `syncFolder` complete; a killed process leaves the cache as it is, a power loss keeps a drawn part
// of it. What else can go wrong is asked for by the stage, each by a name of its own (SIMULATOR.md, section 2).
//
//   capacityBytes       full                       rot                 a bit turned
//   slowness            slow by 1000               makeUnreadable      a latent read error
//   coldReadMs          objects are not in memory
//   failSyncs           a failed sync              misdirectWrite      the next write lands elsewhere
//   failsWrites         every write fails          misdirectRead       the next read comes from elsewhere
//   failsReads          every read fails           loseEntry           a directory entry is gone
//   isReadOnly          the file system gave up    loseRename          a rename is undone
//   isMovedAway         the folder is not there    wipe                replaced by an empty one
//   losePower           lost, torn, reordered      image, restore      restored from an old image

import { OperatingError } from '../src/core/errors.ts';
import type { FaultKind } from './reach/fault-kinds.ts';
import type { Inode } from './sim-inode.ts';
import { type FileInode, FolderInode, PAGE_BYTES } from './sim-inode.ts';
import type { SimRandom } from './sim-random.ts';
import type { World } from './world.ts';

const DEFAULT_CAPACITY_BYTES = 1024 * 1024 * 1024;
/** Mean times of one access; each is drawn from an exponential around it. */
const READ_MEAN_MS = 0.1;
const SYNC_MEAN_MS = 0.5;

/** Where objects lie. */
const OBJECTS = 'objects/';
/** Renames that `loseRename` can undo. */
const MAX_RENAMES = 64;

/** A disk as it was at one moment. */
export interface DiskImage {
  readonly root: FolderInode;
}

/** Where a misdirected access goes instead. */
interface Detour {
  readonly matches: (path: string) => boolean;
  readonly to: string | undefined;
}

/** A change of names that is not durable yet. All of its parts become durable together. */
interface PendingChange {
  readonly sets: readonly {
    readonly folder: FolderInode;
    readonly name: string;
    readonly inode: Inode | undefined;
  }[];
}

/** Where a path leads: the folder that holds the name, and what the name stands for. */
export interface Place {
  readonly folder: FolderInode;
  readonly name: string;
  readonly inode: Inode | undefined;
}

export class SimDisk {
  capacityBytes = DEFAULT_CAPACITY_BYTES;
  /** Factor on all times; 1000 = nearly hung. */
  slowness = 1;
  /** Above 0: nothing of the objects is in the page cache, and each read of them takes so long. */
  coldReadMs = 0;
  /** How many of the next syncs fail. */
  failSyncs = 0;
  /** True = every write throws 'io'. */
  failsWrites = false;
  /** True = every read fails with 'io'. */
  failsReads = false;
  /** True = nothing can be changed and nothing synced, as after `errors=remount-ro`; reads go on. */
  isReadOnly = false;
  /** True = the folder was moved away: nothing is found or made in it, files that are open go on. */
  isMovedAway = false;
  /** True for paths whose syncs say "done" and do nothing: a lying disk, for mutants. */
  ignoresSync: (path: string) => boolean = () => false;
  readonly world: World;
  /** Syncs of files and folders, of all lives. */
  syncCount = 0;
  /** Writes that went past the page cache, of all lives. */
  bulkCount = 0;
  readonly name: string;
  readonly #random: SimRandom;
  #root = new FolderInode();
  #pending: PendingChange[] = [];
  #usedPages = 0;
  #renames: { readonly from: Place; readonly to: Place }[] = [];
  readonly #detours: { readonly reads: Detour[]; readonly writes: Detour[] } = {
    reads: [],
    writes: [],
  };

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
    this.#random = world.random.fork(`disk ${name}`);
  }

  get usedBytes(): number {
    return this.#usedPages * PAGE_BYTES;
  }

  /** Throws what the operating system would when `pages` more do not fit. */
  reserve(pages: number): void {
    if (this.usedBytes + pages * PAGE_BYTES > this.capacityBytes) {
      this.#inject('full');
      throw new OperatingError('no-space', `disk of ${this.name} is full`);
    }
  }

  /** Keeps the count of used pages true: called with the change that an operation made. */
  addUsedPages(change: number): void {
    this.#usedPages += change;
  }

  /** A name was changed for another, and a power loss now may undo that. */
  get hasPendingRename(): boolean {
    return this.#pending.some(({ sets }) => sets.length > 1);
  }

  /** How long a read stops who waits for it; what is in memory takes no time. */
  stopTimeMs(path: string): number {
    return path.startsWith(OBJECTS) ? this.coldReadMs : 0;
  }

  readTimeMs(path = ''): number {
    return this.stopTimeMs(path) + this.#random.exponential(READ_MEAN_MS) * this.slowness;
  }

  syncTimeMs(): number {
    this.syncCount += 1;
    if (this.slowness > 1) this.#inject('slow-sync');
    return (0.05 + this.#random.exponential(SYNC_MEAN_MS)) * this.slowness;
  }

  /** Finds a name; undefined when its folder does not exist. */
  find(path: string): Place | undefined {
    if (this.isMovedAway) {
      this.#inject('folder-moved-away');
      return undefined;
    }
    const parts = path.split('/').filter((part) => part !== '' && part !== '.');
    const name = parts.pop();
    let folder = this.#root;
    for (const part of parts) {
      const next = folder.entries.get(part);
      if (next?.kind !== 'folder') return undefined;
      folder = next;
    }
    if (name === undefined) return { folder: this.#root, name: '', inode: this.#root };
    return { folder, name, inode: folder.entries.get(name) };
  }

  folder(path: string): FolderInode | undefined {
    const inode = this.find(path)?.inode;
    return inode?.kind === 'folder' ? inode : undefined;
  }

  /** Changes names now, durable later. The parts of one change are never torn. */
  change(sets: PendingChange['sets']): void {
    for (const { folder, name, inode } of sets) {
      if (inode === undefined) folder.entries.delete(name);
      else folder.entries.set(name, inode);
    }
    this.#pending.push({ sets });
  }

  /**
   * The changes that a sync of this folder, called now, will cover: those in the folder, and the earlier ones of every
   * name that they touch elsewhere. A rename that is durable is not undone by what happened before it.
   */
  changesOf(folder: FolderInode): ReadonlySet<PendingChange> {
    const covered = new Set<PendingChange>();
    const names = new Map<FolderInode, Set<string>>();
    for (const change of this.#pending.toReversed()) {
      const { sets } = change;
      const isCovered = sets.some(
        (set) => set.folder === folder || names.get(set.folder)?.has(set.name) === true,
      );
      if (!isCovered) continue;
      covered.add(change);
      for (const set of sets) {
        names.set(set.folder, (names.get(set.folder) ?? new Set()).add(set.name));
      }
    }
    return covered;
  }

  applyDurably(changes: ReadonlySet<PendingChange>): void {
    for (const change of this.#pending) if (changes.has(change)) applyChange(change);
    this.#pending = this.#pending.filter((change) => !changes.has(change));
  }

  /** Throws what a file system that can not be written any more does. */
  checkWritable(path: string): void {
    if (!this.isReadOnly) return;
    this.#inject('read-only');
    throw new OperatingError('io', `${path}: read-only file system`);
  }

  checkWrite(path: string): void {
    this.checkWritable(path);
    if (!this.failsWrites) return;
    this.#inject('failed-write');
    throw new OperatingError('io', `write failed on ${path}`);
  }

  checkRead(path: string): void {
    if (!this.failsReads) return;
    this.#inject('failed-read');
    throw new OperatingError('io', `read failed on ${path}`);
  }

  /** One failed sync, when the stage asked for it. */
  takeSyncFailure(): OperatingError | undefined {
    if (this.isReadOnly) {
      this.#inject('read-only');
      return new OperatingError('io', `the disk of ${this.name} is a read-only file system`);
    }
    if (this.failSyncs === 0) return undefined;
    this.failSyncs -= 1;
    this.#inject('failed-sync');
    return new OperatingError('io', `sync failed on the disk of ${this.name}`);
  }

  /** The host lost power: what was not synced is kept, lost or torn by a draw. */
  losePower(): void {
    const keep = this.#random.pick([0, 0.1, 0.5, 0.9, 1]);
    const files = new Set<FileInode>();
    const folders = new Set<FolderInode>();
    const kept = this.#random.between(0, this.#pending.length);
    collect(this.#root, files, folders);
    for (const { sets } of this.#pending)
      for (const { inode } of sets) if (inode) collect(inode, files, folders);
    for (const [index, change] of this.#pending.entries()) {
      if (index < kept) applyChange(change);
      else if (change.sets.length > 1) this.#inject('rename-lost');
    }
    this.#pending = [];
    for (const folder of folders) folder.losePower();
    for (const file of files) file.losePower(this.#random, keep);
    this.#recount();
  }

  /** An empty disk in the place of this one. */
  wipe(): void {
    this.#inject('wiped');
    this.#replaceBy({ root: new FolderInode() });
  }

  /** What a copy of the whole disk, made now, holds. */
  image(): DiskImage {
    return { root: this.#root.copy() };
  }

  /** The disk is what it was: the node must not run. An image may be restored many times. */
  restore(image: DiskImage): void {
    this.#inject('old-image');
    this.#replaceBy(image);
  }

  #replaceBy(image: DiskImage): void {
    this.#root = image.root.copy();
    this.#pending = [];
    this.#renames = [];
    this.#recount();
  }

  /** A file is gone, as if it had never been; the node must not run. */
  drop(path: string): void {
    this.#inject('entry-lost');
    this.#root.entries.delete(path);
    this.#root.durable.delete(path);
  }

  /** Turns a bit of a file that exists. */
  rot(path: string, position: number): void {
    const inode = this.find(path)?.inode;
    if (inode?.kind !== 'file') return;
    this.#inject('bit-rot');
    inode.rot(position, this.#random.between(0, 7));
  }

  /** The page of a file that holds this byte can not be read from now on (EIO), until it is written as a whole. */
  makeUnreadable(path: string, position: number): void {
    const inode = this.find(path)?.inode;
    if (inode?.kind !== 'file') return;
    this.#inject('unreadable');
    inode.makeUnreadable(position);
  }

  /** The next write of a file that matches lands in file `to`, or, without one, on another page of its own. */
  misdirectWrite(matches: (path: string) => boolean, to?: string): void {
    this.#detours.writes.push({ matches, to });
  }

  /** The next read of a file that matches gives the bytes of another place. */
  misdirectRead(matches: (path: string) => boolean, to?: string): void {
    this.#detours.reads.push({ matches, to });
  }

  /** No further access goes elsewhere. */
  clearDetours(): void {
    this.#detours.reads.length = 0;
    this.#detours.writes.length = 0;
  }

  /** Where this access really goes. A detour is used once. */
  targetOf(
    access: 'reads' | 'writes',
    path: string,
    inode: FileInode,
    position: number,
  ): { readonly inode: FileInode; readonly position: number } {
    const detours = this.#detours[access];
    const at = detours.findIndex(({ matches }) => matches(path));
    if (at < 0) return { inode, position };
    const [detour] = detours.splice(at, 1);
    this.#inject(access === 'reads' ? 'read-astray' : 'write-astray');
    const other = detour?.to === undefined ? undefined : this.find(detour.to)?.inode;
    if (other?.kind === 'file') return { inode: other, position };
    const pages = Math.max(2, Math.ceil(inode.size / PAGE_BYTES));
    const shift = this.#random.between(1, pages - 1) * PAGE_BYTES;
    return { inode, position: (position + shift) % (pages * PAGE_BYTES) };
  }

  /** Takes a name away, from cache and platter; what it stood for is out of reach. */
  loseEntry(path: string): void {
    const place = this.find(path);
    if (place?.inode === undefined) return;
    this.#inject('entry-lost');
    if (place.inode.kind === 'file') this.#usedPages -= place.inode.pageCount;
    place.folder.entries.delete(place.name);
    place.folder.durable.delete(place.name);
  }

  /** Remembers a rename, for `loseRename`: what both names stood for before it. */
  noteRename(from: Place, to: Place): void {
    this.#renames.push({ from, to });
    if (this.#renames.length > MAX_RENAMES) this.#renames.shift();
  }

  /** Undoes the last rename to this name, however long it was durable. Returns false when none is known. */
  loseRename(path: string): boolean {
    const now = this.find(path);
    const done = this.#renames.findLast(
      ({ from, to }) =>
        to.folder === now?.folder && to.name === now.name && from.inode === now.inode,
    );
    if (done === undefined) return false;
    this.#inject('rename-lost');
    for (const { folder, name, inode } of [done.from, done.to]) {
      for (const names of [folder.entries, folder.durable]) {
        if (inode === undefined) names.delete(name);
        else names.set(name, inode);
      }
    }
    this.#recount();
    return true;
  }

  /** All paths of files, sorted, for checkers and faults. */
  filePaths(under = ''): readonly string[] {
    const folder = this.folder(under);
    if (folder === undefined) return [];
    const paths: string[] = [];
    for (const name of [...folder.entries.keys()].sort()) {
      const path = under === '' ? name : `${under}/${name}`;
      const inode = folder.entries.get(name);
      if (inode?.kind === 'file') paths.push(path);
      else paths.push(...this.filePaths(path));
    }
    return paths;
  }

  #inject(kind: FaultKind): void {
    this.world.inject(kind, this.name);
  }

  #recount(): void {
    const files = new Set<FileInode>();
    collect(this.#root, files, new Set());
    this.#usedPages = 0;
    for (const file of files) this.#usedPages += file.pageCount;
  }
}

function applyChange({ sets }: PendingChange): void {
  for (const { folder, name, inode } of sets) {
    if (inode === undefined) folder.durable.delete(name);
    else folder.durable.set(name, inode);
  }
}

function collect(inode: Inode, files: Set<FileInode>, folders: Set<FolderInode>): void {
  if (inode.kind === 'file') {
    files.add(inode);
    return;
  }
  if (folders.has(inode)) return;
  folders.add(inode);
  for (const child of inode.entries.values()) collect(child, files, folders);
  for (const child of inode.durable.values()) collect(child, files, folders);
}
