// `dog vdi migrate`: announces to which node a volume is to be handed over, for a guest that is about to move there.

import type { Command } from 'commander';
import { checkName } from '../core/volume.ts';
import type { MigrateData } from '../core/volume-shapes.ts';
import { helpTail, type Io, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';
import { show } from './output.ts';

export function addMigrateCommand(vdi: Command, io: Io): void {
  vdi
    .command('migrate <name> [node]')
    .description(
      'prepare a live migration: the first write on that node moves the volume there at once, in every attach mode; ' +
        'without it a migration works as well, in mode handover, 250 ms later',
    )
    .option(
      '--cancel',
      'take it back: the volume stays where it is, and its guest sees nothing of it',
    )
    .addHelpText('after', helpTail('dog vdi migrate db n2', 'dog vdi migrate db --cancel'))
    .action(
      async (
        name: string,
        node: string | undefined,
        options: { cancel?: boolean },
        command: Command,
      ) => {
        checkName(name);
        const { cancel = false } = options;
        if (cancel === (node !== undefined)) {
          throw new CommandError(
            'usage',
            'name the node, or say --cancel',
            'dog vdi migrate NAME NODE',
          );
        }
        const session = sessionOf(command, io);
        const body = node === undefined ? { cancel } : { node };
        const route = `/v1/volumes/${encodeURIComponent(name)}/migrate`;
        const answer = await session.ask<MigrateData>(route, { method: 'POST', body });
        show(session, answer, 'vdi.migrate', { human: doneText, raw: ({ did }) => `${did}\n` });
      },
    );
}

function doneText({ volume, did, holder, next, replaced }: MigrateData): string {
  switch (did) {
    case 'prepared':
      return (
        `Volume ${volume} moves from ${holder} to ${next} with the first write there.\n` +
        (replaced === null
          ? ''
          : `It was announced for ${replaced} before, which gets it no more: stop a migration there.\n`) +
        `Start the migration now; dog vdi migrate ${volume} --cancel takes this back.\n`
      );
    case 'cancelled':
      return `Volume ${volume} stays on ${holder}.\n`;
    case 'same':
      return `Volume ${volume} is on ${holder} already.\n`;
    case 'nothing':
      return holder === null
        ? `Nobody holds ${volume}: who writes first has it.\n`
        : `No hand-over of ${volume} is announced, or its holder is dead: who writes first then has it.\n`;
  }
}
