// Opens log and snapshot together and makes them fit: a crash between the two leaves the snapshot ahead of the log, never
// behind its base. A damaged log is not taken for a shorter one (C2.6): what is whole and committed is kept, the node is
// muted, and gets the rest from the others. Where nobody could give it, the node does not start. A member's log that is
// gone is damaged as a whole. So is one that begins behind a snapshot that is gone or damaged, and one that its own node
// found to differ from those of the voters: then all of the map comes from the others.

import { hasCode, OperatingError } from '../core/errors.ts';
import type { NodeId } from '../core/ids.ts';
import type { LogEntry } from '../core/log-entry.ts';
import { type VoterSet, voterSetOf } from '../core/raft/voters.ts';
import { REPLACE_OR_RESTORE } from '../core/remedies.ts';
import type { Clock, Disk, DiskFile } from '../ports/ports.ts';
import { MAP_SNAPSHOT_PATH, MapSnapshots, openMapSnapshots } from './map-snapshot.ts';
import { type LogOptions, RaftLog } from './raft-log.ts';
import { untilSynced, type WrittenLog, writeLogFile } from './raft-log-files.ts';
import { damagedLog, MAP_LOG_PATH } from './raft-log-format.ts';
import { type LogContents, noContents, replayLog, salvageLog } from './raft-log-replay.ts';

/** What is left of a damaged log, for a person; the newest only. */
export const DAMAGED_LOG_PATH = `${MAP_LOG_PATH}.damaged`;
/** The same of a snapshot. */
export const DAMAGED_SNAPSHOT_PATH = `${MAP_SNAPSHOT_PATH}.damaged`;
/** Says that the map of this directory is not to be believed (C2.8); empty. */
export const DISTRUSTED_PATH = 'map.distrusted';

/** Durable when it resolves: the next start takes nothing from this map, and gets it from the others. */
export async function distrustMap(disk: Disk): Promise<void> {
  disk.open(DISTRUSTED_PATH, { create: true })?.close();
  await untilSynced((done) => disk.syncFolder('', done));
}

/**
 * Opens the log, makes an empty one when there is none, cuts a torn tail. Everything it then says is synced. The log of
 * a node that lost something it had synced is opened muted, with what is left.
 * @param isMember the node is in a cluster: it has a log, and votes by it
 * @throws OperatingError 'corrupt' when too little is left to get the rest from others, 'newer-format': both name file
 *   and cure; 'io', 'no-space' from the disk. The node must not start in any of these cases (C2.6).
 */
export async function openRaftLog(
  disk: Disk,
  clock: Clock,
  onFatal: (error: Error) => void,
  isMember = false,
): Promise<RaftLog> {
  const options = { disk, clock, onFatal };
  const { snapshots, fault } = openSnapshots(disk);
  const file = disk.open(MAP_LOG_PATH, { create: false });
  try {
    const opened =
      file !== undefined
        ? await openFile(disk, file, snapshots)
        : isMember
          ? await openGone(disk, snapshots)
          : { ...(await writeLogFile(disk, noContents())), damage: undefined };
    const { base } = opened.replayed.contents;
    const isBelieved = fault === undefined || fault.code === 'corrupt';
    const reaches = isBelieved && (snapshots.found?.base.index ?? 0) >= base.index;
    const whole = reaches
      ? opened
      : await withoutHistory(disk, opened, fault ?? noSnapshot(base.index));
    setAside(disk, fault);
    return await fitted(whole, {
      ...{ ...options, snapshots },
      damage: whole.damage ?? fault?.message,
    });
  } catch (error) {
    file?.close();
    snapshots.close();
    throw error;
  }
}

/** A damaged snapshot is none; nor is one that is not to be believed. */
function openSnapshots(disk: Disk): { snapshots: MapSnapshots; fault: OperatingError | undefined } {
  const mark = disk.open(DISTRUSTED_PATH, { create: false });
  mark?.close();
  if (mark !== undefined) return { snapshots: new MapSnapshots(disk), fault: distrusted() };
  try {
    return { snapshots: openMapSnapshots(disk), fault: undefined };
  } catch (error) {
    if (!(error instanceof OperatingError) || !hasCode(error, 'corrupt')) throw error;
    return { snapshots: new MapSnapshots(disk), fault: error };
  }
}

/** Last: whoever starts after a crash in between finds what this one found. */
function setAside(disk: Disk, fault: OperatingError | undefined): void {
  if (fault === undefined) return;
  if (disk.list('').includes(MAP_SNAPSHOT_PATH)) {
    disk.rename(MAP_SNAPSHOT_PATH, DAMAGED_SNAPSHOT_PATH);
  }
  disk.remove(DISTRUSTED_PATH);
}

