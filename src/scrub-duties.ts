// What the scrub actor of this node does, one partition at a time: starts what is due or asked for, keeps its place over
// restarts, keeps to its rate, stops when told. It comes after recovery: a node that joins partitions has better to do.

import type { RoundsInput } from './actors/rounds.ts';
import { messageOf, OperatingError } from './core/errors.ts';
import {
  addedRepairs,
  afterPartition,
  afterRun,
  dueKind,
  lateKinds,
  type RepairTally,
  type ScrubCommand,
  type ScrubKind,
  type ScrubMemo,
  type ScrubPeriods,
  type ScrubStatus,
  withRun,
} from './core/scrub.ts';
import { REGION_BYTES } from './core/units.ts';
import type { Datapath } from './datapath/datapath.ts';
import type { Pace, PartitionScrub } from './datapath/scrub-partition.ts';
import type { Clock, Disk, Trace } from './ports/ports.ts';
import { countRegions } from './storage/object-state.ts';
import { loadScrubMemo, saveScrubMemo } from './storage/scrub-file.ts';
import type { ObjectStore } from './storage/store-types.ts';

/** The place in a run is made durable this often: what lies between is looked at again after a crash. */
export const SCRUB_SAVE_MS = 10_000;

export interface ScrubContext {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly store: ObjectStore;
  readonly periods: ScrubPeriods;
  readonly bytesPerSecond: number;
  readonly datapath: () => Datapath | undefined;
  /** False while this node is not up, or has partitions to bring in sync. */
  readonly isFree: () => boolean;
  /** Tells the actor that a command came. */
  readonly changed: () => void;
}

export class ScrubDuties {
  readonly input: RoundsInput;
  readonly #context: ScrubContext;
  #memo: ScrubMemo;
  /** Of processes before this one. */
  readonly #earlier: RepairTally;
  #savedMs = 0;
  #isSaving = false;
  #isStopped = false;
  #found = { skipped: 0, badSectors: 0 };
  #lastError: OperatingError | undefined;
  /** When the bytes read so far are within the rate. */
  #freeMs = 0;

