// Watches that the path of the data directory still leads to the directory that this process locked: a directory that
// was moved away, removed, or covered by a mount goes on working through open descriptors (file-disk.ts never follows the
// path again), and a second process could take the path. So the node must end, and say why. Two looks at the file system
// each second, through the thread pool: a disk that hangs holds nobody up.

import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { OperatingError } from '../core/errors.ts';
import type { Clock, TimerHandle } from '../ports/ports.ts';
import { LOCK_FILE } from './data-lock.ts';

/** Between two looks; one that hangs is waited for. */
export const DATA_LOOK_MS = 1000;

const REMEDY = 'put the directory back as it was, then start sheep again';

interface Place {
  readonly dev: bigint;
  readonly ino: bigint;
}

/**
 * Looks until it is stopped or something is wrong; `onGone` is called once. The lock must be held.
 * @returns stops it
 */
export async function watchDataDirectory(
  directory: string,
  clock: Clock,
  onGone: (error: OperatingError) => void,
): Promise<() => void> {
  const paths = [directory, path.join(directory, LOCK_FILE)];
  const placesOf = () => Promise.all(paths.map((one) => fs.stat(one, { bigint: true })));
  const atStart: readonly Place[] = await placesOf();
  let isStopped = false;
  let timer: TimerHandle | undefined;
  const look = async (): Promise<void> => {
    const wrong = await wrongWith(directory, atStart, placesOf);
    if (isStopped) return;
    if (wrong === undefined) arm();
    else onGone(new OperatingError('io', `${directory}: ${wrong}`, { remedy: REMEDY }));
  };
  const arm = (): void => {
    timer = clock.setTimer(DATA_LOOK_MS, () => void look());
  };
  arm();
  return () => {
    isStopped = true;
    if (timer !== undefined) clock.clearTimer(timer);
  };
}

async function wrongWith(
  directory: string,
  atStart: readonly Place[],
  placesOf: () => Promise<readonly Place[]>,
): Promise<string | undefined> {
  try {
    const now = await placesOf();
    const isSame = now.every(
      ({ dev, ino }, i) => dev === atStart[i]?.dev && ino === atStart[i]?.ino,
    );
    if (!isSame) return 'the path leads to another directory than at the start';
    // Says EROFS of a file system that was remounted, before the next write finds out.
    await fs.access(directory, fs.constants.W_OK);
    return undefined;
  } catch (error) {
    const { code = 'failed' } = error as { code?: string };
    if (code === 'ENOENT') return 'ENOENT: the data directory, or its lock, was moved or removed';
    if (code === 'EROFS') return 'EROFS: the file system is read-only';
    return `${code}: the data directory can not be reached`;
  }
}
