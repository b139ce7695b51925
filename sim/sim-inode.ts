// A file and a folder of a simulated disk. Every page exists as the page cache has it, as the platter has it, and, while
// it is not synced, in the forms that it had in between: any of them may be what a power loss leaves, sector by sector.
// Pages are immutable arrays: a write makes a new one, so a sync in flight keeps what it saw when it was called.

import { OperatingError } from '../src/core/errors.ts';
import type { SimRandom } from './sim-random.ts';

export const PAGE_BYTES = 4096;
/** What a platter writes at once: a power loss tears between such pieces. */
const TEAR_BYTES = 512;
/** Forms of a page since its last sync that are remembered; the oldest go first. */
const MAX_FORMS = 8;
const ZERO_PAGE = new Uint8Array(PAGE_BYTES);

export type Inode = FileInode | FolderInode;
type Pages = Map<number, Uint8Array>;

/** What a sync makes durable once it completes: the file as it was when the sync was called. */
export interface FrozenFile {
  readonly pages: ReadonlyMap<number, Uint8Array>;
  readonly size: number;
  /** Syncs in flight may complete in any order: an older one never undoes a newer one. */
  readonly order: number;
}

export class FileInode {
  readonly kind = 'file';
  size = 0;
  #cached: Pages = new Map();
  #durable: Pages = new Map();
  #durableSize = 0;
  #durableSizeOrder = 0;
  #freezes = 0;
  /** Pages that the platter does not have yet: their forms since the last sync, oldest first. */
  readonly #dirty = new Map<number, Uint8Array[]>();
  /** Pages that the platter can not read any more, until they are written as a whole. */
  readonly #unreadable = new Set<number>();
  /** Order of the sync that last wrote a page to the platter. */
  readonly #durableOrder = new Map<number, number>();

  /** Pages in the cache that are not holes. */
  get pageCount(): number {
    return this.#cached.size;
  }

  /** @throws OperatingError 'io' at a latent error of the platter */
  read(target: Uint8Array, at: number, length: number, position: number): number {
    const count = Math.max(0, Math.min(length, this.size - position));
    if (count > 0) this.#checkReadable(position, count, false);
    let done = 0;
    while (done < count) {
      const from = (position + done) % PAGE_BYTES;
      const piece = Math.min(PAGE_BYTES - from, count - done);
      const page = this.#cached.get(Math.floor((position + done) / PAGE_BYTES)) ?? ZERO_PAGE;
      target.set(page.subarray(from, from + piece), at + done);
      done += piece;
    }
    return count;
  }

