// A file and a folder of a simulated disk. Every page exists twice: as the page cache has it, and as the platter has
// it. Pages are immutable arrays: a write makes a new one, so a sync in flight keeps what it saw when it was called.

import type { SimRandom } from './sim-random.ts';

export const PAGE_BYTES = 4096;
/** What a platter writes at once: a power loss tears between such pieces. */
const TEAR_BYTES = 512;
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
  readonly #dirty = new Set<number>();
  /** Order of the sync that last wrote a page to the platter. */
  readonly #durableOrder = new Map<number, number>();

  /** Pages in the cache that are not holes. */
  get pageCount(): number {
    return this.#cached.size;
  }

  read(target: Uint8Array, at: number, length: number, position: number): number {
    const count = Math.max(0, Math.min(length, this.size - position));
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

  write(bytes: Uint8Array, position: number): void {
    let done = 0;
    while (done < bytes.length) {
      const number = Math.floor((position + done) / PAGE_BYTES);
      const from = (position + done) % PAGE_BYTES;
      const piece = bytes.subarray(done, done + PAGE_BYTES - from);
      const page = piece.length === PAGE_BYTES ? piece.slice() : this.#copyOf(number);
      if (piece.length !== PAGE_BYTES) page.set(piece, from);
      this.#put(number, page);
      done += piece.length;
    }
    this.size = Math.max(this.size, position + bytes.length);
  }

  truncate(size: number): void {
    if (size < this.size) {
      const keep = Math.ceil(size / PAGE_BYTES);
      for (const number of [...this.#cached.keys()]) {
        if (number < keep) continue;
        this.#cached.delete(number);
        this.#dirty.add(number);
      }
      if (size % PAGE_BYTES !== 0 && this.#cached.has(keep - 1)) {
        const page = this.#copyOf(keep - 1);
        page.fill(0, size % PAGE_BYTES);
        this.#put(keep - 1, page);
      }
    }
    this.size = size;
  }

  freeze(): FrozenFile {
    const pages = new Map<number, Uint8Array>();
    for (const number of this.#dirty) pages.set(number, this.#cached.get(number) ?? ZERO_PAGE);
    this.#freezes += 1;
    return { pages, size: this.size, order: this.#freezes };
  }

  makeDurable(frozen: FrozenFile): void {
    for (const [number, page] of frozen.pages) {
      if ((this.#durableOrder.get(number) ?? 0) > frozen.order) continue;
      this.#durableOrder.set(number, frozen.order);
      this.#durable.set(number, page);
      if ((this.#cached.get(number) ?? ZERO_PAGE) === page) this.#dirty.delete(number);
    }
    if (this.#durableSizeOrder > frozen.order) return;
    this.#durableSizeOrder = frozen.order;
    this.#durableSize = frozen.size;
  }

  /** Keeps what was synced and, per 512-byte sector, what a draw keeps of the rest. */
  losePower(random: SimRandom, keep: number): void {
    for (const number of [...this.#dirty].sort((a, b) => a - b)) {
      const torn = (this.#durable.get(number) ?? ZERO_PAGE).slice();
      const page = this.#cached.get(number) ?? ZERO_PAGE;
      for (let at = 0; at < PAGE_BYTES; at += TEAR_BYTES) {
        if (random.chance(keep)) torn.set(page.subarray(at, at + TEAR_BYTES), at);
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

  #copyOf(number: number): Uint8Array {
    return (this.#cached.get(number) ?? ZERO_PAGE).slice();
  }

  #put(number: number, page: Uint8Array): void {
    const isZero = page[0] === 0 && Buffer.compare(page, ZERO_PAGE) === 0;
    this.#cached.set(number, isZero ? ZERO_PAGE : page);
    this.#dirty.add(number);
  }
}

/** A folder: names as the cache has them, and as the platter has them. */
export class FolderInode {
  readonly kind = 'folder';
  entries = new Map<string, Inode>();
  durable = new Map<string, Inode>();

  losePower(): void {
    this.entries = new Map(this.durable);
  }
}
