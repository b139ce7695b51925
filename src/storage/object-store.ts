// Opens a store: makes its files on an empty disk, else loads the index, replays the journal over it, finishes renames
// that were confirmed, removes what no row knows. It refuses to start on damage of its own metadata, naming file and
// cure; a damaged object is only marked and healed from a peer later.

import { OperatingError } from '../core/errors.ts';
import { invariant } from '../core/invariant.ts';
import { REPLACE_OR_RESTORE } from '../core/remedies.ts';
import type { SpaceRule } from '../core/space.ts';
import type { Clock, Disk, DiskFile, Random, Trace } from '../ports/ports.ts';
import { Applier } from './apply.ts';
import { Checkpointer } from './checkpoint.ts';
import { ExtentWriter, MIN_EXTENT_BYTES } from './extents.ts';
import { createIndex, openIndex } from './index-file.ts';
import { Journal } from './journal.ts';
import {
  formatJournal,
  pause,
  raiseFormat,
  readHead,
  syncFile,
  syncFolder,
} from './journal-head.ts';
import {
  HEAD_SLOT_SPACING,
  hex32,
  INCOMING_FOLDER,
  JOURNAL_PATH,
  MAX_JOURNAL_BYTES,
  MIN_JOURNAL_BYTES,
  OBJECT_FOLDERS,
  OBJECTS_FOLDER,
} from './layout.ts';
import { LocalObjectStore } from './local-store.ts';
import { ObjectCache } from './object-cache.ts';
import { ObjectReader } from './object-read.ts';
import type { ObjectState, PendingRecord } from './object-state.ts';
import { OutageKeeper } from './outage-keeper.ts';
import { PartitionTable } from './partition-table.ts';
import { Replay } from './store-replay.ts';

export interface StoreOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly trace: Trace;
  /** Size of the journal file when it is made; an existing one keeps its size. */
  readonly journalBytes: number;
  /** Of a member: a journal that is not there was lost, and an empty store would be a silent loss. */
  readonly mustExist?: boolean;
  /** Smallest write that may go past the journal; MIN_EXTENT_BYTES unless a test or a measurement says so. */
  readonly extentBytes?: number;
  /** When the disk is nearfull, and full; the defaults unless given. */
  readonly spaceRule?: SpaceRule;
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
  const found = readHead(file);
  await remakeFolders(options);
  noteSize(options, file.sizeSync());
  const table = new PartitionTable();
  const index = openIndex(disk, found.indexGeneration, found.indexBytes, loaderOf(table));
  const cache = new ObjectCache(disk, trace);
  const applier = new Applier({ disk, clock, table, cache, onFatal });
  const outages = new OutageKeeper({ disk, clock, trace, head: found });
  const replay = new Replay({ ...options, file, head: found, table, cache, applier, outages });
  const tail = await replay.run();
  await syncFile(file);
  const head = await raiseFormat(file, found);
  await matchFiles(options, table, cache);
  const reader = new ObjectReader(cache, clock, trace, () => disk.blocksRead?.());
  const store = new LocalObjectStore({ ...options, table, cache, reader, applier, outages });
  const journal = new Journal<PendingRecord>({
    file,
    head,
    tail,
    clock,
    onWritten: (records) => store.noteWritten(records),
    apply: (records, done) => store.applyBatch(records, done),
    isHeld: () => store.isHeld(),
    onPressure: () => store.onPressure(),
    onFatal,
  });
  outages.start(() => journal.applied.position);
  const parts = { disk, clock, trace, table, cache, applier, journal, outages, onFatal };
  const minBytes = options.extentBytes ?? MIN_EXTENT_BYTES;
  const extents = new ExtentWriter({ ...parts, minBytes, onDurable: () => journal.kick() });
  store.start(journal, new Checkpointer(parts, index), extents);
  const objects = table.objectCount;
  trace.event('store.opened', { objects, replayedBytes: tail.end - head.checkpoint });
  // What was made good of damage is kept in place before anything else can go wrong.
  if (store.isHeld() || replay.damaged > 0) store.onPressure();
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
  if (options.mustExist === true) throw journalMissing('this node is a member and had one');
  for (const folder of OBJECT_FOLDERS) {
    disk.makeFolder(folder);
    if (disk.list(folder).length === 0) continue;
    throw journalMissing(`${folder} has objects`);
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

function journalMissing(why: string): OperatingError {
  return new OperatingError('corrupt', `${JOURNAL_PATH} is missing, but ${why}`, {
    remedy: `put the file back; else ${REPLACE_OR_RESTORE}`,
  });
}

/**
 * Folders that somebody took away are made anew, so that what they held can be: each object of them is damaged (4.10),
 * and the disk is as good as before.
 */
async function remakeFolders({ disk, trace }: StoreOptions): Promise<void> {
  const there = new Set([
    ...disk.list(''),
    ...disk.list(OBJECTS_FOLDER).map((name) => `${OBJECTS_FOLDER}/${name}`),
  ]);
  const gone = [INCOMING_FOLDER, ...OBJECT_FOLDERS].filter((folder) => !there.has(folder));
  if (gone.length === 0) return;
  trace.warn('store.folders-remade', { folders: gone.length, first: gone[0] ?? '' });
  for (const folder of gone) disk.makeFolder(folder);
  await syncFolder(disk, OBJECTS_FOLDER);
  await syncFolder(disk, '');
}

/** The journal never changes its size: it would have to be empty, and durable, in two places at once. */
function noteSize({ trace, journalBytes }: StoreOptions, hasBytes: number): void {
  if (Math.abs(journalBytes - hasBytes) < HEAD_SLOT_SPACING) return;
  const text = 'the journal keeps the size with which the directory was made';
  trace.event('store.journal-size-kept', { hasBytes, askedBytes: journalBytes, text });
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
      state.noteDurable();
      state.isNamed = state.hasFile;
      table.insert(state);
    },
    drop: forget,
  };
}

/**
 * Files against rows. What no row knows goes: copies never committed, objects dropped or zeroed just before a crash. A
 * row without its file is damage, never "not written yet" (4.10): the object is suspect from the start.
 */
async function matchFiles(
  { disk, clock }: StoreOptions,
  table: PartitionTable,
  cache: ObjectCache,
): Promise<void> {
  for (const name of disk.list(INCOMING_FOLDER)) disk.remove(`${INCOMING_FOLDER}/${name}`);
  const seen = new Set<ObjectState>();
  for (const folder of OBJECT_FOLDERS) {
    for (const name of disk.list(folder)) {
      const generation = Number.parseInt(name.slice(0, 8), 16);
      const index = Number.parseInt(name.slice(8), 16);
      const isName = name === hex32(generation) + hex32(index);
      const state = isName ? table.find(generation, index) : undefined;
      if (state?.hasFile === true) seen.add(state);
      else disk.remove(`${folder}/${name}`);
    }
    await pause(clock);
  }
  for (const state of table.durableStates()) {
    if (state.hasFile && !seen.has(state)) cache.lose(state, 'file is gone');
  }
}
