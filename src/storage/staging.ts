// A copy of an object in the making: a file under incoming/ that nobody sees. `commit` writes its sums and makes file and
// name durable; the store then journals a `replace` record and renames the file over the object, unless that was not there
// and the file has its name already. What a crash leaves in incoming/ without a record is removed at the next start.

import { getSum } from '../core/checksum.ts';
import { OperatingError } from '../core/errors.ts';
import { invariant } from '../core/invariant.ts';
import { KIB, OBJECT_BYTES, SECTOR_BYTES } from '../core/units.ts';
import type { Disk, DiskFile } from '../ports/ports.ts';
import { asOperatingError } from './disk-errors.ts';
import { INCOMING_FOLDER, objectFolder, objectPath, stagedPath } from './layout.ts';
import { setSums, writeBulkData, writeData, writeSlot } from './object-file.ts';
import { emptyPage, ObjectState } from './object-state.ts';
import type { ObjectImage, StagedObject, StoreDone } from './store-types.ts';

/** First sums slot of a staged file. */
export const STAGED_SLOT = 1;
/** Shorter runs of sectors are written at once, and through the cache. */
export const MIN_BULK_BYTES = 64 * KIB;

export interface StagingParts {
  readonly disk: Disk;
  /** The state that the object will have: fields of the image, path of the staged file. */
  readonly state: ObjectState;
  readonly stagedId: Uint8Array;
  /** True while nothing else has the object's name, so that the copy may take it before its record. */
  readonly isNameFree: () => boolean;
  /** The copy is durable under its staged name, or the object's own (or needs no file): make it the object. */
  readonly accept: (staging: Staging, done: StoreDone) => void;
  readonly onEnd: () => void;
  /** Runs `start` when the disk may sync one more copy; it calls `release` once. */
  readonly whenSync: (start: (release: () => void) => void) => void;
}

/** The state that a copy with this image will have. */
export function stagedState(image: ObjectImage): ObjectState {
  const state = new ObjectState(image);
  state.verToken = image.version.token;
  state.verCount = image.version.count;
  state.kind = image.kind;
  state.ownLow = image.ownLow;
  state.ownHigh = image.ownHigh;
  state.closed = image.closed;
  state.openLow = image.openLow;
  state.openHigh = image.openHigh;
  return state;
}

export class Staging implements StagedObject {
  readonly #parts: StagingParts;
  readonly page = emptyPage();
  #file: DiskFile | undefined;
  #failure: OperatingError | undefined;
  #isOver = false;
  /** Bulk writes on their way. */
  #writing = 0;
  #whenWritten: (() => void) | undefined;
  /** The file has the object's name already. */
  hasName = false;

  constructor(parts: StagingParts) {
    this.#parts = parts;
  }

  get state(): ObjectState {
    return this.#parts.state;
  }

  get stagedId(): Uint8Array {
    return this.#parts.stagedId;
  }

