// `dog vdi alter-copy`: one volume moves to another number of copies while its guest works, and how far it is.

import type { Command } from 'commander';
import type { AlterCopyData, MoveData, VolumeDetail } from '../core/admin-shapes.ts';
import { copiesText } from '../core/count-text.ts';
import { formatDuration } from '../core/duration.ts';
import { MAX_COPIES } from '../core/limits.ts';
import { checkName } from '../core/volume.ts';
import { askFirst } from './ask-first.ts';
import { type GlobalOptions, helpTail, type Io, type Session, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';
import { countOf } from './numbers.ts';
import { formatBytes, show } from './output.ts';

interface AlterCopyOptions {
  readonly copies?: number;
  readonly minCopies?: number;
  readonly strict?: boolean;
  readonly cancel?: boolean;
}

export function addAlterCopy(vdi: Command, io: Io): void {
  vdi
    .command('alter-copy <name>')
    .description(
      'move a volume to another number of copies while its guest works; without options: how far it is',
    )
    .option('-c, --copies <number>', 'copies of every block', countOf('copies', MAX_COPIES))
    .option(
      '--min-copies <number>',
      'live copies that writes need (half of copies, plus one)',
      countOf('min-copies', MAX_COPIES),
    )
    .option('--strict', 'never two copies in one zone')
    .option('--no-strict', 'two copies in one zone where there are too few')
    .option('--cancel', 'it stays as it is; what was copied is deleted')
    .addHelpText(
      'after',
      helpTail('dog vdi alter-copy demo -c 2', 'dog vdi alter-copy demo --cancel'),
    )
    .action(async (name: string, _options, command: Command) => {
      checkName(name);
      const session = sessionOf(command, io);
      const options = command.opts<AlterCopyOptions>();
      const isAsked = options.copies !== undefined || options.cancel === true;
      if (!isAsked && (options.minCopies !== undefined || options.strict !== undefined)) {
        throw new CommandError('usage', 'the number of copies is missing', 'add -c NUMBER');
      }
      if (options.cancel === true && options.copies !== undefined) {
        throw new CommandError('usage', 'say either -c or --cancel');
      }
      if (!isAsked) return status(session, name);
      if (options.cancel === true) return alter(session, name, options);
      await alterCopies(session, io, command, name);
    });
}

/** Moves it to the copies that the command names, once that was said yes to where it means fewer. */
export async function alterCopies(
  session: Session,
  io: Io,
  command: Command,
  name: string,
): Promise<void> {
  await confirm(session, io, command, name);
  await alter(session, name, command.opts<AlterCopyOptions>());
}

async function confirm(session: Session, io: Io, command: Command, name: string): Promise<void> {
  const { copies = 0 } = command.opts<AlterCopyOptions>();
  const { data } = await session.ask<VolumeDetail>(`/v1/volumes/${encodeURIComponent(name)}`);
  if (copies >= data.copies) return;
  const question = `Keep ${copies} of ${data.copies} copies of every block of ${name}?`;
  await askFirst(io, command.optsWithGlobals<GlobalOptions>(), question);
}

async function alter(session: Session, name: string, options: AlterCopyOptions): Promise<void> {
  const { copies, minCopies, strict, cancel } = options;
  const body = {
    copies,
    ...(minCopies === undefined ? {} : { minCopies }),
    ...(strict === undefined ? {} : { strict }),
  };
  const route = `/v1/volumes/${encodeURIComponent(name)}/alter-copy`;
  const how = cancel === true ? { method: 'DELETE' as const } : { method: 'POST' as const, body };
  const answer = await session.ask<AlterCopyData>(route, how);
  show(session, answer, 'vdi.alter-copy', {
    human: answerText,
    raw: ({ answer: did, copies: is }) => `${did}\t${is}\n`,
  });
}

async function status(session: Session, name: string): Promise<void> {
  const route = `/v1/volumes/${encodeURIComponent(name)}`;
  const answer = await session.ask<VolumeDetail>(route);
  show(session, answer, 'vdi.show', {
    human: ({ move, copies }) =>
      move === null
        ? `${name} stays as it is: ${copiesText(copies)}.\n`
        : `${name} moves from ${copies} to ${moveText(move)}.\n`,
    raw: ({ move }) =>
      move === null ? '' : `${move.copies}\t${move.stage}\t${move.doneBytes}\t${move.totalBytes}\n`,
  });
}

function answerText({ name, answer, copies, minCopies, strict }: AlterCopyData): string {
  const target = `${copiesText(copies)} (writes need ${minCopies}${strict ? ', strict zones' : ''})`;
  switch (answer) {
    case 'begun':
      return `${name} moves to ${target}; its guest may go on.\nHow far it is: dog vdi alter-copy ${name}\n`;
    case 'moving':
      return `${name} is on its way to ${target} already.\n`;
    case 'same':
      return `${name} has ${target}: there is nothing to do.\n`;
    case 'cancelled':
      return `${name} stays at ${target}; what was copied is deleted.\n`;
  }
}

/** For `dog vdi show`. */
export function moveFacts(move: MoveData | null): [string, string][] {
  return move === null ? [] : [['moves to', moveText(move)]];
}

function moveText(move: MoveData): string {
  const { copies, stage, reason, totalBytes, doneBytes, bytesPerSecond, leftMs } = move;
  // Never 100 % before it is done.
  const percent = totalBytes === 0 ? 0 : Math.floor((doneBytes * 100) / totalBytes);
  const bytes = `${formatBytes(doneBytes)} of ${formatBytes(totalBytes)} (${Math.min(percent, 99)} %)`;
  const parts = [
    copiesText(copies),
    stage === 'waiting' && reason !== '' ? `waits: ${reason}` : stage,
    ...(totalBytes > 0 ? [bytes] : []),
    ...(bytesPerSecond > 0 ? [`${formatBytes(bytesPerSecond)}/s`] : []),
    ...(leftMs > 0 && stage !== 'waiting' ? [`${formatDuration(leftMs)} left`] : []),
  ];
  return parts.join(', ');
}
