// `dog node`: the members, and the one that answers.

import type { Command } from 'commander';
import type { CountersData, NodeData, NodeSpaceData, StatusData } from '../core/admin-shapes.ts';
import { formatDuration } from '../core/duration.ts';
import { helpTail, type Io, sessionOf } from './context.ts';
import { addNodeLifeCommands } from './node-life.ts';
import { type Column, facts, formatBytes, rawFacts, rawRows, show, table } from './output.ts';
import { addRecoveryCommands } from './recovery.ts';
import { addScrubCommands } from './scrub.ts';

const COLUMNS: readonly Column<NodeData>[] = [
  { title: 'id', cell: (node) => node.name },
  { title: 'address', cell: (node) => node.addresses[0] ?? '-' },
  { title: 'zone', cell: (node) => node.zone },
  { title: 'weight', cell: (node) => String(node.weight), align: 'right' },
  { title: 'state', cell: stateOf, raw: wordOf },
  { title: 'since', cell: (node) => `epoch ${node.sinceEpoch}`, raw: (node) => node.sinceEpoch },
  { title: 'incarnation', cell: (node) => String(node.incarnation), align: 'right' },
  { title: 'role', cell: roleOf },
];

export function addNodeCommands(program: Command, io: Io): void {
  const node = program.command('node').description('members of the cluster');
  addNodeLifeCommands(node, io);
  node
    .command('list')
    .description('id, address, zone, weight, state, since, incarnation, role')
    .addHelpText('after', helpTail('dog node list', 'dog node list -r | cut -f1,5'))
    .action(async (_options, command: Command) => {
      const session = sessionOf(command, io);
      const answer = await session.ask<readonly NodeData[]>('/v1/nodes');
      show(session, answer, 'node.list', {
        human: (rows) => table(rows, COLUMNS),
        raw: (rows) => rawRows(rows, COLUMNS),
      });
    });
  node
    .command('info')
    .description('the node that answers, and size, used, available, objects of all')
    .addHelpText(
      'after',
      helpTail('dog node info', 'SHEEPDOG_API=unix:n2/sheep.sock dog node info'),
    )
    .action(async (_options, command: Command) => {
      const session = sessionOf(command, io);
      const answer = await session.ask<StatusData>('/v1/status');
      const hears = answer.data.name !== '' && answer.data.appliedIndex > 0;
      const nodes = hears ? (await session.ask<readonly NodeSpaceData[]>('/v1/space')).data : [];
      const members = hears ? (await session.ask<readonly NodeData[]>('/v1/nodes')).data : [];
      const empty = members.filter(({ weight }) => weight === 0).map(({ name }) => name);
      const data = { ...answer.data, nodes, total: totalOf(nodes, empty) };
      show(session, { ...answer, data }, 'node.info', { human: infoText, raw: infoRaw });
    });
  node
    .command('counters')
    .description(
      'what the node that answers has counted since its start: flushes, syncs, repairs, retries',
    )
    .addHelpText('after', helpTail('dog node counters', 'dog node counters -r | grep ^flush'))
    .action(async (_options, command: Command) => {
      const session = sessionOf(command, io);
      const answer = await session.ask<CountersData>('/v1/counters');
      show(session, answer, 'node.counters', {
        human: (counters) => facts(counters.map(({ name, value }) => [name, String(value)])),
        raw: (counters) => rawFacts(counters.map(({ name, value }) => [name, value])),
      });
    });
  addScrubCommands(node, io);
  addRecoveryCommands(node, io);
}

/** One word for scripts: what counts most. */
function wordOf({ state, standing }: NodeData): string {
  if (standing === 'in' || (standing === 'leaving' && state === 'down')) return state;
  return standing;
}

