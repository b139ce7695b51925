// How long the trash keeps a volume, and what a leader does about it as time passes. Time is what the leader measures on a
// clock that only goes on, from when it first looked: a new leader counts from its own beginning. What is not counted makes
// the trash keep longer, never shorter. The count is in the log, so leaders add to it.

import { parseDuration } from './duration.ts';
import { OperatingError } from './errors.ts';
import type { EntryBody } from './log-entry.ts';
import { MINUTE_MS, SECOND_MS } from './units.ts';
import type { ClusterView } from './view.ts';

/** Volumes in the trash at once. */
export const MAX_TRASH = 4096;
export const MIN_TRASH_MS = SECOND_MS;
export const MAX_TRASH_MS = 366 * 24 * 60 * MINUTE_MS;
/** Time is added to the count in steps of this, while something is in the trash. */
export const AGE_STEP_MS = MINUTE_MS;
/** One entry adds no more: what a leader that stood still saw go by is cut to it. */
export const MAX_AGE_STEP_MS = 60 * MINUTE_MS;
/** Volumes purged by one plan. */
export const MAX_PURGES = 16;

export const TRASH_KEY = 'volumes/trash';
/** What `dog cluster set` may name, and the key in the log. */
export const TRASH_SETTINGS: ReadonlyMap<string, string> = new Map([['trash', TRASH_KEY]]);

/** How long a delete without a word about it keeps a volume; 0 = it is gone at once. */
export function trashMs(view: Pick<ClusterView, 'settings'>): number {
  const text = view.settings.get(TRASH_KEY);
  return text !== undefined && /^\d{1,12}$/.test(text) ? Number(text) : 0;
}

/**
 * The value of the setting, of what a person wrote: a time, or `off`.
 * @throws OperatingError 'usage'
 */
export function trashValue(text: string): string {
  if (text === 'off') return '';
  const ms = parseDuration(text);
  if (ms >= MIN_TRASH_MS && ms <= MAX_TRASH_MS) return String(ms);
  throw new OperatingError('usage', `${text} is not from 1s to 366d`, { remedy: 'or write off' });
}

interface Mark {
  readonly ageMs: number;
  readonly now: number;
}

/** A leader's stopwatch. */
export class TrashWatch {
  #since: Mark | undefined;
  /** As it will be once the step that was proposed last is counted. */
  #next: Mark | undefined;

  /** The entries to propose now; empty when nothing is due. Asking twice changes nothing. */
  plan(view: Pick<ClusterView, 'trash' | 'ageMs'>, now: number): EntryBody[] {
    if (view.trash.size === 0) {
      this.#since = undefined;
      this.#next = undefined;
      return [];
    }
    // Somebody else counted: the next step begins now.
    const { ageMs } = view;
    if (this.#next?.ageMs === ageMs) this.#since = this.#next;
    else if (this.#since?.ageMs !== ageMs) this.#since = { ageMs, now };
    const since = this.#since ?? { ageMs, now };
    const due = [...view.trash.values()].filter(({ dueAgeMs }) => dueAgeMs <= view.ageMs);
    const purges = due.slice(0, MAX_PURGES).map(({ volume }): EntryBody => {
      return { type: 'trashPurge', volume: volume.id, by: 'time' };
    });
    const passed = Math.floor(now - since.now);
    if (passed < AGE_STEP_MS) return purges;
    const byMs = Math.min(passed, MAX_AGE_STEP_MS);
    this.#next = { ageMs: ageMs + byMs, now };
    return [...purges, { type: 'aged', fromMs: ageMs, byMs }];
  }
}
