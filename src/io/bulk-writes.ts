// Long writes of bulk copies, through the thread pool and past the page cache of the system (O_DIRECT): a page of the cache
// costs several times what the disk does, nobody reads a new copy soon, and what guests read stays cached. Bytes go by way
// of a few buffers that begin where the system wants them in memory. Node tells no address: the first write of a
// buffer finds the place by trying. Where a file system has no such way, the same writes go through the cache.

import * as fs from 'node:fs';
import { invariant } from '../core/invariant.ts';
import { MIB } from '../core/units.ts';

/** Bulk writes on their way to the disk; more wait. Each holds a thread of the pool and a buffer. */
export const MAX_BULK_WRITES = 4;
/** Position and length of a bulk write are multiples of this; no system asks for more of memory. */
export const BULK_ALIGN_BYTES = 4096;
/** One bulk write has no more bytes. */
export const MAX_BULK_BYTES = MIB;
/** Memory from an allocator begins at a multiple of this. */
const PLACE_STEP_BYTES = 16;

type Written = (error: NodeJS.ErrnoException | null) => void;

interface Job {
  readonly file: BulkFile;
  readonly bytes: Uint8Array;
  readonly position: number;
  readonly done: Written;
}

/** Memory for one write. `at`: where its aligned part begins; tried from 0 on until a write succeeded. */
interface Place {
  readonly memory: Uint8Array;
  at: number;
}

/** The bulk writes of one disk. */
export class BulkWrites {
  readonly #spare: Place[] = [];
  readonly #waiting: Job[] = [];
  #underWay = 0;
  #isDirect = true;

  /** `bytes` are kept by reference until `done`. How many wait is bounded by the caller. */
  write(job: Job): void {
    const { bytes, position } = job;
    const isAligned = position % BULK_ALIGN_BYTES === 0 && bytes.length % BULK_ALIGN_BYTES === 0;
    invariant(isAligned && bytes.length <= MAX_BULK_BYTES, 'whole pages, at most 1 MiB');
    this.#waiting.push(job);
    this.#start();
  }

  #start(): void {
    while (this.#underWay < MAX_BULK_WRITES) {
      const job = this.#waiting.shift();
      if (job === undefined) return;
      this.#underWay += 1;
      const { file, bytes, position, done } = job;
      const ended: Written = (error) => {
        this.#underWay -= 1;
        done(error);
        this.#start();
      };
      const fd = this.#isDirect ? file.direct() : undefined;
      if (fd === undefined) {
        this.#isDirect = false;
        writeAll(file.fd, bytes, 0, position, ended);
      } else this.#writeDirect(fd, this.#spare.pop() ?? newPlace(), job, ended);
    }
  }

  #writeDirect(fd: number, place: Place, job: Job, ended: Written): void {
    const { file, bytes, position } = job;
    const { memory, at } = place;
    memory.set(bytes, at);
    fs.write(fd, memory, at, bytes.length, position, (error, count) => {
      if (error?.code === 'EINVAL') {
        place.at += PLACE_STEP_BYTES;
        if (place.at < BULK_ALIGN_BYTES) return this.#writeDirect(fd, place, job, ended);
        // Not for want of alignment: this file system takes none of it.
        this.#isDirect = false;
        writeAll(file.fd, bytes, 0, position, ended);
        return;
      }
      this.#spare.push(place);
      if (error !== null || count === bytes.length) return ended(error);
      // The rest, through the cache: it says what is wrong.
      writeAll(file.fd, bytes, count, position + count, ended);
    });
  }
}

function newPlace(): Place {
  return { memory: Buffer.allocUnsafeSlow(MAX_BULK_BYTES + BULK_ALIGN_BYTES), at: 0 };
}

function writeAll(fd: number, bytes: Uint8Array, from: number, at: number, ended: Written): void {
  fs.write(fd, bytes, from, bytes.length - from, at, (error, count) => {
    if (error !== null || from + count === bytes.length) return ended(error);
    writeAll(fd, bytes, from + count, at + count, ended);
  });
}

/** The descriptors of one file: that of its owner, and one past the cache while bulk writes come. Closed by `close` only. */
export class BulkFile {
  readonly fd: number;
  #direct: number | undefined;
  #writing = 0;
  #isClosing = false;

  constructor(fd: number) {
    this.fd = fd;
  }

  /** Undefined where the system has no such way. */
  direct(): number | undefined {
    if (this.#direct === undefined) {
      try {
        const flags = fs.constants.O_WRONLY | fs.constants.O_DIRECT;
        this.#direct = fs.openSync(`/proc/self/fd/${this.fd}`, flags);
      } catch {
        return undefined;
      }
    }
    return this.#direct;
  }

  /** Counts a write: the descriptors, whose numbers the system gives to others, stay until it has ended. */
  begin(): void {
    this.#writing += 1;
  }

  end(): void {
    this.#writing -= 1;
    if (this.#writing === 0 && this.#isClosing) this.close();
  }

  /** No bulk write comes soon. */
  rest(): void {
    if (this.#writing > 0 || this.#direct === undefined) return;
    fs.closeSync(this.#direct);
    this.#direct = undefined;
  }

  close(): void {
    this.#isClosing = true;
    if (this.#writing > 0) return;
    this.rest();
    fs.closeSync(this.fd);
  }
}
