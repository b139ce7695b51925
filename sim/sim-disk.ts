// A simulated disk. It outlives the processes that use it: `SimDisk` is the platter with its page cache,
// sim-disk-port.ts is the Disk port of one process. Writes, truncations, creations, renames and removals are volatile
// until `sync` and `syncFolder` complete; a killed process leaves the cache as it is, a power loss keeps a drawn part
// of it. Faults are asked for by the stage: failed sync, full disk, slow disk, rot, a failed write.

import { OperatingError } from '../src/core/errors.ts';
import type { Inode } from './sim-inode.ts';
import { type FileInode, FolderInode, PAGE_BYTES } from './sim-inode.ts';
import type { SimRandom } from './sim-random.ts';
import type { World } from './world.ts';

const DEFAULT_CAPACITY_BYTES = 1024 * 1024 * 1024;
/** Mean times of one access; each is drawn from an exponential around it. */
const READ_MEAN_MS = 0.1;
const SYNC_MEAN_MS = 0.5;

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
  /** How many of the next syncs fail. */
  failSyncs = 0;
  /** True = every write throws 'io'. */
  failsWrites = false;
  /** True for paths whose syncs say "done" and do nothing: a lying disk, for mutants. */
  ignoresSync: (path: string) => boolean = () => false;
  readonly world: World;
  readonly name: string;
  readonly #random: SimRandom;
  #root = new FolderInode();
  #pending: PendingChange[] = [];
  #usedPages = 0;

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
      throw new OperatingError('no-space', `disk of ${this.name} is full`);
    }
  }

  /** Keeps the count of used pages true: called with the change that an operation made. */
  addUsedPages(change: number): void {
    this.#usedPages += change;
  }

  readTimeMs(): number {
    return this.#random.exponential(READ_MEAN_MS) * this.slowness;
  }

  syncTimeMs(): number {
    return (0.05 + this.#random.exponential(SYNC_MEAN_MS)) * this.slowness;
  }

  /** Finds a name; undefined when its folder does not exist. */
  find(path: string): Place | undefined {
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

  /** One failed sync, when the stage asked for it. */
  takeSyncFailure(): OperatingError | undefined {
    if (this.failSyncs === 0) return undefined;
    this.failSyncs -= 1;
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
    for (const [index, change] of this.#pending.entries()) if (index < kept) applyChange(change);
    this.#pending = [];
    for (const folder of folders) folder.losePower();
    for (const file of files) file.losePower(this.#random, keep);
    this.#recount();
  }

  /** An empty disk in the place of this one. */
  wipe(): void {
    this.#root = new FolderInode();
    this.#pending = [];
    this.#usedPages = 0;
  }

  /** Turns a bit of a file that exists. */
  rot(path: string, position: number): void {
    const inode = this.find(path)?.inode;
    if (inode?.kind === 'file') inode.rot(position, this.#random.between(0, 7));
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