  writeSectors(offset: number, sums: Uint8Array, data: Uint8Array, done?: () => void): void {
    invariant(!this.#isOver, 'a staging is not over');
    const sectors = sums.length / 4;
    const end = offset + sectors * SECTOR_BYTES;
    invariant(offset % SECTOR_BYTES === 0 && end <= OBJECT_BYTES, 'the range lies in the object');
    setSums(this.page, offset, sectors * SECTOR_BYTES, sums);
    if (this.#failure !== undefined || this.state.kind === 'zero') {
      done?.();
      return;
    }
    this.#writing += 1;
    // One for this call: it ends once, after all of its runs began.
    let left = 1;
    const ended = (): void => {
      left -= 1;
      if (left > 0) return;
      this.#writing -= 1;
      done?.();
      if (this.#writing === 0) this.#whenWritten?.();
    };
    try {
      this.#writeRuns(offset, sums, data, (at, bytes) => {
        left += 1;
        writeBulkData(this.#open(), at, bytes, (error) => {
          if (error !== undefined) this.#failure ??= asOperatingError(error);
          ended();
        });
      });
    } catch (error) {
      this.#failure ??= asOperatingError(error);
    }
    ended();
  }

  commit(done: StoreDone): void {
    invariant(!this.#isOver, 'a staging is not over');
    this.#isOver = true;
    if (this.#writing > 0) this.#whenWritten = () => this.#commit(done);
    else this.#commit(done);
  }

  #commit(done: StoreDone): void {
    const { disk, state, accept } = this.#parts;
    if (this.#failure !== undefined) {
      this.#fail(this.#failure, done);
      return;
    }
    if (state.kind === 'zero') {
      this.#parts.onEnd();
      accept(this, done);
      return;
    }
    this.#parts.whenSync((release) => {
      const ended = (error: unknown): void => {
        release();
        if (error !== undefined) {
          this.#fail(asOperatingError(error), done);
          return;
        }
        this.#parts.onEnd();
        accept(this, done);
      };
      try {
        const file = this.#open();
        writeSlot(file, state, this.page, STAGED_SLOT);
        const folder = this.#takeName();
        const both = lastOf(2, ended);
        file.sync(both);
        disk.syncFolder(folder, both);
      } catch (error) {
        ended(error);
      }
    });
  }

  /**
   * A copy of an object that is not there gets its final name before it is synced: one commit of the file system makes
   * both durable, and applying its record is no rename for which later records would wait. Without a record nobody knows
   * the file. Returns the folder that has its name.
   */
  #takeName(): string {
    const { disk, state, isNameFree } = this.#parts;
    if (!isNameFree()) return INCOMING_FOLDER;
    const target = objectPath(state.generation, state.index);
    const other = disk.open(target, { create: false });
    if (other !== undefined) {
      // Of a copy that a crash left without a record.
      other.close();
      return INCOMING_FOLDER;
    }
    disk.rename(state.path, target);
    state.path = target;
    this.hasName = true;
    return objectFolder(state.generation, state.index);
  }

  abort(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.discard();
    this.#parts.onEnd();
  }

  /** Hands over the open file. */
  takeFile(): DiskFile {
    const file = this.#open();
    this.#file = undefined;
    return file;
  }

  /** Removes the file; a failure to do so leaves it for the next start. */
  discard(): void {
    const file = this.#file;
    this.#file = undefined;
    if (file === undefined) return;
    try {
      file.close();
      // The name may be of a file that somebody made meanwhile.
      const isOthers = this.hasName && !this.#parts.isNameFree();
      if (!isOthers) this.#parts.disk.remove(this.state.path);
    } catch (error) {
      this.#failure ??= asOperatingError(error);
    }
  }

  #fail(error: OperatingError, done: StoreDone): void {
    this.discard();
    this.#parts.onEnd();
    done(error);
  }

  #open(): DiskFile {
    if (this.#file === undefined) {
      const { disk, state, stagedId } = this.#parts;
      state.path = stagedPath(state.generation, state.index, stagedId);
      const file = disk.open(state.path, { create: true });
      if (file === undefined) throw new OperatingError('io', `can not make ${state.path}`);
      this.#file = file;
    }
    return this.#file;
  }

  /** Writes each run of sectors that have data; the long ones by `bulk`. */
  #writeRuns(
    offset: number,
    sums: Uint8Array,
    data: Uint8Array,
    bulk: (at: number, bytes: Uint8Array) => void,
  ): void {
    const sectors = sums.length / 4;
    let taken = 0;
    for (let i = 0; i < sectors; ) {
      if (getSum(sums, i) === 0) {
        i += 1;
        continue;
      }
      let end = i + 1;
      while (end < sectors && getSum(sums, end) !== 0) end += 1;
      const bytes = (end - i) * SECTOR_BYTES;
      invariant(taken + bytes <= data.length, 'data holds every sector that has a sum');
      const run = data.subarray(taken, taken + bytes);
      if (bytes >= MIN_BULK_BYTES) bulk(offset + i * SECTOR_BYTES, run);
      else writeData(this.#open(), offset + i * SECTOR_BYTES, run);
      taken += bytes;
      i = end;
    }
    invariant(taken === data.length, 'data holds only sectors that have a sum');
  }
}

/** Called so many times, it calls `done` once: with the first error, if there was one. */
function lastOf(count: number, done: (error: unknown) => void): (error: unknown) => void {
  let left = count;
  let first: unknown;
  return (error) => {
    first ??= error;
    left -= 1;
    if (left === 0) done(first);
  };
}
