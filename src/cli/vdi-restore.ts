// `dog vdi restore`: a backup stream becomes a new volume. It is checked record by record; nothing has the volume's name
// before all of it is there.

import type { Command } from 'commander';
import { MAX_COPIES } from '../core/limits.ts';
import { checkName } from '../core/volume.ts';
import type { BackupHead } from '../streams/backup-head.ts';
import { type OpenStream, openStream } from '../streams/restore.ts';
import { bytesOf } from './backup-file.ts';
import { helpTail, type Io, type Session, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';
import { countOf } from './numbers.ts';
import { restoreOnto } from './restore-onto.ts';
import { filled, stagedNew, told } from './restore-run.ts';
import { stagedName } from './staged-volume.ts';
import { modeOption } from './vdi-alter.ts';

const STDIN = 'stdin';

interface RestoreOptions {
  readonly onto?: boolean;
  readonly input?: string;
  readonly copies?: number;
  readonly mode?: string;
}

export function addVdiRestore(vdi: Command, io: Io): void {
  vdi
    .command('restore <name>')
    .description(
      'a backup stream becomes a new volume, or goes onto its base: all of it or nothing',
    )
    .option('-i, --input <file>', 'the stream (stdin)')
    .option('--onto', 'what differs, onto a volume that has the snapshot that the stream builds on')
    .option('-c, --copies <number>', "copies (the cluster's)", countOf('copies', MAX_COPIES))
    .addOption(modeOption())
    .addHelpText(
      'after',
      helpTail(
        'ssh vault cat demo.monday | dog vdi restore demo2',
        'dog vdi restore demo2 --onto -i demo.tuesday',
      ),
    )
    .action(async (name: string, _options, command: Command) => {
      checkName(name);
      checkName(stagedName(name));
      const options = command.opts<RestoreOptions>();
      const session = sessionOf(command, io);
      const { input = STDIN } = options;
      const source = input === STDIN ? io.input() : bytesOf(input);
      const stream = await openStream(source);
      try {
        if (options.onto === true) await restoreOnto(session, io, name, stream);
        else await restoreNew(session, io, { name, stream, options });
      } finally {
        await stream.records.return(undefined);
      }
    });
}

interface Wanted {
  readonly name: string;
  readonly stream: OpenStream;
  readonly options: RestoreOptions;
}

async function restoreNew(session: Session, io: Io, wanted: Wanted): Promise<void> {
  const { name, stream, options } = wanted;
  const { head } = stream;
  refuseDifference(head, name);
  const { cluster, target, sizeBytes } = head;
  const { copies, mode } = options;
  const writtenBytes = await stagedNew(
    session,
    io,
    { name, sizeBytes, copies, mode },
    { cluster, generation: target.generation, tag: target.tag },
    (volume) => filled(session, io, volume, stream, true),
  );
  told(session, head, name, writtenBytes);
}

/** A stream that builds on another one has only what differs. */
function refuseDifference({ volume, base, target }: BackupHead, name: string): void {
  if (base === null) return;
  const text = `the stream has only what differs between ${volume}@${base.tag} and ${volume}@${target.tag}`;
  const remedy = `restore the backup of ${volume}@${base.tag} first: dog vdi restore ${name}; then this one onto it: dog vdi restore ${name} --onto`;
  throw new CommandError('missing', text, remedy);
}
