// A directory of backups: pieces by their hashes, manifests by their numbers. A file is written elsewhere, synced, and then
// renamed to its place, and a manifest comes last, when all that it names is on the disk: a command that is killed leaves
// pieces that the next one finds, and never half a backup.

import * as fs from 'node:fs/promises';
import path from 'node:path';
import type { PieceShelf } from '../streams/cluster-backup.ts';
import { freed } from '../streams/freed.ts';
import {
  decodeManifest,
  encodeManifest,
  MAX_MANIFEST_BYTES,
  type Manifest,
} from '../streams/manifest.ts';
import { decodePiece, encodePiece, isHash, type PieceHash } from '../streams/piece-codec.ts';
import { fileError } from './backup-file.ts';
import { lock, unlock } from './backup-lock.ts';
import { CommandError } from './failure.ts';

const MARK = 'sheep-backups.json';
const FORMAT = 1;
const PIECES = 'pieces';
const BACKUPS = 'backups';
const DRAFTS = 'drafts';
const NUMBER_DIGITS = 6;
/** Backups of one directory. */
const MAX_BACKUPS = 10 ** NUMBER_DIGITS - 1;

export interface BackupFolder extends PieceShelf {
  /** Of this directory, in its snapshots' tags. */
  readonly id: string;
  /** Numbers of the backups, in order. */
  numbers(): Promise<readonly number[]>;
  manifest(number: number): Promise<Manifest>;
  manifestFile(number: number): string;
  /** What it names stays. On the disk when it resolves. */
  forget(number: number): Promise<void>;
  /** Names of all pieces whose hash begins so, in two digits. */
  piecesFrom(prefix: string): Promise<readonly PieceHash[]>;
  pieceFile(name: PieceHash): string;
  /** @returns the bytes of its file */
  removePiece(name: PieceHash): Promise<number>;
  /** All pieces are on the disk, then the manifest is there. */
  finish(manifest: Manifest): Promise<void>;
  /** Somebody else may write to it. */
  giveBack(): Promise<void>;
}

/** To write to: makes it where there is none, and locks it. @throws CommandError 'locked', 'usage' */
export async function openToWrite(dir: string): Promise<BackupFolder> {
  try {
    await fs.mkdir(dir, { recursive: true, mode: 0o700 });
    const id = (await idOf(dir)) ?? (await made(dir));
    await lock(dir);
    for (const name of [PIECES, BACKUPS, DRAFTS])
      await fs.mkdir(path.join(dir, name), { recursive: true });
    // What a killed command was at.
    for (const name of await fs.readdir(path.join(dir, DRAFTS)))
      await fs.rm(path.join(dir, DRAFTS, name));
    await syncFolder(dir);
    return folderOf(dir, id);
  } catch (error) {
    throw fileError(error, dir);
  }
}

/** To take old backups out of one that is there, which it locks. @throws CommandError 'locked', 'missing' */
export async function openToPrune(dir: string): Promise<BackupFolder> {
  const folder = await openToRead(dir);
  try {
    await lock(dir);
  } catch (error) {
    throw fileError(error, dir);
  }
  return folder;
}

/** To read from. @throws CommandError 'missing' */
export async function openToRead(dir: string): Promise<BackupFolder> {
  const id = await idOf(dir).catch((error: unknown) => {
    throw fileError(error, dir);
  });
  if (id !== undefined) return folderOf(dir, id);
  throw new CommandError(
    'missing',
    `${dir} is no directory of backups`,
    'dog cluster backup DIR makes one',
  );
}

