// Heals what the store of this node knows to be damaged (4.10): a few objects at a time, paced, each tried again later
// when no source can give it now. The queue is the store's own list of suspects, so it is bounded with that, and after a
// restart it grows again from reads and scrubs. What is counted here is what health tells.

import { backoffMs } from '../core/backoff.ts';
import { objectName } from '../core/ids.ts';
import type { TimerHandle } from '../ports/ports.ts';
import type { Suspect } from '../storage/suspects.ts';
import type { Parts } from './context.ts';
import { objectKey } from './object-gate.ts';
import type { Repaired, RepairShared } from './repair-attempt.ts';
import { repairObject } from './repair-object.ts';

/** Objects under repair at once. */
export const REPAIR_WORKERS = 2;
/** Between the end of one repair and the next by the same worker. */
export const REPAIR_PAUSE_MS = 5;
/** Before a repair that failed is tried again; doubles up to the maximum. */
export const REPAIR_RETRY_MIN_MS = 100;
export const REPAIR_RETRY_MAX_MS = 30_000;
/** Objects looked through for one that is due; the others come with the next look. */
const MAX_LOOKED_THROUGH = 4096;

/** Sectors of an object that no copy has, or an object whose repair waits. */
export interface Unhealed extends Suspect {
  /** Numbers of the sectors; empty = not known, or all of it. */
  readonly lost: readonly number[];
  /** Why it is not healed yet, for people. */
  readonly reason: string;
}

interface Trial {
  tries: number;
  dueMs: number;
  lost: readonly number[];
  reason: string;
}

export class Repairer {
  readonly #parts: Parts;
  readonly #shared: RepairShared;
  readonly #trials = new Map<string, Trial>();
  readonly #busy = new Set<string>();
  #timer: TimerHandle | undefined;
  #isStopped = false;
  /** Since this start. */
  sectorsRepaired = 0;
  objectsRepaired = 0;
  /** Date of the last repair, ms since 1970; 0 = none. */
  lastRepairMs = 0;

  constructor(parts: Parts, shared: RepairShared) {
    this.#parts = parts;
    this.#shared = shared;
    parts.store.suspects.onNews(() => this.#wake(0));
    // Somebody came back, or a set changed: what waited for that is due.
    parts.views.onChange(() => {
      for (const trial of this.#trials.values()) trial.dueMs = 0;
      this.#wake(REPAIR_PAUSE_MS);
    });
    if (parts.store.suspects.size > 0) this.#wake(0);
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== undefined) this.#parts.clock.clearTimer(this.#timer);
  }

  /** What is damaged here now, with what is known of it; at most `limit`. */
  unhealed(limit: number): readonly Unhealed[] {
    const found: Unhealed[] = [];
    for (const suspect of this.#parts.store.suspects) {
      if (found.length === limit) break;
      const trial = this.#trials.get(keyOf(suspect));
      const reason = trial?.reason ?? 'the repair has not begun';
      found.push({ ...suspect, lost: trial?.lost ?? [], reason });
    }
    return found;
  }

  /** Objects that are damaged here now. */
  get damagedCount(): number {
    return this.#parts.store.suspects.size;
  }

  #wake(ms: number): void {
    if (this.#timer !== undefined || this.#isStopped) return;
    this.#timer = this.#parts.clock.setTimer(ms, () => {
      this.#timer = undefined;
      this.#pump();
    });
  }

  #pump(): void {
    const { suspects } = this.#parts.store;
    for (const key of this.#trials.keys()) {
      if (!this.#busy.has(key) && !hasKey(suspects, key)) this.#trials.delete(key);
    }
    while (this.#busy.size < REPAIR_WORKERS) {
      const suspect = this.#nextDue();
      if (suspect === undefined) break;
      this.#begin(suspect);
    }
    if (suspects.size > this.#busy.size) this.#wake(REPAIR_RETRY_MIN_MS);
  }

  #nextDue(): Suspect | undefined {
    const now = this.#parts.clock.now();
    let looked = 0;
    for (const suspect of this.#parts.store.suspects) {
      looked += 1;
      if (looked > MAX_LOOKED_THROUGH) return undefined;
      const key = keyOf(suspect);
      if (!this.#busy.has(key) && (this.#trials.get(key)?.dueMs ?? 0) <= now) return suspect;
    }
    return undefined;
  }

  #begin(suspect: Suspect): void {
    const key = keyOf(suspect);
    this.#busy.add(key);
    repairObject(this.#parts, this.#shared, suspect, (result) => {
      this.#busy.delete(key);
      this.#note(suspect, key, result);
      this.#wake(REPAIR_PAUSE_MS);
    });
  }

  #note(suspect: Suspect, key: string, result: Repaired): void {
    const { trace, clock } = this.#parts;
    const object = objectName(suspect);
    const isHealed = result.sectors > 0 && result.error === undefined;
    if (isHealed) {
      this.sectorsRepaired += result.sectors;
      if (result.isWhole) this.objectsRepaired += 1;
      this.lastRepairMs = clock.date();
      trace.event('repair.done', { object, sectors: result.sectors, whole: result.isWhole });
    }
    if (this.#parts.store.suspects.find(suspect) === undefined) {
      this.#trials.delete(key);
      return;
    }
    const trial = this.#trials.get(key) ?? { tries: 0, dueMs: 0, lost: [], reason: '' };
    const isNews = result.lost.length > 0 && result.lost.join() !== trial.lost.join();
    if (isNews) trace.warn('repair.lost', { object, sectors: result.lost.join(' ').slice(0, 200) });
    if (result.error !== undefined) trace.count('repair.failed');
    trial.tries = isNews ? 1 : trial.tries + 1;
    trial.lost = result.error === undefined ? result.lost : trial.lost;
    trial.reason =
      result.error?.message ??
      (result.lost.length > 0 ? 'no copy passes its sums' : 'damaged again meanwhile');
    const pauseMs = backoffMs(trial.tries - 1, REPAIR_RETRY_MIN_MS, REPAIR_RETRY_MAX_MS);
    trial.dueMs = clock.now() + pauseMs;
    this.#trials.set(key, trial);
  }
}

function keyOf(suspect: Suspect): string {
  return objectKey(suspect.generation, suspect.index);
}

function hasKey(suspects: Parts['store']['suspects'], key: string): boolean {
  const [generation, index] = key.split('/').map(Number);
  return (
    suspects.find({ generation: generation as Suspect['generation'], index: index ?? 0 }) !==
    undefined
  );
}
