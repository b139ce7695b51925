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
