// A world of one process that can lose its power: a clock, a random source and a disk in memory, all driven by `run`.
// The disk keeps what was synced; of the rest a crash keeps a drawn part, per 512-byte sector and per name. A rename is
// atomic. Everything is drawn from one seed. `crashAt` stops the world at an exact disk operation; `beforeOperation` and
// `powerLossFork` show what every single one would leave: pages are immutable and shared, so a fork costs little.

import { OperatingError } from '../../src/core/errors.ts';
import type { Clock, Disk, DiskFile, Random, TimerHandle, Trace } from '../../src/ports/ports.ts';

const PAGE = 4096;
const SECTOR = 512;
const MAX_HOLE_PAGES = 4096;

/** mulberry32: small, seeded, good enough to choose. */
export class SeededRandom implements Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }
  below(n: number): number {
    return this.u32() % n;
  }
  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.u32() & 0xff);
  }
  fork(label: string): SeededRandom {
    let h = this.u32();
    for (const c of label) h = Math.imul(h ^ c.charCodeAt(0), 0x01000193);
    return new SeededRandom(h);
  }
}

/** Thrown out of the operation at which the power goes. */
export class PowerLoss extends Error {}

interface Write {
  readonly position: number;
  readonly bytes: Uint8Array | undefined;
  readonly truncate: boolean;
}

class Inode {
  now = new Map<number, Uint8Array>();
  size = 0;
  durable = new Map<number, Uint8Array>();
  durableSize = 0;
  writes: Write[] = [];
}

type NameChange =
  | { readonly kind: 'add'; readonly path: string; readonly inode: Inode }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string; readonly inode: Inode };

const ZERO_PAGE = new Uint8Array(PAGE);

/** A whole page of zeroes at `at`: as good as a hole. */
function isZero(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0 && Buffer.compare(bytes.subarray(at, at + PAGE), ZERO_PAGE) === 0;
}

/** Pages are never changed: forks and the two states of a file share them. */
function put(pages: Map<number, Uint8Array>, position: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    const number = Math.floor((position + at) / PAGE);
    const inPage = (position + at) % PAGE;
    const length = Math.min(PAGE - inPage, bytes.length - at);
    const page = length === PAGE ? undefined : pages.get(number);
    if (length === PAGE && isZero(bytes, at)) {
      pages.delete(number);
      at += length;
      continue;
    }
    const next = page === undefined ? new Uint8Array(PAGE) : page.slice();
    next.set(bytes.subarray(at, at + length), inPage);
    pages.set(number, next);
    at += length;
  }
}

/** Bytes from `position` to the next page that is not a hole; at most MAX_HOLE_PAGES pages. */
function holeBytes(pages: ReadonlyMap<number, Uint8Array>, position: number): number {
  const first = Math.floor(position / PAGE);
  let end = first + 1;
  while (end < first + MAX_HOLE_PAGES && !pages.has(end)) end += 1;
  return end * PAGE - position;
}

/** Copies what a file holds; holes are zeroes. Returns `count`. */
function readPages(
  inode: Inode,
  target: Uint8Array,
  at: number,
  count: number,
  position: number,
): number {
  for (let i = 0; i < count; ) {
    const inPage = (position + i) % PAGE;
    const page = inode.now.get(Math.floor((position + i) / PAGE));
    if (page === undefined) {
      const end = Math.min(count, i + holeBytes(inode.now, position + i));
      target.fill(0, at + i, at + end);
      i = end;
      continue;
    }
    const part = Math.min(PAGE - inPage, count - i);
    target.set(page.subarray(inPage, inPage + part), at + i);
    i += part;
  }
  return count;
}

function cut(pages: Map<number, Uint8Array>, size: number): void {
  for (const [number, page] of pages) {
    if (number * PAGE >= size) pages.delete(number);
    else if ((number + 1) * PAGE > size)
      pages.set(number, page.slice().fill(0, size - number * PAGE));
  }
}

/** Sorted names by folder; '' is the top. */
function listingOf(paths: readonly string[]): Map<string, string[]> {
  const folders = new Map<string, Set<string>>();
  for (const path of paths) {
    const parts = path.split('/');
    for (let i = 0; i < parts.length; i += 1) {
      const folder = parts.slice(0, i).join('/');
      const name = parts[i] as string;
      if (name !== '') folders.set(folder, (folders.get(folder) ?? new Set()).add(name));
    }
  }
  return new Map([...folders].map(([folder, names]) => [folder, [...names].sort()]));
}

function folderOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}

export class CrashWorld {
  readonly random: SeededRandom;
  readonly warnings: string[] = [];
  readonly counts = new Map<string, number>();
  freeBytes = 2 ** 40;
  /** Disk operations so far, over all lives. */
  operations = 0;
  /** The operation at which the power goes. */
  crashAt = Number.POSITIVE_INFINITY;
  #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  #nameChanges: NameChange[] = [];
  #folders = new Set<string>(['']);
  #life = 0;
  #nowMs = 0;
  #tasks: (() => void)[] = [];
  #timers: { readonly at: number; readonly fn: () => void; readonly handle: TimerHandle }[] = [];
  isDead = false;
  /** Called before each disk operation, while nothing of it is done. */
  beforeOperation: () => void = () => undefined;
  /** Names by folder, made anew after a change of names. */
  #listing: Map<string, string[]> | undefined;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  get life(): number {
    return this.#life;
  }

  // ------------------------------------------------------------------------------------------ running

  /** Runs until `isDone`, or nothing is left to do, or the power is gone. */
  async runUntil(isDone: () => boolean): Promise<void> {
    while (!isDone() && !this.isDead) {
      if (this.#tasks.length === 0) await new Promise((resolve) => setImmediate(resolve));
      if (isDone() || this.isDead || !this.step()) return;
    }
  }

  /** One task. Tasks run in order, but for completions of the disk, which may pass each other. */
  step(): boolean {
    if (this.#tasks.length === 0 && !this.#fireTimer()) return false;
    const task = this.#tasks.shift();
    try {
      task?.();
    } catch (error) {
      if (!(error instanceof PowerLoss)) throw error;
    }
    return true;
  }

  #fireTimer(): boolean {
    this.#timers.sort((a, b) => a.at - b.at);
    const timer = this.#timers.shift();
    if (timer === undefined) return false;
    this.#nowMs = Math.max(this.#nowMs, timer.at);
    this.#tasks.push(timer.fn);
    return true;
  }

  #later(fn: () => void): void {
    const life = this.#life;
    this.#tasks.push(() => {
      if (life === this.#life && !this.isDead) fn();
    });
  }

  // ------------------------------------------------------------------------------------------ ports

  clock(): Clock {
    const life = this.#life;
    return {
      now: () => this.#nowMs,
      date: () => this.#nowMs,
      soon: (fn) => this.#later(fn),
      setTimer: (ms, fn) => {
        const handle = {} as TimerHandle;
        const guarded = (): void => {
          if (life === this.#life) fn();
        };
        this.#timers.push({ at: this.#nowMs + ms, fn: guarded, handle });
        return handle;
      },
      clearTimer: (handle) => {
        this.#timers = this.#timers.filter((timer) => timer.handle !== handle);
      },
    };
  }

  trace(): Trace {
    return {
      event: () => undefined,
      warn: (name, fields) => this.warnings.push(`${name} ${JSON.stringify(fields)}`),
      count: (name, by = 1) => this.counts.set(name, (this.counts.get(name) ?? 0) + by),
    };
  }

  disk(): Disk {
    const complete = (done: (error: Error | undefined) => void, effect: () => void): void => {
      const life = this.#life;
      this.#tick();
      this.#later(() => {
        if (life !== this.#life) return;
        this.#tick();
        effect();
        done(undefined);
      });
    };
    return {
      open: (path, { create }) => this.#open(path, create, complete),
      makeFolder: (path) => {
        const parts = path.split('/');
        this.#listing = undefined;
        for (let i = 1; i <= parts.length; i += 1) this.#folders.add(parts.slice(0, i).join('/'));
      },
      list: (path) => {
        this.#check();
        this.#listing ??= listingOf([...this.#names.keys(), ...this.#folders]);
        return this.#listing.get(path) ?? [];
      },
      rename: (from, to) => {
        this.#tick();
        const inode = this.#names.get(from);
        if (inode === undefined) throw new OperatingError('io', `rename ${from}: absent`);
        this.#listing = undefined;
        this.#apply(this.#names, { kind: 'rename', from, to, inode });
        this.#nameChanges.push({ kind: 'rename', from, to, inode });
      },
      remove: (path) => {
        this.#tick();
        if (!this.#names.delete(path)) return;
        this.#listing = undefined;
        this.#nameChanges.push({ kind: 'remove', path });
      },
      syncFolder: (path, done) => {
        const seen = new Set(this.#nameChanges);
        complete(done, () => this.#syncNames(path, seen));
      },
      // Here no sync fails: the world ends instead.
      onSyncFailed: () => {},
      space: () => ({ totalBytes: 2 ** 41, freeBytes: this.freeBytes }),
    };
  }

  #open(
    path: string,
    create: boolean,
    complete: (done: (error: Error | undefined) => void, effect: () => void) => void,
  ): DiskFile | undefined {
    this.#check();
    let inode = this.#names.get(path);
    if (inode === undefined) {
      if (!create) return undefined;
      if (!this.#folders.has(folderOf(path))) throw new OperatingError('io', `open ${path}`);
      this.#tick();
      inode = new Inode();
      this.#listing = undefined;
      this.#names.set(path, inode);
      this.#nameChanges.push({ kind: 'add', path, inode });
    }
    return this.#fileOf(inode, complete);
  }

  #fileOf(
    inode: Inode,
    complete: (done: (error: Error | undefined) => void, effect: () => void) => void,
  ): DiskFile {
    let isOpen = true;
    const check = (): void => {
      if (!isOpen) throw new TypeError('the file is closed');
      this.#check();
    };
    const readSync: DiskFile['readSync'] = (target, at, length, position) => {
      check();
      const count = Math.max(0, Math.min(length, inode.size - position));
      return readPages(inode, target, at, count, position);
    };
    const writeSync = (bytes: Uint8Array, position: number): void => {
      check();
      this.#tick();
      put(inode.now, position, bytes);
      inode.size = Math.max(inode.size, position + bytes.length);
      inode.writes.push({ position, bytes: bytes.slice(), truncate: false });
    };
    return {
      readSync,
      read: (target, at, length, position, done) => {
        check();
        this.#later(() => {
          if (!isOpen) throw new TypeError('closed while a read was in flight');
          done(undefined, readSync(target, at, length, position));
        });
      },
      writeSync,
      writevSync: (pieces, position) => writeSync(Buffer.concat(pieces), position),
      writeBulk: (bytes, position, done) => {
        check();
        this.#later(() => {
          if (isOpen) writeSync(bytes, position);
          done(undefined);
        });
      },
      punch: (position, length) => {
        const count = Math.min(length, inode.size - position);
        if (count > 0) writeSync(new Uint8Array(count), position);
        return length > 0;
      },
      sizeSync: () => inode.size,
      truncateSync: (bytes) => {
        check();
        this.#tick();
        cut(inode.now, bytes);
        inode.size = bytes;
        inode.writes.push({ position: bytes, bytes: undefined, truncate: true });
      },
      sync: (done) => {
        check();
        const count = inode.writes.length;
        const batch = inode.writes.slice(0, count);
        complete(done, () => {
          if (!isOpen) throw new TypeError('closed while a sync was in flight');
          for (const write of batch) this.#harden(inode, write);
          inode.writes = inode.writes.filter((write) => !batch.includes(write));
        });
      },
      close: () => {
        isOpen = false;
      },
    };
  }

  // ------------------------------------------------------------------------------------------ power

  /** The power goes now: nothing of this life runs again; the disk keeps what was synced and a drawn part. */
  crash(keepPercent = this.random.below(101)): void {
    this.isDead = true;
    const keeps = (): boolean => this.random.below(100) < keepPercent;
    const inodes = new Set([...this.#names.values(), ...this.#durableNames.values()]);
    for (const change of this.#nameChanges) if (keeps()) this.#apply(this.#durableNames, change);
    this.#nameChanges = [];
    for (const inode of inodes) {
      for (const write of inode.writes) this.#tear(inode, write, keeps);
      inode.writes = [];
      inode.now = new Map(inode.durable);
      inode.size = inode.durableSize;
    }
    this.#names = new Map(this.#durableNames);
    this.#listing = undefined;
  }

  /**
   * A world of its own in which the power went at this moment and came back: the disk keeps what was synced and a part of
   * the rest that `seed` draws. This world goes on undisturbed.
   */
  powerLossFork(seed: number): CrashWorld {
    const fork = new CrashWorld(seed);
    const copies = new Map<Inode, Inode>();
    const copyOf = (inode: Inode): Inode => {
      let copy = copies.get(inode);
      if (copy === undefined) {
        copy = new Inode();
        copy.durable = new Map(inode.durable);
        copy.durableSize = inode.durableSize;
        copy.writes = inode.writes;
        copies.set(inode, copy);
      }
      return copy;
    };
    for (const [path, inode] of this.#names) fork.#names.set(path, copyOf(inode));
    for (const [path, inode] of this.#durableNames) fork.#durableNames.set(path, copyOf(inode));
    fork.#nameChanges = this.#nameChanges.map((change) =>
      change.kind === 'remove' ? change : { ...change, inode: copyOf(change.inode) },
    );
    fork.#folders = new Set(this.#folders);
    fork.#life = this.#life;
    fork.crash();
    fork.restart();
    return fork;
  }

  /** A new life on what the disk kept. */
  restart(): void {
    this.#life += 1;
    this.#tasks = [];
    this.#timers = [];
    this.isDead = false;
    this.crashAt = Number.POSITIVE_INFINITY;
  }

  /** Changes bytes of a file behind everybody's back. */
  damage(path: string, position: number, change: (byte: number) => number): void {
    const inode = this.#names.get(path);
    if (inode === undefined) throw new TypeError(`no file ${path}`);
    for (const pages of [inode.now, inode.durable]) {
      const page = pages.get(Math.floor(position / PAGE));
      const old = page?.[position % PAGE] ?? 0;
      put(pages, position, Uint8Array.of(change(old)));
    }
  }

  paths(): string[] {
    return [...this.#names.keys()].sort();
  }

  removeFile(path: string): void {
    this.#listing = undefined;
    this.#names.delete(path);
    this.#durableNames.delete(path);
  }

  #harden(inode: Inode, write: Write): void {
    if (write.bytes === undefined) {
      cut(inode.durable, write.position);
      inode.durableSize = write.position;
      return;
    }
    put(inode.durable, write.position, write.bytes);
    inode.durableSize = Math.max(inode.durableSize, write.position + write.bytes.length);
  }

  #tear(inode: Inode, write: Write, keeps: () => boolean): void {
    if (write.bytes === undefined) {
      if (keeps()) this.#harden(inode, write);
      return;
    }
    for (let at = 0; at < write.bytes.length; ) {
      const length = Math.min(SECTOR - ((write.position + at) % SECTOR), write.bytes.length - at);
      const bytes = write.bytes.subarray(at, at + length);
      if (keeps()) this.#harden(inode, { position: write.position + at, bytes, truncate: false });
      at += length;
    }
  }

  #syncNames(folder: string, seen: ReadonlySet<NameChange>): void {
    // A change is durable with the sync of either folder it touches, and so are the earlier ones of the same names.
    const chosen = new Set<NameChange>();
    const paths = new Set<string>();
    for (const change of [...this.#nameChanges].reverse()) {
      const touched = change.kind === 'rename' ? [change.from, change.to] : [change.path];
      const isHere = seen.has(change) && touched.some((path) => folderOf(path) === folder);
      if (!isHere && !touched.some((path) => paths.has(path))) continue;
      chosen.add(change);
      for (const path of touched) paths.add(path);
    }
    for (const change of this.#nameChanges) {
      if (chosen.has(change)) this.#apply(this.#durableNames, change);
    }
    this.#nameChanges = this.#nameChanges.filter((change) => !chosen.has(change));
  }

  #apply(names: Map<string, Inode>, change: NameChange): void {
    if (change.kind === 'remove') names.delete(change.path);
    else if (change.kind === 'add') names.set(change.path, change.inode);
    else {
      names.delete(change.from);
      names.set(change.to, change.inode);
    }
  }

  #check(): void {
    if (this.isDead) throw new PowerLoss('the power is gone');
  }

  #tick(): void {
    this.#check();
    this.beforeOperation();
    this.operations += 1;
    if (this.operations < this.crashAt) return;
    this.crash();
    throw new PowerLoss('the power goes');
  }
}