  constructor(context: ScrubContext) {
    this.#context = context;
    this.#memo = loadScrubMemo(context.disk, context.clock, context.trace);
    this.#earlier = this.#memo.repairs;
    this.input = {
      // Asked every SCRUB_LOOK_MS: a repair is remembered as soon, also while nothing is scrubbed.
      workDue: () => {
        if (this.repairs.lastMs !== this.#memo.repairs.lastMs) this.#save();
        return this.#due() !== undefined;
      },
      work: () => this.#work(),
      warn: (what, reason) => {
        this.#lastError = reason instanceof OperatingError ? reason : undefined;
        context.trace.warn(what, { reason: messageOf(reason) });
      },
    };
  }

  /** What was repaired here in the last day, also before this start. */
  get repairs(): RepairTally {
    const { repairer } = this.#context.datapath() ?? {};
    if (repairer === undefined) return this.#earlier;
    const { sectorsRepaired, objectsRepaired, lastRepairMs } = repairer;
    const own = { sectors: sectorsRepaired, objects: objectsRepaired, lastMs: lastRepairMs };
    return addedRepairs(this.#earlier, own, this.#context.clock.date());
  }

  status(): ScrubStatus {
    const { periods, bytesPerSecond, clock } = this.#context;
    return {
      ...this.#memo,
      repairs: this.repairs,
      periods,
      bytesPerSecond,
      late: lateKinds(this.#memo, periods, clock.date()),
      skippedObjects: this.#found.skipped,
      badSectors: this.#found.badSectors,
      lastError: this.#lastError,
    };
  }

  /**
   * Start, pause, resume. Pause and resume always work; a start ends a pause.
   * @throws OperatingError 'busy' while another run is under way
   */
  command(command: ScrubCommand): void {
    const { trace, changed, clock } = this.#context;
    const { run } = this.#memo;
    if (command.action === 'start') {
      if (run !== undefined && run.kind !== command.kind) throw underWay(run.kind);
      if (run === undefined) this.#memo = this.#begun(command.kind, clock.date());
      this.#memo = { ...this.#memo, isPaused: false };
    } else this.#memo = { ...this.#memo, isPaused: command.action === 'pause' };
    trace.event('scrub.command', { action: command.action });
    this.#save();
    changed();
  }

  stop(): void {
    this.#isStopped = true;
  }

  #due(): ScrubKind | undefined {
    const { datapath, isFree, periods, clock } = this.#context;
    if (this.#isStopped || datapath() === undefined || !isFree()) return undefined;
    return dueKind(this.#memo, periods, clock.date());
  }

  #begun(kind: ScrubKind, dateMs: number): ScrubMemo {
    const { store, trace } = this.#context;
    this.#found = { skipped: 0, badSectors: 0 };
    trace.event('scrub.begun', { kind, bytes: store.usedBytes });
    return withRun(this.#memo, kind, store.usedBytes, dateMs);
  }

  /** One partition, or the end of the run. */
  async #work(): Promise<void> {
    const { store, datapath, clock, trace } = this.#context;
    const kind = this.#due();
    const scrubber = datapath()?.scrubber;
    if (kind === undefined || scrubber === undefined) return;
    if (clock.rarely?.('scrub-fails') === true) throw unfinished();
    if (this.#memo.run === undefined) this.#memo = this.#begun(kind, clock.date());
    const { run } = this.#memo;
    const key = store.partitionsHeld().find((held) => held > (run?.position ?? -1));
    if (key === undefined) {
      this.#memo = afterRun(this.#memo, clock.date());
      trace.event('scrub.done', { kind, ...this.#found });
      this.#save();
      return;
    }
    const bytes = this.#bytesOf(key);
    const pace = this.#pace();
    const found = await (kind === 'deep' ? scrubber.deep(key, pace) : scrubber.light(key, pace));
    this.#note(found);
    // A round that was cut short is done again: nothing counts twice.
    if (pace.isStopped() || this.#memo.run?.startedMs !== run?.startedMs) return;
    this.#memo = afterPartition(this.#memo, key, bytes);
    if (clock.now() - this.#savedMs >= SCRUB_SAVE_MS) this.#save();
  }

  #note(found: PartitionScrub): void {
    const { skipped, badSectors } = this.#found;
    this.#found = {
      skipped: skipped + found.skipped,
      badSectors: badSectors + found.badSectors,
    };
  }

  #bytesOf(key: number): number {
    let regions = 0;
    for (const row of this.#context.store.rowsOf(key)) {
      if (row.kind === 'data') regions += countRegions(row.ownLow, row.ownHigh);
    }
    return regions * REGION_BYTES;
  }

  #pace(): Pace {
    const { clock, bytesPerSecond, isFree } = this.#context;
    return {
      isStopped: () => this.#isStopped || this.#memo.isPaused || !isFree(),
      spend: (bytes) => {
        const now = clock.now();
        this.#freeMs = Math.max(now, this.#freeMs) + (bytes * 1000) / bytesPerSecond;
        return new Promise((resolve) => {
          clock.setTimer(Math.max(0, this.#freeMs - now), resolve);
        });
      },
    };
  }

  /** One at a time; a newer memo that came meanwhile is saved with the next. */
  #save(): void {
    const { disk, clock, trace } = this.#context;
    if (this.#isSaving || this.#isStopped) return;
    this.#isSaving = true;
    this.#savedMs = clock.now();
    this.#memo = { ...this.#memo, repairs: this.repairs };
    const saved = this.#memo;
    saveScrubMemo(disk, saved, (error) => {
      this.#isSaving = false;
      if (error !== undefined) trace.warn('scrub.memo-not-saved', { reason: error.message });
      else if (saved.isPaused !== this.#memo.isPaused) this.#save();
    });
  }
}

function unfinished(): OperatingError {
  return new OperatingError('busy', 'a round of the scrub ended early', { advice: 'retry' });
}

function underWay(kind: ScrubKind): OperatingError {
  return new OperatingError('busy', `a ${kind} scrub is under way on this node`, {
    remedy: 'wait for it: dog node scrub info',
  });
}
