// A session of a frozen generation: what a guest that reads a snapshot feels (S3). It takes no lock and carries no token;
// objects that a dead holder left half written are made equal by its touch like by anybody's, and never change after that.
// Everything but reading is refused. It ends when the generation is deleted.

import { OperatingError } from '../core/errors.ts';
import { slicesOf } from '../core/extent.ts';
import type { FencingToken, GenerationId } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import { OBJECT_BYTES } from '../core/units.ts';
import type { ClusterView, Volume } from '../core/view.ts';
import { lookUpAllocation } from './allocation.ts';
import { readOnlyError } from './attach-rules.ts';
import type { Parts } from './context.ts';
import { partDone, startJob } from './job.ts';
import { PathCell, type SessionCell } from './path-cell.ts';
import { ownTarget, withinMs } from './patience.ts';
import { VolumePath } from './volume-path.ts';
import type { AllocationDone, AllocationExtent, Done, VolumeSession } from './volume-session.ts';

/** Requests of all connections in flight; one more is answered 'busy'. */
export const MAX_FROZEN_REQUESTS = 4096;

/** Where a session of nobody's lock stands. */
class FrozenCell implements SessionCell {
  readonly token = 0 as FencingToken;
  readonly tookOver = false;
  error: OperatingError | undefined;

  get isHeld(): boolean {
    return this.error === undefined;
  }

  lost(reason: OperatingError | string): void {
    this.error ??= typeof reason === 'string' ? new OperatingError('gone', reason) : reason;
  }
}

export class FrozenSession implements VolumeSession {
  readonly volume: Volume;
  readonly #parts: Parts;
  readonly #cell = new FrozenCell();
  readonly #path: VolumePath;
  readonly #stopWatching: () => void;
  readonly #onEnded: () => void;
  #connections = 0;
  #inFlight = 0;

  /** @param volume the layer as a volume of its own */
  constructor(parts: Parts, volume: Volume, onEnded: () => void) {
    this.#parts = parts;
    this.volume = volume;
    this.#onEnded = onEnded;
    const cell = new PathCell(parts, this.#cell, volume, (error) => this.#lost(error));
    this.#path = new VolumePath(parts, cell, () => undefined);
    this.#path.reconciler.touchAll();
    this.#stopWatching = parts.views.onChange((view) => this.#viewChanged(view));
  }

  get generation(): GenerationId {
    return this.volume.head;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get isUsable(): boolean {
    return this.#cell.isHeld;
  }

  connect(): void {
    this.#connections += 1;
  }

  disconnect(): Promise<void> {
    this.#connections -= 1;
    invariant(this.#connections >= 0, 'every connection ends once');
    if (this.#connections === 0) this.#lost(new OperatingError('shutting-down', 'nobody reads it'));
    return Promise.resolve();
  }

  tryRead(offset: number, length: number, target: Uint8Array, at: number): boolean {
    if (!this.#cell.isHeld || offset < 0) return false;
    const inObject = offset % OBJECT_BYTES;
    if (offset + length > this.volume.sizeBytes || inObject + length > OBJECT_BYTES) return false;
    const pipe = this.#path.pipes.get((offset - inObject) / OBJECT_BYTES);
    if (!this.#path.reconciler.isTouched(pipe.p)) return false;
    return this.#path.reader.tryLocal(pipe, inObject, length, target, at);
  }

  read(offset: number, length: number, target: Uint8Array, at: number, done: Done): void {
    const own = ownTarget(this.volume.ioTimeoutMs, { target, at, length }, done);
    const finish = this.#admit(offset, length, own.done);
    if (finish === undefined) return;
    const slices = slicesOf(offset, length);
    const job = startJob(slices.length, finish);
    for (const slice of slices) {
      const pipe = this.#path.pipes.get(slice.index);
      const place = { offset: slice.offset, count: slice.length };
      const one = { pipe, ...place, target: own.target, at: own.at + slice.at };
      this.#path.reader.read(one, (error) => partDone(job, error));
    }
  }

  allocation(offset: number, length: number, done: AllocationDone): void {
    let found: readonly AllocationExtent[] = [{ length, isAllocated: true }];
    const finish = this.#admit(offset, 0, (error) => done(error, error === undefined ? found : []));
    if (finish === undefined) return;
    lookUpAllocation(this.#parts, this.#path, { offset, length }, (extents) => {
      found = extents;
      finish(this.#cell.error);
    });
  }

  write(_offset: number, _data: Uint8Array, done: Done): void {
    done(readOnlyError(this.volume));
  }

  writeZeroes(_offset: number, _length: number, done: Done): void {
    done(readOnlyError(this.volume));
  }

  trim(_offset: number, _length: number, done: Done): void {
    done(readOnlyError(this.volume));
  }

  /** Nothing was written. */
  flush(done: Done): void {
    done(this.#cell.error);
  }

  #admit(offset: number, length: number, done: Done): Done | undefined {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.volume.sizeBytes)) {
      done(new OperatingError('usage', 'the request lies beyond the end of the snapshot'));
      return undefined;
    }
    const isBusy = this.#inFlight >= MAX_FROZEN_REQUESTS;
    const busy = new OperatingError('busy', 'too many requests in flight', { advice: 'retry' });
    const bar = this.#cell.error ?? (isBusy ? busy : undefined);
    if (bar !== undefined) {
      done(bar);
      return undefined;
    }
    this.#inFlight += 1;
    const answer = withinMs(this.#parts.clock, this.volume.ioTimeoutMs, done);
    return (error) => {
      this.#inFlight -= 1;
      answer(error);
    };
  }

  #viewChanged(view: ClusterView): void {
    if (!this.#cell.isHeld) return;
    if (view.generations.get(this.generation)?.state === 'frozen') {
      this.#path.viewChanged(view);
      return;
    }
    this.#lost(
      new OperatingError('gone', `snapshot ${this.volume.name} was deleted by an operator`),
    );
  }

  #lost(error: OperatingError): void {
    if (!this.#cell.isHeld) return;
    this.#cell.lost(error);
    this.#stopWatching();
    this.#path.lost();
    this.#onEnded();
  }
}
