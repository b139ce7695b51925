// `dog node scrub`: how the answering node looks after its copies, and what a person can ask of it.

import type { Command } from 'commander';
import type { ScrubData } from '../core/admin-shapes.ts';
import { formatDuration } from '../core/duration.ts';
import { helpTail, type Io, type Session, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';
import { facts, formatBytes, rawFacts, show } from './output.ts';

const KINDS = ['light', 'deep'];

export function addScrubCommands(node: Command, io: Io): void {
  const scrub = node.command('scrub').description('looking after copies on the node that answers');
  scrub
    .command('info', { isDefault: true })
    .description('what runs, how far it is, when the last ones ended, what they found')
    .addHelpText('after', helpTail('dog node scrub', 'dog node scrub info --json | jq .data.run'))
    .action(async (_options, command: Command) => {
      const session = sessionOf(command, io);
      tell(session, await session.ask<ScrubData>('/v1/scrub'));
    });
  scrub
    .command('start')
    .argument('<kind>', 'light: compare with other nodes; deep: read every byte')
    .description('begin a scrub now, or go on with the one that is paused')
    .addHelpText('after', helpTail('dog node scrub start light', 'dog node scrub start deep'))
    .action(async (kind: string, _options, command: Command) => {
      if (!KINDS.includes(kind)) {
        throw new CommandError('usage', `a scrub is light or deep, not "${kind}"`);
      }
      await order(sessionOf(command, io), { action: 'start', kind });
    });
  for (const action of ['pause', 'resume'] as const) {
    const what = action === 'pause' ? 'no scrub reads on until resume' : 'scrubs go on';
    scrub
      .command(action)
      .description(`${what}; survives a restart`)
      .addHelpText('after', helpTail(`dog node scrub ${action}`, 'dog node scrub info'))
      .action(async (_options, command: Command) => {
        await order(sessionOf(command, io), { action });
      });
  }
}

async function order(session: Session, body: object): Promise<void> {
  tell(session, await session.ask<ScrubData>('/v1/scrub', { method: 'POST', body }));
}

function tell(session: Session, answer: Awaited<ReturnType<typeof session.ask<ScrubData>>>): void {
  show(session, answer, 'node.scrub', { human: scrubText, raw: scrubRaw });
}

function scrubText(data: ScrubData): string {
  const { run } = data;
  const now = run === null ? 'nothing' : `${run.kind} since ${run.startedAt}`;
  return facts([
    ['node', data.name],
    ['under way', data.isPaused ? `paused; ${now}` : now],
    ['progress', run === null ? '-' : progressOf(run)],
    ['last light', `${data.lastLightAt}, every ${periodText(data.lightPeriodMs)}`],
    ['last deep', `${data.lastDeepAt}, every ${periodText(data.deepPeriodMs)}`],
    ['rate', `${formatBytes(data.bytesPerSecond)} per second at most`],
    [
      'found',
      `${data.badSectors} bad sectors by this run, or the last; ${data.skippedObjects} objects were in use`,
    ],
    ['repaired', `${data.sectorsRepaired} sectors in the last day, found by reads and scrubs`],
    ['late', data.late.length === 0 ? 'no' : data.late.join(', ')],
    ...(data.lastError === '' ? [] : [['last error', data.lastError] as const]),
  ]);
}

function progressOf(run: NonNullable<ScrubData['run']>): string {
  const percent = run.totalBytes === 0 ? 100 : Math.floor((run.doneBytes * 100) / run.totalBytes);
  return `${formatBytes(run.doneBytes)} of ${formatBytes(run.totalBytes)}, ${percent} %`;
}

function periodText(ms: number | null): string {
  return ms === null ? 'request' : formatDuration(ms);
}

function scrubRaw(data: ScrubData): string {
  return rawFacts([
    ['name', data.name],
    ['paused', data.isPaused ? 1 : 0],
    ['kind', data.run?.kind ?? ''],
    ['doneBytes', data.run?.doneBytes ?? 0],
    ['totalBytes', data.run?.totalBytes ?? 0],
    ['lastLightAt', data.lastLightAt],
    ['lastDeepAt', data.lastDeepAt],
    ['badSectors', data.badSectors],
    ['sectorsRepaired', data.sectorsRepaired],
    ['skippedObjects', data.skippedObjects],
    ['late', data.late.join(',')],
  ]);
}
