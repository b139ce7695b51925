// The map log of one node on its disk: term, vote, entries, commit index (C2.1, C2.9). Every node keeps one, voter or
// not. Appends of a tick, and those that come while a sync is under way, go out as one batch under one sync (C2.7); each
// batch names the end of what was synced before it, and after 100 ms of silence an attest record does (R4). So a bad
// batch before a named end is damage: the node must not go on as if its log were shorter (C2.6). A bad one after it is
// the torn tail of a crash and is cut. Bytes: raft-log-format.ts. It knows nothing of elections.

import { OperatingError } from '../core/errors.ts';
import { invariant } from '../core/invariant.ts';
import type { LogEntry } from '../core/log-entry.ts';
import type { HardState } from '../core/raft/state.ts';
import { alignUp } from '../core/units.ts';
import type { Clock, Disk, DiskFile, TimerHandle } from '../ports/ports.ts';
import {
  encodeBatch,
  encodeFileHeader,
  encodeRecord,
  type LogRecord,
  MAP_LOG_PATH,
  MAP_LOG_STEP_BYTES,
  MAX_LOG_BATCH_BYTES,
} from './raft-log-format.ts';
import { applyRecord, type LogContents, type ReplayedLog, replayLog } from './raft-log-replay.ts';

/** Milliseconds of silence before the last end is named as synced (R4). */
export const MAP_LOG_ATTEST_MS = 100;
/** Most appends that wait for a sync; the raft driver has two at most. */
export const MAX_QUEUED_LOG_APPENDS = 1024;

const NEW_PATH = `${MAP_LOG_PATH}.new`;

/** Applied in this order: hard state, cut, entries, commit. */
export interface LogAppend {
  readonly hardState?: HardState;
  /** This entry and all after it go. Above the commit index. */
  readonly truncateFrom?: number;
  /** Contiguous with what is left. */
  readonly entries: readonly LogEntry[];
  readonly commit?: number;
}

interface QueuedAppend {
  readonly records: readonly LogRecord[];
  readonly done: () => void;
}

export class RaftLog {
  readonly #file: DiskFile;
  readonly #clock: Clock;
  readonly #onFatal: (error: Error) => void;
  readonly #contents: LogContents;
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
    clock: Clock,
    onFatal: (error: Error) => void,
    replayed: ReplayedLog,
  ) {
    this.#file = file;
    this.#clock = clock;
    this.#onFatal = onFatal;
    this.#contents = replayed.contents;
    this.#position = replayed.end;
    this.#syncedEnd = replayed.end;
    this.#sequence = replayed.sequence;
    this.#namedEnd = replayed.namedEnd;
    this.#contentEnd = replayed.contentEnd;
    this.#allocatedBytes = replayed.allocatedBytes;
    this.#queuedLast = replayed.contents.entries.length;
    this.#queuedCommit = replayed.contents.commit;
    this.#armAttest();
  }

  /** As synced. */
  get hardState(): HardState {
    return this.#contents.hardState;
  }

  /** As synced; entry i is entries[i - 1]. The array lives on: it changes with each finished append. */
  get entries(): readonly LogEntry[] {
    return this.#contents.entries;
  }

  /** As synced: may be acted on (C2.9). */
  get commit(): number {
    return this.#contents.commit;
  }

  /** Bytes of the file in use. It is never compacted in this version. */
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
    const { truncateFrom, entries, commit } = append;
    let last = this.#queuedLast;
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
      this.#isSyncing = false;
      if (this.#isDead) return;
      if (error !== undefined) {
        this.#die(error);
        return;
      }
      this.#syncedEnd = end;
      then();
      if (this.#isSyncing || this.#isDead) return;
      if (this.#onStopped !== undefined) this.#writeOrClose();
      else if (this.#queue.length > 0) this.#writeQueue();
      else this.#armAttest();
    });
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
  const { hardState, truncateFrom, entries, commit } = append;
  if (hardState !== undefined) records.push({ kind: 'hardState', hardState });
  if (truncateFrom !== undefined) records.push({ kind: 'cut', from: truncateFrom });
  for (const entry of entries) records.push({ kind: 'entry', entry });
  if (commit !== undefined) records.push({ kind: 'commit', index: commit });
  return records;
}

function batchesOf(records: readonly Uint8Array[]): readonly (readonly Uint8Array[])[] {
  const batches: Uint8Array[][] = [[]];
  let bytes = 0;
  for (const record of records) {
    if (bytes + record.length > MAX_LOG_BATCH_BYTES) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1)?.push(record);
    bytes += record.length;
  }
  return batches;
}

/**
 * Opens the log, makes an empty one when there is none, cuts a torn tail. Everything it then says is synced.
 * @param onFatal the disk failed: the process must end. Called once; no `done` comes after it.
 * @throws OperatingError 'corrupt' when the log lost something it had synced, 'newer-format': both name file and cure;
 *   'io', 'no-space' from the disk. The node must not start in any of these cases (C2.6).
 */
export async function openRaftLog(
  disk: Disk,
  clock: Clock,
  onFatal: (error: Error) => void,
): Promise<RaftLog> {
  const file = disk.open(MAP_LOG_PATH, { create: false }) ?? (await createFile(disk));
  try {
    const replayed = replayLog(file);
    // What was read may be in the cache of the system only, left by a process that died before its sync.
    await synced((done) => file.sync(done));
    return new RaftLog(file, clock, onFatal, replayed);
  } catch (error) {
    file.close();
    throw error;
  }
}

async function createFile(disk: Disk): Promise<DiskFile> {
  const file = disk.open(NEW_PATH, { create: true });
  invariant(file !== undefined, 'create gives a file');
  file.truncateSync(0);
  const bytes = new Uint8Array(MAP_LOG_STEP_BYTES);
  bytes.set(encodeFileHeader());
  file.writeSync(bytes, 0);
  await synced((done) => file.sync(done));
  disk.rename(NEW_PATH, MAP_LOG_PATH);
  await synced((done) => disk.syncFolder('', done));
  return file;
}

function synced(start: (done: (error: Error | undefined) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error === undefined ? resolve() : reject(error)));
  });
}
