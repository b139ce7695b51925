// `dog cluster`: make a cluster, invite nodes, see how it is.

import type { Command } from 'commander';
import type {
  ClusterData,
  HealthData,
  NodeData,
  StatusData,
  Warning,
} from '../core/admin-shapes.ts';
import { copiesText, counted } from '../core/count-text.ts';
import { MAX_COPIES } from '../core/limits.ts';
import { askTyped } from './ask-first.ts';
import { addClusterBackup } from './cluster-backup.ts';
import { addClusterCareCommands } from './cluster-care.ts';
import { helpTail, type Io, type Session, sessionOf } from './context.ts';
import { EXIT } from './failure.ts';
import { addInviteCommands } from './invite.ts';
import { countOf } from './numbers.ts';
import { facts, formatBytes, rawFacts, show } from './output.ts';
import { sumText } from './recovery.ts';

interface FormatOptions {
  readonly copies: number;
  readonly minCopies?: number;
  readonly strict?: boolean;
  readonly partitions?: number;
  readonly name?: string;
  readonly force?: boolean;
}

export function addClusterCommands(program: Command, io: Io): void {
  const cluster = program.command('cluster').description('the cluster as a whole');
  addFormat(cluster, io);
  addInviteCommands(cluster, io);
  addClusterBackup(cluster, io);
  addClusterCareCommands(cluster, io);
  cluster
    .command('info')
    .description('members, zones, capacity, partitions, and what to do next')
    .option('-v, --verbose', 'voters one by one, former members')
    .option('--current', 'what is decided by now, by the word of a majority; fails without one')
    .addHelpText(
      'after',
      helpTail('dog cluster info', 'dog cluster info --json | jq .data.partitions'),
    )
    .action(async (options: { readonly current?: boolean }, command: Command) => {
      const session = sessionOf(command, io);
      const path = options.current === true ? '/v1/cluster?current=yes' : '/v1/cluster';
      const answer = await session.ask<ClusterData>(path);
      const isVerbose = command.optsWithGlobals<{ verbose?: boolean }>().verbose === true;
      const nodes = isVerbose ? await session.ask<readonly NodeData[]>('/v1/nodes') : undefined;
      const { warnings } = answer;
      const human = (data: ClusterData) => infoText(data, nodes?.data ?? [], warnings);
      show(session, answer, 'cluster.info', { human, raw: infoRaw });
    });
  addHealth(cluster, io);
}

function addFormat(cluster: Command, io: Io): void {
  cluster
    .command('format')
    .description('make a cluster of the node that is asked; others join it')
    .option('-c, --copies <number>', 'copies of every block', countOf('copies', MAX_COPIES), 3)
    .option(
      '--min-copies <number>',
      'live copies that writes need (half of copies, plus one)',
      countOf('min-copies', MAX_COPIES),
    )
    .option('--strict', 'never two copies in one zone')
    .option(
      '--partitions <number>',
      'parts that blocks fall into, a power of two (4096)',
      countOf('partitions'),
    )
    .option('--name <name>', 'of the cluster')
    .option('-f, --force', 'wipe this node first: its copies are lost; asks for a word')
    .option('--yes', 'with --force: do not ask, this node is to lose all that it has')
    .addHelpText('after', helpTail('dog cluster format -c 3', 'dog cluster format -c 2 --name lab'))
    .action(async (_options, command: Command) => {
      const session = sessionOf(command, io);
      const body = formatBody(command.optsWithGlobals<FormatOptions>());
      const { yes = false } = command.opts<{ yes?: boolean }>();
      if (body.force === true && !yes) await askToWipe(session, io);
      const answer = await session.ask<StatusData>('/v1/cluster/format', { method: 'POST', body });
      const copies = copiesText(body.copies);
      show(session, answer, 'cluster.format', {
        human: ({ name }) =>
          `The cluster is made: ${copies}, ${name} is its first node.\n` +
          'Next: "dog cluster invite" prints a token for others; "dog vdi create NAME 10G" makes a volume.\n',
        raw: ({ clusterId }) => `${clusterId}\n`,
      });
    });
}

/** What is on the node is gone afterwards, and may be the last copy of it. A blank one has nothing to lose. */
async function askToWipe(session: Session, io: Io): Promise<void> {
  const { data } = await session.ask<StatusData>('/v1/status');
  const { clusterId, name, objects } = data;
  if (clusterId === null) return;
  session.err(
    `${name} belongs to cluster ${clusterId} and has ${counted(objects, 'object')} of its volumes.\n` +
      'All of it is wiped, for good: what has no other copy is lost, and the other nodes go on without this one.\n',
  );
  await askTyped(io, name, `To wipe it type the name of this node (${name}): `, '--yes');
}