function folderOf(dir: string, id: string): BackupFolder {
  const written = new Set<string>();
  let drafts = 0;
  const place = (file: string, parts: readonly Uint8Array[]): Promise<number> => {
    drafts += 1;
    return placed(path.join(dir, DRAFTS, String(drafts)), file, parts);
  };
  return {
    id,
    async put(name, content) {
      const file = pieceFile(dir, name);
      const folder = path.dirname(file);
      try {
        // Also one that a killed command left may not be there for good yet.
        written.add(folder);
        if (await isThere(file)) return 0;
        await fs.mkdir(folder, { recursive: true });
        const parts = encodePiece(content);
        const bytes = await place(file, parts);
        freed(...parts);
        return bytes;
      } catch (error) {
        throw fileError(error, file);
      }
    },
    has: (name) => isThere(pieceFile(dir, name)),
    async get(name) {
      const file = pieceFile(dir, name);
      try {
        const bytes = await fs.readFile(file);
        const content = decodePiece(bytes, name);
        if (content.buffer !== bytes.buffer) freed(bytes);
        return content;
      } catch (error) {
        throw fileError(error, file);
      }
    },
    numbers: () => numbersIn(dir),
    manifestFile: (number) => manifestFile(dir, number),
    async forget(number) {
      await fs.rm(manifestFile(dir, number), { force: true });
      await syncFolder(path.join(dir, BACKUPS));
    },
    async piecesFrom(prefix) {
      const names = await fs.readdir(path.join(dir, PIECES, prefix)).catch(() => []);
      return names.filter(isHash);
    },
    pieceFile: (name) => pieceFile(dir, name),
    async removePiece(name) {
      const file = pieceFile(dir, name);
      const { size } = await fs.stat(file);
      await fs.rm(file);
      return size;
    },
    manifest: (number) => manifestIn(dir, number),
    async finish(manifest) {
      const file = manifestFile(dir, manifest.number);
      try {
        for (const folder of [...written, path.join(dir, PIECES)]) await syncFolder(folder);
        if (await isThere(file)) throw new CommandError('exists', `${file} exists already`);
        await place(file, [encodeManifest(manifest)]);
        await syncFolder(path.join(dir, BACKUPS));
      } catch (error) {
        throw fileError(error, file);
      }
    },
    giveBack: () => unlock(dir),
  };
}

/** Written elsewhere, synced, renamed. Resolves with the bytes. */
async function placed(draft: string, file: string, parts: readonly Uint8Array[]): Promise<number> {
  const handle = await fs.open(draft, 'w', 0o600);
  let bytes = 0;
  try {
    const size = parts.reduce((sum, part) => sum + part.length, 0);
    bytes = (await handle.writev(parts)).bytesWritten;
    if (bytes < size) throw new CommandError('no-space', `no space is left for ${file}`);
    await handle.datasync();
  } finally {
    await handle.close();
  }
  await fs.rename(draft, file);
  return bytes;
}

function pieceFile(dir: string, name: PieceHash): string {
  return path.join(dir, PIECES, name.slice(0, 2), name);
}

function manifestFile(dir: string, number: number): string {
  return path.join(dir, BACKUPS, `${String(number).padStart(NUMBER_DIGITS, '0')}.json`);
}

async function numbersIn(dir: string): Promise<readonly number[]> {
  const names = await fs.readdir(path.join(dir, BACKUPS)).catch(() => []);
  return names
    .map((name) => Number(/^(\d+)\.json$/.exec(name)?.[1] ?? 0))
    .filter((number) => number >= 1 && number <= MAX_BACKUPS)
    .sort((a, b) => a - b);
}

async function manifestIn(dir: string, number: number): Promise<Manifest> {
  const file = manifestFile(dir, number);
  try {
    const { size } = await fs.stat(file);
    if (size > MAX_MANIFEST_BYTES) throw new CommandError('corrupt', `${file} is too long`);
    return decodeManifest(await fs.readFile(file), file);
  } catch (error) {
    throw fileError(error, file);
  }
}

async function idOf(dir: string): Promise<string | undefined> {
  const file = path.join(dir, MARK);
  if (!(await isThere(file))) return undefined;
  const { format, id } = JSON.parse(await fs.readFile(file, 'utf8')) as Record<string, unknown>;
  if (format === FORMAT && typeof id === 'string') return id;
  throw new CommandError('newer-format', `${file} has format ${String(format)}`, 'use a newer dog');
}

/** Only of a directory with nothing in it: somebody's own files are not mixed with pieces. */
async function made(dir: string): Promise<string> {
  if ((await fs.readdir(dir)).length > 0) {
    const remedy = 'give an empty one, or one that is not there yet';
    throw new CommandError(
      'usage',
      `${dir} has other things in it and is no directory of backups`,
      remedy,
    );
  }
  const id = Buffer.from(crypto.getRandomValues(new Uint8Array(4))).toString('hex');
  const draft = path.join(dir, `${MARK}.new`);
  const handle = await fs.open(draft, 'w', 0o600);
  try {
    await handle.writeFile(`${JSON.stringify({ format: FORMAT, id })}\n`);
    await handle.datasync();
  } finally {
    await handle.close();
  }
  await fs.rename(draft, path.join(dir, MARK));
  return id;
}

async function isThere(file: string): Promise<boolean> {
  return fs.stat(file).then(
    () => true,
    () => false,
  );
}

async function syncFolder(dir: string): Promise<void> {
  const handle = await fs.open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
