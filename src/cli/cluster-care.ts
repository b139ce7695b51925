// `dog cluster set`, `alter-copy` and `recover force`: delays of membership, copies of the default policy, and the way on
// when a majority of the voters is lost for good.

import type { Command } from 'commander';
import type { ClusterData, LossData, RecoverData } from '../core/admin-shapes.ts';
import { DELAY_SETTINGS } from '../core/cluster-settings.ts';
import { copiesText, counted } from '../core/count-text.ts';
import { MAX_COPIES } from '../core/limits.ts';
import { RECOVERY_SETTINGS } from '../core/recovery-settings.ts';
import { askFirst, askTyped } from './ask-first.ts';
import { type GlobalOptions, helpTail, type Io, sessionOf } from './context.ts';
import { countOf } from './numbers.ts';
import { formatBytes, rawRows, show } from './output.ts';
import { addPauseCommands } from './recovery.ts';

export function addClusterCareCommands(cluster: Command, io: Io): void {
  cluster
    .command('set <name> <value>')
    .description(
      `${[...DELAY_SETTINGS.keys()].join(', ')}: a time, or never; ` +
        `${[...RECOVERY_SETTINGS.keys()].join(', ')}: a rate or auto, numbers of copies`,
    )
    .addHelpText(
      'after',
      helpTail('dog cluster set out-after 10m', 'dog cluster set replace-voter-after 30m'),
    )
    .action(async (name: string, value: string, _options, command: Command) => {
      const session = sessionOf(command, io);
      const body = { name, value };
      const answer = await session.ask<typeof body>('/v1/cluster/set', { method: 'POST', body });
      show(session, answer, 'cluster.set', {
        human: ({ name: is, value: to }) => `${is} is ${to}.\n`,
        raw: ({ name: is, value: to }) => `${is}\t${to}\n`,
      });
    });
  addAlterCopy(cluster, io);
  addRecover(cluster, io);
}

interface CopiesData {
  readonly copies: number;
  readonly minCopies: number;
  readonly strict: boolean;
}

function addAlterCopy(cluster: Command, io: Io): void {
  cluster
    .command('alter-copy')
    .description('more or fewer copies in the default policy: its volumes follow')
    .requiredOption('-c, --copies <number>', 'copies of every block', countOf('copies', MAX_COPIES))
    .option(
      '--min-copies <number>',
      'live copies that writes need (half of copies, plus one)',
      countOf('min-copies', MAX_COPIES),
    )
    .option('--strict', 'never two copies in one zone')
    .option('--no-strict', 'two copies in one zone where there are too few')
    .addHelpText('after', helpTail('dog cluster alter-copy -c 2', 'dog cluster alter-copy -c 1 -f'))
    .action(async (_options, command: Command) => {
      const session = sessionOf(command, io);
      const { copies, minCopies, strict } = command.opts<{
        copies: number;
        minCopies?: number;
        strict?: boolean;
      }>();
      const { data } = await session.ask<ClusterData>('/v1/cluster');
      if (copies < data.copies) {
        const question = `Keep ${copies} of ${copiesText(data.copies)} of every block?`;
        await askFirst(io, command.optsWithGlobals<GlobalOptions>(), question);
      }
      const least = minCopies ?? Math.floor(copies / 2) + 1;
      if (least > data.members.up) {
        const up = `${data.members.up} ${data.members.up === 1 ? 'node is' : 'nodes are'} up`;
        const question = `Stop all writes until there are more nodes? ${up}, writes would need ${copiesText(least)}.`;
        await askFirst(io, command.optsWithGlobals<GlobalOptions>(), question);
      } else {
        const question = stopOfWrites(data, copies, least);
        if (question !== '') {
          await askFirst(io, command.optsWithGlobals<GlobalOptions>(), question);
        }
      }
      const body = {
        copies,
        ...(minCopies === undefined ? {} : { minCopies }),
        ...(strict === undefined ? {} : { strict }),
      };
      const route = '/v1/cluster/alter-copy';
      const answer = await session.ask<CopiesData>(route, { method: 'POST', body });
      show(session, answer, 'cluster.alter-copy', {
        human: (is) => {
          const zones = is.strict ? ', strict zones' : '';
          return `The default policy has ${copiesText(is.copies)}, writes need ${is.minCopies}${zones}.\n`;
        },
        raw: (is) => `${is.copies}\t${is.minCopies}\n`,
      });
    });
}

