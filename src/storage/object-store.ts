// Opens a store: makes its files on an empty disk, else loads the index, replays the journal over it, finishes renames
// that were confirmed, removes what no row knows. It refuses to start on damage of its own metadata, naming file and
// cure; a damaged object is only marked and healed from a peer later.
//
// Replay looks at the journal twice. A replace, a drop or a whole zero ends an object's earlier life: records before the
// last of them must not touch the file, which may be the new life's already.

import { OperatingError } from '../core/errors.ts';
import type { FamilyId, GenerationId } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { Clock, Disk, DiskFile, Random, Trace } from '../ports/ports.ts';
import { Applier } from './apply.ts';
import { Checkpointer } from './checkpoint.ts';
import { createIndex, openIndex } from './index-file.ts';
import { Journal } from './journal.ts';
import {
  decodeRecords,
  type JournalRecord,
  RECORD_DROP,
  RECORD_REPLACE,
  RECORD_ZERO,
} from './journal-codec.ts';
import {
  formatJournal,
  type JournalHead,
  pause,
  readHead,
  syncFile,
  syncFolder,
} from './journal-head.ts';
import { checkTail, type JournalTail, walkJournal } from './journal-replay.ts';
import {
  hex32,
  INCOMING_FOLDER,
  JOURNAL_PATH,
  MAX_JOURNAL_BYTES,
  MIN_JOURNAL_BYTES,
  OBJECT_FOLDERS,
  OBJECTS_FOLDER,
  objectPath,
  stagedPath,
} from './layout.ts';
import { LocalObjectStore } from './local-store.ts';
import { ObjectCache } from './object-cache.ts';
import { ObjectReader } from './object-read.ts';
import { ObjectState, type PendingRecord, rowFieldsOf, setRow } from './object-state.ts';
import { PartitionTable } from './partition-table.ts';
import { STAGED_SLOT } from './staging.ts';

export interface StoreOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly trace: Trace;
  /** Size of the journal file when it is made; an existing one keeps its size. */
  readonly journalBytes: number;
  /** The disk failed under confirmed data: end the process at once, nothing more is confirmed. */
  readonly onFatal: (error: OperatingError) => void;
}

/**
 * Opens the store of a disk, or makes an empty one.
 * @throws OperatingError 'newer-format' or 'corrupt' (file, offset and cure in the message), 'io', 'no-space', 'usage'
 */
export async function openObjectStore(options: StoreOptions): Promise<LocalObjectStore> {
  const { disk, clock, trace } = options;
  let isFailed = false;
  const onFatal = (error: OperatingError): void => {
    if (isFailed) return;
    isFailed = true;
    trace.warn('store.fatal', { error: error.message });
    options.onFatal(error);
  };
  const file = await openJournalFile(options);
  const head = readHead(file);
  const table = new PartitionTable();
  const index = openIndex(disk, head.indexGeneration, head.indexBytes, loaderOf(table));
  const cache = new ObjectCache(disk, trace);
  const applier = new Applier({ disk, clock, table, cache, onFatal });
  const tail = await new Replay({ options, file, head, table, cache, applier }).run();
  await syncFile(file);
  await removeStrays(disk, clock, table);
  const reader = new ObjectReader(cache, trace);
  const store = new LocalObjectStore({ ...options, table, cache, reader, applier });
  const journal = new Journal<PendingRecord>({
    file,
    head,
    tail,
    clock,
    apply: (records, done) => store.applyBatch(records, done),
    isHeld: () => store.isHeld(),
    onPressure: () => store.onPressure(),
    onFatal,
  });
  const parts = { disk, clock, trace, table, cache, applier, journal, onFatal };
  store.start(journal, new Checkpointer(parts, index));
  const objects = table.objectCount;
  trace.event('store.opened', { objects, replayedBytes: tail.end - head.checkpoint });
  if (store.isHeld()) store.onPressure();
  return store;
}

/** The journal file; on an empty disk everything is made first, the journal last: it says that the store exists. */
async function openJournalFile(options: StoreOptions): Promise<DiskFile> {
  const { disk, journalBytes } = options;
  if (journalBytes < MIN_JOURNAL_BYTES || journalBytes > MAX_JOURNAL_BYTES) {
    throw new OperatingError(
      'usage',
      `a journal of ${journalBytes} bytes: at least ${MIN_JOURNAL_BYTES}, at most ${MAX_JOURNAL_BYTES}`,
    );
  }
  const existing = disk.open(JOURNAL_PATH, { create: false });
  if (existing !== undefined) return existing;
  for (const folder of OBJECT_FOLDERS) {
    disk.makeFolder(folder);
    if (disk.list(folder).length === 0) continue;
    throw new OperatingError('corrupt', `${JOURNAL_PATH} is missing, but ${folder} has objects`, {
      remedy: 'mark the node as lost and join with an empty data directory',
    });
  }
  disk.makeFolder(INCOMING_FOLDER);
  await syncFolder(disk, OBJECTS_FOLDER);
  const index = createIndex(disk, 1);
  await new Promise<void>((resolve, reject) => {
    index.sync((error) => (error === undefined ? resolve() : reject(error)));
  });
  index.close();
  await syncFolder(disk, '');
  await formatJournal(options, journalBytes, { generation: 1, bytes: index.bytes });
  const made = disk.open(JOURNAL_PATH, { create: false });
  invariant(made !== undefined, 'the journal was made');
  return made;
}

