// `dog cluster backup-prune` and `dog cluster backup-verify`: old backups out of a directory, and a look at all of it.

import type { Command } from 'commander';
import { PIECE_BYTES } from '../streams/piece-codec.ts';
import { type Finding, type Pruned, prune, type Verified, verify } from './backup-care.ts';
import { openToPrune, openToRead } from './backup-folder.ts';
import { helpTail, type Io, type Session, sessionOf } from './context.ts';
import { CommandError, EXIT } from './failure.ts';
import { countOf } from './numbers.ts';
import { formatBytes, rawFacts, show } from './output.ts';
import { progressOn } from './progress.ts';

const MAX_NUMBER = 999_999;

interface PruneOptions {
  readonly keep?: number;
}

export function addBackupCare(cluster: Command, io: Io): void {
  cluster
    .command('backup-prune <dir>')
    .description('take backups out of a directory, and the pieces that no other one has')
    .argument('[numbers...]', 'their numbers', (text: string, known: readonly number[] = []) => [
      ...known,
      countOf('number', MAX_NUMBER)(text),
    ])
    .option('--keep <n>', 'all but the newest so many', countOf('keep', MAX_NUMBER))
    .addHelpText(
      'after',
      helpTail(
        'dog cluster backup-prune /mnt/vault --keep 30',
        'dog cluster backup-prune /mnt/vault 3 4',
      ),
    )
    .action(
      async (
        dir: string,
        numbers: readonly number[] | undefined,
        options: PruneOptions,
        command: Command,
      ) => {
        await pruned(sessionOf(command, io), dir, wantedOf(numbers ?? [], options.keep));
      },
    );
  cluster
    .command('backup-verify <dir>')
    .description(
      'read every piece and manifest of a directory of backups; ends with 1 where one is damaged',
    )
    .addHelpText(
      'after',
      helpTail('dog cluster backup-verify /mnt/vault', 'dog cluster backup-verify /mnt/vault -r'),
    )
    .action(async (dir: string, _options, command: Command) => {
      await verified(sessionOf(command, io), io, dir);
    });
}

interface Chosen {
  readonly numbers: ReadonlySet<number>;
  readonly keep: number | undefined;
}

function wantedOf(numbers: readonly number[], keep: number | undefined): Chosen {
  if ((numbers.length === 0) === (keep === undefined)) {
    const remedy = 'dog cluster backup DIR --list shows the numbers';
    throw new CommandError('usage', 'either numbers of backups, or --keep', remedy);
  }
  return { numbers: new Set(numbers), keep };
}

async function pruned(session: Session, dir: string, { numbers, keep }: Chosen): Promise<void> {
  const folder = await openToPrune(dir);
  try {
    const there = await folder.numbers();
    const missing = [...numbers].find((number) => !there.includes(number));
    if (missing !== undefined) {
      const remedy = 'dog cluster backup DIR --list shows what is there';
      throw new CommandError('missing', `there is no backup ${missing}`, remedy);
    }
    let last: Pruned | undefined;
    const isWanted = (number: number, place: number): boolean =>
      keep === undefined ? !numbers.has(number) : place < keep;
    for await (const step of prune(folder, isWanted)) {
      last = step;
    }
    const { removed = [], kept = [], pieces = 0, bytes = 0 } = last ?? {};
    const data = { removed, kept, pieces, bytes };
    show(session, { schema: '', epoch: 0, data, warnings: [] }, 'cluster.backup-prune', {
      human: () =>
        `${removed.length} backups removed, ${kept.length} kept: ${pieces} pieces, ${formatBytes(bytes)}, are gone.\n`,
      raw: () =>
        rawFacts([
          ['removed', removed.join(',')],
          ['kept', kept.join(',')],
          ['pieces', pieces],
          ['bytes', bytes],
        ]),
    });
  } finally {
    await folder.giveBack();
  }
}

async function verified(session: Session, io: Io, dir: string): Promise<void> {
  const folder = await openToRead(dir);
  const text = progressOn(io, 'verify', session.format !== 'human');
  const data = await verify(folder, (done, all, bytes) => {
    text.at(done * PIECE_BYTES, all * PIECE_BYTES, `, ${formatBytes(bytes)} read`);
  });
  text.end();
  show(session, { schema: '', epoch: 0, data, warnings: [] }, 'cluster.backup-verify', {
    human: () => verifiedText(dir, data),
    raw: () => data.findings.map(({ file, affects }) => `${file}\t${affects.join(',')}\n`).join(''),
  });
  if (data.findings.length > 0) io.setExitCode(EXIT.failed);
}

function verifiedText(
  dir: string,
  { backups, pieces, bytes, findings, hasMore }: Verified,
): string {
  const sum = `${backups} backups, ${pieces} pieces, ${formatBytes(bytes)}: `;
  if (findings.length === 0) return `${sum}all is well.\n`;
  const lines = findings.map((one) => `${one.file}\n  ${one.what}; ${affectedText(one)}\n`);
  return (
    `${sum}${findings.length}${hasMore ? ' and more' : ''} damaged or missing:\n${lines.join('')}` +
    `  cure: rm the damaged files, then dog cluster backup ${dir}: what the volumes still have is written again;\n` +
    `  run this again; what is still missing can only go with its backups: dog cluster backup-prune ${dir} NUMBER\n`
  );
}

function affectedText({ affects }: Finding): string {
  if (affects.length === 0) return 'no backup has it';
  return `backups (NUMBER:VOLUME) that have it: ${affects.join(', ')}`;
}
