// Opens log and snapshot together and makes them fit: a crash between the two leaves the snapshot ahead of the log, never
// behind its base. A damaged log is not taken for a shorter one (C2.6): what is whole and committed is kept, the node is
// muted, and gets the rest from the others. Where nobody could give it, the node does not start. A member's log that is
// gone is damaged as a whole.

import { hasCode, OperatingError } from '../core/errors.ts';
import type { NodeId } from '../core/ids.ts';
import type { LogEntry } from '../core/log-entry.ts';
import { type VoterSet, voterSetOf } from '../core/raft/voters.ts';
import type { Clock, Disk, DiskFile } from '../ports/ports.ts';
import { type MapSnapshots, openMapSnapshots } from './map-snapshot.ts';
import { type LogOptions, RaftLog } from './raft-log.ts';
import { untilSynced, type WrittenLog, writeLogFile } from './raft-log-files.ts';
import { damagedLog, MAP_LOG_PATH } from './raft-log-format.ts';
import { type LogContents, noContents, replayLog, salvageLog } from './raft-log-replay.ts';

/** What is left of a damaged log, for a person; the newest only. */
export const DAMAGED_LOG_PATH = `${MAP_LOG_PATH}.damaged`;

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
  const snapshots = openMapSnapshots(disk);
  const file = disk.open(MAP_LOG_PATH, { create: false });
  try {
    const opened =
      file !== undefined
        ? await openFile(disk, file, snapshots)
        : isMember
          ? await openGone(disk, snapshots)
          : { ...(await writeLogFile(disk, noContents())), damage: undefined };
    return await fitted(opened, { ...options, snapshots, damage: opened.damage });
  } catch (error) {
    file?.close();
    snapshots.close();
    throw error;
  }
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
      remedy:
        'put the file back, or move the data directory away and join as a new node; the other nodes hold the map',
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
  const known = sets.filter((set) => set !== undefined);
  if (known.length === 0) throw error;
  const nodes = new Set<NodeId>(known.flatMap(({ voters, next }) => [...voters, ...(next ?? [])]));
  if (nodes.size === 1) throw soleVoter(error);
  const term = Math.max(contents.hardState.term, found?.base.term ?? 0);
  return { ...contents, entries: kept, hardState: { term, vote: 0 }, isMuted: true };
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
  if ((base?.index ?? 0) < contents.base.index) {
    throw damagedLog(0, `it starts behind ${contents.base.index}, and no snapshot reaches there`);
  }
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
