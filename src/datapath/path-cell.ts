// One generation of a volume as its session works on it: the head, or what a move copies the head into (S8). All paths of a
// session share its lock and its token; each may end by itself: the head's when the volume has moved, the copy's when the
// move was given up. What works on blocks sees this cell, never the session.

import { OperatingError } from '../core/errors.ts';
import type { FencingToken } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { Volume } from '../core/view.ts';
import type { Parts } from './context.ts';
import { OpenVolume } from './open-volume.ts';

/** This path is over and the session goes on: whoever gets it asks the session again, which knows the way. */
export const PATH_OVER = new OperatingError('changed', 'the volume has moved', { advice: 'retry' });

/** What a path needs of its session: one that holds a lock, or one that reads what nobody can change. */
export type SessionCell = Pick<OpenVolume, 'isHeld' | 'token' | 'tookOver' | 'error' | 'lost'>;

/** This path is over for its token is: the log gave the session the next one (a hand-over was cancelled). */
export const PATH_RENEWED = new OperatingError('changed', 'the lock was granted again', {
  advice: 'retry',
});

/** True where the session is to be asked again. */
export function isPathOver(error: OperatingError | undefined): boolean {
  return error === PATH_OVER || error === PATH_RENEWED;
}

type CellParts = Pick<Parts, 'lock' | 'readCurrent'>;

export class PathCell {
  /** The record as it was when the path began, with the head, family and policy that the path works on. */
  readonly volume: Volume;
  /** Of the grant that this path began under: a path never goes on under another one. */
  readonly token: FencingToken;
  readonly tookOver: boolean;
  readonly #parts: CellParts;
  readonly #open: OpenVolume | SessionCell;
  /** Told of what ends this path alone, while it is not the head's. */
  #onTrouble: ((error: OperatingError) => void) | undefined;
  #end: OperatingError | undefined;
  #isDoubted = false;

  constructor(
    parts: CellParts,
    open: OpenVolume | SessionCell,
    volume: Volume,
    onTrouble?: (error: OperatingError) => void,
  ) {
    this.#parts = parts;
    this.#open = open;
    this.volume = volume;
    this.#onTrouble = onTrouble;
    this.token = open.token;
    this.tookOver = open.tookOver;
  }

  get isHeld(): boolean {
    return this.#open.isHeld && this.#end === undefined;
  }

  /** Why nothing goes on here. */
  get error(): OperatingError | undefined {
    return this.#open.error ?? this.#end;
  }

  get isOver(): boolean {
    return this.#end !== undefined;
  }

  /**
   * A replica knows a newer token: the session is over, with all its paths. Unless it is its own: a hand-over was cancelled,
   * and this node has not heard of it. So the map is caught up first; it ends this path then, and not the session.
   */
  fenced(): void {
    if (this.#isDoubted) return;
    this.#isDoubted = true;
    this.#parts.readCurrent(() => {
      if (this.#end === undefined) this.#open.lost('a replica knows a newer token of this volume');
    });
  }

  /** What this path works on can not be used any more. The lock goes back, so that the next session has a new token. */
  giveUp(error: OperatingError): void {
    if (this.#onTrouble !== undefined) {
      this.#onTrouble(error);
      return;
    }
    invariant(this.#open instanceof OpenVolume, 'who gives up has a lock to give back');
    this.#parts.lock.drained(this.#open);
    this.#open.lost(error);
  }

  /** From here on this is the head's path. */
  becomeHead(): void {
    this.#onTrouble = undefined;
  }

  /** The path is over. Its parts are told by `VolumePath.retire`. */
  end(why: OperatingError): void {
    this.#end ??= why;
  }
}

/** Why nothing of this path goes on. */
export function lossOfPath(cell: Pick<PathCell, 'error'>): OperatingError {
  return cell.error ?? new OperatingError('fenced', 'the lock is not held');
}
