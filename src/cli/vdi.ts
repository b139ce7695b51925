// `dog vdi`: volumes. A volume is made by one entry of the map log; its space is taken when it is written.

import type { Command } from 'commander';
import type { HolderData, VolumeData, VolumeDetail } from '../core/admin-shapes.ts';
import { MAX_COPIES } from '../core/limits.ts';
import { checkName, parseSize } from '../core/volume.ts';
import { addAlterCopy, moveFacts } from './alter-copy.ts';
import { addAttach } from './attach.ts';
import { helpTail, type Io, sessionOf } from './context.ts';
import { addLockCommands } from './lock.ts';
import { addMigrateCommand } from './migrate.ts';
import { countOf } from './numbers.ts';
import { type Column, facts, formatBytes, rawFacts, rawRows, show, table } from './output.ts';
import {
  addAlter,
  attachModeOption,
  ioTimeoutOption,
  modeOption,
  patienceText,
} from './vdi-alter.ts';
import { addVdiBackup } from './vdi-backup.ts';
import { addVdiCare } from './vdi-care.ts';
import { addVdiCheck } from './vdi-check.ts';
import { addVdiCopies } from './vdi-copies.ts';
import { addVdiData } from './vdi-data.ts';
import { addVdiLayers } from './vdi-layers.ts';
import { addPreallocate, preallocate } from './vdi-preallocate.ts';
import {
  bandwidthOption,
  iopsOption,
  type RateOptions,
  ratesBody,
  ratesText,
} from './vdi-rates.ts';
import { addVdiRestore } from './vdi-restore.ts';
import { addDelete, addTrash } from './vdi-trash.ts';

interface CreateOptions extends RateOptions {
  readonly copies?: number;
  readonly minCopies?: number;
  readonly strict?: boolean;
  readonly preallocate?: boolean;
  readonly mode?: string;
  /** ms */
  readonly ioTimeout?: number;
  readonly attachMode?: string;
}

const COLUMNS: readonly Column<VolumeData>[] = [
  { title: 'name', cell: (volume) => volume.name },
  {
    title: 'size',
    cell: (volume) => formatBytes(volume.sizeBytes),
    raw: (volume) => volume.sizeBytes,
    align: 'right',
  },
  { title: 'id', cell: (volume) => String(volume.id), align: 'right' },
  { title: 'copies', cell: (volume) => String(volume.copies), align: 'right' },
  { title: 'state', cell: (volume) => volume.state },
  {
    title: 'holder',
    cell: ({ holder }) => (holder === null || isTaken(holder) ? '-' : holder.node),
  },
  { title: 'mode', cell: (volume) => volume.mode },
];

export function addVdiCommands(program: Command, io: Io): void {
  const vdi = program.command('vdi').description('volumes (virtual disk images)');
  addCreate(vdi, io);
  addAlter(vdi, io);
  addAlterCopy(vdi, io);
  addAttach(vdi, io);
  addLockCommands(vdi, io);
  addMigrateCommand(vdi, io);
  addVdiBackup(vdi, io);
  addVdiCare(vdi, io);
  addVdiCheck(vdi, io);
  addVdiCopies(vdi, io);
  addVdiData(vdi, io);
  addVdiLayers(vdi, io);
  addVdiRestore(vdi, io);
  addDelete(vdi, io);
  addTrash(vdi, io);
  addPreallocate(vdi, io);
  vdi
    .command('list [name]')
    .description('name, size, id, copies, state, holder of all volumes, or of one')
    .addHelpText('after', helpTail('dog vdi list', 'dog vdi list -r | cut -f1'))
    .action(async (name: string | undefined, _options, command: Command) => {
      const session = sessionOf(command, io);
      const answer =
        name === undefined
          ? await session.ask<readonly VolumeData[]>('/v1/volumes')
          : await session
              .ask<VolumeDetail>(volumeRoute(name))
              .then((one) => ({ ...one, data: [one.data] }));
      show<readonly VolumeData[]>(session, answer, 'vdi.list', {
        human: (rows) => table(rows, COLUMNS),
        raw: (rows) => rawRows(rows, COLUMNS),
      });
    });
  vdi
    .command('show <name>')
    .description('everything about one volume: holder, copies in sync, state')
    .addHelpText(
      'after',
      helpTail('dog vdi show demo', 'dog vdi show demo --json | jq .data.holder'),
    )
    .action(async (name: string, _options, command: Command) => {
      const session = sessionOf(command, io);
      const answer = await session.ask<VolumeDetail>(volumeRoute(name));
      show(session, answer, 'vdi.show', { human: detailText, raw: detailRaw });
    });
}

function addCreate(vdi: Command, io: Io): void {
  vdi
    .command('create <name> <size>')
    .description(
      'make a volume, thin unless --preallocate; SIZE as 4096, 64M, 10G, 1T (powers of 1024)',
    )
    .option('-c, --copies <number>', "copies (the cluster's)", countOf('copies', MAX_COPIES))
    .option(
      '--min-copies <number>',
      'live copies that writes need (half of copies, plus one)',
      countOf('min-copies', MAX_COPIES),
    )
    .option('--strict', 'never two copies in one zone')
    .addOption(modeOption().default('durable'))
    .addHelpText(
      'after',
      helpTail('dog vdi create demo 10G', 'dog vdi create build 50G -c 2 --mode writeback'),
    )
    .addOption(ioTimeoutOption())
    .addOption(attachModeOption())
    .addOption(iopsOption())
    .addOption(bandwidthOption())
    .option('--preallocate', 'give it all of its space at once (dog vdi preallocate)')
    .action(async (name: string, size: string, _options, command: Command) => {
      checkName(name);
      const body = { name, sizeBytes: parseSize(size), ...policyOf(command.opts<CreateOptions>()) };
      const session = sessionOf(command, io);
      const answer = await session.ask<VolumeDetail>('/v1/volumes', { method: 'POST', body });
      const isThick = command.opts<CreateOptions>().preallocate === true;
      if (isThick) await preallocate(session, io, name);
      show(session, answer, 'vdi.create', {
        human: (data) =>
          `Volume ${data.name} is made: ${formatBytes(data.sizeBytes)}, ${copiesText(data)}${modeText(data)}.\n`,
        raw: (data) => `${data.id}\n`,
      });
    });
}

