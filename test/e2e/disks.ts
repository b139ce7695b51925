// Disks that can be hurt, for tests as root: ext4 on a loop device that turns read-only on command, and a tmpfs of a few
// MiB (TESTING.md, section 4). Each is mounted where a node's data directory shall be; `remove` undoes all of it.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { missingTools } from '../nbd/tools.ts';

const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;

/** Runs a program that has to succeed. Returns what it said. */
function must(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    env: { ...process.env, PATH },
  });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
  return stdout.trim();
}

/** Why nothing can be mounted here; empty when it can. Neither is a fault of the machine. */
export function missingMounts(): string {
  if (process.getuid?.() !== 0) return 'mounting a disk needs root';
  const probe = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-mount-'));
  try {
    must('mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', probe);
    must('umount', probe);
    return '';
  } catch {
    return 'this machine allows no mounts';
  } finally {
    fs.rmdirSync(probe);
  }
}

/** As missingMounts, and for loop devices with ext4. */
export function missingLoops(): string {
  const missing = missingMounts() || missingTools('losetup', 'mkfs.ext4', 'e2fsck');
  if (missing !== '') return missing;
  if (!fs.existsSync('/sys/fs/ext4')) return 'this kernel has no ext4';
  const { status } = spawnSync('losetup', ['-f'], { env: { ...process.env, PATH } });
  return status === 0 ? '' : 'this machine has no loop devices';
}

const FILLER = 'of-somebody-else';

export class Tmpfs {
  readonly folder: string;

  constructor(folder: string, size: string) {
    this.folder = folder;
    fs.mkdirSync(folder, { recursive: true });
    must('mount', '-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder);
  }

  resize(size: string): void {
    must('mount', '-o', `remount,size=${size}`, this.folder);
  }

  /** A file of somebody else takes all that is free. */
  fillUp(): void {
    const { bavail, bsize } = fs.statfsSync(this.folder);
    try {
      fs.appendFileSync(path.join(this.folder, FILLER), new Uint8Array(bavail * bsize));
    } catch (error) {
      // A node that runs took some of it meanwhile: it is full then, too.
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }

  /** That file is gone. */
  empty(): void {
    fs.rmSync(path.join(this.folder, FILLER), { force: true });
  }

  get usedShare(): number {
    const { blocks, bavail } = fs.statfsSync(this.folder);
    return 1 - bavail / blocks;
  }

  remove(): void {
    spawnSync('umount', ['-l', this.folder], { env: { ...process.env, PATH } });
  }
}

export class LoopDisk {
  readonly folder: string;
  readonly #image: string;
  readonly #device: string;

  constructor(folder: string, image: string, size: string) {
    this.folder = folder;
    this.#image = image;
    fs.mkdirSync(folder, { recursive: true });
    must('truncate', '-s', size, image);
    must('mkfs.ext4', '-q', '-F', image);
    this.#device = must('losetup', '-f', '--show', image);
    this.mount();
  }

  mount(): void {
    must('mount', '-o', 'errors=remount-ro', this.#device, this.folder);
    fs.rmSync(path.join(this.folder, 'lost+found'), { recursive: true, force: true });
  }

  /** From now on every write and sync is EROFS. */
  turnReadOnly(): void {
    fs.writeFileSync(`/sys/fs/ext4/${path.basename(this.#device)}/trigger_fs_error`, '1');
  }

  /** Unmounts, lets e2fsck mend what the error left, mounts again. */
  repair(): void {
    must('umount', this.folder);
    const { status } = spawnSync('e2fsck', ['-f', '-y', this.#device], {
      env: { ...process.env, PATH },
    });
    if (status !== 0 && status !== 1) throw new Error(`e2fsck ended with ${status}`);
    this.mount();
  }

  remove(): void {
    const env = { ...process.env, PATH };
    spawnSync('umount', ['-l', this.folder], { env });
    spawnSync('losetup', ['-d', this.#device], { env });
    fs.rmSync(this.#image, { force: true });
  }
}
