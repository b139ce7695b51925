// `dog vdi alter`: options of a volume that is there. What a holder was promised changes while nobody holds it only; how
// many copies there are changes by a move.

import { type Command, Option } from 'commander';
import type { VolumeData, VolumeDetail } from '../core/admin-shapes.ts';
import { formatDuration, parseDuration } from '../core/duration.ts';
import { MAX_COPIES } from '../core/limits.ts';
import { ATTACH_MODES, checkName, MODES } from '../core/volume.ts';
import { alterCopies } from './alter-copy.ts';
import { helpTail, type Io, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';
import { countOf } from './numbers.ts';
import { show } from './output.ts';
import {
  bandwidthOption,
  iopsOption,
  type RateOptions,
  ratesBody,
  ratesText,
} from './vdi-rates.ts';

/** What is not said stays. */
interface AlterOptions extends RateOptions {
  readonly copies?: number;
  readonly mode?: string;
  /** ms */
  readonly ioTimeout?: number;
  readonly attachMode?: string;
}

const NONE = 'none';

/** A time, or that requests wait. */
export function ioTimeoutOption(): Option {
  return new Option(
    '--io-timeout <time>',
    'answer a request that waits so long for copies, lock or quorum with an error; none: it waits',
  ).argParser((text) => (text === NONE ? 0 : parseDuration(text)));
}

export function addAlter(vdi: Command, io: Io): void {
  vdi
    .command('alter <name>')
    .description('change options of a volume; its modes only while no guest holds it')
    .option('-c, --copies <number>', 'as dog vdi alter-copy', countOf('copies', MAX_COPIES))
    .addOption(modeOption())
    .addOption(ioTimeoutOption())
    .addOption(attachModeOption())
    .addOption(iopsOption())
    .addOption(bandwidthOption())
    .addHelpText(
      'after',
      helpTail(
        'dog vdi alter demo --io-timeout 30s',
        'dog vdi alter demo --iops 500 --bandwidth 50M',
      ),
    )
    .action(async (name: string, options: AlterOptions, command: Command) => {
      checkName(name);
      const session = sessionOf(command, io);
      if (isMove(options)) return alterCopies(session, io, command, name);
      const body = alterBody(options);
      const route = `/v1/volumes/${encodeURIComponent(name)}`;
      const answer = await session.ask<VolumeDetail>(route, { method: 'PATCH', body });
      show(session, answer, 'vdi.alter', {
        human: (data) => alteredText(data, options),
        raw: (data) => alteredRaw(data, options),
      });
    });
}

/** Copies are made by a move, which takes its time: nothing else is changed beside it. */
function isMove({ copies, ...others }: AlterOptions): boolean {
  if (copies === undefined) return false;
  if (!saysAnything(others)) return true;
  throw new CommandError('usage', 'the number of copies is changed on its own');
}

function saysAnything({ mode, ioTimeout, attachMode, iops, bandwidth }: AlterOptions): boolean {
  return [mode, ioTimeout, attachMode, iops, bandwidth].some((said) => said !== undefined);
}

function alterBody(options: AlterOptions): object {
  if (!saysAnything(options)) {
    throw new CommandError(
      'usage',
      'say what to alter',
      'give -c, --mode, --io-timeout, --attach-mode, --iops or --bandwidth',
    );
  }
  const { ioTimeout, attachMode, mode } = options;
  return {
    ...ratesBody(options),
    ...(ioTimeout === undefined ? {} : { ioTimeoutMs: ioTimeout }),
    ...(attachMode === undefined ? {} : { attachMode }),
    ...(mode === undefined ? {} : { mode }),
  };
}

function alteredText(data: VolumeData, options: AlterOptions): string {
  const { ioTimeout, attachMode, mode, iops, bandwidth } = options;
  const durability = `The mode of ${data.name} is ${data.mode}.\n`;
  const patience = `Requests of ${data.name} ${patienceText(data)}.\n`;
  const attach = `Volume ${data.name} is attached in mode ${data.attach}.\n`;
  const limits = `Limits of ${data.name}: ${ratesText(data) || 'none'}.\n`;
  return [
    mode === undefined ? '' : durability,
    attachMode === undefined ? '' : attach,
    ioTimeout === undefined ? '' : patience,
    iops === undefined && bandwidth === undefined ? '' : limits,
  ].join('');
}

/** One line per option that was changed. */
function alteredRaw(data: VolumeData, options: AlterOptions): string {
  const { ioTimeout, attachMode, mode, iops, bandwidth } = options;
  const lines = [
    ...(mode === undefined ? [] : [data.mode]),
    ...(attachMode === undefined ? [] : [data.attach]),
    ...(ioTimeout === undefined ? [] : [data.ioTimeoutMs]),
    ...(iops === undefined ? [] : [data.iops]),
    ...(bandwidth === undefined ? [] : [data.bytesPerSecond]),
  ];
  return `${lines.join('\n')}\n`;
}

/** What a confirmed write is. */
export function modeOption(): Option {
  return new Option(
    '--mode <mode>',
    'durable: a write is answered when all copies are synced; writeback: when all have received it, as a disk ' +
      'with a cache does: what the guest has not flushed is lost if all copies lose power at once',
  ).choices([...MODES]);
}

/** Who may attach beside a holder. */
export function attachModeOption(): Option {
  return new Option(
    '--attach-mode <mode>',
    'handover: a second client reads along, and writes once the first has gone quiet; exclusive: it is refused while ' +
      'the first is there; shared-read: all nodes read, nobody writes',
  ).choices([...ATTACH_MODES]);
}

export function patienceText({ ioTimeoutMs }: VolumeData): string {
  if (ioTimeoutMs === 0) return 'wait until they can be answered';
  return `are answered with an error after ${formatDuration(ioTimeoutMs)}`;
}