function policyOf(options: CreateOptions): object {
  const { copies, minCopies, strict, mode, ioTimeout, attachMode } = options;
  return {
    ...ratesBody(options),
    ...(attachMode === undefined ? {} : { attachMode }),
    ...(ioTimeout === undefined ? {} : { ioTimeoutMs: ioTimeout }),
    ...(mode === undefined ? {} : { mode }),
    ...(copies === undefined ? {} : { copies }),
    ...(minCopies === undefined ? {} : { minCopies }),
    ...(strict === undefined ? {} : { strict }),
  };
}

function volumeRoute(name: string): string {
  checkName(name);
  return `/v1/volumes/${encodeURIComponent(name)}`;
}

function modeText({ mode, attach }: VolumeData): string {
  const attached = attach === 'handover' ? '' : `, ${attach}`;
  return `${mode === 'durable' ? '' : `, ${mode}`}${attached}`;
}

function copiesText(data: VolumeData): string {
  const noun = data.copies === 1 ? 'copy' : 'copies';
  return `${data.copies} ${noun} (writes need ${data.minCopies}${data.strict ? ', strict zones' : ''})`;
}

/** An operator took it from there: nobody's life has this number. */
function isTaken(holder: HolderData): boolean {
  return holder.incarnation === 0;
}

function holderText({ holder }: VolumeData): string {
  if (holder === null) return 'nobody; the first read or write takes it';
  if (isTaken(holder)) return `nobody; it was taken from ${holder.node} (dog vdi lock unlock)`;
  const life = `incarnation ${holder.incarnation}, session ${holder.session}`;
  const since = holder.since === null ? `log index ${holder.sinceIndex}` : holder.since;
  const from = holder.from === '' ? '' : `, attached from ${holder.from}`;
  return `${holder.node} (${holder.state}) since ${since}${from}, ${life}, token ${holder.token}`;
}

function detailText(data: VolumeDetail): string {
  const { partitions } = data;
  return facts([
    ['name', data.name],
    ['size', `${formatBytes(data.sizeBytes)} (${data.sizeBytes} bytes), ${data.objects} objects`],
    [
      'id',
      `${data.id}, family ${data.family}, generation ${data.generation}, policy ${data.policy}`,
    ],
    ['copies', copiesText(data)],
    ['mode', `${data.mode}, attach ${data.attach}${data.isProtected ? ', protected' : ''}`],
    ['requests', patienceText(data)],
    ['limits', ratesText(data) || 'none'],
    ['state', data.state],
    ['holder', holderText(data)],
    [
      'partitions',
      `${partitions.total}: ${partitions.clean} in sync, ${partitions.joining} joining, ` +
        `${partitions.degraded} degraded, ${partitions.halted} halted, ${partitions.lost} lost`,
    ],
    ...moveFacts(data.move),
    ...lostFacts(data),
  ]);
}

/** Ranges shown; `--json` has them all. */
const MAX_RANGES = 16;

function lostFacts({ lost, unreadable }: VolumeDetail): [string, string][] {
  return [
    ...rangeFacts('lost', 'no copy is left of bytes', lost),
    ...rangeFacts('unreadable', 'no copy passes its checksums at bytes', unreadable),
  ];
}

function rangeFacts(name: string, what: string, ranges: VolumeDetail['lost']): [string, string][] {
  if (ranges.length === 0) return [];
  const named = ranges.slice(0, MAX_RANGES).map(({ from, to }) => `${from}-${to - 1}`);
  const more = ranges.length > MAX_RANGES ? ` and ${ranges.length - MAX_RANGES} more` : '';
  return [[name, `${what} ${named.join(', ')}${more}`]];
}

function detailRaw(data: VolumeDetail): string {
  return rawFacts([
    ['name', data.name],
    ['sizeBytes', data.sizeBytes],
    ['id', data.id],
    ['family', data.family],
    ['generation', data.generation],
    ['copies', data.copies],
    ['minCopies', data.minCopies],
    ['mode', data.mode],
    ['attach', data.attach],
    ['ioTimeoutMs', data.ioTimeoutMs],
    ['iops', data.iops],
    ['bytesPerSecond', data.bytesPerSecond],
    ['protected', String(data.isProtected)],
    ['state', data.state],
    ['holder', data.holder?.node ?? ''],
    ['token', data.holder?.token ?? 0],
    ['partitions', data.partitions.total],
    ['clean', data.partitions.clean],
    ['joining', data.partitions.joining],
    ['degraded', data.partitions.degraded],
    ['halted', data.partitions.halted],
    ['lost', data.partitions.lost],
    ['moveCopies', data.move?.copies ?? ''],
    ['moveStage', data.move?.stage ?? ''],
    ['moveTotalBytes', data.move?.totalBytes ?? 0],
    ['moveDoneBytes', data.move?.doneBytes ?? 0],
  ]);
}
