// The servers that stand beside ours in the same run: one process, one file, no copy. qemu-nbd with its page cache, which is
// the measure of all ratios, and nbdkit's file plugin where it is installed. Each with a file of its own.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { MIB } from '../src/core/units.ts';
import type { Target } from './fio-run.ts';
import { pause } from './nodes.ts';
import { isOver, owned } from './scratch.ts';

const READY_TIMEOUT_MS = 60_000;
const POLL_MS = 20;
const PACKAGES: Readonly<Record<string, string>> = { 'qemu-nbd': 'qemu-utils' };

export interface Peer {
  readonly target: Target;
  readonly child: ChildProcess;
}

/** Undefined when the program is there; else what to do about it. */
export function missing(program: string): string | undefined {
  if (spawnSync('sh', ['-c', `command -v ${program}`]).status === 0) return undefined;
  return `${program} is missing (apt-get install ${PACKAGES[program] ?? program})`;
}

/** On a sparse file of `sizeMib` in `dir`; nothing of it is written yet. */
export function startQemuNbd(dir: string, sizeMib: number): Promise<Peer> {
  const how = ['--format=raw', '--cache=writeback', '--persistent', '--shared=8'];
  return started('qemu-nbd', dir, sizeMib, (file, socket) => [
    ...[...how, '--export-name=bench', `--socket=${socket}`],
    file,
  ]);
}

export function startNbdkit(dir: string, sizeMib: number): Promise<Peer> {
  const how = ['--foreground', '--exit-with-parent'];
  return started('nbdkit', dir, sizeMib, (file, socket) => [...how, '-U', socket, 'file', file]);
}

async function started(
  program: string,
  dir: string,
  sizeMib: number,
  argsOf: (file: string, socket: string) => readonly string[],
): Promise<Peer> {
  fs.mkdirSync(dir, { recursive: true });
  const [file, socket] = [path.join(dir, 'volume.raw'), path.join(dir, 'nbd.sock')];
  fs.writeFileSync(file, '');
  fs.truncateSync(file, sizeMib * MIB);
  const child = owned(
    spawn(program, argsOf(file, socket), { stdio: ['ignore', 'ignore', 'inherit'] }),
  );
  const failed = Promise.withResolvers<never>();
  child.once('error', failed.reject);
  failed.promise.catch(() => undefined);
  const until = performance.now() + READY_TIMEOUT_MS;
  while (!fs.existsSync(socket)) {
    if (performance.now() > until || isOver(child)) {
      throw new RangeError(`${program} does not listen`);
    }
    await Promise.race([pause(POLL_MS), failed.promise]);
  }
  const uri = `nbd+unix:///bench?socket=${socket}`;
  return { child, target: { name: program, uri, pids: [child.pid as number] } };
}
