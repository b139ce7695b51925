// `dog vdi snapshot, clone, rollback, tree, resize`: layers of volumes. A snapshot is NAME@TAG.

import type { Command } from 'commander';
import type { VolumeDetail } from '../core/admin-shapes.ts';
import { checkTag, parseVolumeName, snapshotName } from '../core/snapshot-name.ts';
import { checkName, parseSize } from '../core/volume.ts';
import type { LayerData, SnapshotData } from '../core/volume-shapes.ts';
import { askFirst } from './ask-first.ts';
import { type GlobalOptions, helpTail, type Io, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';
import { type Column, formatBytes, rawRows, show, table } from './output.ts';
import { attachModeOption, modeOption } from './vdi-alter.ts';

const LAYERS: readonly Column<LayerData>[] = [
  { title: 'layer', cell: (one) => `${'  '.repeat(one.depth)}${nameOf(one)}`, raw: nameOf },
  { title: 'kind', cell: ({ kind, isProtected }) => `${kind}${isProtected ? ', protected' : ''}` },
  {
    title: 'size',
    cell: ({ sizeBytes }) => formatBytes(sizeBytes),
    raw: ({ sizeBytes }) => sizeBytes,
    align: 'right',
  },
  { title: 'generation', cell: ({ generation }) => String(generation), align: 'right' },
  { title: 'parent', cell: ({ parent }) => (parent === 0 ? '-' : String(parent)), align: 'right' },
  { title: 'made', cell: ({ createdAt }) => createdAt ?? '-' },
];

function nameOf({ name, kind }: LayerData): string {
  if (name !== '') return name;
  return kind === 'deleted' ? '(deleted)' : '(copy)';
}

export function addVdiLayers(vdi: Command, io: Io): void {
  addSnapshot(vdi, io);
  addClone(vdi, io);
  addRollback(vdi, io);
  addResize(vdi, io);
  vdi
    .command('tree [name]')
    .description('layers of all volumes, or of the family of one: who was made from what')
    .addHelpText('after', helpTail('dog vdi tree', 'dog vdi tree demo -r'))
    .action(async (name: string | undefined, _options, command: Command) => {
      if (name !== undefined) checkName(name);
      const session = sessionOf(command, io);
      const query = name === undefined ? '' : `?volume=${encodeURIComponent(name)}`;
      const answer = await session.ask<readonly LayerData[]>(`/v1/tree${query}`);
      show<readonly LayerData[]>(session, answer, 'vdi.tree', {
        human: (rows) => table(rows, LAYERS),
        raw: (rows) => rawRows(rows, LAYERS),
      });
    });
}

function addSnapshot(vdi: Command, io: Io): void {
  vdi
    .command('snapshot <names...>')
    .description(
      'keep what a volume is now as NAME@TAG, while its guest works; -g: several at one instant',
    )
    .requiredOption('-s, --snapshot <tag>', 'its tag')
    .option('-g, --group', 'all these volumes at one instant, or none')
    .addHelpText(
      'after',
      helpTail('dog vdi snapshot demo -s monday', 'dog vdi snapshot -g data log -s nightly'),
    )
    .action(async (names: readonly string[], options: SnapshotOptions, command: Command) => {
      for (const name of names) checkName(name);
      checkTag(options.snapshot);
      if (names.length > 1 && options.group !== true) {
        throw new CommandError('usage', 'several volumes are a group', 'say -g: at one instant');
      }
      const session = sessionOf(command, io);
      const body = { volumes: names, tag: options.snapshot };
      const how = { method: 'POST', body } as const;
      const answer = await session.ask<readonly SnapshotData[]>('/v1/snapshots', how);
      show<readonly SnapshotData[]>(session, answer, 'vdi.snapshot', {
        human: (made) => made.map(({ name }) => `Snapshot ${name} is made.\n`).join(''),
        raw: (made) => made.map(({ name, generation }) => `${name}\t${generation}\n`).join(''),
      });
    });
}

interface SnapshotOptions {
  readonly snapshot: string;
  readonly group?: boolean;
}

function addClone(vdi: Command, io: Io): void {
  vdi
    .command('clone <from> <to>')
    .description(
      'a new volume that shows what a snapshot (NAME@TAG), or a volume, is; nothing is copied',
    )
    .option('--deep', 'a copy of its own: usable at once, copied by the cluster meanwhile')
    .addOption(modeOption())
    .addOption(attachModeOption())
    .addHelpText(
      'after',
      helpTail('dog vdi clone gold@v1 web1', 'dog vdi clone demo demo-copy --deep'),
    )
    .action(async (from: string, to: string, options: object, command: Command) => {
      parseVolumeName(from);
      checkName(to);
      const session = sessionOf(command, io);
      const how = { method: 'POST', body: { from, to, ...options } } as const;
      const answer = await session.ask<VolumeDetail>('/v1/clones', how);
      show(session, answer, 'vdi.clone', {
        human: ({ name, move }) =>
          `Volume ${name} shows what ${from} is.\n${move === null ? '' : deepText(name)}`,
        raw: (data) => `${data.id}\n`,
      });
    });
}

function deepText(name: string): string {
  return `It is copied meanwhile. How far that is: dog vdi alter-copy ${name}\n`;
}

function addRollback(vdi: Command, io: Io): void {
  vdi
    .command('rollback <snapshot>')
    .description('make a volume what its snapshot NAME@TAG was; what was written since is gone')
    .addHelpText(
      'after',
      helpTail('dog vdi rollback demo@monday', 'dog vdi rollback demo@monday -f'),
    )
    .action(async (snapshot: string, _options, command: Command) => {
      const { name, tag } = parseVolumeName(snapshot);
      if (tag === undefined) throw new CommandError('usage', 'a snapshot is NAME@TAG');
      const session = sessionOf(command, io);
      const question = `Lose what was written to ${name} since ${snapshotName(name, tag)}?`;
      await askFirst(io, command.optsWithGlobals<GlobalOptions>(), question);
      const route = `/v1/volumes/${encodeURIComponent(name)}/rollback`;
      const answer = await session.ask<VolumeDetail>(route, { method: 'POST', body: { tag } });
      show(session, answer, 'vdi.rollback', {
        human: (data) => `Volume ${data.name} is what ${snapshotName(name, tag)} was.\n`,
        raw: (data) => `${data.generation}\n`,
      });
    });
}

function addResize(vdi: Command, io: Io): void {
  vdi
    .command('resize <name> <size>')
    .description('change the size of a volume; a guest sees a larger one by its next connection')
    .addHelpText('after', helpTail('dog vdi resize demo 20G', 'dog vdi resize demo 5G --force'))
    .action(async (name: string, size: string, _options, command: Command) => {
      checkName(name);
      const session = sessionOf(command, io);
      const force = session.options.force === true;
      const body = { sizeBytes: parseSize(size), ...(force ? { force } : {}) };
      const route = `/v1/volumes/${encodeURIComponent(name)}/resize`;
      const answer = await session.ask<VolumeDetail>(route, { method: 'POST', body });
      show(session, answer, 'vdi.resize', {
        human: (data) => `Volume ${name} has ${formatBytes(data.sizeBytes)}.\n${seenText(data)}`,
        raw: (data) => `${data.sizeBytes}\n`,
      });
    });
}

/** NBD tells a client the size once, when it connects. */
function seenText({ holder }: VolumeDetail): string {
  if (holder === null) return '';
  return 'Its guest sees that after its next connection: NBD tells the size once.\n';
}
