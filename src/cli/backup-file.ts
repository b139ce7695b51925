// The file of a backup: made whole or cut, looked at for where it goes on, and read in large pieces. What is said to be
// written is on the disk (fdatasync) before the command ends well.

import * as fs from 'node:fs/promises';
import { OperatingError } from '../core/errors.ts';
import { MIB } from '../core/units.ts';
import { type Found, lookThrough } from '../streams/restore.ts';
import { CommandError } from './failure.ts';

const READ_BYTES = MIB / 4;
/** Small parts (headers) are collected up to here. */
const COLLECT_BYTES = 64 * 1024;

export interface BackupFile {
  /** When it resolves the bytes are not needed any more: what is small was copied. */
  write(bytes: Uint8Array): Promise<void>;
  /** All of it is on the disk. */
  finish(): Promise<void>;
  close(): Promise<void>;
}

/** A new file; what was there before is refused unless forced. */
export async function newFile(path: string, isForced: boolean): Promise<BackupFile> {
  try {
    return writing(await fs.open(path, isForced ? 'w' : 'wx', 0o600), 0);
  } catch (error) {
    throw fileError(error, path);
  }
}

/** What stands in the file. */
export async function lookAt(path: string): Promise<Found> {
  return lookThrough(bytesOf(path));
}

export async function isEmpty(path: string): Promise<boolean> {
  return (await fs.stat(path)).size === 0;
}

/** Goes on behind this byte; what stands there is cut off. */
export async function goOnAt(path: string, wholeBytes: number): Promise<BackupFile> {
  try {
    const file = await fs.open(path, 'r+');
    await file.truncate(wholeBytes);
    return writing(file, wholeBytes);
  } catch (error) {
    throw fileError(error, path);
  }
}

function writing(file: fs.FileHandle, from: number): BackupFile {
  let at = from;
  const small = Buffer.allocUnsafe(COLLECT_BYTES);
  let smallBytes = 0;
  const put = async (parts: readonly Uint8Array[]): Promise<void> => {
    const wanted = parts.reduce((sum, part) => sum + part.length, 0);
    const { bytesWritten } = await file.writev(parts, at);
    at += bytesWritten;
    // A disk that fills up takes a part: the next write says why.
    if (bytesWritten < wanted)
      throw new CommandError('no-space', 'the disk took only a part of it');
  };
  return {
    async write(bytes) {
      if (smallBytes + bytes.length <= small.length) {
        small.set(bytes, smallBytes);
        smallBytes += bytes.length;
        return;
      }
      const parts = [small.subarray(0, smallBytes), bytes];
      smallBytes = 0;
      await put(parts);
    },
    async finish() {
      await put([small.subarray(0, smallBytes)]);
      smallBytes = 0;
      await file.datasync();
    },
    close: () => file.close(),
  };
}

/** The bytes of a file, in large pieces; each is gone when the next one is asked for. */
export async function* bytesOf(path: string): AsyncGenerator<Uint8Array> {
  let file: fs.FileHandle;
  try {
    file = await fs.open(path, 'r');
  } catch (error) {
    throw fileError(error, path);
  }
  try {
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    for (let at = 0; ; ) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

/** What the system says of a file, as `dog` says it. */
export function fileError(error: unknown, path: string): unknown {
  if (error instanceof OperatingError || error instanceof CommandError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return new CommandError('missing', `there is no ${path}`);
  if (code === 'EEXIST') {
    const remedy = 'go on with it by --resume, give another name, or -f to write over it';
    return new CommandError('exists', `${path} exists already`, remedy);
  }
  if (code === 'ENOSPC') return new CommandError('no-space', `no space is left for ${path}`);
  return new CommandError('io', `${path}: ${message}`);
}
