// `dog node drain|undrain|out|in|forget|maintenance|weight|zone|kill`: what an operator decides of a member. What is hard to
// take back says first what it means, in copies and bytes, and asks.

import type { Command } from 'commander';
import type { MovePlanData, NodeData, StatusData } from '../core/admin-shapes.ts';
import { counted } from '../core/count-text.ts';
import { parseDuration } from '../core/duration.ts';
import { MAX_WEIGHT } from '../core/limits.ts';
import { askFirst } from './ask-first.ts';
import { type GlobalOptions, helpTail, type Io, type Session, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';
import { formatBytes, show } from './output.ts';

type Decided = NodeData | { readonly name: string; readonly node: number };

export function addNodeLifeCommands(node: Command, io: Io): void {
  addDrain(node, io);
  addOut(node, io);
  addForget(node, io);
  addMaintenance(node, io);
  addWeight(node, io);
  addZone(node, io);
  addKill(node, io);
}

const SEE_KILL = 'see "dog node kill --help"';
const SEE_MAINTENANCE = 'see "dog node maintenance --help"';

function addKill(node: Command, io: Io): void {
  node
    .command('kill [node]')
    .description('orderly exit of one daemon: it hands over, says goodbye and ends')
    .option('-l, --local', 'the one that answers')
    .addHelpText('after', helpTail('dog node kill n3', 'dog -a 10.0.0.3 node kill -l'))
    .action(async (named: string | undefined, _options, command: Command) => {
      const session = sessionOf(command, io);
      const isLocal = command.optsWithGlobals<{ local?: boolean }>().local === true;
      if (isLocal === (named !== undefined)) {
        throw new CommandError(
          'usage',
          'name a node, or say -l for the one that answers',
          SEE_KILL,
        );
      }
      const name = named ?? (await session.ask<StatusData>('/v1/status')).data.name;
      await decide(session, name, 'kill', ({ name: is }) => `${is} was asked to end.\n`);
    });
}

function addDrain(node: Command, io: Io): void {
  node
    .command('drain <node>')
    .description('move everything off a member without lowering redundancy; then it may leave')
    .addHelpText('after', helpTail('dog node drain n3', 'dog node drain n3 -f --json'))
    .action(async (name: string, _options, command: Command) => {
      const session = sessionOf(command, io);
      const plan = await planOf(session, name, 'drain');
      if (plan.warnings.length > 0) {
        await askFirst(io, globals(command), `Drain ${plan.node}? ${plan.warnings.join('; ')}.`);
      }
      await decide(session, name, 'drain', ({ name: is }) => {
        return `${is} leaves: "dog node list" tells how far it is, "dog node undrain ${is}" takes it back.\n`;
      });
    });
  node
    .command('undrain <node>')
    .description('take back a member that is being drained, or was')
    .addHelpText('after', helpTail('dog node undrain n3', 'dog node undrain n3 --json'))
    .action(async (name: string, _options, command: Command) => {
      await decide(
        sessionOf(command, io),
        name,
        'undrain',
        ({ name: is }) => `${is} is in again.\n`,
      );
    });
}

function addOut(node: Command, io: Io): void {
  node
    .command('out <node>')
    .description('give up on a dead member now: its data is made anew elsewhere')
    .addHelpText('after', helpTail('dog node out n3', 'dog node out n3 -f'))
    .action(async (name: string, _options, command: Command) => {
      const session = sessionOf(command, io);
      const plan = await planOf(session, name, 'out');
      const warnings = plan.warnings.map((one) => ` ${one}.`).join('');
      await askFirst(io, globals(command), `Give up on ${plan.node}?${warnings}`);
      await decide(session, name, 'out', ({ name: is }) => {
        return `${is} is out: its copies are made elsewhere. "dog node in ${is}" takes it back.\n`;
      });
    });
  node
    .command('in <node>')
    .description('take back a member that is out')
    .addHelpText('after', helpTail('dog node in n3', 'dog node in n3 --json'))
    .action(async (name: string, _options, command: Command) => {
      await decide(sessionOf(command, io), name, 'in', ({ name: is }) => `${is} is in again.\n`);
    });
}

function addForget(node: Command, io: Io): void {
  node
    .command('forget <node>')
    .description('retire a drained member, or one whose disk is lost, for good')
    .addHelpText('after', helpTail('dog node forget n3', 'dog node forget n3 -f'))
    .action(async (name: string, _options, command: Command) => {
      const session = sessionOf(command, io);
      const { data } = await session.ask<readonly NodeData[]>('/v1/nodes');
      const known = data.find((one) => one.name === name || String(one.node) === name);
      // No member: refused with the reason, before anybody is asked.
      const { data: plan } = await session.ask<MovePlanData>(`${routeOf(name)}/plan/forget`);
      const lost = plan.warnings.map((one) => ` ${one[0]?.toUpperCase()}${one.slice(1)}.`).join('');
      const loss =
        known === undefined || known.standing === 'gone'
          ? ''
          : ` It is not drained: the copies on its disk will not count again.${lost}`;
      await askFirst(
        io,
        globals(command),
        `Forget ${name} for good?${loss} Its identity never comes back.`,
      );
      await decide(session, name, 'forget', ({ name: is }) => {
        return `${is} is forgotten: its host may join again with an empty directory.\n`;
      });
    });
}

function addMaintenance(node: Command, io: Io): void {
  node
    .command('maintenance <node> <on|off>')
    .description('a planned reboot: down stays not-out for so long')
    .option('--for <time>', 'how long: 30m, 2h', '2h')
    .addHelpText(
      'after',
      helpTail('dog node maintenance n3 on --for 2h', 'dog node maintenance n3 off'),
    )
    .action(async (name: string, state: string, _options, command: Command) => {
      if (state !== 'on' && state !== 'off') {
        throw new CommandError('usage', `"${state}" is neither on nor off`, SEE_MAINTENANCE);
      }
      const session = sessionOf(command, io);
      const time = command.optsWithGlobals<{ for: string }>().for;
      const body = state === 'on' ? { forMs: parseDuration(time) } : {};
      await decide(session, name, 'maintenance', maintenanceText, body);
    });
}

function maintenanceText(node: Decided): string {
  const until = 'maintenanceUntil' in node ? node.maintenanceUntil : null;
  if (until === null) return `${node.name} is not in maintenance.\n`;
  return `${node.name} may be down until ${until} and stays a member.\n`;
}

function addWeight(node: Command, io: Io): void {
  node
    .command('weight <node> <n>')
    .description(`share of the data, 0 to ${MAX_WEIGHT}: relative to the others; 0 = gateway only`)
    .addHelpText('after', helpTail('dog node weight n3 2', 'dog node weight n3 0'))
    .action(async (name: string, text: string, _options, command: Command) => {
      const weight = /^\d{1,3}$/.test(text) ? Number(text) : Number.NaN;
      if (!(weight <= MAX_WEIGHT)) {
        const remedy = '1 is what a member has unless told otherwise, 2 twice the data, 0 none';
        const range = `a weight is a whole number from 0 to ${MAX_WEIGHT}, not "${text}"`;
        throw new CommandError('usage', range, remedy);
      }
      const session = sessionOf(command, io);
      if (weight === 0) {
        const { node: is, warnings } = await planOf(session, name, 'drain');
        if (warnings.length > 0) {
          const question = `Take all data off ${is}? ${warnings.join('; ')}.`;
          await askFirst(io, globals(command), question);
        }
      }
      await decide(session, name, 'weight', ({ name: is }) => `${is} has weight ${weight}.\n`, {
        weight,
      });
    });
}

function addZone(node: Command, io: Io): void {
  node
    .command('zone <node> <zone>')
    .description('its host stands elsewhere now: copies move so that they fail apart')
    .addHelpText('after', helpTail('dog node zone n3 rack-2', 'dog node list'))
    .action(async (name: string, zone: string, _options, command: Command) => {
      const session = sessionOf(command, io);
      await decide(session, name, 'zone', ({ name: is }) => `${is} is in zone ${zone}.\n`, {
        zone,
      });
    });
}

function globals(command: Command): GlobalOptions {
  return command.optsWithGlobals<GlobalOptions>();
}

/** Asks what the move means and says it; what the cluster would refuse ends here. */
async function planOf(
  session: Session,
  name: string,
  kind: 'drain' | 'out',
): Promise<MovePlanData> {
  const { data } = await session.ask<MovePlanData>(`${routeOf(name)}/plan/${kind}`);
  if (data.bar !== '') {
    throw new CommandError(
      'degraded',
      data.bar,
      'add members, or ask for fewer copies: dog cluster alter-copy',
    );
  }
  if (session.format === 'human') {
    const bytes = data.aboutBytes === null ? 'unknown' : `about ${formatBytes(data.aboutBytes)}`;
    const partitions = counted(data.partitions, 'partition');
    session.err(`${data.node}: ${partitions}, ${bytes} to copy to others.\n`);
  }
  return data;
}

async function decide(
  session: Session,
  name: string,
  verb: string,
  text: (node: Decided) => string,
  body: object = {},
): Promise<void> {
  const answer = await session.ask<Decided>(`${routeOf(name)}/${verb}`, { method: 'POST', body });
  show(session, answer, `node.${verb}`, {
    human: text,
    raw: (node) => `${node.name}\t${'standing' in node ? node.standing : 'forgotten'}\n`,
  });
}

function routeOf(name: string): string {
  return `/v1/nodes/${encodeURIComponent(name)}`;
}
