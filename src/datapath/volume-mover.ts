// The move of one volume to another policy, at the session that holds its lock (S8). The log says into which generation the
// head is copied; from then on each change goes to both, and the guest hears of it when both have it. Once all is copied,
// and durable, the log is asked to make the copy the head; this session goes on with it then.
//
//   waiting ──nothing bars it──▶ counting ──▶ copying ──all is there──▶ finishing ──volumeMove is applied──▶ the head's path
//      ▲                            │            │                        │
//      └── the copy is dropped ◀────┴────────────┘   a fresh generation ◀─┘ (only the log may drop it then)
//
// A copy that does not answer, has no room, or lost what it had, must not hurt the guest: it is dropped, the head's word is
// enough again, and the log is asked for a fresh generation later. Not so once `volumeMove` was proposed: it may be decided
// already. Then guests wait until the log says which of the two it was.

import { backoffMs } from '../core/backoff.ts';
import type { OperatingError } from '../core/errors.ts';
import type { EntryBody } from '../core/log-entry.ts';
import { MoveProgress, type MoveStage, type MoveStatus } from '../core/move-progress.ts';
import type { ClusterView, VolumeMove } from '../core/view.ts';
import { copyBar, twinOf } from '../core/volume-move.ts';
import type { TimerHandle } from '../ports/ports.ts';
import type { Parts } from './context.ts';
import type { Mirror, Mirrored } from './mirror.ts';
import type { OpenVolume } from './open-volume.ts';
import { PathCell } from './path-cell.ts';
import type { Change } from './version-pipe.ts';
import { VolumeCopier } from './volume-copier.ts';
import { VolumePath } from './volume-path.ts';

/** A change that the copy does not take in this time is answered by the head alone, and the copy is dropped. */
export const COPY_PATIENCE_MS = 8000;
/** How often the oldest change is looked at. */
export const PATIENCE_LOOK_MS = 500;
/** Pause before a dropped copy is begun anew; doubles up to the maximum. */
export const RESTART_MIN_MS = 1000;
export const RESTART_MAX_MS = 60_000;
/** What the log was asked for and has not decided is asked for again after this. */
export const MOVE_ASK_MS = 1000;

export interface MoverHooks {
  /** The path of the head now. */
  readonly head: () => VolumePath | undefined;
  /** The volume has moved: this is the head's path from here on. */
  readonly onMoved: (path: VolumePath) => void;
}

/** One copy, in one generation. */
interface Copy {
  readonly move: VolumeMove;
  readonly path: VolumePath;
  readonly copier: VolumeCopier;
  readonly progress: MoveProgress;
  readonly startedMs: number;
  /** All is copied: a flush of the guest is one of the copy as well. */
  isComplete: boolean;
  /** `volumeMove` may be decided. */
  isProposed: boolean;
  /** The log was asked to begin anew instead. */
  isVoiding: boolean;
  /** In order. Bounded by the session's requests. */
  readonly pending: Set<Pending>;
}

/** Somebody who waits for the copy. */
interface Pending {
  readonly sinceMs: number;
  readonly settle: (outcome: Mirrored) => void;
  /** What the copy answered while it could not be dropped: counts once it is the head. */
  error: OperatingError | undefined;
}

export class VolumeMover implements Mirror {
  readonly #parts: Parts;
  readonly #open: OpenVolume;
  readonly #hooks: MoverHooks;
  #move: VolumeMove | undefined;
  #copy: Copy | undefined;
  /** The last generation that was copied into: what was dropped is never taken up again. */
  #begun = 0;
  #failures = 0;
  #barred: { readonly placement: object; readonly members: object } | undefined;
  #stage: MoveStage = 'waiting';
  #stageMs = 0;
  #reason = '';
  #progress = new MoveProgress();
  #patience: TimerHandle | undefined;
  #restart: TimerHandle | undefined;
  #asking: TimerHandle | undefined;

  constructor(parts: Parts, open: OpenVolume, hooks: MoverHooks) {
    this.#parts = parts;
    this.#open = open;
    this.#hooks = hooks;
  }

  /** What each change of this path goes to as well; undefined while it is not copied. */
  mirrorOf(path: VolumePath): Mirror | undefined {
    return this.#copy === undefined || this.#copy.path === path ? undefined : this;
  }

  /** Undefined while the volume does not move, as far as this session knows. */
  get status(): MoveStatus | undefined {
    const move = this.#move;
    if (move === undefined) return undefined;
    return {
      volume: move.volume,
      generation: move.generation,
      stage: this.#stage,
      reason: this.#reason,
      startedMs: this.#copy?.startedMs ?? 0,
      stageMs: this.#stageMs,
      ...this.#progress.tell(this.#parts.clock.now()),
    };
  }

