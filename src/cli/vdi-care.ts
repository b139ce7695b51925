// `dog vdi rename, protect, unprotect, setattr, getattr, listattr`: what operators keep and change of one volume.

import type { Command } from 'commander';
import type { VolumeDetail } from '../core/admin-shapes.ts';
import { MAX_ATTRIBUTE_BYTES } from '../core/attributes.ts';
import { parseVolumeName } from '../core/snapshot-name.ts';
import { checkName } from '../core/volume.ts';
import type { AttributeData, AttributeInfo } from '../core/volume-shapes.ts';
import { helpTail, type Io, type Session, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';
import { type Column, formatBytes, rawRows, show, table } from './output.ts';

const COLUMNS: readonly Column<AttributeInfo>[] = [
  { title: 'key', cell: ({ key }) => key },
  {
    title: 'size',
    cell: ({ bytes }) => formatBytes(bytes),
    raw: ({ bytes }) => bytes,
    align: 'right',
  },
];

interface SetOptions {
  readonly exclusive?: boolean;
  readonly delete?: boolean;
}

export function addVdiCare(vdi: Command, io: Io): void {
  addRename(vdi, io);
  addProtect(vdi, io, true);
  addProtect(vdi, io, false);
  addSetAttribute(vdi, io);
  addGetAttribute(vdi, io);
  vdi
    .command('listattr <name>')
    .description('the attributes of a volume, and their sizes')
    .addHelpText('after', helpTail('dog vdi listattr demo', 'dog vdi listattr demo -r | cut -f1'))
    .action(async (name: string, _options, command: Command) => {
      const session = sessionOf(command, io);
      const answer = await session.ask<readonly AttributeInfo[]>(attributesRoute(name));
      show<readonly AttributeInfo[]>(session, answer, 'vdi.listattr', {
        human: (rows) =>
          rows.length === 0 ? `${name} has no attributes.\n` : table(rows, COLUMNS),
        raw: (rows) => rawRows(rows, COLUMNS),
      });
    });
}

function addRename(vdi: Command, io: Io): void {
  vdi
    .command('rename <name> <to>')
    .description('give a volume another name; refused while a guest has it, unless -f')
    .addHelpText('after', helpTail('dog vdi rename demo web', 'dog vdi rename demo web -f'))
    .action(async (name: string, to: string, _options, command: Command) => {
      checkName(to);
      const session = sessionOf(command, io);
      const force = session.options.force === true;
      const body = { to, ...(force ? { force } : {}) };
      const route = `${routeOf(name)}/rename`;
      const answer = await session.ask<VolumeDetail>(route, { method: 'POST', body });
      show(session, answer, 'vdi.rename', {
        human: (data) => `Volume ${name} is called ${data.name}.\n`,
        raw: (data) => `${data.name}\n`,
      });
    });
}

function addProtect(vdi: Command, io: Io, isProtected: boolean): void {
  const verb = isProtected ? 'protect' : 'unprotect';
  vdi
    .command(`${verb} <name>`)
    .description(
      isProtected
        ? 'let nothing take the data of a volume, or of a snapshot NAME@TAG, away'
        : 'let a volume, or a snapshot, be deleted, rolled back and shrunk again',
    )
    .addHelpText('after', helpTail(`dog vdi ${verb} demo`, `dog vdi ${verb} demo --json`))
    .action(async (name: string, _options, command: Command) => {
      const session = sessionOf(command, io);
      const { tag } = parseVolumeName(name);
      const kind = tag === undefined ? 'volumes' : 'snapshots';
      const route = `/v1/${kind}/${encodeURIComponent(name)}/protect`;
      const how = { method: 'POST', body: { isProtected } } as const;
      const answer = await session.ask<{ name: string; isProtected: boolean }>(route, how);
      const what = tag === undefined ? 'Volume' : 'Snapshot';
      show(session, answer, `vdi.${verb}`, {
        human: (data) => `${what} ${data.name} is ${isProtected ? '' : 'not '}protected.\n`,
        raw: (data) => `${data.isProtected}\n`,
      });
    });
}

function addSetAttribute(vdi: Command, io: Io): void {
  vdi
    .command('setattr <name> <key> [value]')
    .description('keep a value under a key of a volume; without VALUE it is read from stdin')
    .option('-x, --exclusive', 'only where there is none: of many who try, one has it (exit 3)')
    .option('-d, --delete', 'remove it')
    .addHelpText(
      'after',
      helpTail('dog vdi setattr demo owner anna', 'dog vdi setattr demo lock "$HOSTNAME" -x'),
    )
    .action(async (name: string, key: string, value: string | undefined, _o, command: Command) => {
      const session = sessionOf(command, io);
      const options = command.opts<SetOptions>();
      if (options.delete === true) return removeAttribute(session, { name, key, value }, options);
      const bytes = value === undefined ? await fromInput(io) : Buffer.from(value);
      const isNew = options.exclusive === true;
      const body = { key, value: bytes.toString('base64'), ...(isNew ? { isNew } : {}) };
      const how = { method: 'POST', body } as const;
      const answer = await session.ask<AttributeInfo>(attributesRoute(name), how);
      show(session, answer, 'vdi.setattr', {
        human: (data) => `${name} has ${key}: ${formatBytes(data.bytes)}.\n`,
        raw: (data) => `${data.bytes}\n`,
      });
    });
}

async function removeAttribute(
  session: Session,
  what: { readonly name: string; readonly key: string; readonly value: string | undefined },
  { exclusive }: SetOptions,
): Promise<void> {
  const { name, key, value } = what;
  if (value !== undefined || exclusive === true) {
    throw new CommandError('usage', '-d takes a name and a key, nothing else');
  }
  const route = `${attributesRoute(name)}/${encodeURIComponent(key)}`;
  const answer = await session.ask<AttributeInfo>(route, { method: 'DELETE' });
  show(session, answer, 'vdi.setattr', {
    human: () => `${name} has no ${key} any more.\n`,
    raw: () => '',
  });
}

function addGetAttribute(vdi: Command, io: Io): void {
  vdi
    .command('getattr <name> <key>')
    .description('the value under a key of a volume, as it is (exit 5: there is none)')
    .addHelpText(
      'after',
      helpTail('dog vdi getattr demo owner', 'dog vdi getattr demo notes > notes.txt'),
    )
    .action(async (name: string, key: string, _options, command: Command) => {
      const session = sessionOf(command, io);
      const route = `${attributesRoute(name)}/${encodeURIComponent(key)}`;
      const answer = await session.ask<AttributeData>(route);
      if (session.format === 'json') {
        return show(session, answer, 'vdi.getattr', { human: () => '', raw: () => '' });
      }
      // Bytes as they are: somebody may have kept a file there.
      await io.outBytes(Buffer.from(answer.data.value, 'base64'));
    });
}

async function fromInput(io: Io): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of io.input()) {
    bytes += chunk.length;
    if (bytes > MAX_ATTRIBUTE_BYTES) {
      throw new CommandError('too-large', `a value has at most ${MAX_ATTRIBUTE_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function attributesRoute(name: string): string {
  return `${routeOf(name)}/attributes`;
}

function routeOf(name: string): string {
  checkName(name);
  return `/v1/volumes/${encodeURIComponent(name)}`;
}
