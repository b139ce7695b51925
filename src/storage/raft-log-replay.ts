// Reads the map log at a start: applies good batches in order and tells the torn tail of a crash from damage (R4, C2.6).

import { OperatingError } from '../core/errors.ts';
import { unreachable } from '../core/invariant.ts';
import type { LogEntry } from '../core/log-entry.ts';
import { type HardState, type LogBase, NO_BASE } from '../core/raft/state.ts';
import { type VoterSet, voterSetOf } from '../core/raft/voters.ts';
import type { DiskFile } from '../ports/ports.ts';
import {
  type BatchHeader,
  checkFileHeader,
  damagedLog,
  decodeBatchHeader,
  decodeRecords,
  isWholeBatch,
  type LogRecord,
  MAP_LOG_ALIGN,
  MAP_LOG_STEP_BYTES,
} from './raft-log-format.ts';

/** What a log says after its records were applied in order. */
export interface LogContents {
  hardState: HardState;
  /** What comes before the first entry. */
  base: LogBase;
  readonly entries: LogEntry[];
  commit: number;
  isMuted: boolean;
}

/** What an empty log says. */
export function noContents(): LogContents {
  return {
    hardState: { term: 0, vote: 0 },
    base: NO_BASE,
    entries: [],
    commit: 0,
    isMuted: false,
  };
}

export interface ReplayedLog {
  readonly contents: LogContents;
  readonly end: number;
  readonly sequence: number;
  /** The highest end that a batch names as synced. */
  readonly namedEnd: number;
  /** End of the last batch with contents. */
  readonly contentEnd: number;
  readonly allocatedBytes: number;
}

/**
 * Applies all good batches, overwrites what a crash left behind them. The caller syncs before it acts.
 * @throws OperatingError 'corrupt' (C2.6), 'newer-format'
 */
export function replayLog(file: DiskFile): ReplayedLog {
  const read = readLog(file);
  return { ...read, allocatedBytes: clearTail(file, read.end) };
}

/**
 * Applies all good batches; changes nothing, so that it may look at the log of a node that runs.
 * @throws OperatingError 'corrupt' (C2.6), 'newer-format'
 */
export function readLog(file: DiskFile): Omit<ReplayedLog, 'allocatedBytes'> {
  const size = file.sizeSync();
  const window = new FileWindow(file, size);
  checkFileHeader(window.read(0, MAP_LOG_ALIGN));
  const contents = noContents();
  let end = MAP_LOG_ALIGN;
  let sequence = 0;
  let namedEnd = MAP_LOG_ALIGN;
  let contentEnd = MAP_LOG_ALIGN;
  while (true) {
    const header = headerAt(window, end);
    if (header === undefined || header.sequence !== sequence + 1) break;
    const bytes = window.read(end, header.end - end);
    if (!isWholeBatch(header, bytes)) break;
    for (const record of decodeRecords(header, bytes)) {
      const fault = applyRecord(contents, record);
      if (fault !== undefined) throw damagedLog(end, fault);
    }
    ({ end, sequence } = header);
    namedEnd = header.syncedEnd;
    if (header.contentBytes > 0) contentEnd = end;
  }
  checkTail(window, end, size);
  return { contents, end, sequence, namedEnd, contentEnd };
}

/** What is left of a damaged log. */
export interface SalvagedLog {
  /** What its good beginning says. */
  readonly contents: LogContents;
  /** Voter sets that whole batches behind the damage name: somebody else votes, too. */
  readonly later: readonly VoterSet[];
}

/** Reads around the damage. Nothing is written. */
export function salvageLog(file: DiskFile): SalvagedLog {
  const size = file.sizeSync();
  const window = new FileWindow(file, size);
  const contents = noContents();
  const later: VoterSet[] = [];
  let position = MAP_LOG_ALIGN;
  let isGood = true;
  while (position < size) {
    const header = headerAt(window, position);
    const bytes = header === undefined ? undefined : window.read(position, header.end - position);
    if (header === undefined || bytes === undefined || !isWholeBatch(header, bytes)) {
      isGood = false;
      position += MAP_LOG_ALIGN;
      continue;
    }
    for (const record of readable(header, bytes)) {
      isGood = isGood && applyRecord(contents, record) === undefined;
      const set = record.kind === 'entry' ? voterSetOf(record.entry) : undefined;
      if (set !== undefined) later.push(set);
    }
    position = header.end;
  }
  return { contents, later };
}