/** Writes need copies at once that are only made by and by; '' where they go on. */
function stopOfWrites(data: ClusterData, copies: number, least: number): string {
  const { partitions, minCopies } = data;
  if (data.volumes === 0 || least <= minCopies) return '';
  const short = partitions.degraded + partitions.halted;
  if (least <= data.copies && short === 0) return '';
  const now =
    least > data.copies
      ? `There ${data.copies === 1 ? 'is' : 'are'} ${copiesText(data.copies)} now.`
      : `${short} of ${partitions.total} partitions have fewer copies than asked for.`;
  const gentle = `dog cluster alter-copy -c ${copies} --min-copies ${minCopies}, and `;
  const way = `${copies === data.copies ? '' : gentle}this again when health is fine`;
  return `Stop writes until ${copiesText(least)} of every block are made? ${now} Without a stop: ${way}.`;
}

function addRecover(cluster: Command, io: Io): void {
  const recover = cluster
    .command('recover')
    .description('pause recovery; the way on after disasters');
  addPauseCommands(recover, io);
  addAcceptLoss(recover, io);
  recover
    .command('force')
    .description(
      'a majority of the voters is lost for good: print what may be lost, and what to do',
    )
    .addHelpText(
      'after',
      helpTail('dog cluster recover force', 'sheep unsafe-recover /var/lib/sheep'),
    )
    .action(async (_options, command: Command) => {
      const session = sessionOf(command, io);
      const answer = await session.ask<RecoverData>('/v1/cluster/recover');
      show(session, answer, 'cluster.recover', { human: recoverText, raw: recoverRaw });
    });
}

function addAcceptLoss(recover: Command, io: Io): void {
  recover
    .command('accept-loss')
    .description('no copy is left of parts of volumes: say which, and go on without them, for good')
    .option('--yes-i-lose-data', "no question; without it the cluster's name must be typed")
    .addHelpText(
      'after',
      helpTail(
        'dog cluster recover accept-loss',
        'dog cluster recover accept-loss --yes-i-lose-data',
      ),
    )
    .action(async (_options, command: Command) => {
      const session = sessionOf(command, io);
      const { data } = await session.ask<LossData>('/v1/cluster/loss');
      if (session.format === 'human') session.err(lossText(data));
      if (data.partitions > 0 && command.opts<{ yesILoseData?: boolean }>().yesILoseData !== true) {
        const question = 'To go on without them type the name of the cluster: ';
        await askTyped(io, data.cluster, question, '--yes-i-lose-data');
      }
      const route = '/v1/cluster/accept-loss';
      const answer = await session.ask<{ partitions: number }>(route, { method: 'POST', body: {} });
      show(session, answer, 'cluster.accept-loss', {
        human: ({ partitions }) =>
          `${counted(partitions, 'partition')} ${partitions === 1 ? 'starts' : 'start'} anew: what was in them reads as zeroes.\n` +
          'Guests of these volumes were cut off: check their file systems, then attach them again.\n',
        raw: ({ partitions }) => `${partitions}\n`,
      });
    });
}

function lossText({ partitions, volumes, mayReturn }: LossData): string {
  const lines = volumes.map(({ name, bytes, ranges }) => {
    const named = ranges.map(({ from, to }) => `    ${from}-${to - 1}\n`).join('');
    return `  ${name}: ${formatBytes(bytes)} at bytes\n${named}`;
  });
  const others =
    mayReturn.length === 0
      ? ''
      : `Not touched: what only ${mayReturn.join(', ')} may still have.\n`;
  return `Lost for good: ${counted(partitions, 'partition')}.\n${lines.join('')}${others}`;
}

function recoverText({ voters, needed, best, mayLose, askedBy }: RecoverData): string {
  const lines = voters.map(({ name, isReachable, commit }) => {
    return `  ${name}  ${isReachable ? `answers, log to ${commit}` : 'DOES NOT ANSWER'}\n`;
  });
  const losses = mayLose.map((one) => `  - ${one}\n`).join('');
  return (
    `Voters (${needed} are needed), as ${askedBy} sees it: a cut network looks the same as lost nodes:\n` +
    `${lines.join('')}\n` +
    `If the missing ones are lost FOR GOOD, ${best} can go on alone. What may be lost:\n${losses}\n` +
    'Nothing was done. If a missing voter still has its disk, start it instead. Otherwise:\n' +
    `  1. look on the hosts of the missing voters that nothing runs there, and see to it that they never start again on their old disks\n` +
    `  2. stop ${best}:            dog node kill ${best}\n` +
    `  3. on its host:         sheep unsafe-recover DIR\n` +
    `  4. start it again, then retire each lost one:  dog node forget NODE\n`
  );
}

function recoverRaw({ voters }: RecoverData): string {
  return rawRows(voters, [
    { title: 'voter', cell: ({ name }) => name },
    { title: 'reachable', cell: ({ isReachable }) => (isReachable ? 'yes' : 'no') },
    { title: 'commit', cell: ({ commit }) => String(commit ?? '-') },
  ]);
}
