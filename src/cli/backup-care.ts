// What a directory of backups needs in the long run: old backups go, with the pieces that no other one has; and every byte
// is looked at before it is needed. A backup goes by its manifest first: who is killed then leaves pieces that nobody names,
// and the next run removes them. Memory is bounded by passes over the names of pieces.

import { messageOf } from '../core/errors.ts';
import { entriesIn } from '../streams/cluster-backup.ts';
import { freed } from '../streams/freed.ts';
import type { Manifest } from '../streams/manifest.ts';
import type { PieceHash } from '../streams/piece-codec.ts';
import type { BackupFolder } from './backup-folder.ts';
import { CommandError } from './failure.ts';

/** Names of pieces that are in memory at once; where there are more, the directory is gone through in several passes. */
const MAX_NAMES_AT_ONCE = 2 ** 20;
/** What is found damaged, one by one; of more it is told that there are more. */
export const MAX_FINDINGS = 1000;
/** Folders of pieces. */
const FOLDERS = 256;
const PREFIXES = Array.from({ length: FOLDERS }, (_, at) => at.toString(16).padStart(2, '0'));
/** Of a hash, as an exact number. Two pieces that share them: an unneeded one stays, a needed one never goes. */
const KEY_DIGITS = 13;

export interface Pruned {
  readonly removed: readonly number[];
  readonly kept: readonly number[];
  pieces: number;
  bytes: number;
}

/** After each change on the disk it says what it has done so far; nobody needs to ask it to the end. */
export async function* prune(
  folder: BackupFolder,
  isWanted: (number: number, place: number) => boolean,
  namesAtOnce: number = MAX_NAMES_AT_ONCE,
): AsyncGenerator<Pruned> {
  const numbers = (await folder.numbers()).toReversed();
  const kept = numbers.filter(isWanted).toReversed();
  const removed = numbers.filter((one) => !kept.includes(one)).toReversed();
  const pruned: Pruned = { removed, kept, pieces: 0, bytes: 0 };
  const manifests: Manifest[] = [];
  // All of what stays must be known before anything goes.
  for (const number of kept) manifests.push(await folder.manifest(number));
  const passes = passesOf(manifests, namesAtOnce);
  for (let pass = 0; pass < passes; pass += 1) {
    const [from, to] = [pass, pass + 1].map((one) => Math.floor((one * FOLDERS) / passes));
    const used = await namesOf(folder, manifests, from as number, to as number);
    if (pass === 0) {
      for (const number of removed) {
        await folder.forget(number);
        yield pruned;
      }
    }
    for (const prefix of PREFIXES.slice(from, to)) {
      for (const name of await folder.piecesFrom(prefix)) {
        if (used.has(keyOf(name))) continue;
        pruned.bytes += await folder.removePiece(name);
        pruned.pieces += 1;
        yield pruned;
      }
    }
  }
  yield pruned;
}

function keyOf(name: PieceHash): number {
  // The first two digits are those of the folder.
  return Number.parseInt(name.slice(0, KEY_DIGITS), 16);
}

function passesOf(manifests: readonly Manifest[], namesAtOnce: number): number {
  let names = 0;
  for (const { volumes } of manifests)
    for (const { pieces, parts } of volumes) names += pieces + parts.length;
  return Math.min(FOLDERS, Math.max(1, Math.ceil(names / namesAtOnce)));
}

/** Of the lists and pieces in these folders. @throws CommandError 'corrupt': a list is damaged or missing */
async function namesOf(
  folder: BackupFolder,
  manifests: readonly Manifest[],
  from: number,
  to: number,
): Promise<ReadonlySet<number>> {
  const used = new Set<number>();
  const add = (name: PieceHash): void => {
    const at = Number.parseInt(name.slice(0, 2), 16);
    if (at >= from && at < to) used.add(keyOf(name));
  };
  const lists = new Set<PieceHash>();
  for (const { number, volumes } of manifests) {
    for (const { name, parts } of volumes) {
      const fresh = parts.filter(({ hash }) => !lists.has(hash));
      for (const { hash } of fresh) {
        lists.add(hash);
        add(hash);
      }
      try {
        for await (const { hash } of entriesIn(fresh, folder)) add(hash);
      } catch (error) {
        const text = `what backup ${number} has of ${name} is not known: ${messageOf(error)}`;
        const remedy = `nothing was removed; dog cluster backup-verify says more; to forget that backup name ${number}`;
        throw new CommandError('corrupt', text, remedy);
      }
    }
  }
  return used;
}

/** A file that is not what it should be, and what can not be restored because of it. */
export interface Finding {
  readonly file: string;
  readonly what: string;
  /** `NUMBER:VOLUME`; none: no backup names it. */
  readonly affects: string[];
}

export interface Verified {
  readonly backups: number;
  readonly pieces: number;
  readonly bytes: number;
  readonly findings: readonly Finding[];
  /** There were more than are listed. */
  readonly hasMore: boolean;
}

/** Reads every piece and manifest. A backup that is taken out meanwhile is no finding. */
export async function verify(
  folder: BackupFolder,
  onProgress: (pieces: number, all: number, bytes: number) => void = () => undefined,
): Promise<Verified> {
  const findings = new Map<string, Finding>();
  let hasMore = false;
  const note = (file: string, what: string, affected?: string): void => {
    const known = findings.get(file);
    if (known === undefined && findings.size >= MAX_FINDINGS) hasMore = true;
    else if (known === undefined)
      findings.set(file, { file, what, affects: affected ? [affected] : [] });
    else if (affected !== undefined && !known.affects.includes(affected))
      known.affects.push(affected);
  };
  let [pieces, bytes, all] = [0, 0, 0];
  for (const prefix of PREFIXES) all += (await folder.piecesFrom(prefix)).length;
  for (const prefix of PREFIXES) {
    for (const name of await folder.piecesFrom(prefix)) {
      try {
        const content = await folder.get(name);
        bytes += content.length;
        freed(content);
      } catch (error) {
        if (await folder.has(name)) note(folder.pieceFile(name), messageOf(error));
      }
      pieces += 1;
      onProgress(pieces, all, bytes);
    }
  }
  const numbers = await folder.numbers();
  for (const number of numbers) await verifyBackup(folder, number, findings, note);
  return { backups: numbers.length, pieces, bytes, findings: [...findings.values()], hasMore };
}

async function verifyBackup(
  folder: BackupFolder,
  number: number,
  known: ReadonlyMap<string, Finding>,
  note: (file: string, what: string, affected?: string) => void,
): Promise<void> {
  const isGone = async () => !(await folder.numbers()).includes(number);
  let manifest: Manifest;
  try {
    manifest = await folder.manifest(number);
  } catch (error) {
    if (!(await isGone())) note(folder.manifestFile(number), messageOf(error), `${number}:all`);
    return;
  }
  for (const { name, parts } of manifest.volumes) {
    const affected = `${number}:${name}`;
    const look = async (hash: PieceHash): Promise<void> => {
      const file = folder.pieceFile(hash);
      const found = known.get(file);
      if (found !== undefined) note(file, found.what, affected);
      else if (!(await folder.has(hash)) && !(await isGone()))
        note(file, 'it is missing', affected);
    };
    for (const part of parts) {
      await look(part.hash);
      if (known.has(folder.pieceFile(part.hash))) continue;
      try {
        for await (const { hash } of entriesIn([part], folder)) await look(hash);
      } catch (error) {
        if (!(await isGone())) note(folder.pieceFile(part.hash), messageOf(error), affected);
      }
    }
  }
}