/** The same for people, with what time will do and what it waits for. */
function stateOf(node: NodeData): string {
  const { state, standing, outInMs, waitsFor, maintenanceUntil } = node;
  const notes: string[] = [];
  if (standing !== 'in' && state === 'down') notes.push('down');
  if (!node.isInReach && state === 'up') notes.push('not in reach');
  if (outInMs !== null) notes.push(`out in ${formatDuration(outInMs)}`);
  if (waitsFor.length > 0) notes.push(`waits for ${waitsFor.join(' and ')}`);
  if (maintenanceUntil !== null) notes.push(`maintenance until ${maintenanceUntil}`);
  return [standing === 'in' ? state : standing, ...notes].join(', ');
}

function roleOf(node: NodeData): string {
  if (node.isWitness) return node.isLeader ? 'leader, witness' : 'witness';
  if (node.isLeader) return 'leader';
  return node.isVoter ? 'voter' : 'learner';
}

interface InfoData extends StatusData {
  readonly nodes: readonly NodeSpaceData[];
  readonly total: Omit<NodeSpaceData, 'name' | 'appliedIndex'>;
}

const SPACE_COLUMNS: readonly Column<Omit<NodeSpaceData, 'appliedIndex'>>[] = [
  { title: 'id', cell: ({ name }) => name },
  { title: 'size', cell: ({ totalBytes }) => formatBytes(totalBytes), align: 'right' },
  { title: 'used', cell: ({ usedBytes }) => formatBytes(usedBytes), align: 'right' },
  { title: 'available', cell: ({ freeBytes }) => formatBytes(freeBytes), align: 'right' },
  { title: 'objects', cell: ({ objects }) => String(objects), align: 'right' },
];

/**
 * Nodes may share a file system: its sizes are summed all the same, for here nobody knows. The disk of who holds no data, a
 * witness or a gateway, is no room.
 */
function totalOf(nodes: readonly NodeSpaceData[], empty: readonly string[]): InfoData['total'] {
  const total = { totalBytes: 0, usedBytes: 0, freeBytes: 0, objects: 0 };
  for (const { name, totalBytes, usedBytes, freeBytes, objects } of nodes) {
    total.usedBytes += usedBytes;
    total.objects += objects;
    if (empty.includes(name)) continue;
    total.totalBytes += totalBytes;
    total.freeBytes += freeBytes;
  }
  return total;
}

function infoText(data: InfoData): string {
  const { nodes, total } = data;
  const rows = nodes.length > 1 ? [...nodes, { name: 'total', ...total }] : [];
  return ownText(data) + (rows.length === 0 ? '' : `\n${table(rows, SPACE_COLUMNS)}`);
}

function ownText(data: StatusData): string {
  const { space, catchUp } = data;
  return facts([
    ['node', data.name === '' ? 'not in a cluster yet' : data.name],
    ['process', String(data.pid)],
    ['phase', data.waitingFor === '' ? data.phase : `${data.phase}, ${data.waitingFor}`],
    ['role', data.leader === '' ? data.role : `${data.role}, leader is ${data.leader}`],
    ['applied', `log index ${data.appliedIndex}`],
    ['size', formatBytes(space.totalBytes)],
    ['used', formatBytes(space.usedBytes)],
    ['available', formatBytes(space.freeBytes)],
    ['objects', String(data.objects)],
    [
      'catch-up',
      `${catchUp.partitionsLeft} partitions left, ${formatBytes(catchUp.bytesCopied)} copied`,
    ],
  ]);
}

function infoRaw(data: StatusData): string {
  return rawFacts([
    ['name', data.name],
    ['pid', data.pid],
    ['phase', data.phase],
    ['role', data.role],
    ['leader', data.leader],
    ['appliedIndex', data.appliedIndex],
    ['totalBytes', data.space.totalBytes],
    ['usedBytes', data.space.usedBytes],
    ['freeBytes', data.space.freeBytes],
    ['objects', data.objects],
    ['partitionsLeft', data.catchUp.partitionsLeft],
    ['bytesCopied', data.catchUp.bytesCopied],
  ]);
}
