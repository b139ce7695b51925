// How far the copy of a volume that moves to another policy is (S8): a total that is fixed once it was counted, what is done
// of it, the rate of the last seconds, the time left; and what it waits for, if it waits. Pure bookkeeping; time is given.

import type { GenerationId, VolumeId } from './ids.ts';

/** `counting`: what there is to copy is not known yet; `finishing`: all is copied, the log is asked to make it the head. */
export type MoveStage = 'waiting' | 'counting' | 'copying' | 'finishing';

/** The rate is that of so long. */
export const MOVE_RATE_OVER_MS = 10_000;
const MAX_SAMPLES = 64;
const SAMPLE_MS = MOVE_RATE_OVER_MS / MAX_SAMPLES;

/** How one move is, as the node tells it that copies. */
export interface MoveStatus {
  readonly volume: VolumeId;
  /** Copied into. */
  readonly generation: GenerationId;
  readonly stage: MoveStage;
  /** What it waits for; while it copies, why the copy before was begun anew. Empty where there is nothing to say. */
  readonly reason: string;
  /** Dates, ms since 1970: of the present copy, and of the present stage. */
  readonly startedMs: number;
  readonly stageMs: number;
  /** Of the regions that the volume had when this copy began; 0 until they are counted. Fixed then. */
  readonly totalBytes: number;
  readonly doneBytes: number;
  readonly bytesPerSecond: number;
  /** 0 = over, or not known. */
  readonly leftMs: number;
}

interface Sample {
  readonly ms: number;
  readonly doneBytes: number;
}

/** Of one copy. */
export class MoveProgress {
  #total = 0;
  #done = 0;
  readonly #samples: Sample[] = [];

  /** So much there is. Once. */
  counted(bytes: number, now: number): void {
    this.#total = bytes;
    this.#samples.push({ ms: now, doneBytes: 0 });
  }

  /** Of what was counted, so much more is copied. */
  copied(bytes: number, now: number): void {
    this.#done = Math.min(this.#total, this.#done + bytes);
    const last = this.#samples.at(-1);
    if (last !== undefined && now - last.ms < SAMPLE_MS) return;
    this.#samples.push({ ms: now, doneBytes: this.#done });
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
  }

  tell(now: number): Pick<MoveStatus, 'totalBytes' | 'doneBytes' | 'bytesPerSecond' | 'leftMs'> {
    const bytesPerSecond = this.#rate(now);
    const left = this.#total - this.#done;
    const leftMs = bytesPerSecond === 0 ? 0 : Math.ceil((left * 1000) / bytesPerSecond);
    return { totalBytes: this.#total, doneBytes: this.#done, bytesPerSecond, leftMs };
  }

  #rate(now: number): number {
    const since = this.#samples.find(({ ms }) => now - ms <= MOVE_RATE_OVER_MS);
    if (since === undefined || now <= since.ms) return 0;
    return Math.round(((this.#done - since.doneBytes) * 1000) / (now - since.ms));
  }
}
