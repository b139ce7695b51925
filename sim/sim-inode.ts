// A file and a folder of a simulated disk. Every page exists as the page cache has it, as the platter has it, and, while
// it is not synced, in the forms that it had in between: any of them may be what a power loss leaves, sector by sector.
// The bytes of a page are never changed: a write makes new ones, so a sync in flight keeps what it saw when it was called.

import { OperatingError } from '../src/core/errors.ts';
import { givePage, PAGE_BYTES, takePage } from './sim-bytes.ts';
import type { SimRandom } from './sim-random.ts';

export { PAGE_BYTES };

/** What a platter writes at once: a power loss tears between such pieces. */
const TEAR_BYTES = 512;
/** Forms of a page since its last sync that are remembered; the oldest go first. */
const MAX_FORMS = 8;
const ZERO_PAGE = new Uint8Array(PAGE_BYTES);
const NO_FORMS: readonly Uint8Array[] = [];

export type Inode = FileInode | FolderInode;

/** One page of a file. */
interface Page {
  /** Undefined = a hole. */
  cached: Uint8Array | undefined;
  durable: Uint8Array | undefined;
  /** While the platter does not have it: its forms since the last sync, oldest first. */
  forms: Uint8Array[] | undefined;
  /** Order of the sync that last wrote it to the platter. */
  durableOrder: number;
}

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
  readonly #pages = new Map<number, Page>();
  /** Pages that the platter does not have yet. */
  readonly #dirty = new Map<number, Page>();
  /** Pages that the platter can not read any more, until they are written as a whole. */
  readonly #unreadable = new Set<number>();
  #cachedCount = 0;
  #durableSize = 0;
  #durableSizeOrder = 0;
  #freezes = 0;
  /** Another file may have some of the same pages. */
  #isShared = false;

  /** Pages in the cache that are not holes. */
  get pageCount(): number {
    return this.#cachedCount;
  }

  /** @throws OperatingError 'io' at a latent error of the platter */
  read(target: Uint8Array, at: number, length: number, position: number): number {
    const count = Math.max(0, Math.min(length, this.size - position));
    if (count > 0) this.#checkReadable(position, count, false);
    let done = 0;
    while (done < count) {
      const from = (position + done) % PAGE_BYTES;
      const piece = Math.min(PAGE_BYTES - from, count - done);
      const page = this.#pages.get(Math.floor((position + done) / PAGE_BYTES))?.cached;
      if (page === undefined || page === ZERO_PAGE) target.fill(0, at + done, at + done + piece);
      else target.set(piece === PAGE_BYTES ? page : page.subarray(from, from + piece), at + done);
      done += piece;
    }
    return count;
  }

  /** How many pages that are holes now a write of this range would fill, at most. */
  newPages(position: number, length: number): number {
    let count = 0;
    const last = Math.floor((position + length - 1) / PAGE_BYTES);
    for (let page = Math.floor(position / PAGE_BYTES); page <= last; page += 1) {
      if (this.#pages.get(page)?.cached === undefined) count += 1;
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
      const page = this.#pageOf(number);
      if (piece.length !== PAGE_BYTES) this.#put(number, page, changed(page.cached, piece, from));
      else this.#put(number, page, isZeroes(piece) ? ZERO_PAGE : copied(piece));
      done += piece.length;
    }
    this.size = Math.max(this.size, position + bytes.length);
  }

  truncate(size: number): void {
    if (size < this.size) {
      const keep = Math.ceil(size / PAGE_BYTES);
      for (const [number, page] of this.#pages) {
        if (number >= keep) this.#makeHole(number, page);
      }
      const last = this.#pages.get(keep - 1);
      if (size % PAGE_BYTES !== 0 && last?.cached !== undefined) {
        const bytes = copied(last.cached);
        bytes.fill(0, size % PAGE_BYTES);
        this.#put(keep - 1, last, bytes);
      }
    }
    this.size = size;
  }

  /** Whole pages become holes; the size stays. */
  punch(position: number, length: number): void {
    const last = Math.floor((position + length) / PAGE_BYTES) - 1;
    for (let number = Math.ceil(position / PAGE_BYTES); number <= last; number += 1) {
      const page = this.#pages.get(number);
      if (page !== undefined) this.#makeHole(number, page);
    }
  }

  freeze(): FrozenFile {
    const pages = new Map<number, Uint8Array>();
    for (const [number, page] of this.#dirty) pages.set(number, page.cached ?? ZERO_PAGE);
    this.#freezes += 1;
    return { pages, size: this.size, order: this.#freezes };
  }

  makeDurable(frozen: FrozenFile): void {
    for (const [number, bytes] of frozen.pages) {
      const page = this.#pageOf(number);
      if (page.durableOrder > frozen.order) continue;
      const before = page.durable;
      page.durableOrder = frozen.order;
      page.durable = bytes;
      if ((page.cached ?? ZERO_PAGE) === bytes) {
        this.#forget(page, before);
        this.#dirty.delete(number);
      } else page.forms?.splice(0, page.forms.lastIndexOf(bytes) + 1);
    }
    if (this.#durableSizeOrder > frozen.order) return;
    this.#durableSizeOrder = frozen.order;
    this.#durableSize = frozen.size;
  }

  /** A page is clean: its other forms are of the past. Syncs that saw them are older, and change nothing any more. */
  #forget(page: Page, before: Uint8Array | undefined): void {
    if (!this.#isShared) {
      if (before !== undefined && isOver(before, page)) givePage(before);
      for (const form of page.forms ?? NO_FORMS) if (isOver(form, page)) givePage(form);
    }
    page.forms = undefined;
  }

  /** Keeps what was synced and, per 512-byte sector, what a draw keeps of the rest: the newest form or an earlier one. */
  losePower(random: SimRandom, keep: number): void {
    for (const [number, page] of [...this.#dirty].sort(([a], [b]) => a - b)) {
      const torn = copied(page.durable ?? ZERO_PAGE);
      const forms = [...(page.forms ?? NO_FORMS), page.cached ?? ZERO_PAGE];
      for (let at = 0; at < PAGE_BYTES; at += TEAR_BYTES) {
        const isNewest = random.chance(keep);
        if (!isNewest && !random.chance(keep / 2)) continue;
        const form = isNewest ? (forms.at(-1) as Uint8Array) : random.pick(forms);
        torn.set(form.subarray(at, at + TEAR_BYTES), at);
      }
      page.durable = torn;
      page.forms = undefined;
      this.#pages.set(number, page);
    }
    if (this.size !== this.#durableSize && random.chance(keep)) this.#durableSize = this.size;
    this.#dirty.clear();
    this.size = this.#durableSize;
    this.#cachedCount = 0;
    for (const [number, page] of this.#pages) {
      if (number * PAGE_BYTES >= this.size) page.durable = undefined;
      page.cached = page.durable;
      if (page.cached !== undefined) this.#cachedCount += 1;
    }
  }

  /** Turns one bit, in the cache and on the platter. */
  rot(position: number, bit: number): void {
    const page = this.#pageOf(Math.floor(position / PAGE_BYTES));
    if (page.cached === undefined) this.#cachedCount += 1;
    page.cached = rotten(page.cached, position % PAGE_BYTES, bit);
    page.durable = rotten(page.durable, position % PAGE_BYTES, bit);
  }

  /** The page that holds this byte can not be read from now on, until it is written as a whole. */
  makeUnreadable(position: number): void {
    this.#unreadable.add(Math.floor(position / PAGE_BYTES));
  }

  /** A file of its own with the same bytes, all of them durable: what a copy of the disk holds. */
  copy(): FileInode {
    const copy = new FileInode();
    this.#isShared = true;
    copy.#isShared = true;
    copy.size = this.size;
    copy.#durableSize = this.size;
    for (const [number, { cached }] of this.#pages) {
      if (cached === undefined) continue;
      copy.#pages.set(number, { cached, durable: cached, forms: undefined, durableOrder: 0 });
      copy.#cachedCount += 1;
    }
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

  #pageOf(number: number): Page {
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = { cached: undefined, durable: undefined, forms: undefined, durableOrder: 0 };
      this.#pages.set(number, page);
    }
    return page;
  }

  #makeHole(number: number, page: Page): void {
    if (page.cached === undefined) return;
    page.cached = undefined;
    this.#cachedCount -= 1;
    this.#unreadable.delete(number);
    this.#note(number, page, ZERO_PAGE);
  }

  #put(number: number, page: Page, bytes: Uint8Array): void {
    if (page.cached === undefined) this.#cachedCount += 1;
    page.cached = isZeroes(bytes) ? ZERO_PAGE : bytes;
    this.#note(number, page, page.cached);
  }

  #note(number: number, page: Page, bytes: Uint8Array): void {
    if (page.forms === undefined) {
      page.forms = [bytes];
      this.#dirty.set(number, page);
    } else if (page.forms.push(bytes) > MAX_FORMS) page.forms.shift();
  }
}

function isOver(bytes: Uint8Array, page: Page): boolean {
  return bytes !== ZERO_PAGE && bytes !== page.durable && bytes !== page.cached;
}

function isZeroes(page: Uint8Array): boolean {
  return page === ZERO_PAGE || (page[0] === 0 && Buffer.compare(page, ZERO_PAGE) === 0);
}

function copied(bytes: Uint8Array): Uint8Array {
  const copy = takePage();
  copy.set(bytes);
  return copy;
}

/** The page with a piece of it written anew. */
function changed(page: Uint8Array | undefined, piece: Uint8Array, from: number): Uint8Array {
  const bytes = copied(page ?? ZERO_PAGE);
  bytes.set(piece, from);
  return bytes;
}

function rotten(page: Uint8Array | undefined, at: number, bit: number): Uint8Array {
  const bytes = copied(page ?? ZERO_PAGE);
  bytes[at] = (bytes[at] as number) ^ (1 << bit);
  return bytes;
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
