// `dog vdi object location, track, du, diff`: where the copies of a volume are and were, what its layers hold, and what
// changed between two of them. NAME is a volume or a snapshot NAME@TAG everywhere.

import type { Command } from 'commander';
import type { AdminAnswer } from '../core/admin-shapes.ts';
import type {
  ChangedRangeData,
  ChangesData,
  CopyPlaceData,
  LayerUsageData,
  ObjectHistoryData,
  ObjectListData,
  ObjectLocationData,
  UsageData,
} from '../core/copy-shapes.ts';
import { parseVolumeName } from '../core/snapshot-name.ts';
import { OBJECT_BYTES } from '../core/units.ts';
import { parseBytes } from '../core/volume.ts';
import { helpTail, type Io, type Session, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';
import { type Column, facts, formatBytes, rawRows, show, table } from './output.ts';

/** Ranges that one JSON document holds. */
const MAX_JSON_RANGES = 1_000_000;

export function addVdiCopies(vdi: Command, io: Io): void {
  addLocation(vdi, io);
  addTrack(vdi, io);
  addUsage(vdi, io);
  addDiff(vdi, io);
}

export function copiesRoute(name: string, rest: string): string {
  parseVolumeName(name);
  return `/v1/volumes/${encodeURIComponent(name)}/${rest}`;
}

/** `7` is an index, `28M` or `4096B` a byte of the volume. */
export function indexOf(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  const offset = /^[\d.]+\s?[a-z]+$/i.test(text) ? parseBytes(text) : Number.NaN;
  if (Number.isSafeInteger(offset) && offset >= 0) return Math.floor(offset / OBJECT_BYTES);
  throw new CommandError(
    'usage',
    `"${text}" is neither an object nor an offset`,
    'give an index such as 7, or an offset with its unit such as 28M or 4096B',
  );
}

// ---------------------------------------------------------------------------------------------- where it is

const PLACES: readonly Column<CopyPlaceData>[] = [
  {
    title: 'node',
    cell: ({ node, isUp }) => `${node}${isUp ? '' : ' (down)'}`,
    raw: (one) => one.node,
  },
  { title: 'zone', cell: ({ zone }) => zone },
  { title: 'role', cell: ({ role }) => role },
  { title: 'copy', cell: copyText },
];

function copyText({ rows, hasAnswered, isUp }: CopyPlaceData): string {
  if (!hasAnswered) return isUp ? 'did not answer' : '-';
  if (rows.length === 0) return 'never written';
  return rows
    .map(({ layer, version, kind, ownedBytes, isOpen, state }) => {
      const bytes = kind === 'zero' ? 'zeroes' : formatBytes(ownedBytes);
      const marks = `${isOpen ? ', open' : ''}${state === 'whole' ? '' : `, ${state}`}`;
      return `${layer === '' ? '(deleted)' : layer} ${version} ${bytes}${marks}`;
    })
    .join('; ');
}

function addLocation(vdi: Command, io: Io): void {
  vdi
    .command('object')
    .description('objects of a volume')
    .command('location <name> [place]')
    .description(
      'the nodes that hold an object, by index (7) or offset (28M): version, in sync or not; of all objects without one',
    )
    .addHelpText(
      'after',
      helpTail('dog vdi object location demo 28M', 'dog vdi object location demo@monday 7 --json'),
    )
    .action(async (name: string, place: string | undefined, _options, command: Command) => {
      const session = sessionOf(command, io);
      if (place === undefined) return listObjects(session, name);
      const route = copiesRoute(name, `objects/${indexOf(place)}`);
      const answer = await session.ask<ObjectLocationData>(route);
      show(session, answer, 'vdi.object.location', { human: locationText, raw: locationRaw });
    });
}

function locationText(data: ObjectLocationData): string {
  const { volume, index, offset, policy, partition, config, copies } = data;
  const head = facts([
    ['object', `${index} of ${volume}, from byte ${offset} (${formatBytes(offset)})`],
    ['partition', `${partition} of policy ${policy}, config ${config}`],
  ]);
  return `${head}\n${table(copies, PLACES)}`;
}

function locationRaw({ copies }: ObjectLocationData): string {
  return copies
    .flatMap(({ node, role, isUp, rows }) => {
      const where = `${node}\t${role}\t${isUp ? 'up' : 'down'}`;
      if (rows.length === 0) return [`${where}\t\t\t\n`];
      return rows.map(({ layer, version, state }) => `${where}\t${layer}\t${version}\t${state}\n`);
    })
    .join('');
}

/** A page at a time: a volume may have a million. */
async function listObjects(session: Session, name: string): Promise<void> {
  for (let from: number | null = 0; from !== null; ) {
    const route = copiesRoute(name, `objects?from=${from}`);
    const answer: AdminAnswer<ObjectListData> = await session.ask<ObjectListData>(route);
    const isFirst = from === 0;
    const line = (cells: readonly string[]): string => `${cells.join('\t')}\n`;
    show<ObjectListData>(session, answer, 'vdi.object.locations', {
      human: ({ objects }) => {
        const rows = objects.map(({ index, partition, inSync, joining }) => {
          const more = joining.length === 0 ? '' : ` (joining: ${joining.join(', ')})`;
          return `${String(index).padStart(8)}  ${String(partition).padStart(9)}  ${inSync.join(', ')}${more}\n`;
        });
        return `${isFirst ? '  object  partition  in sync\n' : ''}${rows.join('')}`;
      },
      raw: ({ objects }) => {
        return objects
          .map((one) => {
            const places = [one.inSync.join(','), one.joining.join(',')];
            return line([String(one.index), String(one.partition), ...places]);
          })
          .join('');
      },
    });
    from = answer.data.next;
  }
}

// ---------------------------------------------------------------------------------------------- where it was

function addTrack(vdi: Command, io: Io): void {
  vdi
    .command('track <name> <place>')
    .description(
      "where an object's copies were, epoch by epoch, as far back as the node's log knows",
    )
    .addHelpText('after', helpTail('dog vdi track demo 7', 'dog vdi track demo 28M -r'))
    .action(async (name: string, place: string, _options, command: Command) => {
      const session = sessionOf(command, io);
      const route = copiesRoute(name, `objects/${indexOf(place)}/history`);
      const answer = await session.ask<ObjectHistoryData>(route);
      show(session, answer, 'vdi.track', {
        human: historyText,
        raw: ({ epochs }) => rawRows(epochs, EPOCHS),
      });
    });
}

const EPOCHS: readonly Column<ObjectHistoryData['epochs'][number]>[] = [
  { title: 'epoch', cell: ({ epoch }) => String(epoch), align: 'right' },
  { title: 'index', cell: ({ index }) => String(index), align: 'right' },
  { title: 'config', cell: ({ config }) => String(config), align: 'right' },
  {
    title: 'in sync',
    cell: ({ inSync }) => inSync.join(', '),
    raw: ({ inSync }) => inSync.join(','),
  },
  {
    title: 'joining',
    cell: ({ joining }) => joining.join(', ') || '-',
    raw: ({ joining }) => joining.join(','),
  },
  { title: 'by', cell: ({ by }) => by || '(known from here on)', raw: ({ by }) => by },
];

function historyText({ volume, index, partition, knownFrom, epochs }: ObjectHistoryData): string {
  const since = knownFrom === 0 ? '' : `; what was before log index ${knownFrom} is not known here`;
  return `Object ${index} of ${volume}, partition ${partition}${since}.\n${table(epochs, EPOCHS)}`;
}

// ---------------------------------------------------------------------------------------------- how much it takes

const LAYERS: readonly Column<LayerUsageData>[] = [
  { title: 'layer', cell: ({ name, kind }) => name || `(${kind})`, raw: ({ name }) => name },
  { title: 'kind', cell: ({ kind }) => kind },
  { title: 'generation', cell: ({ generation }) => String(generation), align: 'right' },
  { title: 'objects', cell: ({ objects }) => String(objects), align: 'right' },
  {
    title: 'bytes',
    cell: ({ bytes }) => formatBytes(bytes),
    raw: ({ bytes }) => bytes,
    align: 'right',
  },
];

function addUsage(vdi: Command, io: Io): void {
  vdi
    .command('du <name>')
    .description(
      'space that a volume or snapshot takes: its own, shared with others, of its family',
    )
    .addHelpText('after', helpTail('dog vdi du demo', 'dog vdi du demo@monday --json'))
    .action(async (name: string, _options, command: Command) => {
      const session = sessionOf(command, io);
      const answer = await session.ask<UsageData>(copiesRoute(name, 'usage'));
      show(session, answer, 'vdi.du', {
        human: usageText,
        raw: ({ layers }) => rawRows(layers, LAYERS),
      });
    });
}

function usageText({ name, copies, layers, ...bytes }: UsageData): string {
  const times = (one: number): string => {
    return `${formatBytes(one)}, with ${copies} copies ${formatBytes(one * copies)}`;
  };
  const head = facts([
    ['name', name],
    ['size', formatBytes(bytes.sizeBytes)],
    ['own', times(bytes.ownBytes)],
    ['shared', times(bytes.sharedBytes)],
    ['family', times(bytes.familyBytes)],
  ]);
  return layers.length < 2 ? head : `${head}\n${table(layers, LAYERS)}`;
}

// ---------------------------------------------------------------------------------------------- what changed

function addDiff(vdi: Command, io: Io): void {
  vdi
    .command('diff <before> <after>')
    .description('ranges of AFTER that may differ from BEFORE, in steps of 64 KiB; no data is read')
    .addHelpText(
      'after',
      helpTail('dog vdi diff demo@monday demo@tuesday', 'dog vdi diff demo@monday demo -r'),
    )
    .action(async (before: string, after: string, _options, command: Command) => {
      parseVolumeName(after);
      await tellChanges(sessionOf(command, io), before, after);
    });
}

/** Slice by slice; neighbours of two slices are one range. */
async function tellChanges(session: Session, before: string, after: string): Promise<void> {
  const kept: ChangedRangeData[] = [];
  const sum = { data: 0, zero: 0 };
  let open: ChangedRangeData | undefined;
  const say = (range: ChangedRangeData): void => {
    sum[range.isData ? 'data' : 'zero'] += range.length;
    if (session.format === 'json') kept.push(range);
    else session.out(rangeText(session, range));
    if (kept.length > MAX_JSON_RANGES) {
      throw new CommandError('too-large', 'there are too many ranges for one document', 'say -r');
    }
  };
  const ask = (from: number) => {
    const query = `changes?to=${encodeURIComponent(after)}&offset=${from}`;
    return session.ask<ChangesData>(copiesRoute(before, query));
  };
  let answer = await ask(0);
  for (;;) {
    for (const range of answer.data.ranges) {
      if (
        open !== undefined &&
        open.isData === range.isData &&
        open.offset + open.length === range.offset
      ) {
        open = { ...open, length: open.length + range.length };
        continue;
      }
      if (open !== undefined) say(open);
      open = range;
    }
    const { to, afterBytes } = answer.data;
    if (to >= afterBytes) break;
    const next = await ask(to);
    if (next.data.to <= to)
      throw new CommandError('busy', `${after} changes all the time`, 'try again');
    answer = next;
  }
  if (open !== undefined) say(open);
  if (session.format === 'json') {
    show(session, { ...answer, data: { ...answer.data, ranges: kept } }, 'vdi.diff', NO_TEXT);
  } else if (session.format === 'human') session.out(sumText(before, after, answer.data, sum));
}

const NO_TEXT = { human: () => '', raw: () => '' };

function rangeText({ format }: Session, { offset, length, isData }: ChangedRangeData): string {
  const kind = isData ? 'data' : 'zero';
  if (format === 'raw') return `${offset}\t${length}\t${kind}\n`;
  return `${String(offset).padStart(14)}  ${formatBytes(length).padStart(10)}  ${kind}\n`;
}

function sumText(
  before: string,
  after: string,
  { beforeBytes, afterBytes }: ChangesData,
  { data, zero }: { readonly data: number; readonly zero: number },
): string {
  const sizes =
    beforeBytes === afterBytes ? '' : `; the size was ${beforeBytes} bytes and is ${afterBytes}`;
  if (data + zero === 0) return `${after} is what ${before} is${sizes}.\n`;
  const zeroes = zero === 0 ? '' : `, ${formatBytes(zero)} are zeroes now`;
  return `${formatBytes(data)} of ${after} may differ from ${before}${zeroes}${sizes}.\n`;
}