  /** A new view, or the grant: what of a move it says. The session holds the lock. */
  look(view: ClusterView): void {
    const move = view.moves.get(this.#open.volume.id);
    this.#move = move;
    const copy = this.#copy;
    if (copy !== undefined) {
      const head = view.volumes.get(this.#open.volume.id)?.head;
      if (head === copy.move.generation) this.#arrived(copy);
      else if (move?.generation === copy.move.generation) copy.path.viewChanged(view);
      else this.#drop('the log began it anew');
    }
    if (move === undefined) {
      this.#failures = 0;
      this.#barred = undefined;
      this.#stopTimers();
    } else if (this.#copy === undefined && move.token === this.#open.token) {
      this.#consider(view, move);
    }
  }

  /** The session is lost: with it all that it copied. */
  sessionLost(): void {
    const copy = this.#copy;
    this.#copy = undefined;
    this.#move = undefined;
    this.#stopTimers();
    copy?.copier.stop();
    copy?.path.lost();
    settleAll(copy);
  }

  // ------------------------------------------------------------------------------------------ a copy begins

  #consider(view: ClusterView, move: VolumeMove): void {
    const volume = view.volumes.get(move.volume);
    const head = this.#hooks.head();
    if (volume === undefined || head === undefined) return;
    if (move.generation <= this.#begun) {
      this.#restartLater();
      return;
    }
    // Where the map says the same of places and members as when it was barred, it is.
    const { placement, members } = view;
    const barred = this.#barred;
    if (barred?.placement === placement && barred.members === members) return;
    const twin = twinOf(volume, move);
    const bar = copyBar(view, twin);
    this.#barred = bar === undefined ? undefined : { placement, members };
    if (bar !== undefined) {
      this.#enter('waiting', bar);
      return;
    }
    this.#begin(
      move,
      head,
      new PathCell(this.#parts, this.#open, twin, (error) => {
        this.#trouble(error.message);
      }),
    );
  }

  #begin(move: VolumeMove, head: VolumePath, cell: PathCell): void {
    const { clock } = this.#parts;
    const path: VolumePath = new VolumePath(this.#parts, cell, () => this.mirrorOf(path));
    const progress = new MoveProgress();
    const copier = new VolumeCopier(
      this.#parts,
      { from: head, to: path },
      {
        onCounted: (bytes) => {
          progress.counted(bytes, clock.now());
          this.#enter('copying');
        },
        onCopied: (bytes) => progress.copied(bytes, clock.now()),
        onWaiting: (reason) => this.#enter(reason === undefined ? 'copying' : 'waiting', reason),
        onTrouble: (error) => this.#trouble(error.message),
        onDone: () => this.#complete(copy),
      },
    );
    const copy: Copy = {
      ...{ move, path, copier, progress, startedMs: clock.date() },
      ...{ isComplete: false, isProposed: false, isVoiding: false, pending: new Set<Pending>() },
    };
    this.#stopTimers();
    this.#begun = move.generation;
    this.#copy = copy;
    this.#progress = progress;
    this.#enter('counting');
    this.#lookAtPatience();
    this.#parts.trace.event('move.begun', { volume: move.volume, generation: move.generation });
    path.reconciler.touchAll();
    copier.start();
  }

  #enter(stage: MoveStage, reason = ''): void {
    const isSame = stage === this.#stage && (stage !== 'waiting' || reason === this.#reason);
    if (isSame && this.#stageMs > 0) return;
    this.#stage = stage;
    this.#stageMs = this.#parts.clock.date();
    this.#reason = reason;
  }

  // ------------------------------------------------------------------------------------------ changes go to both

  take(index: number, change: Change, done: (outcome: Mirrored) => void): void {
    const copy = this.#copy;
    if (copy === undefined) {
      done('void');
      return;
    }
    const { path } = copy;
    const { offset, count, isForced } = change;
    const end = this.#pend(copy, done);
    if (change.kind === 'zero') {
      path.slices.zeroSectors(index, { offset, count }, isForced, end);
      return;
    }
    // Its own bytes: the guest's are its own again when the head has refused them.
    const data = { bytes: change.data.slice(), isForced };
    path.slices.write({ index, offset, length: count, at: 0 }, data, end);
  }

  differs(error: OperatingError): void {
    if (this.#open.isHeld) this.#trouble(`the volume itself refused a write: ${error.message}`);
  }

  /** A flush of the guest, of what the copy has: the head's own is not enough once the copy may become the head. */
  flushBeside(done: (outcome: Mirrored) => void): void {
    const copy = this.#copy;
    if (copy?.isComplete !== true || copy.path.flusher === undefined) done('void');
    else copy.path.flusher.flush(this.#pend(copy, done));
  }

  /** What the copy answers: as long as it is only a copy, its errors are nobody's but its own. */
  #pend(
    copy: Copy,
    done: (outcome: Mirrored) => void,
  ): (error: OperatingError | undefined) => void {
    const pending: Pending = {
      sinceMs: this.#parts.clock.now(),
      settle: (outcome) => {
        if (copy.pending.delete(pending)) done(outcome);
      },
      error: undefined,
    };
    copy.pending.add(pending);
    return (error) => {
      if (error === undefined) return pending.settle('written');
      // It was dropped, and this was told so; or it is the head by now, and answers for itself.
      if (copy !== this.#copy) return pending.settle(copy.path.cell.isOver ? 'void' : error);
      pending.error = error;
      this.#trouble(error.message);
    };
  }

  #lookAtPatience(): void {
    const { clock } = this.#parts;
    this.#patience = clock.setTimer(PATIENCE_LOOK_MS, () => {
      this.#patience = undefined;
      if (this.#copy === undefined) return;
      const [pending] = this.#copy.pending;
      const now = clock.now();
      const since = Math.min(pending?.sinceMs ?? now, this.#copy.copier.oldestMs ?? now);
      if (now - since >= this.#patienceMs) this.#trouble('the new copies do not answer in time');
      if (this.#copy !== undefined) this.#lookAtPatience();
    });
  }

  /** Less than a guest may wait (3.5). */
  get #patienceMs(): number {
    const volume = this.#parts.views.current().volumes.get(this.#open.volume.id);
    const ioTimeoutMs = volume?.ioTimeoutMs ?? 0;
    return ioTimeoutMs === 0 ? COPY_PATIENCE_MS : Math.min(COPY_PATIENCE_MS, ioTimeoutMs / 2);
  }

  // ------------------------------------------------------------------------------------------ the copy is complete

  /** All of it is on all of the copy's W; of a writeback volume it must be durable there before it is the head. */
  #complete(copy: Copy): void {
    if (copy !== this.#copy) return;
    copy.isComplete = true;
    this.#enter('finishing');
    const { flusher } = copy.path;
    if (flusher === undefined) {
      this.#propose(copy);
      return;
    }
    flusher.flush((error) => {
      if (error === undefined) this.#propose(copy);
      else if (copy === this.#copy) this.#trouble(error.message);
    });
  }

  /** Again and again until the view says what became of it. */
  #propose(copy: Copy): void {
    if (copy !== this.#copy || !this.#open.isHeld) return;
    const { volume, policy, generation } = copy.move;
    const { token } = this.#open;
    copy.isProposed = true;
    const body: EntryBody = copy.isVoiding
      ? { type: 'moveStart', volume, token, policy, former: generation }
      : { type: 'volumeMove', volume, token, head: generation };
    this.#ask(body, () => this.#propose(copy));
  }

  #ask(body: EntryBody, again: () => void): void {
    const { clock } = this.#parts;
    this.#parts.propose?.(body);
    if (this.#asking !== undefined) clock.clearTimer(this.#asking);
    this.#asking = clock.setTimer(MOVE_ASK_MS, () => {
      this.#asking = undefined;
      again();
    });
  }

  #arrived(copy: Copy): void {
    this.#copy = undefined;
    this.#stopTimers();
    copy.path.cell.becomeHead();
    const { volume, generation } = copy.move;
    this.#parts.trace.event('move.done', { volume, generation });
    // The head's path first: who is told that the former one is over asks for it.
    this.#hooks.onMoved(copy.path);
    for (const pending of [...copy.pending]) {
      if (pending.error !== undefined) pending.settle(pending.error);
    }
  }

  // ------------------------------------------------------------------------------------------ the copy is dropped

  #trouble(reason: string): void {
    const copy = this.#copy;
    if (copy === undefined || !this.#open.isHeld) return;
    const { volume, generation } = copy.move;
    if (copy.isProposed) {
      if (copy.isVoiding) return;
      this.#parts.trace.warn('move.voided', { volume, generation, reason });
      copy.isVoiding = true;
      this.#propose(copy);
      return;
    }
    this.#parts.trace.warn('move.dropped', { volume, generation, reason });
    this.#drop(reason);
    this.#restartLater();
  }

  /** The copy does not count any more: the head's word is enough. */
  #drop(reason: string): void {
    const copy = this.#copy;
    this.#copy = undefined;
    this.#progress = new MoveProgress();
    this.#stopTimers();
    this.#enter('waiting', reason);
    copy?.copier.stop();
    copy?.path.retire();
    settleAll(copy);
  }

  /** A fresh generation, once nothing bars it any more. */
  #restartLater(): void {
    if (this.#restart !== undefined) return;
    const pauseMs = backoffMs(this.#failures, RESTART_MIN_MS, RESTART_MAX_MS);
    this.#failures += 1;
    this.#restart = this.#parts.clock.setTimer(pauseMs, () => {
      this.#restart = undefined;
      const view = this.#parts.views.current();
      const move = view.moves.get(this.#open.volume.id);
      if (move === undefined || this.#copy !== undefined || !this.#open.isHeld) return;
      if (move.token !== this.#open.token || move.generation > this.#begun) return;
      const { volume, policy, generation: former } = move;
      this.#parts.propose?.({ type: 'moveStart', volume, token: move.token, policy, former });
      this.#restartLater();
    });
  }

  #stopTimers(): void {
    const { clock } = this.#parts;
    for (const timer of [this.#patience, this.#restart, this.#asking]) {
      if (timer !== undefined) clock.clearTimer(timer);
    }
    this.#patience = undefined;
    this.#restart = undefined;
    this.#asking = undefined;
  }
}

/** The copy does not count any more: nobody waits for it. */
function settleAll(copy: Copy | undefined): void {
  for (const pending of [...(copy?.pending ?? [])]) pending.settle('void');
}
