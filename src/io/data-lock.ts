// One process per data directory. The lock is a file that names its holder: pid and start time, so that a pid that the
// system has given to somebody else since does not count. A crash leaves the file behind; the next start judges it.

import * as fs from 'node:fs';
import * as path from 'node:path';
import { OperatingError } from '../core/errors.ts';
import { makeFolders } from './make-folders.ts';

/** In the data directory; names the process that has it. */
export const LOCK_FILE = 'lock';
/** A stale lock is removed and tried again this often: somebody else may be starting, too. */
const MAX_LOCK_TRIES = 3;
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
/** How long the process that is replaced may take for its orderly end, which it bounds itself. Milliseconds. */
const REPLACE_LIMIT_MS = 20_000;
/** Between two looks at it: the end of another's process is no event. */
const REPLACE_LOOK_MS = 5;
/** Start time is the 22nd field of /proc/PID/stat; the 2nd one, the name, may hold blanks. */
const FIELDS_AFTER_NAME = 19;

/**
 * Takes the directory for this process; makes it when absent.
 * @returns gives it back
 * @throws OperatingError 'locked' that names the living process, 'io' when the directory can not be used
 */
export function lockDataDirectory(directory: string): () => void {
  const file = path.join(directory, LOCK_FILE);
  const own = `${process.pid} ${startOf(process.pid) ?? 0}\n`;
  try {
    makeFolders(directory, FOLDER_MODE);
    for (let tries = 0; tries < MAX_LOCK_TRIES; tries += 1) {
      if (takeFile(file, own)) return () => giveBack(file, own);
      refuseOther(file);
      const holder = livingHolder(file);
      if (holder !== undefined) throw locked(directory, holder);
      removeStale(file);
    }
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    const text = error instanceof Error ? error.message : String(error);
    throw new OperatingError('io', `the data directory ${directory} can not be used: ${text}`, {
      remedy: remedyFor((error as { code?: string }).code),
      cause: error,
    });
  }
  throw locked(directory, 0);
}

/**
 * Asks the process that has the directory to end in order, and waits until it has given it back. Another process that waits
 * for the same is its successor or not: `lockDataDirectory` says which.
 * @returns its pid; undefined where nobody has the directory
 * @throws OperatingError 'refused' when it is another user's, 'timeout' when it does not end
 */
export async function endHolder(directory: string): Promise<number | undefined> {
  const file = path.join(directory, LOCK_FILE);
  const holder = livingHolder(file);
  if (holder === undefined) return undefined;
  try {
    process.kill(holder, 'SIGTERM');
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== 'ESRCH') throw notOurs(directory, holder);
  }
  const until = performance.now() + REPLACE_LIMIT_MS;
  while (livingHolder(file) === holder) {
    if (performance.now() > until) {
      const text = `the process ${holder} was asked to end, and still has ${directory} after ${REPLACE_LIMIT_MS / 1000} s`;
      throw new OperatingError('timeout', text, { remedy: `look into its log; kill -9 ${holder}` });
    }
    await new Promise((resolve) => setTimeout(resolve, REPLACE_LOOK_MS));
  }
  return holder;
}

function notOurs(directory: string, pid: number): OperatingError {
  return new OperatingError(
    'refused',
    `${directory} is served by the process ${pid} of another user`,
    {
      remedy: 'start this one as the same user',
    },
  );
}

function remedyFor(code: string | undefined): string {
  if (code === 'EROFS') return 'the file system is read-only: repair it (fsck) and mount it again';
  if (code === 'EIO') return 'the disk fails: look into the kernel log (dmesg), replace it';
  if (code === 'ENOSPC') return 'free space on its file system';
  return 'give a directory that this user may write to';
}

/** The path may lead to another directory by now, with another's lock in it. */
function giveBack(file: string, own: string): void {
  if (readText(file) === own) fs.rmSync(file, { force: true });
}

/** Whole at once: a file that others see is a whole one. */
function takeFile(file: string, text: string): boolean {
  const draft = `${file}.${process.pid}`;
  try {
    fs.writeFileSync(draft, text, { mode: FILE_MODE });
    fs.linkSync(draft, file);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === 'EEXIST') return false;
    throw error;
  } finally {
    fs.rmSync(draft, { force: true });
  }
}

/** Somebody else may have removed the stale one and taken its place since it was judged: what lives goes back. */
function removeStale(file: string): void {
  const aside = `${file}.${process.pid}`;
  try {
    fs.renameSync(file, aside);
    if (livingHolder(aside) !== undefined) fs.linkSync(aside, file);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== 'ENOENT' && code !== 'EEXIST') throw error;
  } finally {
    fs.rmSync(aside, { force: true });
  }
}

/** What was put there by somebody else is not ours to remove. */
function refuseOther(file: string): void {
  if (fs.lstatSync(file, { throwIfNoEntry: false })?.isFile() !== false) return;
  throw new OperatingError('io', `${file} is not a file, as the lock of a data directory is`, {
    remedy: 'move it away, or give another --data directory',
  });
}

function livingHolder(file: string): number | undefined {
  const [pid, start] = readText(file).trim().split(' ').map(Number);
  if (pid === undefined || !Number.isInteger(pid) || pid <= 0) return undefined;
  const present = startOf(pid);
  return present !== undefined && present === start ? pid : undefined;
}

/** Ticks since boot; undefined when there is no such process. */
function startOf(pid: number): number | undefined {
  const stat = readText(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return stat === '' ? undefined : Number(fields[FIELDS_AFTER_NAME]);
}

function readText(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function locked(directory: string, pid: number): OperatingError {
  return new OperatingError('locked', `${directory} is in use by the process ${pid}`, {
    remedy: 'stop that process first, or give another --data directory',
  });
}
