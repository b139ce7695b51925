// The map log of one node on its disk: term, vote, entries, commit index (C2.1, C2.9). Every node keeps one, voter or
// not. Appends of a tick, and those that come while a sync is under way, go out as one batch under one sync (C2.7); each
// batch names the end of what was synced before it, and after 100 ms of silence an attest record does (R4). So a bad
// batch before a named end is damage: the node must not go on as if its log were shorter (C2.6). A bad one after it is
// the torn tail of a crash and is cut. Bytes: raft-log-format.ts. It knows nothing of elections.

import { OperatingError } from '../core/errors.ts';
import { invariant } from '../core/invariant.ts';
import type { LogEntry } from '../core/log-entry.ts';
import type { HardState, LogBase } from '../core/raft/state.ts';
import { alignUp } from '../core/units.ts';
import type { Clock, Disk, DiskFile, TimerHandle } from '../ports/ports.ts';
import type { MapSnapshots } from './map-snapshot.ts';
import { batchesOf, writeLogFile } from './raft-log-files.ts';
import {
  encodeBatch,
  encodeRecord,
  type LogRecord,
  MAP_LOG_STEP_BYTES,
} from './raft-log-format.ts';
import { applyRecord, type LogContents, type ReplayedLog } from './raft-log-replay.ts';

/** Milliseconds of silence before the last end is named as synced (R4). */
export const MAP_LOG_ATTEST_MS = 100;
/** Most appends that wait for a sync; the raft driver has two at most. */
export const MAX_QUEUED_LOG_APPENDS = 1024;

/** Applied in this order: hard state, end of the muteness, base, cut, entries, commit. */
export interface LogAppend {
  readonly hardState?: HardState;
  readonly unmutes?: true;
  /** A snapshot has what comes before: the file is written anew. With `isReset` nothing of the old log is kept. */
  readonly base?: LogBase;
  readonly isReset?: boolean;
  /** This entry and all after it go. Above the commit index. */
  readonly truncateFrom?: number;
  /** Contiguous with what is left. */
  readonly entries: readonly LogEntry[];
  readonly commit?: number;
}

export interface LogOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  /** The disk failed: the process must end. Called once; no `done` comes after it. */
  readonly onFatal: (error: Error) => void;
}

interface QueuedAppend {
  readonly records: readonly LogRecord[];
  readonly done: () => void;
}

export class RaftLog {
  /** What this log or its snapshot lost (C2.6), one sentence; undefined where nothing is known to be lost. */
  readonly damage: string | undefined;
  readonly snapshots: MapSnapshots;
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #onFatal: (error: Error) => void;
  #file: DiskFile;
  #contents: LogContents;
  /** Where the next batch goes. */
  #position: number;
  #sequence: number;
  /** Bytes of the file that exist, zero-filled from #position on. */
  #allocatedBytes: number;
  /** Everything before it is synced. */
  #syncedEnd: number;
  /** The highest end that a batch in the file names as synced. */
  #namedEnd: number;
  /** End of the last batch that says something. */
  #contentEnd: number;
  #queue: QueuedAppend[] = [];
  /** Last entry and commit once the queue is written: what the next append must fit. */
  #queuedLast: number;
  #queuedCommit: number;
  #isSyncing = false;
  #isScheduled = false;
  #isDead = false;
  #attestTimer: TimerHandle | undefined;
  #onStopped: (() => void) | undefined;

  /** Only openRaftLog makes one: everything that `replayed` says is synced. */
  constructor(
    file: DiskFile,
    replayed: ReplayedLog,
    options: LogOptions & { readonly snapshots: MapSnapshots; readonly damage: string | undefined },
  ) {
    this.#file = file;
    this.#disk = options.disk;
    this.#clock = options.clock;
    this.#onFatal = options.onFatal;
    this.snapshots = options.snapshots;
    this.damage = options.damage;
    this.#contents = replayed.contents;
    this.#position = replayed.end;
    this.#syncedEnd = replayed.end;
    this.#sequence = replayed.sequence;
    this.#namedEnd = replayed.namedEnd;
    this.#contentEnd = replayed.contentEnd;
    this.#allocatedBytes = replayed.allocatedBytes;
    this.#queuedLast = replayed.contents.base.index + replayed.contents.entries.length;
    this.#queuedCommit = replayed.contents.commit;
    this.#armAttest();
  }

  /** As synced. */
  get hardState(): HardState {
    return this.#contents.hardState;
  }

