// `sheep log DIR`: what a data directory says of the cluster's history, entry by entry, so that a person can compare the
// nodes: at the same index, the same hash. Reads map.log and map.snapshot and changes nothing; the node may run.

import { createHash } from 'node:crypto';
import { applyEntry, type ClusterState, emptyState, hashOf } from './core/cluster-state.ts';
import { OperatingError } from './core/errors.ts';
import type { LogEntry } from './core/log-entry.ts';
import { openFileDisk } from './io/file-disk.ts';
import type { Disk } from './ports/ports.ts';
import { openMapSnapshots } from './storage/map-snapshot.ts';
import { MAP_LOG_PATH } from './storage/raft-log-format.ts';
import { readLog } from './storage/raft-log-replay.ts';
import { encodeEntry } from './wire/entry-codec.ts';
import type { MapSnapshot } from './wire/snapshot-codec.ts';

export const LOG_HELP = `sheep log DIR

  Prints the map log of DIR, one entry a line: index, term, type, hash of the entry; then the hash of the state that
  comes of it. Two nodes of a cluster have the same hash at the same index, always. An entry marked "open" is not known
  to be decided: it may still go. What a snapshot took the place of is not listed. Changes nothing.

exit codes: 0 done, 1 the log can not be read, 64 wrong usage
`;

/** Of a hash, enough to tell entries apart. */
const HASH_DIGITS = 32;

export interface LoggedEntry {
  readonly index: number;
  readonly term: number;
  readonly type: string;
  readonly hash: string;
  /** False: it may still go. */
  readonly isCommitted: boolean;
}

/** What a data directory says of the cluster's history. */
export interface LogListing {
  /** Index, term and hash of the state of the snapshot; undefined without one. */
  readonly snapshot:
    | { readonly index: number; readonly term: number; readonly hash: string }
    | undefined;
  readonly entries: readonly LoggedEntry[];
  /** Highest entry that is known to be committed, and the hash of the state there. */
  readonly commit: number;
  readonly stateHash: string;
}

/**
 * Reads log and snapshot of a data directory.
 * @throws OperatingError 'not-formatted', 'corrupt', 'newer-format'
 */
export function listLog(disk: Disk): LogListing {
  const snapshots = openMapSnapshots(disk);
  const found = snapshots.takeFound();
  snapshots.close();
  const file = disk.open(MAP_LOG_PATH, { create: false });
  if (file === undefined) throw notFormed();
  try {
    const { entries, commit: synced } = readLog(file).contents;
    const commit = Math.max(synced, found?.base.index ?? 0);
    const state = stateAt(commit, found, entries);
    return {
      snapshot: found === undefined ? undefined : headOf(found),
      entries: entries.map((entry) => lineOf(entry, commit)),
      commit,
      stateHash: hashOf(state),
    };
  } finally {
    file.close();
  }
}

function headOf({ base, state }: MapSnapshot): LogListing['snapshot'] {
  return { index: base.index, term: base.term, hash: hashOf(state) };
}

function lineOf(entry: LogEntry, commit: number): LoggedEntry {
  const { index, term, body } = entry;
  const digest = createHash('sha256').update(encodeEntry(entry)).digest('hex');
  const hash = digest.slice(0, HASH_DIGITS);
  return { index, term, type: body.type, hash, isCommitted: index <= commit };
}

function stateAt(
  commit: number,
  found: MapSnapshot | undefined,
  entries: readonly LogEntry[],
): ClusterState {
  let state = found?.state ?? emptyState();
  for (const entry of entries) {
    const isNext = entry.index === state.index + 1 && entry.index <= commit;
    if (isNext) state = applyEntry(state, entry).state;
  }
  return state;
}

function notFormed(): OperatingError {
  return new OperatingError('not-formatted', 'there is no map log', {
    remedy: 'name the data directory of a member',
  });
}

/** Where the words go, and whether a file is there. */
export interface LogWorld {
  readonly say: (text: string) => void;
  readonly exists: (file: string) => boolean;
}

/** @throws OperatingError that says why nothing was printed */
export function printLog(args: readonly string[], { say, exists }: LogWorld): void {
  const [directory = '', ...rest] = args;
  if (args.includes('--help') || args.includes('-h')) {
    say(LOG_HELP);
    return;
  }
  if (directory === '' || directory.startsWith('-') || rest.length > 0) {
    throw new OperatingError('usage', 'name one data directory', {
      remedy: 'sheep log --help tells the rest',
    });
  }
  // To open a folder as a disk makes it.
  if (!exists(`${directory}/${MAP_LOG_PATH}`)) throw notFormed();
  say(textOf(listLog(openFileDisk(directory))));
}

function textOf({ snapshot, entries, commit, stateHash }: LogListing): string {
  const head = snapshot && `snapshot\t${snapshot.index}\t${snapshot.term}\t${snapshot.hash}\n`;
  const lines = entries.map(({ index, term, type, hash, isCommitted }) => {
    return `${index}\t${term}\t${type}\t${hash}${isCommitted ? '' : '\topen'}\n`;
  });
  return `${head ?? ''}${lines.join('')}state\t${commit}\t${stateHash}\n`;
}
