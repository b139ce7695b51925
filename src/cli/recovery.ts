// `dog node recovery` and `dog cluster recover enable|disable`: how far recovery is on every member, how fast it may go,
// and its pause.

import type { Command } from 'commander';
import type { RecoveryData, RecoverySumData, RecoveryTaskData } from '../core/admin-shapes.ts';
import { formatDuration } from '../core/duration.ts';
import { helpTail, type Io, type Session, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';
import { type Column, facts, formatBytes, rawRows, show, table } from './output.ts';

/** Between two looks of `-P`. */
const WATCH_MS = 500;
/** Looks without a task before `-P` says that there is nothing: a task begins a moment after its cause. */
const IDLE_LOOKS = 4;

interface Line extends RecoveryTaskData {
  readonly node: string;
}

const COLUMNS: readonly Column<Line>[] = [
  { title: 'node', cell: ({ node }) => node },
  { title: 'task', cell: ({ kind }) => kind },
  { title: 'state', cell: ({ state }) => state },
  { title: 'partitions', cell: partitionsOf, align: 'right' },
  {
    title: 'bytes',
    cell: bytesOf,
    raw: (line) => `${line.doneBytes}/${line.totalBytes}`,
    align: 'right',
  },
  { title: '%', cell: percentOf, align: 'right' },
  { title: 'rate', cell: rateOf, raw: ({ bytesPerSecond }) => bytesPerSecond, align: 'right' },
  { title: 'left', cell: leftOf, raw: ({ leftMs }) => leftMs, align: 'right' },
  { title: 'failed', cell: ({ failures }) => String(failures.length), align: 'right' },
  { title: 'started', cell: ({ startedAt }) => startedAt },
];

export function addRecoveryCommands(node: Command, io: Io): void {
  const recovery = node
    .command('recovery')
    .description('catch-up, moves and repairs of all members');
  recovery
    .command('info', { isDefault: true })
    .description('how far each task is, how fast, how long it will take, what failed')
    .option('-P, --progress', 'a line at each change, until nothing is under way')
    .addHelpText('after', helpTail('dog node recovery', 'dog node recovery info -P'))
    .action(async (options: { readonly progress?: boolean }, command: Command) => {
      const session = sessionOf(command, io);
      if (options.progress === true) await watch(session);
      else show(session, await look(session), 'node.recovery', { human: text, raw });
    });
  recovery
    .command('set-throttle')
    .argument('[rate]', 'most bytes per second and node, such as 50MiB')
    .option('--auto', 'as fast as guests allow (default)')
    .description('limit the rate of copies; they yield to guests below it, too')
    .addHelpText(
      'after',
      helpTail('dog node recovery set-throttle 50MiB', 'dog node recovery set-throttle --auto'),
    )
    .action(
      async (rate: string | undefined, options: { readonly auto?: boolean }, command: Command) => {
        if ((rate === undefined) === (options.auto !== true)) {
          throw new CommandError('usage', 'say either a rate or --auto');
        }
        const session = sessionOf(command, io);
        const body = { name: 'recovery-rate', value: rate ?? 'auto' };
        const answer = await session.ask<typeof body>('/v1/cluster/set', { method: 'POST', body });
        show(session, answer, 'node.recovery.throttle', {
          human: ({ value }) => `Recovery takes ${rateText(value)}.\n`,
          raw: ({ value }) => `${value}\n`,
        });
      },
    );
  recovery
    .command('get-throttle')
    .description('the limit, and the rate that each node takes now')
    .addHelpText(
      'after',
      helpTail('dog node recovery get-throttle', 'dog node recovery get-throttle --json'),
    )
    .action(async (_options, command: Command) => {
      const session = sessionOf(command, io);
      show(session, await look(session), 'node.recovery.throttle', {
        human: throttleText,
        raw: ({ rateLimit }) => `${rateLimit ?? 'auto'}\n`,
      });
    });
}

/** Below `dog cluster recover`. */
export function addPauseCommands(recover: Command, io: Io): void {
  for (const verb of ['enable', 'disable'] as const) {
    const what =
      verb === 'enable'
        ? 'recovery goes on, everywhere: also on nodes that were started with --no-recovery'
        : 'pause catch-up, moves and repairs; survives restarts. What guests wait for goes on';
    recover
      .command(verb)
      .description(what)
      .addHelpText('after', helpTail(`dog cluster recover ${verb}`, 'dog node recovery'))
      .action(async (_options, command: Command) => {
        const session = sessionOf(command, io);
        const body = { enabled: verb === 'enable' };
        const route = '/v1/cluster/recovery';
        const answer = await session.ask<typeof body>(route, { method: 'POST', body });
        show(session, answer, 'cluster.recover', {
          human: ({ enabled }) => (enabled ? 'Recovery goes on.\n' : 'Recovery is paused.\n'),
          raw: ({ enabled }) => `${enabled ? 'enabled' : 'disabled'}\n`,
        });
      });
  }
}

/** One line for all members: `412 of 1024 partitions, 1.6 GiB of 4 GiB (40 %), 120 MiB/s, 20s left`. */
export function sumText(sum: RecoverySumData): string {
  const percent = percentText(sum.doneBytes, sum.totalBytes, sum.partitionsDone === sum.partitions);
  const bytes = `${formatBytes(sum.doneBytes)} of ${formatBytes(sum.totalBytes)} (${percent} %)`;
  const parts = [
    `${sum.partitionsDone} of ${sum.partitions} partitions`,
    sum.isCounted ? bytes : 'bytes are still being counted',
    ...(sum.bytesPerSecond > 0 ? [`${formatBytes(sum.bytesPerSecond)}/s`] : []),
    ...(sum.leftMs > 0 ? [`${formatDuration(sum.leftMs)} left`] : []),
    ...(sum.failedObjects > 0 ? [`${sum.failedObjects} objects FAILED so far`] : []),
    ...(sum.incompleteObjects > 0 ? [`${sum.incompleteObjects} objects are DAMAGED`] : []),
  ];
  return parts.join(', ');
}

async function look(session: Session) {
  return session.ask<RecoveryData>('/v1/recovery');
}

async function watch(session: Session): Promise<void> {
  let last = '';
  for (let idle = 0; idle < IDLE_LOOKS; ) {
    const answer = await look(session);
    const { sum } = answer.data;
    idle = sum.tasks === 0 ? idle + 1 : 0;
    const line = sum.tasks === 0 ? '' : sumText(sum);
    if (line !== last && line !== '') {
      if (session.format === 'json') show(session, answer, 'node.recovery', { human: text, raw });
      else session.out(`${line}\n`);
    }
    last = line;
    await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
  }
  show(session, await look(session), 'node.recovery', { human: text, raw });
}

function linesOf(data: RecoveryData): Line[] {
  return data.nodes.flatMap(({ name, tasks }) => tasks.map((task) => ({ ...task, node: name })));
}

function text(data: RecoveryData): string {
  const { isEnabled, heldBy, sum, silent } = data;
  const held = heldBy.length === 0 ? '' : `; held on ${heldBy.join(', ')}`;
  const head = facts([
    ['recovery', `${isEnabled ? 'enabled' : 'paused: dog cluster recover enable'}${held}`],
    [
      'rate',
      `${rateText(data.rateLimit)}, ${data.incoming} copies in and ${data.outgoing} out per node`,
    ],
    ['under way', sum.tasks === 0 ? 'nothing' : sumText(sum)],
    ...(silent.length === 0 ? [] : [['silent', silent.join(', ')] as const]),
  ]);
  const lines = linesOf(data);
  const failures = lines.flatMap(({ node, failures: found }) =>
    found.map(({ partition, index, reason }) => {
      return `${node}: object ${index} of partition ${partition} failed: ${reason}\n`;
    }),
  );
  return `${head}${lines.length === 0 ? '' : `\n${table(lines, COLUMNS)}`}${failures.join('')}`;
}

function raw(data: RecoveryData): string {
  return rawRows(linesOf(data), COLUMNS);
}

function throttleText(data: RecoveryData): string {
  const rows = data.nodes.map(({ name, rateLimit }) => {
    return [name, rateLimit === null ? 'no limit now' : `${formatBytes(rateLimit)}/s now`] as const;
  });
  return facts([['limit', rateText(data.rateLimit)], ...rows]);
}

function rateText(rate: number | string | null): string {
  if (rate === null || rate === 'auto') return 'as much as guests allow';
  return `at most ${typeof rate === 'number' ? `${formatBytes(rate)}/s` : `${rate} per second`}`;
}

function partitionsOf({ partitions, partitionsDone, partitionsGone }: Line): string {
  return `${partitionsDone + partitionsGone}/${partitions}`;
}

function bytesOf({ isCounted, doneBytes, totalBytes }: Line): string {
  return isCounted ? `${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}` : 'counting';
}

function percentOf(line: Line): string {
  return line.isCounted ? percentText(line.doneBytes, line.totalBytes, line.endedAt !== null) : '-';
}

/** Never 100 before the end. */
function percentText(done: number, total: number, isOver: boolean): string {
  if (isOver) return '100';
  return String(total === 0 ? 0 : Math.min(99, Math.floor((done * 100) / total)));
}

function rateOf({ bytesPerSecond }: Line): string {
  return bytesPerSecond === 0 ? '-' : `${formatBytes(bytesPerSecond)}/s`;
}

function leftOf({ leftMs }: Line): string {
  return leftMs === 0 ? '-' : formatDuration(leftMs);
}