  /** What comes before the first entry; the snapshot reaches at least as far. */
  get base(): LogBase {
    return this.#contents.base;
  }

  /** As synced; entry i is entries[i - 1 - base.index]. The array changes with each finished append. */
  get entries(): readonly LogEntry[] {
    return this.#contents.entries;
  }

  /** As synced; undefined where the log says nothing (any more). */
  entryAt(index: number): LogEntry | undefined {
    return this.#contents.entries[index - 1 - this.#contents.base.index];
  }

  /** Those of entries [first, last] that the log still has, as synced. */
  entriesBetween(first: number, last: number): readonly LogEntry[] {
    const { entries, base } = this.#contents;
    return entries.slice(Math.max(0, first - 1 - base.index), Math.max(0, last - base.index));
  }

  /** C2.6: this node must not vote: part of what it had synced is gone. */
  get isMuted(): boolean {
    return this.#contents.isMuted;
  }

  /** As synced: may be acted on (C2.9). */
  get commit(): number {
    return this.#contents.commit;
  }

  /** Bytes of the file in use. */
  get usedBytes(): number {
    return this.#position;
  }

  /**
   * Writes at the end of this tick, or with the batch after the sync under way.
   * @param done when all of it is synced and visible in the fields above, in the order of appends. Never called when
   *   the log stopped or the disk failed (onFatal).
   */
  append(append: LogAppend, done: () => void): void {
    if (this.#isDead || this.#onStopped !== undefined) return;
    invariant(this.#queue.length < MAX_QUEUED_LOG_APPENDS, 'appends wait for their sync');
    this.#checkFits(append);
    this.#queue.push({ records: recordsOf(append), done });
    this.#schedule();
  }

  /** Writes what is queued and the attest record, syncs, closes. */
  stop(done: () => void): void {
    invariant(this.#onStopped === undefined, 'a log stops once');
    this.#onStopped = done;
    this.#clearAttest();
    if (!this.#isSyncing) this.#writeOrClose();
  }

  #checkFits(append: LogAppend): void {
    const { base, isReset, truncateFrom, entries, commit } = append;
    let last = this.#queuedLast;
    if (base !== undefined) {
      const isFit = isReset === true ? base.index > this.#queuedCommit : base.index <= last;
      invariant(isFit && base.index >= this.#contents.base.index, 'a base only moves on (A10)');
      if (isReset === true) last = base.index;
      this.#queuedCommit = Math.max(this.#queuedCommit, base.index);
    }
    if (truncateFrom !== undefined) {
      invariant(truncateFrom > this.#queuedCommit, 'the committed prefix is never cut (A3)');
      invariant(truncateFrom >= 1 && truncateFrom <= last, 'a cut names an entry that is there');
      last = truncateFrom - 1;
    }
    for (const entry of entries) {
      last += 1;
      invariant(entry.index === last, 'entries are appended without gaps');
    }
    if (commit !== undefined) {
      invariant(commit >= this.#queuedCommit, 'the commit index never falls (A10)');
      invariant(commit <= last, 'only what is in the log is committed');
      this.#queuedCommit = commit;
    }
    this.#queuedLast = last;
  }

  #schedule(): void {
    if (this.#isSyncing || this.#isScheduled) return;
    this.#isScheduled = true;
    this.#clock.soon(() => {
      this.#isScheduled = false;
      if (!this.#isSyncing && !this.#isDead && this.#queue.length > 0) this.#writeQueue();
    });
  }

  /** One group: all that is queued, in as many batches as the bound asks for, under one sync. */
  #writeQueue(): void {
    this.#clearAttest();
    const group = this.#queue;
    this.#queue = [];
    const records = group.flatMap((queued) => queued.records);
    if (records.some((record) => record.kind === 'base')) {
      this.#writeAnew(group);
      return;
    }
    const ok = this.#attempt(() => {
      for (const batch of batchesOf(records.map(encodeRecord))) this.#writeBatch(batch);
    });
    if (!ok) return;
    this.#sync(() => {
      for (const { records: own, done } of group) {
        for (const record of own) applyRecord(this.#contents, record);
        done();
      }
    });
  }

  /** The group moves the base: what is left after it goes into a new file, which takes the old one's place. */
  #writeAnew(group: readonly QueuedAppend[]): void {
    const contents = { ...this.#contents, entries: [...this.#contents.entries] };
    for (const { records } of group) for (const record of records) applyRecord(contents, record);
    this.#isSyncing = true;
    writeLogFile(this.#disk, contents).then(
      ({ file, replayed }) => {
        if (this.#isDead) return file.close();
        this.#file.close();
        this.#file = file;
        this.#contents = contents;
        this.#position = replayed.end;
        this.#sequence = replayed.sequence;
        this.#namedEnd = replayed.namedEnd;
        this.#contentEnd = replayed.contentEnd;
        this.#allocatedBytes = replayed.allocatedBytes;
        this.#afterSync(replayed.end, () => {
          for (const { done } of group) done();
        });
      },
      (error: unknown) => {
        if (!(error instanceof OperatingError)) throw error;
        this.#die(error);
      },
    );
  }

