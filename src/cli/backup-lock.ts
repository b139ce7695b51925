// One command at a time writes to a directory of backups, or takes something out of it: a file names its process and host.
// It is there with all its words or not at all. What a dead process of this host left does not count.

import * as fs from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { CommandError } from './failure.ts';

const LOCK = 'lock';

function ownWords(): string {
  return `${process.pid} ${hostname()}\n`;
}

/** @throws CommandError 'locked' */
export async function lock(dir: string): Promise<void> {
  const file = path.join(dir, LOCK);
  if (await isTaken(file)) return;
  const holder = await fs.readFile(file, 'utf8').catch(() => '');
  const [pid = '', host] = holder.trim().split(' ');
  const isDead = host === hostname() && !isAlive(Number(pid));
  if (isDead && (await isCleared(file, holder)) && (await isTaken(file))) return;
  const remedy = `wait for it; if it is gone: rm ${file}`;
  throw new CommandError('locked', `process ${pid} on ${host} writes to ${dir}`, remedy);
}

/** Only what is its own. */
export async function unlock(dir: string): Promise<void> {
  const file = path.join(dir, LOCK);
  if ((await fs.readFile(file, 'utf8').catch(() => '')) === ownWords()) await fs.rm(file);
}

async function isTaken(file: string): Promise<boolean> {
  const own = `${file}.${process.pid}`;
  await fs.writeFile(own, ownWords(), { mode: 0o600 });
  try {
    await fs.link(own, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await fs.rm(own, { force: true });
  }
}

/** Two may find the same dead one's: what the later one moves away is the other's by then, and goes back. */
async function isCleared(file: string, holder: string): Promise<boolean> {
  const aside = `${file}.${process.pid}`;
  try {
    await fs.rename(file, aside);
  } catch {
    // Somebody else was first, or it was given back.
    return false;
  }
  const found = await fs.readFile(aside, 'utf8');
  if (found !== holder) await fs.link(aside, file);
  await fs.rm(aside, { force: true });
  return found === holder;
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