function loaderOf(table: PartitionTable): Parameters<typeof openIndex>[3] {
  const forget = (generation: number, index: number): void => {
    const old = table.find(generation, index);
    if (old === undefined) return;
    table.leave(old);
    table.bury(old);
  };
  return {
    row: (state: ObjectState) => {
      forget(state.generation, state.index);
      state.durable = rowFieldsOf(state);
      table.insert(state);
    },
    drop: forget,
  };
}

/** Removes files that no row knows: copies never committed, objects dropped or zeroed just before a crash. */
async function removeStrays(disk: Disk, clock: Clock, table: PartitionTable): Promise<void> {
  for (const name of disk.list(INCOMING_FOLDER)) disk.remove(`${INCOMING_FOLDER}/${name}`);
  for (const folder of OBJECT_FOLDERS) {
    for (const name of disk.list(folder)) {
      const generation = Number.parseInt(name.slice(0, 8), 16);
      const index = Number.parseInt(name.slice(8), 16);
      const isKnown =
        name === hex32(generation) + hex32(index) &&
        table.find(generation, index)?.hasFile === true;
      if (!isKnown) disk.remove(`${folder}/${name}`);
    }
    await pause(clock);
  }
}

interface ReplayParts {
  readonly options: StoreOptions;
  readonly file: DiskFile;
  readonly head: JournalHead;
  readonly table: PartitionTable;
  readonly cache: ObjectCache;
  readonly applier: Applier;
}

class Replay {
  readonly #parts: ReplayParts;
  /** Per object: number of the last record that ended an earlier life. */
  readonly #lifeStart = new Map<string, number>();
  readonly #folders = new Set<string>();

  constructor(parts: ReplayParts) {
    this.#parts = parts;
  }

  async run(): Promise<JournalTail> {
    const { file, head, options, applier } = this.#parts;
    const tail = await this.#walk((record, number) => {
      if (endsLife(record)) this.#lifeStart.set(keyOf(record), number);
    });
    await checkTail(file, head, options.clock, tail);
    await this.#walk((record, number) => {
      const start = this.#lifeStart.get(keyOf(record));
      if (start === undefined || number >= start) this.#redo(record);
    });
    for (const folder of this.#folders) await syncFolder(options.disk, folder);
    applier.holes.settle();
    return tail;
  }

  #walk(visit: (record: JournalRecord, number: number) => void): Promise<JournalTail> {
    let number = 0;
    const { file, head, options } = this.#parts;
    return walkJournal(file, head, options.clock, (contents, count) => {
      for (const record of decodeRecords(contents, count)) {
        visit(record, number);
        number += 1;
      }
    });
  }

  #redo(record: JournalRecord): void {
    const { table, applier } = this.#parts;
    if (record.kind === RECORD_DROP) {
      this.#remove(record);
      table.noteDrop({
        generation: record.generation as GenerationId,
        index: record.index,
      });
      return;
    }
    if (record.kind === RECORD_REPLACE) this.#remove(record);
    const state = this.#stateOf(record);
    if (record.kind === RECORD_REPLACE) this.#replace(state, record);
    else applier.change(state, record);
    table.addUsage(state, -1);
    setRow(state, record);
    table.addUsage(state, 1);
    state.durable = rowFieldsOf(state);
    table.noteChange(state);
  }

  #stateOf(record: JournalRecord): ObjectState {
    const { table } = this.#parts;
    const found = table.find(record.generation, record.index);
    if (found !== undefined) return found;
    const state = new ObjectState({
      generation: record.generation as GenerationId,
      index: record.index,
      family: record.family as FamilyId,
      partition: record.partition,
    });
    table.insert(state);
    return state;
  }

  #remove(record: JournalRecord): void {
    const { table, applier } = this.#parts;
    const state = table.find(record.generation, record.index);
    if (state === undefined) return;
    table.leave(state);
    applier.bury(state);
  }

  /** Finishes the rename unless it was done before the crash. */
  #replace(state: ObjectState, record: JournalRecord): void {
    if (record.isZeroAfter) return;
    const { disk } = this.#parts.options;
    const target = objectPath(record.generation, record.index);
    const staged = stagedPath(record.generation, record.index, record.stagedId);
    const file = disk.open(staged, { create: false });
    if (file !== undefined) {
      file.close();
      disk.rename(staged, target);
      this.#folders.add(INCOMING_FOLDER);
      this.#folders.add(target.slice(0, target.lastIndexOf('/')));
    }
    state.hasFile = true;
    state.slotSequence = STAGED_SLOT;
  }
}

function keyOf(record: JournalRecord): string {
  return hex32(record.generation) + hex32(record.index);
}

function endsLife(record: JournalRecord): boolean {
  const isWholeZero = record.kind === RECORD_ZERO && record.isZeroAfter;
  return record.kind === RECORD_REPLACE || record.kind === RECORD_DROP || isWholeZero;
}