  #writeBatch(records: readonly Uint8Array[]): void {
    const place = {
      position: this.#position,
      sequence: this.#sequence + 1,
      syncedEnd: this.#syncedEnd,
    };
    const bytes = encodeBatch(place, records);
    const end = place.position + bytes.length;
    if (end > this.#allocatedBytes) {
      const allocated = alignUp(end, MAP_LOG_STEP_BYTES);
      this.#file.writeSync(new Uint8Array(allocated - this.#allocatedBytes), this.#allocatedBytes);
      this.#allocatedBytes = allocated;
    }
    this.#file.writeSync(bytes, place.position);
    this.#position = end;
    this.#sequence = place.sequence;
    this.#namedEnd = place.syncedEnd;
    if (records.length > 0) this.#contentEnd = end;
  }

  #sync(then: () => void): void {
    this.#isSyncing = true;
    const end = this.#position;
    this.#file.sync((error) => {
      if (this.#isDead) return;
      if (error !== undefined) this.#die(error);
      else this.#afterSync(end, then);
    });
  }

  #afterSync(end: number, then: () => void): void {
    this.#isSyncing = false;
    this.#syncedEnd = end;
    then();
    if (this.#isSyncing || this.#isDead) return;
    if (this.#onStopped !== undefined) this.#writeOrClose();
    else if (this.#queue.length > 0) this.#writeQueue();
    else this.#armAttest();
  }

  /** R4: names the end of the last batch that says something, if nothing names it yet. */
  #attest(then: () => void): void {
    if (this.#attempt(() => this.#writeBatch([]))) this.#sync(then);
  }

  #armAttest(): void {
    this.#clearAttest();
    if (this.#isAttested()) return;
    this.#attestTimer = this.#clock.setTimer(MAP_LOG_ATTEST_MS, () => {
      this.#attestTimer = undefined;
      if (this.#isSyncing || this.#isDead || this.#queue.length > 0) return;
      this.#attest(() => {});
    });
  }

  #clearAttest(): void {
    if (this.#attestTimer !== undefined) this.#clock.clearTimer(this.#attestTimer);
    this.#attestTimer = undefined;
  }

  /** True when everything that says something lies before a named end. */
  #isAttested(): boolean {
    return this.#namedEnd >= this.#contentEnd;
  }

  #writeOrClose(): void {
    if (this.#isDead) return;
    if (this.#queue.length > 0) {
      this.#writeQueue();
    } else if (!this.#isAttested()) {
      this.#attest(() => {});
    } else {
      this.#isDead = true;
      this.#file.close();
      this.snapshots.close();
      this.#onStopped?.();
    }
  }

  /** A failed write leaves the file in an unknown state, as a failed sync does: the process ends. */
  #attempt(write: () => void): boolean {
    try {
      write();
      return true;
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#die(error);
      return false;
    }
  }

  #die(error: Error): void {
    this.#isDead = true;
    this.#clearAttest();
    this.#onFatal(error);
  }
}

function recordsOf(append: LogAppend): readonly LogRecord[] {
  const records: LogRecord[] = [];
  const { hardState, unmutes, base, isReset, truncateFrom, entries, commit } = append;
  if (hardState !== undefined) records.push({ kind: 'hardState', hardState });
  if (unmutes === true) records.push({ kind: 'muted', isMuted: false });
  if (base !== undefined) records.push({ kind: 'base', base, isReset: isReset === true });
  if (truncateFrom !== undefined) records.push({ kind: 'cut', from: truncateFrom });
  for (const entry of entries) records.push({ kind: 'entry', entry });
  if (commit !== undefined) records.push({ kind: 'commit', index: commit });
  return records;
}
