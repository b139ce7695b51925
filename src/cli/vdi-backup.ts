// `dog vdi backup`: a snapshot, or what differs between two, as one stream of bytes that checks itself, to stdout or a file.
// A file that was cut goes on behind its last whole record. docs/FORMATS.md has the bytes.

import type { Command } from 'commander';
import { snapshotName } from '../core/snapshot-name.ts';
import { type BackupSource, type Progress, writeBackup } from '../streams/backup.ts';
import { type BackupHead, isSameBackup, otherBackup } from '../streams/backup-head.ts';
import { RecordWriter } from '../streams/backup-records.ts';
import { type BackupFile, goOnAt, isEmpty, lookAt, newFile } from './backup-file.ts';
import { helpTail, type Io, type Session, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';
import { holdOf, using } from './hold.ts';
import { formatBytes, rawFacts, show } from './output.ts';
import { progressOn, rateMeter } from './progress.ts';
import { clusterIdOf, type NamedSnapshot, parseSnapshot, snapshotRow } from './snapshot-facts.ts';

const STDOUT = 'stdout';

interface BackupOptions {
  readonly from?: string;
  readonly output?: string;
  readonly resume?: string;
}

export function addVdiBackup(vdi: Command, io: Io): void {
  vdi
    .command('backup <snapshot>')
    .description(
      'a snapshot NAME@TAG as a stream that checks itself; with --from what differs from an earlier one',
    )
    .option('--from <tag>', 'only what differs from this snapshot: TAG, or NAME@TAG')
    .option('-o, --output <file>', 'a new file (stdout)')
    .option('--resume <file>', 'go on with a file that was cut')
    .addHelpText(
      'after',
      helpTail(
        'dog vdi backup demo@monday -o demo.monday',
        'dog vdi backup demo@tuesday --from monday | ssh vault "cat > demo.tuesday"',
      ),
    )
    .action(async (text: string, options: BackupOptions, command: Command) => {
      const target = parseSnapshot(text);
      const session = sessionOf(command, io);
      const base = options.from === undefined ? undefined : baseOf(target, options.from);
      const head = await headOf(session, target, base);
      if (options.resume !== undefined) return resumed(session, io, head, options.resume);
      const { output = STDOUT } = options;
      if (output === STDOUT) return toStdout(session, io, head);
      const file = await newFile(output, session.options.force === true);
      await toFile(session, io, head, { file, path: output, writer: freshWriter() });
    });
}

/** A tag of the same volume, unless it says of which. */
function baseOf({ name }: NamedSnapshot, text: string): NamedSnapshot {
  return parseSnapshot(text.includes('@') ? text : snapshotName(name, text));
}

async function headOf(
  session: Session,
  target: NamedSnapshot,
  base: NamedSnapshot | undefined,
): Promise<BackupHead & { readonly baseName: string | undefined }> {
  const { generation, family, sizeBytes } = await snapshotRow(session, target);
  const from = base === undefined ? undefined : await snapshotRow(session, base);
  return {
    ...{ cluster: await clusterIdOf(session), volume: target.name, family, sizeBytes },
    target: { tag: target.tag, generation },
    base: base === undefined ? null : { tag: base.tag, generation: from?.generation ?? 0 },
    madeAt: new Date().toISOString(),
    baseName: base === undefined ? undefined : snapshotName(base.name, base.tag),
  };
}

type Head = Awaited<ReturnType<typeof headOf>>;

function freshWriter(): RecordWriter {
  return new RecordWriter(crypto.getRandomValues(new Uint32Array(1))[0] ?? 0);
}

async function toStdout(session: Session, io: Io, head: Head): Promise<void> {
  if (io.isOutTerminal === true) {
    throw new CommandError('usage', 'a backup is no text', 'give -o FILE, or a pipe');
  }
  const done = await streamed(session, io, head, freshWriter(), io.outBytes);
  if (session.format === 'human') io.err(doneText(head, done, STDOUT));
}

async function resumed(session: Session, io: Io, head: Head, path: string): Promise<void> {
  const { head: begun, state, wholeBytes, isComplete } = await lookAt(path);
  if (begun === undefined && (await isEmpty(path))) {
    // Killed before anything was written.
    const file = await goOnAt(path, 0);
    await toFile(session, io, head, { file, path, writer: freshWriter() });
    return;
  }
  if (begun === undefined || state === undefined) {
    const remedy = 'remove it, and begin with -o';
    throw new CommandError('corrupt', `no backup begins in ${path}`, remedy);
  }
  if (!isSameBackup(begun, head)) throw otherBackup(begun);
  if (isComplete) {
    if (session.format === 'human') io.err(`${path} is complete.\n`);
    return;
  }
  if (session.format === 'human') io.err(`${path} is whole up to byte ${wholeBytes}.\n`);
  const file = await goOnAt(path, wholeBytes);
  await toFile(session, io, head, { file, path, writer: new RecordWriter(state) });
}

async function toFile(
  session: Session,
  io: Io,
  head: Head,
  to: { readonly file: BackupFile; readonly path: string; readonly writer: RecordWriter },
): Promise<void> {
  const { file, path, writer } = to;
  try {
    const done = await streamed(session, io, head, writer, (bytes) => file.write(bytes));
    await file.finish();
    const data = {
      file: path,
      snapshot: snapshotName(head.volume, head.target.tag),
      ...{ sizeBytes: head.sizeBytes, readBytes: done.readBytes, writtenBytes: done.writtenBytes },
    };
    show(session, { schema: '', epoch: 0, data, warnings: [] }, 'vdi.backup', {
      human: () => doneText(head, done, path),
      raw: () => rawFacts(Object.entries(data)),
    });
  } finally {
    await file.close();
  }
}

/** Both snapshots are held while it runs; each is given back. */
async function streamed(
  session: Session,
  io: Io,
  { baseName, ...head }: Head,
  writer: RecordWriter,
  sink: (bytes: Uint8Array) => Promise<void>,
): Promise<Progress> {
  const { volume, target } = head;
  const text = progressOn(io, 'backup', session.format !== 'human');
  const rate = rateMeter();
  const onProgress = ({ offset, readBytes }: Progress): void => {
    text.at(offset, head.sizeBytes, rate(readBytes));
  };
  const open = (name: string) => holdOf(session.options, io.env, name);
  const run = (source: BackupSource) => writeBackup(source, head, writer, sink, onProgress);
  try {
    const hold = await open(snapshotName(volume, target.tag));
    return await using(hold, async () => {
      if (baseName === undefined) return run({ target: hold.volume });
      const base = await open(baseName);
      return using(base, () => run({ target: hold.volume, base: base.volume }));
    });
  } finally {
    text.end();
  }
}

function doneText({ volume, target, base }: Head, done: Progress, to: string): string {
  const from = base === null ? '' : ` from ${base.tag}`;
  const { readBytes, writtenBytes } = done;
  const what = `${snapshotName(volume, target.tag)}${from}`;
  return `Backup of ${what} is complete: ${formatBytes(readBytes)} read, ${formatBytes(writtenBytes)} to ${to}.\n`;
}
