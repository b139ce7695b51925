// Open descriptors and loaded sums pages of objects, both bounded, second chance: a use sets a flag, nothing moves, so a
// cached read allocates nothing. Pages with changes that no slot holds yet stay; so do files with operations in flight.

import { objectName } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { Disk, DiskFile, Trace } from '../ports/ports.ts';
import {
  decodeSlots,
  type LoadedSums,
  newerFormat,
  readSlots,
  SLOTS_BYTES,
} from './object-file.ts';
import { emptyPage, type ObjectState } from './object-state.ts';
import { SuspectList } from './suspects.ts';

/** Open object files of one store. */
export const MAX_OPEN_FILES = 1024;
/** Loaded pages, 4 KiB each; dirty ones may exceed it up to MAX_DIRTY_PAGES more. */
export const MAX_CACHED_PAGES = 8192;
/** Candidates looked at per eviction; when all are in use the bound is exceeded by one until the next. */
const EVICTION_LOOKS = 64;

export class ObjectCache {
  readonly #disk: Disk;
  readonly #trace: Trace;
  readonly #files = new Set<ObjectState>();
  readonly #pages = new Set<ObjectState>();
  /** Operations in flight per file, and files to be closed after the last of them. */
  readonly #holds = new Map<DiskFile, number>();
  readonly #leaving = new Set<DiskFile>();
  /** Folders in which a file was created since they were last synced. */
  readonly createdIn = new Set<string>();
  /** Objects that are damaged here. */
  readonly suspects = new SuspectList();

  constructor(disk: Disk, trace: Trace) {
    this.#disk = disk;
    this.#trace = trace;
  }

  /** The open file of an object; opens it when it exists. Throws what the disk throws. */
  file(state: ObjectState): DiskFile | undefined {
    state.wasUsed = true;
    if (state.file !== undefined) return state.file;
    const file = this.#disk.open(state.path, { create: false });
    if (file !== undefined) this.adopt(state, file);
    return file;
  }

  /**
   * The open file of an object that gets its first data; makes it when absent. Its folder is synced by the next
   * checkpoint even when the file is there: a process that was killed may have made it just before.
   */
  create(state: ObjectState): DiskFile {
    this.createdIn.add(state.path.slice(0, state.path.lastIndexOf('/')));
    const existing = this.file(state);
    if (existing !== undefined) return existing;
    const file = this.#disk.open(state.path, { create: true });
    invariant(file !== undefined, 'create gives a file');
    state.isNamed = false;
    this.adopt(state, file);
    return file;
  }

  /** Takes over an open file. */
  adopt(state: ObjectState, file: DiskFile): void {
    invariant(state.file === undefined, 'an object has one open file');
    state.file = file;
    state.wasUsed = true;
    this.#files.add(state);
    if (this.#files.size > MAX_OPEN_FILES) this.#evictFile();
  }

  /** Gives a page to an object. */
  setPage(state: ObjectState, page: Uint32Array): void {
    state.page = page;
    state.wasUsed = true;
    this.#pages.add(state);
    if (this.#pages.size > MAX_CACHED_PAGES) this.#evictPage();
  }

  /** Loads the page at once when it is not loaded. False: the object is lost. */
  loadPage(state: ObjectState): boolean {
    if (state.isLost || state.page !== undefined) return !state.isLost;
    if (!state.hasFile) {
      this.setPage(state, emptyPage());
      return true;
    }
    const file = this.file(state);
    const sums = file === undefined ? undefined : readSlots(file, state.generation, state.index);
    return this.#accept(state, sums);
  }

  /** Loads the page through the thread pool. `done` looks at the state again: anything may have happened. */
  loadPageLater(state: ObjectState, done: () => void): void {
    const file = this.file(state);
    if (file === undefined) {
      this.#accept(state, undefined);
      done();
      return;
    }
    const { fileLife, pageChanges } = state;
    const bytes = new Uint8Array(SLOTS_BYTES);
    this.hold(file);
    file.read(bytes, 0, SLOTS_BYTES, 0, (error) => {
      this.release(file);
      const isSame = state.fileLife === fileLife && state.pageChanges === pageChanges;
      if (isSame && state.page === undefined && state.hasFile && !state.isLost) {
        const sums = decodeSlots(bytes, state.generation, state.index);
        this.#accept(state, error === undefined ? sums : undefined);
      }
      done();
    });
  }

  /** Keeps a file open while an operation is in flight. */
  hold(file: DiskFile): void {
    this.#holds.set(file, (this.#holds.get(file) ?? 0) + 1);
  }

  /** Ends `hold`; closes the file when its object let go of it meanwhile. */
  release(file: DiskFile): void {
    const left = (this.#holds.get(file) ?? 0) - 1;
    invariant(left >= 0, 'every release had its hold');
    if (left > 0) {
      this.#holds.set(file, left);
      return;
    }
    this.#holds.delete(file);
    if (this.#leaving.delete(file)) file.close();
  }

  /** Lets go of file and page: the object has another file, or none, from now on. */
  forget(state: ObjectState): void {
    this.#pages.delete(state);
    state.page = undefined;
    state.isPageDirty = false;
    state.pageChanges += 1;
    state.fileLife += 1;
    this.#files.delete(state);
    const file = state.file;
    state.file = undefined;
    if (file === undefined) return;
    if (this.#holds.has(file)) this.#leaving.add(file);
    else file.close();
  }

  /** File or sums of an object are gone: it is served by others until it is copied or rewritten as a whole. */
  lose(state: ObjectState, sums: string): void {
    if (state.isLost) return;
    this.forget(state);
    state.isLost = true;
    this.suspects.note(state, true);
    this.#trace.warn('store.object-lost', { object: objectName(state), sums });
  }

  /** Lets go of a file that lost its name, keeps the page, and makes or opens the file that has the name. */
  reopen(state: ObjectState): DiskFile {
    const { file } = state;
    state.fileLife += 1;
    state.file = undefined;
    this.#files.delete(state);
    if (file !== undefined && this.#holds.has(file)) this.#leaving.add(file);
    else file?.close();
    return this.create(state);
  }

  /** Closes everything. */
  closeAll(): void {
    for (const state of [...this.#files]) this.forget(state);
  }

  #accept(state: ObjectState, sums: LoadedSums | undefined): boolean {
    if (sums === undefined || sums.slotSequence < state.slotSequence) {
      this.lose(state, sums === undefined ? this.#whyNone(state) : String(sums.slotSequence));
      return false;
    }
    state.slotSequence = sums.slotSequence;
    this.setPage(state, sums.page);
    return true;
  }

  #whyNone(state: ObjectState): string {
    return (state.file === undefined ? undefined : newerFormat(state.file)) ?? 'none';
  }

  #evictFile(): void {
    let looks = 0;
    for (const state of this.#files) {
      this.#files.delete(state);
      const file = state.file;
      const isKept = state.wasUsed || (file !== undefined && this.#holds.has(file));
      if (!isKept) {
        file?.close();
        state.file = undefined;
        return;
      }
      state.wasUsed = false;
      this.#files.add(state);
      looks += 1;
      if (looks === EVICTION_LOOKS) return;
    }
  }

  #evictPage(): void {
    let looks = 0;
    for (const state of this.#pages) {
      this.#pages.delete(state);
      const isKept = state.wasUsed || state.isPageDirty;
      if (!isKept) {
        state.page = undefined;
        return;
      }
      state.wasUsed = false;
      this.#pages.add(state);
      looks += 1;
      if (looks === EVICTION_LOOKS) return;
    }
  }
}
