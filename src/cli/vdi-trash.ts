// `dog vdi delete` and `dog vdi trash`: deleting for good, or so that it can be had back.

import { type Command, Option } from 'commander';
import type { VolumeDetail } from '../core/admin-shapes.ts';
import { formatDuration, parseDuration } from '../core/duration.ts';
import { parseVolumeName } from '../core/snapshot-name.ts';
import { checkName } from '../core/volume.ts';
import type { TrashData } from '../core/volume-shapes.ts';
import { askFirst } from './ask-first.ts';
import { type GlobalOptions, helpTail, type Io, type Session, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';
import { countOf } from './numbers.ts';
import { type Column, formatBytes, rawRows, show, table } from './output.ts';

interface DeleteOptions {
  /** ms */
  readonly trash?: number;
  readonly now?: boolean;
}

const COLUMNS: readonly Column<TrashData>[] = [
  { title: 'name', cell: ({ name }) => name },
  { title: 'id', cell: ({ id }) => String(id), align: 'right' },
  {
    title: 'size',
    cell: ({ sizeBytes }) => formatBytes(sizeBytes),
    raw: ({ sizeBytes }) => sizeBytes,
    align: 'right',
  },
  { title: 'deleted', cell: ({ trashedAt }) => trashedAt },
  { title: 'kept for', cell: ({ leftMs }) => formatDuration(leftMs), raw: ({ leftMs }) => leftMs },
];

export function addDelete(vdi: Command, io: Io): void {
  vdi
    .command('delete <name>')
    .description(
      'delete a volume, refused while a guest holds it; or a snapshot NAME@TAG, whoever reads it: its readers get errors',
    )
    .addOption(
      new Option(
        '--trash <time>',
        'it can be had back for so long (dog vdi trash); without: dog cluster set trash says',
      ).argParser(parseDuration),
    )
    .option('--now', 'past the trash')
    .addHelpText('after', helpTail('dog vdi delete demo', 'dog vdi delete demo --trash 7d'))
    .action(async (name: string, options: DeleteOptions, command: Command) => {
      const { tag } = parseVolumeName(name);
      const session = sessionOf(command, io);
      if (tag !== undefined) return deleteSnapshot(session, name, options);
      const query = queryOf(options);
      const route = `/v1/volumes/${encodeURIComponent(name)}${query}`;
      const how = { method: 'DELETE' } as const;
      const answer = await session.ask<{ name: string; keptMs: number }>(route, how);
      show(session, answer, 'vdi.delete', { human: deletedText, raw: () => '' });
    });
}

function deletedText({ name, keptMs }: { name: string; keptMs: number }): string {
  if (keptMs === 0) return `Volume ${name} is deleted; its space follows.\n`;
  const back = `dog vdi trash restore ${name}`;
  return `Volume ${name} is in the trash for ${formatDuration(keptMs)}: ${back}\n`;
}

function queryOf({ trash, now }: DeleteOptions): string {
  if (now === true && trash !== undefined)
    throw new CommandError('usage', 'either --trash or --now');
  if (now === true) return '?trash=0';
  return trash === undefined ? '' : `?trash=${trash}`;
}

async function deleteSnapshot(
  session: Session,
  name: string,
  options: DeleteOptions,
): Promise<void> {
  if (options.trash !== undefined) {
    throw new CommandError('usage', 'the trash is for volumes: a snapshot is gone at once');
  }
  const route = `/v1/snapshots/${encodeURIComponent(name)}`;
  const answer = await session.ask<{ name: string }>(route, { method: 'DELETE' });
  show(session, answer, 'vdi.delete', {
    human: () => `Snapshot ${name} is deleted; its space follows.\n`,
    raw: () => '',
  });
}

export function addTrash(vdi: Command, io: Io): void {
  const trash = vdi.command('trash').description('volumes that were deleted and can be had back');
  trash
    .command('list')
    .description('what is in the trash, and for how long yet')
    .addHelpText('after', helpTail('dog vdi trash list', 'dog vdi trash list -r'))
    .action(async (_options, command: Command) => {
      const session = sessionOf(command, io);
      const answer = await session.ask<readonly TrashData[]>('/v1/trash');
      show<readonly TrashData[]>(session, answer, 'vdi.trash.list', {
        human: (rows) => (rows.length === 0 ? 'The trash is empty.\n' : table(rows, COLUMNS)),
        raw: (rows) => rawRows(rows, COLUMNS),
      });
    });
  trash
    .command('restore <name>')
    .description('have a volume back as it was')
    .option('--as <name>', 'under another name')
    .option(
      '--id <number>',
      'the one with this id, where several have the name',
      countOf('id', 2 ** 32),
    )
    .addHelpText(
      'after',
      helpTail('dog vdi trash restore demo', 'dog vdi trash restore demo --id 7 --as demo-old'),
    )
    .action(async (name: string, options: { as?: string; id?: number }, command: Command) => {
      const to = options.as ?? name;
      checkName(to);
      const session = sessionOf(command, io);
      const { id } = await theOne(session, name, options.id);
      const how = { method: 'POST', body: { name: to } } as const;
      const answer = await session.ask<VolumeDetail>(`/v1/trash/${id}/restore`, how);
      show(session, answer, 'vdi.trash.restore', {
        human: (data) => `Volume ${data.name} is back.\n`,
        raw: (data) => `${data.id}\n`,
      });
    });
  addPurge(trash, io);
}

function addPurge(trash: Command, io: Io): void {
  trash
    .command('purge <name>')
    .description('delete a volume in the trash for good')
    .option(
      '--id <number>',
      'the one with this id, where several have the name',
      countOf('id', 2 ** 32),
    )
    .addHelpText('after', helpTail('dog vdi trash purge demo', 'dog vdi trash purge demo -f'))
    .action(async (name: string, options: { id?: number }, command: Command) => {
      const session = sessionOf(command, io);
      const { id } = await theOne(session, name, options.id);
      const question = `Delete ${name} (id ${id}) for good?`;
      await askFirst(io, command.optsWithGlobals<GlobalOptions>(), question);
      const answer = await session.ask<{ id: number }>(`/v1/trash/${id}`, { method: 'DELETE' });
      show(session, answer, 'vdi.trash.purge', {
        human: () => `Volume ${name} is deleted; its space follows.\n`,
        raw: () => '',
      });
    });
}

async function theOne(session: Session, name: string, id: number | undefined): Promise<TrashData> {
  const { data } = await session.ask<readonly TrashData[]>('/v1/trash');
  const found = data.filter((one) => one.name === name && (id === undefined || one.id === id));
  const [one] = found;
  if (one === undefined) {
    throw new CommandError('missing', `${name} is not in the trash`, 'dog vdi trash list');
  }
  if (found.length === 1) return one;
  const ids = found.map((each) => each.id).join(', ');
  throw new CommandError(
    'usage',
    `${found.length} volumes in the trash were called ${name}`,
    `add --id, one of ${ids}`,
  );
}
