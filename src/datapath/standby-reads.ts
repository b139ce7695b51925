// Reads and flushes of a session beside a live holder: asked again and again until that one has answered, or until the lock
// came to this session meanwhile: then it serves them itself (3.2).

import { OperatingError } from '../core/errors.ts';
import { slicesOf } from '../core/extent.ts';
import { OBJECT_BYTES } from '../core/units.ts';
import type { Parts } from './context.ts';
import { partDone, startJob } from './job.ts';
import type { LockWait } from './lock-wait.ts';
import type { OpenVolume } from './open-volume.ts';
import { flushAtHolder, readFromHolder, type StandbySlice } from './standby.ts';
import type { Done } from './volume-session.ts';

/** Pause before a standby asks again. */
export const STANDBY_RETRY_MS = 50;

/** Bytes of the volume, and where they are to go. */
export interface BytesWanted {
  readonly offset: number;
  readonly length: number;
  readonly target: Uint8Array;
  readonly at: number;
  readonly done: Done;
}

export class StandbyReads {
  readonly #parts: Parts;
  readonly #open: OpenVolume;
  readonly #lock: LockWait;
  readonly #readHeld: (wanted: BytesWanted) => void;

  /** @param readHeld reads as the holder */
  constructor(
    parts: Parts,
    open: OpenVolume,
    lock: LockWait,
    readHeld: (wanted: BytesWanted) => void,
  ) {
    this.#parts = parts;
    this.#open = open;
    this.#lock = lock;
    this.#readHeld = readHeld;
  }

  read({ offset, length, target, at, done }: BytesWanted): void {
    const slices = slicesOf(offset, length);
    const job = startJob(slices.length, done);
    for (const slice of slices) {
      this.#slice(slice, target, at + slice.at, (error) => partDone(job, error));
    }
  }

  #slice(slice: StandbySlice, target: Uint8Array, at: number, done: Done): void {
    const { index, length } = slice;
    this.#lock.whenJudged(() => {
      if (this.#open.state === 'held') {
        const offset = index * OBJECT_BYTES + slice.offset;
        this.#readHeld({ offset, length, target, at, done });
        return;
      }
      readFromHolder(this.#parts, this.#open, slice, (found) => {
        if (found instanceof OperatingError) return done(found);
        if (found !== undefined) {
          target.set(found, at);
          done(undefined);
          return;
        }
        const again = (): void => this.#slice(slice, target, at, done);
        this.#parts.clock.setTimer(STANDBY_RETRY_MS, again);
      });
    }, done);
  }

  /** One try; `again` after a pause when it came to nothing. */
  flush(done: Done, again: () => void): void {
    flushAtHolder(this.#parts, this.#open, (isDone) => {
      if (isDone) done(undefined);
      else this.#parts.clock.setTimer(STANDBY_RETRY_MS, again);
    });
  }
}
