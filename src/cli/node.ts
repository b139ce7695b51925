// `dog node`: the members, and the one that answers.

import type { Command } from 'commander';
import type { NodeData, StatusData } from '../core/admin-shapes.ts';
import { helpTail, type Io, sessionOf } from './context.ts';
import { type Column, facts, formatBytes, rawFacts, rawRows, show, table } from './output.ts';

const COLUMNS: readonly Column<NodeData>[] = [
  { title: 'id', cell: (node) => node.name },
  { title: 'address', cell: (node) => node.addresses[0] ?? '-' },
  { title: 'zone', cell: (node) => node.zone },
  { title: 'weight', cell: (node) => String(node.weight), align: 'right' },
  { title: 'state', cell: (node) => node.state },
  { title: 'since', cell: (node) => `epoch ${node.sinceEpoch}`, raw: (node) => node.sinceEpoch },
  { title: 'incarnation', cell: (node) => String(node.incarnation), align: 'right' },
  { title: 'role', cell: roleOf },
];

export function addNodeCommands(program: Command, io: Io): void {
  const node = program.command('node').description('members of the cluster');
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
    .description('the node that answers: space, objects, catch-up')
    .addHelpText(
      'after',
      helpTail('dog node info', 'SHEEPDOG_API=unix:n2/sheep.sock dog node info'),
    )
    .action(async (_options, command: Command) => {
      const session = sessionOf(command, io);
      const answer = await session.ask<StatusData>('/v1/status');
      show(session, answer, 'node.info', { human: infoText, raw: infoRaw });
    });
}

function roleOf(node: NodeData): string {
  if (node.isLeader) return 'leader';
  return node.isVoter ? 'voter' : 'learner';
}

function infoText(data: StatusData): string {
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
