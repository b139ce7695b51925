// A world of one process that can lose its power: a clock, a random source and a disk in memory, all driven by `run`.
// The disk keeps what was synced; of the rest a crash keeps a drawn part, per 512-byte sector and per name. A rename is
// atomic. Everything is drawn from one seed. `crashAt` stops the world at an exact disk operation.

import { OperatingError } from '../../src/core/errors.ts';
import type { Clock, Disk, DiskFile, Random, TimerHandle, Trace } from '../../src/ports/ports.ts';

const PAGE = 4096;
const SECTOR = 512;

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

function put(pages: Map<number, Uint8Array>, position: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    const number = Math.floor((position + at) / PAGE);
    const inPage = (position + at) % PAGE;
    const length = Math.min(PAGE - inPage, bytes.length - at);
    let page = pages.get(number);
    if (page === undefined) {
      page = new Uint8Array(PAGE);
      pages.set(number, page);
    }
    page.set(bytes.subarray(at, at + length), inPage);
    at += length;
  }
}

function cut(pages: Map<number, Uint8Array>, size: number): void {
  for (const [number, page] of pages) {
    if (number * PAGE >= size) pages.delete(number);
    else if ((number + 1) * PAGE > size) page.fill(0, size - number * PAGE);
  }
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
        for (let i = 1; i <= parts.length; i += 1) this.#folders.add(parts.slice(0, i).join('/'));
      },
      list: (path) => {
        this.#check();
        const prefix = path === '' ? '' : `${path}/`;
        const all = [...this.#names.keys(), ...this.#folders];
        const names = all
          .filter((name) => name !== '' && name.startsWith(prefix))
          .map((name) => name.slice(prefix.length).split('/')[0] as string);
        return [...new Set(names)].filter((name) => name !== '').sort();
      },
      rename: (from, to) => {
        this.#tick();
        const inode = this.#names.get(from);
        if (inode === undefined) throw new OperatingError('io', `rename ${from}: absent`);
        this.#apply(this.#names, { kind: 'rename', from, to, inode });
        this.#nameChanges.push({ kind: 'rename', from, to, inode });
      },
      remove: (path) => {
        this.#tick();
        if (!this.#names.delete(path)) return;
        this.#nameChanges.push({ kind: 'remove', path });
      },
      syncFolder: (path, done) => {
        const seen = new Set(this.#nameChanges);
        complete(done, () => this.#syncNames(path, seen));
      },
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
      for (let i = 0; i < count; ) {
        const inPage = (position + i) % PAGE;
        const part = Math.min(PAGE - inPage, count - i);
        const page = inode.now.get(Math.floor((position + i) / PAGE));
        if (page === undefined) target.fill(0, at + i, at + i + part);
        else target.set(page.subarray(inPage, inPage + part), at + i);
        i += part;
      }
      return count;
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
      punch: (position, length) => {
        const end = Math.min(position + length, inode.size);
        if (end > position) writeSync(new Uint8Array(end - position), position);
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
      inode.now = new Map([...inode.durable].map(([number, page]) => [number, page.slice()]));
      inode.size = inode.durableSize;
    }
    this.#names = new Map(this.#durableNames);
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
    this.operations += 1;
    if (this.operations < this.crashAt) return;
    this.crash();
    throw new PowerLoss('the power goes');
  }
}