/** Nothing is known but that it voted, until the others tell. What it had promised is in what is set aside. */
async function withoutHistory(
  disk: Disk,
  { file, replayed, damage }: Opened,
  fault: OperatingError,
): Promise<Opened> {
  const { base, entries, hardState } = replayed.contents;
  const sets = [base.voters, ...setsOf(entries)].filter((set) => set !== undefined);
  // Cut short after the log was written anew: it says nothing, and is muted.
  const isDone = replayed.contents.isMuted && base.index === 0 && entries.length === 0;
  if (!isDone) checkOthersVote(sets, fault);
  const { term } = hardState;
  const contents: LogContents = { ...noContents(), hardState: { term, vote: 0 }, isMuted: true };
  if (!isDone) disk.rename(MAP_LOG_PATH, DAMAGED_LOG_PATH);
  const written = await writeLogFile(disk, contents);
  file.close();
  return { ...written, damage: damage ?? fault.message };
}

function noSnapshot(index: number): OperatingError {
  return damagedLog(0, `it starts behind ${index}, and no snapshot reaches there`);
}

function distrusted(): OperatingError {
  const remedy = REPLACE_OR_RESTORE;
  const text = 'the map of this node differed from that of the voters';
  return new OperatingError('diverged', text, { remedy });
}

type Opened = WrittenLog & { readonly damage: string | undefined };

async function openFile(disk: Disk, file: DiskFile, snapshots: MapSnapshots): Promise<Opened> {
  try {
    const replayed = replayLog(file);
    // What was read may be in the cache of the system only, left by a process that died before its sync.
    await untilSynced((done) => file.sync(done));
    return { file, replayed, damage: undefined };
  } catch (error) {
    if (!(error instanceof OperatingError) || !hasCode(error, 'corrupt')) throw error;
    const contents = mutedContents(file, snapshots, error);
    disk.rename(MAP_LOG_PATH, DAMAGED_LOG_PATH);
    const written = await writeLogFile(disk, contents);
    file.close();
    return { ...written, damage: error.message };
  }
}

/** It promised what it does not know any more (C2.6). A start that was cut short left what it had set aside. */
async function openGone(disk: Disk, snapshots: MapSnapshots): Promise<Opened> {
  const aside = disk.open(DAMAGED_LOG_PATH, { create: false });
  try {
    const error = new OperatingError('corrupt', `${MAP_LOG_PATH} is missing`, {
      remedy: `put the file back; else ${REPLACE_OR_RESTORE}`,
    });
    const contents = mutedContents(aside, snapshots, error);
    return { ...(await writeLogFile(disk, contents)), damage: error.message };
  } finally {
    aside?.close();
  }
}

/** @throws what was found where nobody could help: no voter is known, or this node is the only one */
function mutedContents(
  file: DiskFile | undefined,
  snapshots: MapSnapshots,
  error: OperatingError,
): LogContents {
  const nothing = { contents: noContents(), later: [] };
  const { contents, later } = file === undefined ? nothing : salvageLog(file);
  const found = snapshots.found;
  const kept = contents.entries.slice(0, contents.commit - contents.base.index);
  const sets = [found?.base.voters, contents.base.voters, ...setsOf(kept), ...later];
  checkOthersVote(
    sets.filter((set) => set !== undefined),
    error,
  );
  const term = Math.max(contents.hardState.term, found?.base.term ?? 0);
  return { ...contents, entries: kept, hardState: { term, vote: 0 }, isMuted: true };
}

/** @throws what was found where nobody could help: no voter is known, or this node is the only one */
function checkOthersVote(known: readonly VoterSet[], error: OperatingError): void {
  if (known.length === 0) throw error;
  const nodes = new Set<NodeId>(known.flatMap(({ voters, next }) => [...voters, ...(next ?? [])]));
  if (nodes.size === 1) throw soleVoter(error);
}

function setsOf(entries: readonly LogEntry[]): readonly (VoterSet | undefined)[] {
  return entries.map(voterSetOf);
}

function soleVoter(error: OperatingError): OperatingError {
  return new OperatingError(
    'corrupt',
    `${error.message}; this node is the only voter: nobody else knows what was decided`,
    {
      remedy: `restore the data directory from a backup, or make another member decide: dog cluster recover force`,
      cause: error,
    },
  );
}

/** The log that fits its snapshot. */
async function fitted(
  opened: Opened,
  options: LogOptions & { readonly snapshots: MapSnapshots; readonly damage: string | undefined },
): Promise<RaftLog> {
  const { disk, snapshots } = options;
  const { contents } = opened.replayed;
  const base = snapshots.found?.base;
  if (base === undefined || base.index <= contents.commit) {
    return new RaftLog(opened.file, opened.replayed, options);
  }
  // A crash came between a snapshot that was installed and the log that follows it.
  const last = contents.entries[base.index - 1 - contents.base.index];
  const entries =
    last?.term === base.term ? contents.entries.slice(base.index - contents.base.index) : [];
  const term = Math.max(contents.hardState.term, base.term);
  const vote = term === contents.hardState.term ? contents.hardState.vote : 0;
  const next = { ...contents, base, entries, commit: base.index, hardState: { term, vote } };
  opened.file.close();
  const { file, replayed } = await writeLogFile(disk, next);
  return new RaftLog(file, replayed, options);
}