  /** How many pages that are holes now a write of this range would fill, at most. */
  newPages(position: number, length: number): number {
    let count = 0;
    const last = Math.floor((position + length - 1) / PAGE_BYTES);
    for (let page = Math.floor(position / PAGE_BYTES); page <= last; page += 1) {
      if (!this.#cached.has(page)) count += 1;
    }
    return count;
  }

  /** @throws OperatingError 'io' when a page that can not be read is written in part */
  write(bytes: Uint8Array, position: number): void {
    if (bytes.length > 0) this.#checkReadable(position, bytes.length, true);
    let done = 0;
    while (done < bytes.length) {
      const number = Math.floor((position + done) / PAGE_BYTES);
      const from = (position + done) % PAGE_BYTES;
      const piece = bytes.subarray(done, done + PAGE_BYTES - from);
      if (piece.length !== PAGE_BYTES) {
        const page = this.#copyOf(number);
        page.set(piece, from);
        this.#put(number, page);
      } else if (isZeroes(piece)) this.#put(number, ZERO_PAGE);
      else this.#put(number, piece.slice());
      done += piece.length;
    }
    this.size = Math.max(this.size, position + bytes.length);
  }

  truncate(size: number): void {
    if (size < this.size) {
      const keep = Math.ceil(size / PAGE_BYTES);
      for (const number of [...this.#cached.keys()]) {
        if (number >= keep) this.#makeHole(number);
      }
      if (size % PAGE_BYTES !== 0 && this.#cached.has(keep - 1)) {
        const page = this.#copyOf(keep - 1);
        page.fill(0, size % PAGE_BYTES);
        this.#put(keep - 1, page);
      }
    }
    this.size = size;
  }

  /** Whole pages become holes; the size stays. */
  punch(position: number, length: number): void {
    const last = Math.floor((position + length) / PAGE_BYTES) - 1;
    for (let number = Math.ceil(position / PAGE_BYTES); number <= last; number += 1) {
      if (this.#cached.has(number)) this.#makeHole(number);
    }
  }

  freeze(): FrozenFile {
    const pages = new Map<number, Uint8Array>();
    for (const number of this.#dirty.keys())
      pages.set(number, this.#cached.get(number) ?? ZERO_PAGE);
    this.#freezes += 1;
    return { pages, size: this.size, order: this.#freezes };
  }

  makeDurable(frozen: FrozenFile): void {
    for (const [number, page] of frozen.pages) {
      if ((this.#durableOrder.get(number) ?? 0) > frozen.order) continue;
      this.#durableOrder.set(number, frozen.order);
      this.#durable.set(number, page);
      const forms = this.#dirty.get(number) ?? [];
      forms.splice(0, forms.lastIndexOf(page) + 1);
      if ((this.#cached.get(number) ?? ZERO_PAGE) === page) this.#dirty.delete(number);
    }
    if (this.#durableSizeOrder > frozen.order) return;
    this.#durableSizeOrder = frozen.order;
    this.#durableSize = frozen.size;
  }

  /** Keeps what was synced and, per 512-byte sector, what a draw keeps of the rest: the newest form or an earlier one. */
  losePower(random: SimRandom, keep: number): void {
    for (const number of [...this.#dirty.keys()].sort((a, b) => a - b)) {
      const torn = (this.#durable.get(number) ?? ZERO_PAGE).slice();
      const forms = [...(this.#dirty.get(number) ?? []), this.#cached.get(number) ?? ZERO_PAGE];
      for (let at = 0; at < PAGE_BYTES; at += TEAR_BYTES) {
        const isNewest = random.chance(keep);
        if (!isNewest && !random.chance(keep / 2)) continue;
        const form = isNewest ? (forms.at(-1) as Uint8Array) : random.pick(forms);
        torn.set(form.subarray(at, at + TEAR_BYTES), at);
      }
      this.#durable.set(number, torn);
    }
    if (this.size !== this.#durableSize && random.chance(keep)) this.#durableSize = this.size;
    this.#dirty.clear();
    this.size = this.#durableSize;
    for (const number of [...this.#durable.keys()]) {
      if (number * PAGE_BYTES >= this.size) this.#durable.delete(number);
    }
    this.#cached = new Map(this.#durable);
  }

  /** Turns one bit, in the cache and on the platter. */
  rot(position: number, bit: number): void {
    const number = Math.floor(position / PAGE_BYTES);
    for (const pages of [this.#cached, this.#durable]) {
      const page = (pages.get(number) ?? ZERO_PAGE).slice();
      page[position % PAGE_BYTES] = (page[position % PAGE_BYTES] as number) ^ (1 << bit);
      pages.set(number, page);
    }
  }

  /** The page that holds this byte can not be read from now on, until it is written as a whole. */
  makeUnreadable(position: number): void {
    this.#unreadable.add(Math.floor(position / PAGE_BYTES));
  }

  /** A file of its own with the same bytes, all of them durable: what a copy of the disk holds. */
  copy(): FileInode {
    const copy = new FileInode();
    copy.size = this.size;
    copy.#durableSize = this.size;
    copy.#cached = new Map(this.#cached);
    copy.#durable = new Map(this.#cached);
    return copy;
  }

  /** The pages of a range; those that a write covers wholly are good again. */
  #checkReadable(position: number, length: number, isWrite: boolean): void {
    if (this.#unreadable.size === 0) return;
    const end = position + length;
    for (let number = Math.floor(position / PAGE_BYTES); number * PAGE_BYTES < end; number += 1) {
      if (!this.#unreadable.has(number)) continue;
      const isWhole = number * PAGE_BYTES >= position && (number + 1) * PAGE_BYTES <= end;
      if (!isWrite || !isWhole) {
        throw new OperatingError('io', `byte ${number * PAGE_BYTES} can not be read (latent)`);
      }
      this.#unreadable.delete(number);
    }
  }

  #makeHole(number: number): void {
    this.#cached.delete(number);
    this.#unreadable.delete(number);
    this.#note(number, ZERO_PAGE);
  }

  #note(number: number, page: Uint8Array): void {
    const forms = this.#dirty.get(number);
    if (forms === undefined) this.#dirty.set(number, [page]);
    else if (forms.push(page) > MAX_FORMS) forms.shift();
  }

  #copyOf(number: number): Uint8Array {
    return (this.#cached.get(number) ?? ZERO_PAGE).slice();
  }

  #put(number: number, page: Uint8Array): void {
    const kept = isZeroes(page) ? ZERO_PAGE : page;
    this.#cached.set(number, kept);
    this.#note(number, kept);
  }
}

function isZeroes(page: Uint8Array): boolean {
  return page === ZERO_PAGE || (page[0] === 0 && Buffer.compare(page, ZERO_PAGE) === 0);
}

/** A folder: names as the cache has them, and as the platter has them. */
export class FolderInode {
  readonly kind = 'folder';
  entries = new Map<string, Inode>();
  durable = new Map<string, Inode>();

  losePower(): void {
    this.entries = new Map(this.durable);
  }

  /** A folder of its own with copies of all that is in it, all of it durable. */
  copy(): FolderInode {
    const copy = new FolderInode();
    for (const [name, inode] of this.entries) copy.entries.set(name, inode.copy());
    copy.durable = new Map(copy.entries);
    return copy;
  }
}