function readable(header: BatchHeader, bytes: Uint8Array): readonly LogRecord[] {
  try {
    return decodeRecords(header, bytes);
  } catch (error) {
    if (error instanceof OperatingError) return [];
    throw error;
  }
}

function headerAt(window: FileWindow, position: number): ReturnType<typeof decodeBatchHeader> {
  const bytes = window.read(position, MAP_LOG_ALIGN);
  return bytes.length < MAP_LOG_ALIGN ? undefined : decodeBatchHeader(bytes, position);
}

/** R4: whoever, further on, names an end behind `end` as synced, proves that something synced is gone (C2.6). */
function checkTail(window: FileWindow, end: number, size: number): void {
  for (let position = end; position < size; position += MAP_LOG_ALIGN) {
    const header = headerAt(window, position);
    if (header !== undefined && header.syncedEnd > end) {
      throw damagedLog(end, `byte ${header.syncedEnd} and all before it had been synced`);
    }
  }
}

/** What a crash left behind the end must not be taken for batches later. Returns the bytes the file then has. */
function clearTail(file: DiskFile, end: number): number {
  const size = file.sizeSync();
  const window = new FileWindow(file, size);
  for (let position = end; position < size; position += MAP_LOG_STEP_BYTES) {
    const bytes = window.read(position, Math.min(MAP_LOG_STEP_BYTES, size - position));
    if (bytes.some((byte) => byte !== 0)) file.writeSync(new Uint8Array(bytes.length), position);
  }
  return Math.max(size, end);
}

/** Reads a file front to back in steps of at least 1 MiB. Views are valid until the next read. */
class FileWindow {
  readonly #file: DiskFile;
  readonly #size: number;
  #bytes = new Uint8Array(0);
  #start = 0;

  constructor(file: DiskFile, size: number) {
    this.#file = file;
    this.#size = size;
  }

  /** Fewer than `length` bytes only at the end of the file. */
  read(position: number, length: number): Uint8Array {
    const wanted = Math.max(0, Math.min(length, this.#size - position));
    const at = position - this.#start;
    if (at < 0 || at + wanted > this.#bytes.length) this.#load(position, wanted);
    return this.#bytes.subarray(position - this.#start, position - this.#start + wanted);
  }

  #load(position: number, wanted: number): void {
    const length = Math.min(Math.max(wanted, MAP_LOG_STEP_BYTES), this.#size - position);
    const bytes = new Uint8Array(Math.max(0, length));
    const count = this.#file.readSync(bytes, 0, bytes.length, position);
    this.#bytes = bytes.subarray(0, count);
    this.#start = position;
  }
}

/** Says what is wrong with a record at this place, or changes the contents. */
export function applyRecord(contents: LogContents, record: LogRecord): string | undefined {
  const { entries, base } = contents;
  const last = base.index + entries.length;
  if (record.kind === 'hardState') {
    if (record.hardState.term < contents.hardState.term) return 'the term falls';
    contents.hardState = record.hardState;
  } else if (record.kind === 'cut') {
    if (record.from <= contents.commit || record.from > last) return 'a cut of what is committed';
    entries.length = record.from - 1 - base.index;
  } else if (record.kind === 'entry') {
    if (record.entry.index !== last + 1) return 'an entry is missing before this one';
    entries.push(record.entry);
  } else if (record.kind === 'commit') {
    if (record.index < contents.commit || record.index > last) return 'a wrong commit index';
    contents.commit = record.index;
  } else if (record.kind === 'base') {
    if (record.base.index < base.index) return 'the base falls';
    entries.splice(0, record.isReset ? Infinity : record.base.index - base.index);
    contents.base = record.base;
    contents.commit = Math.max(contents.commit, record.base.index);
  } else if (record.kind === 'muted') {
    contents.isMuted = record.isMuted;
  } else {
    unreachable(record);
  }
  return undefined;
}
