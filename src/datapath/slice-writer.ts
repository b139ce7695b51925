// Changes of one object at a time: holds the range from before its edges are read until the change is done (R2), widens
// what the guest wrote to whole sectors, sums it, and hands it to the writer of replicas. Its caller holds the lock.

import { sumsOf } from '../core/checksum.ts';
import { type Slice, widenToSectors } from '../core/extent.ts';
import { SECTOR_BYTES } from '../core/units.ts';
import type { Clock } from '../ports/ports.ts';
import type { Closer } from './closer.ts';
import { partDone, startJob } from './job.ts';
import { type Mirror, onBoth } from './mirror.ts';
import { lossOfPath, type PathCell } from './path-cell.ts';
import type { RangeTicket } from './range-lock.ts';
import type { ReplicaReader } from './read-replica.ts';
import type { Change, ObjectPipe, PipeTable } from './version-pipe.ts';
import type { Done } from './volume-session.ts';
import { noSpace, type ReplicaWriter } from './write-replicas.ts';
import { type ZeroHooks, type ZeroRange, zeroRange } from './zero-range.ts';

const NO_BYTES = new Uint8Array(0);

/** Bytes for one slice, and whether they must be durable before they are acknowledged (FUA). */
export interface SliceData {
  readonly bytes: Uint8Array;
  readonly isForced: boolean;
}

export interface SliceWriterParts {
  readonly clock: Clock;
  readonly open: PathCell;
  readonly pipes: PipeTable;
  readonly reader: ReplicaReader;
  readonly writer: ReplicaWriter;
  readonly closer: Closer;
  /** What each change goes to as well, if anything (S8). */
  readonly mirror: () => Mirror | undefined;
}

export class SliceWriter {
  readonly #clock: Clock;
  readonly #open: PathCell;
  readonly #pipes: PipeTable;
  readonly #reader: ReplicaReader;
  readonly #writer: ReplicaWriter;
  readonly #closer: Closer;
  readonly #mirror: () => Mirror | undefined;

  constructor({ clock, open, pipes, reader, writer, closer, mirror }: SliceWriterParts) {
    this.#clock = clock;
    this.#open = open;
    this.#pipes = pipes;
    this.#reader = reader;
    this.#writer = writer;
    this.#closer = closer;
    this.#mirror = mirror;
  }