function formatBody(options: FormatOptions): FormatOptions {
  const { copies, minCopies, strict, partitions, name, force } = options;
  return {
    copies,
    ...(minCopies === undefined ? {} : { minCopies }),
    ...(strict === undefined ? {} : { strict }),
    ...(partitions === undefined ? {} : { partitions }),
    ...(name === undefined ? {} : { name }),
    ...(force === undefined ? {} : { force }),
  };
}

function addHealth(cluster: Command, io: Io): void {
  cluster
    .command('health')
    .description('what is wrong and what cures it; exit 0 fine, 1 warning, 2 error')
    .addHelpText(
      'after',
      helpTail('dog cluster health', 'dog cluster health --json | jq .warnings'),
    )
    .action(async (_options, command: Command) => {
      const session = sessionOf(command, io);
      const answer = await session.ask<HealthData>('/v1/health');
      show(session, answer, 'cluster.health', {
        human: healthText,
        areWarningsResult: true,
        raw: ({ status }) => `${status}\n`,
      });
      const exits = { fine: EXIT.done, warning: EXIT.failed, error: EXIT.noState };
      io.setExitCode(exits[answer.data.status]);
    });
}

function healthText({ status, recovery }: HealthData): string {
  return `${status}\n${recovery.tasks === 0 ? '' : `recovery: ${sumText(recovery)}\n`}`;
}

function infoText(
  data: ClusterData,
  nodes: readonly NodeData[],
  warnings: readonly Warning[],
): string {
  const { members, partitions, space } = data;
  const policy = `${data.copies} (writes need ${data.minCopies}${data.strict ? ', strict zones' : ''})`;
  const text = facts([
    ['cluster', `${data.name} (${data.clusterId})`],
    ['epoch', `${data.epoch}, log applied to ${data.appliedIndex} by ${data.answeredBy}`],
    [
      'nodes',
      `${members.up} of ${members.total} up` +
        (members.notInReach === 0 ? '' : ` by the map, ${members.notInReach} of them not in reach`),
    ],
    ['zones', `${data.zones.length}: ${data.zones.join(', ')}`],
    ['voters', votersText(data)],
    ['copies', policy],
    ['volumes', String(data.volumes)],
    [
      'partitions',
      `${partitions.clean} clean, ${partitions.joining} joining, ${partitions.degraded} degraded, ` +
        `${partitions.halted} halted, ${partitions.lost} lost`,
    ],
    [
      'capacity',
      `${formatBytes(space.usedBytes)} used, ${formatBytes(space.freeBytes)} free on ${data.answeredBy}`,
    ],
  ]);
  const codes = [...new Set(warnings.map(({ code }) => code))].join(', ');
  const look = codes === '' ? [] : [`See to ${codes}: "dog cluster health" tells the cures.`];
  const steps = [...look, ...data.next];
  const next = steps.length === 0 ? ['Nothing: all is well.'] : steps;
  return `${text}${detailText(data, nodes)}\nNext:\n${next.map((step) => `  ${step}\n`).join('')}`;
}

function votersText({ voters, leader, missingVoters }: ClusterData): string {
  const who = `${voters.join(', ')}; leader ${leader === '' ? 'unknown' : leader}`;
  return missingVoters.length === 0 ? who : `${who}; ${missingVoters.join(', ')} not in reach`;
}

/** Each voter, how many there should be, and who was a member once. */
function detailText(data: ClusterData, nodes: readonly NodeData[]): string {
  if (nodes.length === 0) return '';
  const voters = nodes
    .filter((node) => node.isVoter)
    .map(({ name, zone, state, isWitness, isLeader }) => {
      const role = isLeader ? ', leader' : '';
      return `  ${name}  zone ${zone}, ${state}${role}${isWitness ? ', witness' : ''}\n`;
    });
  const former = data.retired.map(({ name, how, sinceEpoch }) => {
    return `  ${name}  ${how} at epoch ${sinceEpoch}\n`;
  });
  const heads = [`\nVoters (${data.voters.length}, the cluster asks for ${data.votersWanted}):\n`];
  return [
    ...heads,
    ...voters,
    ...(former.length > 0 ? ['\nFormer members:\n', ...former] : []),
  ].join('');
}

function infoRaw(data: ClusterData): string {
  const { partitions, members, space } = data;
  return rawFacts([
    ['name', data.name],
    ['clusterId', data.clusterId],
    ['epoch', data.epoch],
    ['appliedIndex', data.appliedIndex],
    ['nodes', members.total],
    ['up', members.up],
    ['zones', data.zones.length],
    ['voters', data.voters.join(',')],
    ['leader', data.leader],
    ['copies', data.copies],
    ['minCopies', data.minCopies],
    ['volumes', data.volumes],
    ['clean', partitions.clean],
    ['joining', partitions.joining],
    ['degraded', partitions.degraded],
    ['halted', partitions.halted],
    ['lost', partitions.lost],
    ['usedBytes', space.usedBytes],
    ['freeBytes', space.freeBytes],
    ['totalBytes', space.totalBytes],
  ]);
}
