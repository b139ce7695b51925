// `dog cluster invite`: tokens with which other nodes join, how long they open, and how they are taken back.

import type { Command } from 'commander';
import type { InviteData, InviteListData } from '../core/admin-shapes.ts';
import { parseDuration } from '../core/duration.ts';
import { helpTail, type Io, sessionOf } from './context.ts';
import { type Column, rawRows, show, table } from './output.ts';

const COLUMNS: readonly Column<InviteListData>[] = [
  { title: 'id', cell: (invite) => invite.id },
  { title: 'made', cell: (invite) => invite.made ?? '-' },
  {
    title: 'ends',
    cell: ({ expires, hasExpired }) => (hasExpired ? 'has ended' : (expires ?? 'never')),
    raw: ({ expires }) => expires ?? '-',
  },
  { title: 'serves', cell: (invite) => (invite.isSingleUse ? 'one node' : 'many') },
];

export function addInviteCommands(cluster: Command, io: Io): void {
  const invite = cluster
    .command('invite')
    .description('print a token with which another node joins: sheep --join TOKEN')
    .option('--ttl <time>', 'how long it opens: 30m, 1h, 7d; for ever unless given')
    .option('--single-use', 'for one node')
    .addHelpText(
      'after',
      helpTail(
        'dog cluster invite --ttl 1h --single-use',
        'sheep --data DIR --join "$(dog cluster invite)"',
      ),
    )
    .action(async (_options, command: Command) => {
      const session = sessionOf(command, io);
      const { ttl, singleUse } = command.optsWithGlobals<{ ttl?: string; singleUse?: boolean }>();
      const body = {
        ...(ttl === undefined ? {} : { ttlMs: parseDuration(ttl) }),
        ...(singleUse === undefined ? {} : { isSingleUse: singleUse }),
      };
      const answer = await session.ask<InviteData>('/v1/cluster/invite', { method: 'POST', body });
      const text = ({ token }: InviteData) => `${token}\n`;
      show(session, answer, 'cluster.invite', { human: text, raw: text });
    });
  invite
    .command('list')
    .description('tokens that were made; their secrets are kept nowhere')
    .addHelpText('after', helpTail('dog cluster invite list', 'dog cluster invite list -r'))
    .action(async (_options, command: Command) => {
      const session = sessionOf(command, io);
      const answer = await session.ask<readonly InviteListData[]>('/v1/invites');
      show(session, answer, 'cluster.invite.list', {
        human: (rows) => table(rows, COLUMNS),
        raw: (rows) => rawRows(rows, COLUMNS),
      });
    });
  invite
    .command('revoke <id>')
    .description('a token opens nothing any more')
    .addHelpText('after', helpTail('dog cluster invite list', 'dog cluster invite revoke 1f2e3d'))
    .action(async (id: string, _options, command: Command) => {
      const session = sessionOf(command, io);
      const route = `/v1/invites/${encodeURIComponent(id)}`;
      const answer = await session.ask<{ readonly id: string }>(route, { method: 'DELETE' });
      show(session, answer, 'cluster.invite.revoke', {
        human: ({ id: is }) => `The invite ${is} opens nothing any more.\n`,
        raw: ({ id: is }) => `${is}\n`,
      });
    });
}
