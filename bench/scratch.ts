// What a measurement leaves behind: nothing. Its folder goes and the processes that it started end, also when it fails or is
// interrupted. Ends only what was handed to `owned`.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** An orderly end takes no longer; then it is ended the other way. */
const STOP_MS = 20_000;
const INTERRUPTED = 130;

const children = new Set<ChildProcess>();

/** This process ends the child, if the child does not do so itself. */
export function owned<Child extends ChildProcess>(child: Child): Child {
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

export function isOver({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

/** SIGTERM, and SIGKILL for one that stays. Resolves when it is gone. */
export async function ended(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || isOver(child)) return;
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  await gone;
  clearTimeout(timer);
}

/** Runs `body` with a fresh folder under `base`. Afterwards the folder is gone and all that was `owned` has ended. */
export async function withScratch<T>(
  body: (dir: string) => Promise<T>,
  base = process.env['DIR'] ?? os.tmpdir(),
): Promise<T> {
  const dir = fs.mkdtempSync(path.join(base, 'sheep-bench-'));
  const leave = (): void => {
    for (const child of children) child.kill('SIGKILL');
    fs.rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  };
  const interrupted = (): void => process.exit(INTERRUPTED);
  process.once('exit', leave).once('SIGINT', interrupted).once('SIGTERM', interrupted);
  try {
    return await body(dir);
  } finally {
    await Promise.all([...children].map(ended));
    process.off('exit', leave).off('SIGINT', interrupted).off('SIGTERM', interrupted);
    leave();
  }
}