  /** Bytes inside of one object; sectors that they cover in part are read first. */
  write(slice: Slice, { bytes: data, isForced }: SliceData, done: Done): void {
    const range = widenToSectors(slice.offset, slice.length);
    this.#withRange(slice.index, range, done, (pipe, finish, early) => {
      const isWhole = range.offset === slice.offset && range.count === slice.length;
      const write = (whole: Uint8Array): void =>
        this.#submitWrite(pipe, range.offset, { bytes: whole, isForced }, { done: finish, early });
      if (isWhole) return write(data);
      const bytes = new Uint8Array(range.count);
      this.#readEdges(pipe, slice, bytes, (error) => {
        if (error !== undefined) return finish(error);
        bytes.set(data, slice.offset - range.offset);
        write(bytes);
      });
    });
  }

  /**
   * What shows there is written once more, all of it, zeroes too: then it is the head's own, and has its space on each copy.
   * Under the range from before it is read on: a guest's write comes before or after.
   */
  rewrite(slice: Slice, done: Done): void {
    const { offset, count } = widenToSectors(slice.offset, slice.length);
    this.#withRange(slice.index, { offset, count }, done, (pipe, finish, early) => {
      const bytes = new Uint8Array(count);
      this.#reader.read({ pipe, offset, count, target: bytes, at: 0 }, (error) => {
        if (error !== undefined) return finish(error);
        this.#submitWrite(pipe, offset, { bytes, isForced: false }, { done: finish, early });
      });
    });
  }

  /** Reads the first and the last sector of a widened range where the guest's bytes do not cover them. */
  #readEdges(pipe: ObjectPipe, slice: Slice, bytes: Uint8Array, done: Done): void {
    const range = widenToSectors(slice.offset, slice.length);
    const end = slice.offset + slice.length;
    const last = range.offset + range.count - SECTOR_BYTES;
    const edges: number[] = [];
    if (slice.offset > range.offset) edges.push(range.offset);
    if (end < range.offset + range.count && !edges.includes(last)) edges.push(last);
    const job = startJob(edges.length, done);
    for (const offset of edges) {
      const at = offset - range.offset;
      this.#reader.read({ pipe, offset, count: SECTOR_BYTES, target: bytes, at }, (error) =>
        partDone(job, error),
      );
    }
  }

  #submitWrite(
    pipe: ObjectPipe,
    offset: number,
    what: SliceData,
    answers: Pick<Change, 'done' | 'early'>,
  ): void {
    const { bytes: data, isForced } = what;
    const sums = sumsOf(this.#open.volume.head, pipe.index, offset, data);
    const bytes = { data, sums, isForced };
    this.#submit(pipe, { kind: 'write', offset, count: data.length, ...bytes, ...answers });
  }

  #submit(pipe: ObjectPipe, change: Change): void {
    this.#closer.forget(pipe.index);
    const mirror = this.#mirror();
    // Both must show the same afterwards: the copy owns other regions than the head.
    const both =
      mirror === undefined ? change : onBoth(mirror, pipe.index, { ...change, isTrim: false });
    this.#writer.submit(pipe, both);
  }

  /** Holds the range for a writer from before its edges are read until it is done. */
  #withRange(
    index: number,
    range: { readonly offset: number; readonly count: number },
    done: Done,
    fn: (pipe: ObjectPipe, finish: Done, early: Done) => void,
  ): void {
    const pipe = this.#pipes.get(index);
    // Before the range: one that a hanging write holds would make this one hang, too (R2).
    const bar = this.#writer.lossOf(pipe) ?? (pipe.isHanging ? noSpace() : undefined);
    if (bar !== undefined) {
      done(bar);
      return;
    }
    let isAnswered = false;
    const early: Done = (error) => {
      if (isAnswered) return;
      isAnswered = true;
      done(error);
    };
    pipe.ranges.acquire(
      { ...range, isExclusive: true },
      (ticket: RangeTicket) => {
        const finish: Done = (error) => {
          pipe.ranges.release(ticket);
          early(error);
        };
        if (!this.#open.isHeld) return finish(lossOfPath(this.#open));
        fn(pipe, finish, early);
      },
      () => {
        if (!this.#open.isHeld) early(lossOfPath(this.#open));
        else early(this.#writer.lossOf(pipe) ?? noSpace());
      },
    );
  }

  /** Zeroes, or trims, of any range. */
  zero(range: ZeroRange, isForced: boolean, finish: Done): void {
    const hooks: ZeroHooks = {
      writeEdge: (slice, done) => {
        this.write(slice, { bytes: new Uint8Array(slice.length), isForced }, done);
      },
      zeroSectors: (index, whole, done) => {
        this.#zeroSectors(index, { ...whole, isForced, isTrim: range.keepsEdges }, done);
      },
      soon: (fn) => this.#clock.soon(fn),
    };
    zeroRange(hooks, range, finish);
  }

  /** Zeroes whole sectors of one object. */
  zeroSectors(
    index: number,
    range: { readonly offset: number; readonly count: number },
    isForced: boolean,
    done: Done,
  ): void {
    this.#zeroSectors(index, { ...range, isForced, isTrim: false }, done);
  }

  #zeroSectors(
    index: number,
    zeroes: Pick<Change, 'offset' | 'count' | 'isForced' | 'isTrim'>,
    done: Done,
  ): void {
    this.#withRange(index, zeroes, done, (pipe, ended, early) => {
      const bytes = { data: NO_BYTES, sums: NO_BYTES };
      this.#submit(pipe, { kind: 'zero', ...zeroes, ...bytes, done: ended, early });
    });
  }
}
