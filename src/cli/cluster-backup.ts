// `dog cluster backup` and `dog cluster restore`: all volumes, or some, into a directory that keeps equal pieces once and
// writes only what is new; one volume of it back into a running cluster. What changed since the last backup is known by that
// one's snapshots, which stay in the cluster until the next.

import type { Command } from 'commander';
import type { VolumeData } from '../core/admin-shapes.ts';
import { MAX_COPIES } from '../core/limits.ts';
import { MAX_SNAPSHOT_VOLUMES, parseVolumeName, snapshotName } from '../core/snapshot-name.ts';
import { checkName } from '../core/volume.ts';
import type { LayerData } from '../core/volume-shapes.ts';
import { bringBack, keepSnapshot } from '../streams/cluster-backup.ts';
import { type BackedVolume, MANIFEST_VERSION, type Manifest } from '../streams/manifest.ts';
import { PIECE_BYTES } from '../streams/piece-codec.ts';
import { type BackupFolder, openToRead, openToWrite } from './backup-folder.ts';
import { addBackupCare } from './cluster-backup-care.ts';
import { helpTail, type Io, type Session, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';
import { holdOf, using } from './hold.ts';
import { countOf } from './numbers.ts';
import { type Column, formatBytes, rawRows, show, table } from './output.ts';
import { progressOn, rateMeter } from './progress.ts';
import { stagedNew, told } from './restore-run.ts';
import {
  clusterIdOf,
  deleteSnapshot,
  familyOf,
  type NamedSnapshot,
  snapshotRow,
} from './snapshot-facts.ts';
import { isStagedName, stagedName } from './staged-volume.ts';
import { modeOption } from './vdi-alter.ts';

interface RestoreOptions {
  readonly as?: string;
  readonly at?: number;
  readonly copies?: number;
  readonly mode?: string;
}

const BACKUPS: readonly Column<Manifest>[] = [
  { title: 'backup', cell: ({ number }) => String(number), align: 'right' },
  { title: 'made', cell: ({ madeAt }) => madeAt },
  { title: 'volumes', cell: ({ volumes }) => volumes.map(({ name }) => name).join(',') },
  sizeColumn('size', ({ sizeBytes }) => sizeBytes),
  sizeColumn('data', ({ pieces }) => pieces * PIECE_BYTES),
  sizeColumn('new', ({ newBytes }) => newBytes),
];

function sizeColumn(title: string, of: (volume: BackedVolume) => number): Column<Manifest> {
  const total = ({ volumes }: Manifest) => volumes.reduce((sum, one) => sum + of(one), 0);
  return { title, cell: (one) => formatBytes(total(one)), raw: total, align: 'right' };
}

export function addClusterBackup(cluster: Command, io: Io): void {
  addBackupCare(cluster, io);
  cluster
    .command('backup <dir> [names...]')
    .description(
      'all volumes, or these (NAME, or a snapshot NAME@TAG), into a directory; only what is new is written',
    )
    .option('--list', 'the backups that the directory has')
    .addHelpText(
      'after',
      helpTail('dog cluster backup /mnt/vault', 'dog cluster backup /mnt/vault --list'),
    )
    .action(
      async (dir: string, names: readonly string[], options: { list?: true }, command: Command) => {
        const session = sessionOf(command, io);
        if (options.list === true) return listBackups(session, dir);
        const folder = await openToWrite(dir);
        try {
          await backUp(session, io, folder, names);
        } finally {
          await folder.giveBack();
        }
      },
    );
  cluster
    .command('restore <dir> <name>')
    .description('one volume of a directory of backups, as a new volume: all of it or nothing')
    .option('--as <name>', 'under another name')
    .option('--at <number>', 'from this backup (the newest that has it)', countOf('at', 999_999))
    .option('-c, --copies <number>', "copies (the cluster's)", countOf('copies', MAX_COPIES))
    .addOption(modeOption())
    .addHelpText(
      'after',
      helpTail(
        'dog cluster restore /mnt/vault demo',
        'dog cluster restore /mnt/vault demo --as demo-old --at 3',
      ),
    )
    .action(async (dir: string, name: string, options: RestoreOptions, command: Command) => {
      const to = options.as ?? name;
      checkName(to);
      checkName(stagedName(to));
      await restoreFrom(sessionOf(command, io), io, await openToRead(dir), { name, to, options });
    });
}

async function listBackups(session: Session, dir: string): Promise<void> {
  const folder = await openToRead(dir);
  const data: Manifest[] = [];
  for (const number of await folder.numbers()) data.push(await folder.manifest(number));
  show<readonly Manifest[]>(
    session,
    { schema: '', epoch: 0, data, warnings: [] },
    'cluster.backups',
    {
      human: (rows) => table(rows, BACKUPS),
      raw: (rows) => rawRows(rows, BACKUPS),
    },
  );
}

async function backUp(
  session: Session,
  io: Io,
  folder: BackupFolder,
  names: readonly string[],
): Promise<void> {
  const numbers = await folder.numbers();
  const last = numbers.at(-1);
  const number = (last ?? 0) + 1;
  const former = last === undefined ? undefined : await folder.manifest(last);
  const cluster = await clusterIdOf(session);
  const wanted = await wantedOf(session, names);
  const own = `backup.${folder.id}.`;
  const tag = `${own}${number}`;
  await forgetSnapshots(session, wanted, (row) => row.endsWith(`@${tag}`));
  const snapshots = await snapshotsOf(session, wanted, tag);
  const volumes: BackedVolume[] = [];
  for (const snapshot of snapshots) {
    const known = former?.cluster === cluster ? former : undefined;
    volumes.push(await keepOne(session, io, folder, snapshot, known));
  }
  const manifest: Manifest = {
    ...{ format: MANIFEST_VERSION, number, cluster, madeAt: new Date().toISOString() },
    volumes,
  };
  await folder.finish(manifest);
  await forgetSnapshots(session, wanted, (row) => isOlder(row, own, tag));
  show(session, { schema: '', epoch: 0, data: manifest, warnings: [] }, 'cluster.backup', {
    human: () => doneText(manifest),
    raw: () => `${number}\n`,
  });
}

/** A snapshot of an earlier backup to this directory: the one that was just made knows what changed since. */
function isOlder(row: string, own: string, tag: string): boolean {
  const found = row.slice(row.indexOf('@') + 1);
  return found.startsWith(own) && found !== tag;
}

type Wanted = { readonly name: string; readonly tag?: string };

/** @throws CommandError 'missing' where there is nothing to keep */
async function wantedOf(session: Session, names: readonly string[]): Promise<readonly Wanted[]> {
  if (names.length > 0) return [...new Set(names)].map(parseVolumeName);
  const { data } = await session.ask<readonly VolumeData[]>('/v1/volumes');
  const all = data.map(({ name }) => ({ name })).filter(({ name }) => !isStagedName(name));
  if (all.length > 0) return all;
  throw new CommandError('missing', 'there is no volume: nothing to back up');
}

/** Volumes at one instant, as many at once as the cluster can; snapshots as they are. */
async function snapshotsOf(
  session: Session,
  wanted: readonly Wanted[],
  tag: string,
): Promise<readonly NamedSnapshot[]> {
  const live = wanted.filter((one) => one.tag === undefined).map(({ name }) => name);
  for (let at = 0; at < live.length; at += MAX_SNAPSHOT_VOLUMES) {
    const volumes = live.slice(at, at + MAX_SNAPSHOT_VOLUMES);
    await session.ask('/v1/snapshots', { method: 'POST', body: { volumes, tag } });
  }
  return wanted.map((one) => ({ name: one.name, tag: one.tag ?? tag }));
}

async function forgetSnapshots(
  session: Session,
  wanted: readonly Wanted[],
  isOld: (name: string) => boolean,
): Promise<void> {
  for (const { name } of wanted) {
    const isIts = (row: LayerData) =>
      row.kind === 'snapshot' && row.name.startsWith(snapshotName(name, '')) && isOld(row.name);
    for (const row of (await familyOf(session, name)).filter(isIts)) {
      await deleteSnapshot(session, row.name);
    }
  }
}

/** The pieces of one snapshot; what the last backup has of the volume is not read again while its snapshot is there. */
async function keepOne(
  session: Session,
  io: Io,
  folder: BackupFolder,
  snapshot: NamedSnapshot,
  former: Manifest | undefined,
): Promise<BackedVolume> {
  const { name, tag } = snapshot;
  const { generation, sizeBytes } = await snapshotRow(session, snapshot);
  const text = progressOn(io, `backup of ${name}`, session.format !== 'human');
  const rate = rateMeter();
  const base = await formerOf(session, folder, name, former);
  const open = (full: string) => holdOf(session.options, io.env, full);
  const hold = await open(snapshotName(name, tag));
  const onProgress = (offset: number, readBytes: number) =>
    text.at(offset, sizeBytes, rate(readBytes));
  try {
    const { parts, pieces, newBytes } = await using(hold, async () => {
      if (base === undefined) return keepSnapshot(hold.volume, undefined, folder, onProgress);
      const old = await open(base.row);
      return using(old, () => {
        const known = { snapshot: old.volume, parts: base.volume.parts };
        return keepSnapshot(hold.volume, known, folder, onProgress);
      });
    });
    return { name, tag, generation, sizeBytes, parts, pieces, newBytes };
  } finally {
    text.end();
  }
}

/** What the last backup has of this volume, if its lists and the snapshot that it was made of are there still. */
async function formerOf(
  session: Session,
  folder: BackupFolder,
  name: string,
  former: Manifest | undefined,
): Promise<{ readonly row: string; readonly volume: BackedVolume } | undefined> {
  const volume = former?.volumes.find((one) => one.name === name);
  if (volume === undefined) return undefined;
  const rows = await familyOf(session, name);
  const row = rows.find((one) => one.kind === 'snapshot' && one.generation === volume.generation);
  if (row === undefined) return undefined;
  for (const { hash } of volume.parts) {
    if (!(await folder.has(hash))) return undefined;
  }
  return { row: row.name, volume };
}

function doneText({ number, volumes }: Manifest): string {
  const written = volumes.reduce((sum, { newBytes }) => sum + newBytes, 0);
  const lines = volumes.map(({ name, sizeBytes, pieces, newBytes }) => {
    const data = formatBytes(pieces * PIECE_BYTES);
    return `  ${name}  ${formatBytes(sizeBytes)}, ${data} of data, ${formatBytes(newBytes)} new\n`;
  });
  return `Backup ${number} is complete, ${formatBytes(written)} written:\n${lines.join('')}`;
}

interface Chosen {
  readonly name: string;
  readonly to: string;
  readonly options: RestoreOptions;
}

async function restoreFrom(
  session: Session,
  io: Io,
  folder: BackupFolder,
  { name, to, options }: Chosen,
): Promise<void> {
  const { manifest, volume } = await chosenOf(folder, name, options.at);
  const { sizeBytes, generation, tag } = volume;
  const text = progressOn(io, 'restore', session.format !== 'human');
  const rate = rateMeter();
  const origin = { cluster: manifest.cluster, generation, tag };
  const what = { name: to, sizeBytes, copies: options.copies, mode: options.mode };
  const writtenBytes = await stagedNew(session, io, what, origin, async (far) => {
    try {
      return await bringBack(volume, folder, far, (offset, written) => {
        text.at(offset, sizeBytes, rate(written));
      });
    } finally {
      text.end();
    }
  });
  const { madeAt } = manifest;
  told(session, { volume: name, target: { tag, generation }, sizeBytes, madeAt }, to, writtenBytes);
}

/** The newest backup that has it, or the one that was asked for. */
async function chosenOf(
  folder: BackupFolder,
  text: string,
  at: number | undefined,
): Promise<{ readonly manifest: Manifest; readonly volume: BackedVolume }> {
  const { name, tag } = parseVolumeName(text);
  const numbers = at === undefined ? (await folder.numbers()).toReversed() : [at];
  for (const number of numbers) {
    const manifest = await folder.manifest(number);
    const isIt = (one: BackedVolume) => one.name === name && (tag === undefined || one.tag === tag);
    const volume = manifest.volumes.find(isIt);
    if (volume !== undefined) return { manifest, volume };
  }
  const where = at === undefined ? 'no backup has' : `backup ${at} has no`;
  throw new CommandError(
    'missing',
    `${where} ${text}`,
    'dog cluster backup DIR --list shows what is there',
  );
}
