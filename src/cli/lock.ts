// `dog vdi lock`: who holds which volume since when from where, and taking a volume from its holder, which can not be taken
// back: so it says first what it means, and wants a word.

import type { Command } from 'commander';
import type { HolderData, LockData, UnlockData } from '../core/admin-shapes.ts';
import { checkName } from '../core/volume.ts';
import { askTyped } from './ask-first.ts';
import { helpTail, type Io, type Session, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';
import { type Column, rawRows, show, table } from './output.ts';

const COLUMNS: readonly Column<LockData>[] = [
  { title: 'volume', cell: (lock) => lock.volume },
  { title: 'holder', cell: (lock) => (lock.standing === 'unlocked' ? '-' : lock.node) },
  { title: 'state', cell: (lock) => lock.standing },
  { title: 'since', cell: (lock) => lock.since ?? '-' },
  { title: 'from', cell: (lock) => (lock.from === '' ? '-' : lock.from) },
  { title: 'attach', cell: (lock) => lock.attach },
  { title: 'token', cell: (lock) => String(lock.token), align: 'right' },
  { title: 'next', cell: (lock) => lock.next ?? '-' },
];

export function addLockCommands(vdi: Command, io: Io): void {
  const lock = vdi.command('lock').description('who holds a volume, and taking it from them');
  lock
    .command('list [name]')
    .description('holder, since when, from where its client came, of all held volumes or of one')
    .addHelpText('after', helpTail('dog vdi lock list', 'dog vdi lock list db --json'))
    .action(async (name: string | undefined, _options, command: Command) => {
      const session = sessionOf(command, io);
      const answer = await locks(session, name);
      show<readonly LockData[]>(session, answer, 'vdi.lock.list', {
        human: (rows) => (rows.length === 0 ? nobodyText(name) : table(rows, COLUMNS)),
        raw: (rows) => rawRows(rows, COLUMNS),
      });
    });
  lock
    .command('unlock <name>')
    .description('take a volume from its holder for good, whether that lives or not')
    .option('--yes', 'do not ask: the holder is to lose it, whatever it is doing')
    .addHelpText('after', helpTail('dog vdi lock unlock db', 'dog vdi lock unlock db --yes --json'))
    .action(async (name: string, options: { yes?: boolean }, command: Command) => {
      checkName(name);
      const session = sessionOf(command, io);
      const { data } = await locks(session, name);
      const holder = data.find(({ standing }) => standing !== 'unlocked');
      if (holder !== undefined && options.yes !== true) await askToUnlock(io, holder);
      const route = `/v1/volumes/${encodeURIComponent(name)}/unlock`;
      // Of the holder that was shown: another one is not meant.
      const body = { by: 'dog', ...(holder === undefined ? {} : { token: holder.token }) };
      const answer = await session.ask<UnlockData>(route, { method: 'POST', body });
      show(session, answer, 'vdi.lock.unlock', {
        human: doneText,
        raw: ({ did }) => `${did}\n`,
      });
    });
}

async function locks(session: Session, name: string | undefined) {
  if (name !== undefined) {
    checkName(name);
    // Says so when there is no such volume.
    await session.ask(`/v1/volumes/${encodeURIComponent(name)}`);
  }
  const answer = await session.ask<readonly LockData[]>('/v1/locks');
  const isMeant = ({ volume }: LockData): boolean => name === undefined || volume === name;
  return { ...answer, data: answer.data.filter(isMeant) };
}

async function askToUnlock(io: Io, lock: LockData): Promise<void> {
  if (io.type === undefined) {
    const text = `${lock.volume} is held by ${holderText(lock)}: there is no terminal to answer on`;
    throw new CommandError('usage', text, 'use --yes where that holder is to lose it');
  }
  const question = `${truth(lock)}Type the name of the volume to go on: `;
  await askTyped(io, lock.volume, question, '--yes');
}

/** What unlocking means, before it is done. */
function truth(lock: LockData): string {
  const { volume } = lock;
  const lines = [`Volume ${volume} is held by ${holderText(lock)}.`];
  if (lock.standing === 'dead') {
    lines.push(
      'That holder is dead by the map: attaching the volume elsewhere takes it over, without this.',
    );
  } else {
    lines.push(
      'That node is up by the map: a guest may be writing through it at this moment.',
      'Its session is fenced for good: each request of its guest fails (EIO) from here on, and it can',
      'not get the volume back without a new connection; shut that guest down.',
    );
  }
  lines.push(
    'Every write that was answered is kept. One that was not answered yet is there or is not, as',
    'after a power cut: let the next guest check its file systems.',
    'Nothing in this undoes it.',
  );
  return `${lines.join('\n')}\n`;
}

function holderText({ node, state, since, from, token }: HolderData): string {
  const when = since === null ? '' : ` since ${since}`;
  const where = from === '' ? '' : `, attached from ${from}`;
  return `${node} (${state})${when}${where}, token ${token}`;
}

function doneText({ volume, did, former }: UnlockData): string {
  if (did === 'nothing' || former === null) return `Nobody holds ${volume}.\n`;
  return (
    `Volume ${volume} is taken from ${former.node}: its session is fenced for good.\n` +
    'The next guest that reads or writes takes it over.\n'
  );
}

function nobodyText(name: string | undefined): string {
  return name === undefined ? 'No volume is held.\n' : `Nobody holds ${name}.\n`;
}
