// `dog dev`: a whole cluster on this host, for people who try it and for tests. `up` supervises it in the foreground;
// the other verbs talk to that supervisor.

import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Command, InvalidArgumentError } from 'commander';
import { MAX_COPIES } from '../core/limits.ts';
import { checkName, parseSize } from '../core/volume.ts';
import { DEV_DIR } from './client.ts';
import { formatOf, type GlobalOptions, helpTail, type Io } from './context.ts';
import { attachText } from './dev-attach.ts';
import { askDev, type DevCommand, type DevStatus, listenDev } from './dev-control.ts';
import { talkToLeftovers } from './dev-leftovers.ts';
import { checkSocketPath, MAX_DEV_NODES, preparePlan } from './dev-plan.ts';
import { DevSupervisor, type WantedVolume } from './dev-supervisor.ts';
import { CommandError } from './failure.ts';
import { countOf } from './numbers.ts';
import { type Column, rawRows, table } from './output.ts';

interface UpOptions extends GlobalOptions {
  readonly nodes?: number;
  readonly copies?: number;
  readonly volume?: string;
  readonly detach?: boolean;
}

const DOG = fileURLToPath(new URL('../../bin/dog', import.meta.url));
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

type NodeRow = Readonly<Record<string, unknown>>;
const COLUMNS: readonly Column<NodeRow>[] = [
  { title: 'name', cell: (row) => String(row['name']) },
  { title: 'state', cell: (row) => String(row['state'] ?? 'running') },
  { title: 'pid', cell: (row) => String(row['pid'] ?? '-'), align: 'right' },
  { title: 'api', cell: (row) => String(row['api']) },
  { title: 'nbd', cell: (row) => (row['nbd'] as { tcp: string }).tcp },
];

export function addDevCommands(program: Command, io: Io): void {
  const dev = program
    .command('dev')
    .description('a cluster of several nodes on this host, to try it');
  dev
    .command('up')
    .description(
      'start it, in the foreground until Ctrl-C; the same --dir again resumes with its data',
    )
    .option('--nodes <number>', 'how many (3, or as many as there are)', countOf('nodes'))
    .option(
      '--copies <number>',
      'copies of every block (3, or as many as nodes)',
      countOf('copies', MAX_COPIES),
    )
    .option('--volume <name:size>', 'make this volume unless it exists', onlyOnce)
    .option('-d, --detach', 'return when it is ready; "dog dev down" ends it')
    .addHelpText(
      'after',
      helpTail('dog dev up --volume demo:1G', 'dog dev up --dir /tmp/d --nodes 5 --json'),
    )
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<UpOptions>();
      await (options.detach === true ? detached(options, io) : foreground(options, io));
    });
  addTalk(dev, io);
  dev
    .command('logs <node>')
    .description('what a node wrote')
    .addHelpText('after', helpTail('dog dev logs 2', 'dog dev logs n1 --dir /tmp/d'))
    .action((node: string, _options, command: Command) => {
      const file = path.join(dirOf(command), `n${numberOf(node)}`, 'log');
      if (!existsSync(file)) throw new CommandError('missing', `there is no log ${file}`);
      io.out(readFileSync(file, 'utf8'));
    });
}

function addTalk(dev: Command, io: Io): void {
  dev
    .command('down')
    .description('end a running one in order')
    .addHelpText('after', helpTail('dog dev down', 'dog dev down --dir /tmp/d'))
    .action((_options, command: Command) =>
      talk(command, io, { command: 'down' }, () => 'Ended.\n'),
    );
  dev
    .command('status')
    .description('its processes')
    .addHelpText('after', helpTail('dog dev status', 'dog dev status --json'))
    .action((_options, command: Command) => talk(command, io, { command: 'status' }, statusText));
  dev
    .command('kill <node>')
    .description('end a node as by a crash (SIGKILL)')
    .addHelpText('after', helpTail('dog dev kill 3', 'dog dev kill n3 --dir /tmp/d'))
    .action((node: string, _options, command: Command) => {
      const number = numberOf(node);
      return talk(command, io, { command: 'kill', node: number }, () => `n${number} is killed.\n`);
    });
  dev
    .command('start <node>')
    .description('start a node that has ended')
    .addHelpText('after', helpTail('dog dev start 3', 'dog dev start n3 --dir /tmp/d'))
    .action((node: string, _options, command: Command) => {
      const number = numberOf(node);
      return talk(command, io, { command: 'start', node: number }, (data) =>
        startedText(number, data as Started),
      );
    });
}

interface Started {
  readonly isBlank?: boolean;
  readonly isUp?: boolean;
  readonly waitingFor?: string;
}

function startedText(number: number, data: Started): string {
  const { isBlank, isUp, waitingFor } = data;
  if (isBlank !== true) {
    if (isUp === true) return `n${number} runs again.\n`;
    const why = waitingFor === undefined || waitingFor === '' ? 'the others' : waitingFor;
    return `n${number} is started, and not up yet: it waits for ${why} (dog dev logs ${number}).\n`;
  }
  return (
    `n${number} runs, and is BLANK: its directory was removed, or emptied. It is no member any more.\n` +
    `Put the directory back and start it again; or, if it is lost: dog node forget n${number}\n`
  );
}

async function talk(
  command: Command,
  io: Io,
  question: DevCommand,
  text: (data: DevStatus) => string,
): Promise<void> {
  const data = await askOrFind(dirOf(command), question);
  const format = formatOf(command.optsWithGlobals<GlobalOptions>());
  const schema = `dog/dev.${question.command}/1`;
  if (format === 'json') io.out(`${JSON.stringify({ schema, epoch: 0, data, warnings: [] })}\n`);
  else if (format === 'raw' && question.command === 'status') io.out(rawRows(data.nodes, COLUMNS));
  else io.out(text(data));
}

/** The supervisor's answer, or, where it was killed, what its nodes say by their lock files. */
async function askOrFind(dir: string, question: DevCommand): Promise<DevStatus> {
  try {
    return await askDev<DevStatus>(dir, question);
  } catch (error) {
    if (!(error instanceof CommandError) || error.code !== 'unreachable') throw error;
    const left = await talkToLeftovers(dir, question);
    if (left === undefined) throw error;
    return left;
  }
}

function statusText({ pid, nodes }: DevStatus): string {
  if (pid === 0) {
    const cure = 'end its nodes with "dog dev down", or go on with "dog dev up"';
    return `${table(nodes, COLUMNS)}supervisor: gone; ${cure}\n`;
  }
  return `${table(nodes, COLUMNS)}supervisor: pid ${pid}\n`;
}

/** Runs until a signal or `dev down`. Rejects when the cluster does not come up; its nodes are ended then. */
async function foreground(options: UpOptions, io: Io): Promise<void> {
  const volume = volumeOf(options.volume);
  const dir = path.resolve(options.dir ?? DEV_DIR);
  checkNodes(options.nodes);
  checkSocketPath(dir, options.nodes ?? 1);
  mkdirSync(dir, { recursive: true });
  const over = Promise.withResolvers<void>();
  let supervisor: DevSupervisor | undefined;
  const control = await listenDev(dir, async (command) => {
    if (supervisor === undefined) return { pid: process.pid, nodes: [] };
    const reply = await supervisor.handle(command);
    if (command.command === 'down') over.resolve();
    return reply;
  });
  try {
    const plan = await preparePlan({ dir, nodes: options.nodes, copies: options.copies });
    supervisor = new DevSupervisor(dir, plan, io.err);
    const running = supervisor;
    for (const signal of STOP_SIGNALS) {
      process.on(signal, () => void running.stop().then(over.resolve, over.reject));
    }
    const up = running.bringUp(volume).then(() => announce(running, volume, options, io));
    await Promise.race([up.then(() => over.promise), over.promise]);
  } finally {
    await supervisor?.stop();
    control.close();
  }
}

function announce(
  supervisor: DevSupervisor,
  volume: WantedVolume | undefined,
  options: UpOptions,
  io: Io,
): void {
  const nodes = supervisor.nodes.map((node) => node.describe());
  if (options.json === true) io.out(`${JSON.stringify({ event: 'ready', nodes })}\n`);
  else io.out(attachText(supervisor, volume));
}

/** The same in a process of its own; returns when that one is ready. Its words go to DIR/dev.log. */
async function detached(options: UpOptions, io: Io): Promise<void> {
  const dir = path.resolve(options.dir ?? DEV_DIR);
  mkdirSync(dir, { recursive: true });
  const logFile = path.join(dir, 'dev.log');
  const log = openSync(logFile, 'w');
  const args = ['dev', 'up', '--json', '--dir', dir];
  if (options.nodes !== undefined) args.push('--nodes', String(options.nodes));
  if (options.copies !== undefined) args.push('--copies', String(options.copies));
  if (options.volume !== undefined) args.push('--volume', options.volume);
  const child = spawn(process.execPath, [DOG, ...args], {
    stdio: ['ignore', 'pipe', log],
    detached: true,
  });
  closeSync(log);
  const ready = Promise.withResolvers<string>();
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    if (text.endsWith('\n')) ready.resolve(text);
  });
  child.on('exit', () => ready.reject(startFailure(logFile)));
  const line = await ready.promise;
  child.stdout?.destroy();
  child.unref();
  if (options.json === true) io.out(line);
  else io.out(`Ready under ${dir}; end it with "dog dev down --dir ${dir}".\n`);
}

function startFailure(logFile: string): CommandError {
  const text = readFileSync(logFile, 'utf8').trim();
  const last = text.split('\n').at(-1) ?? '';
  if (!last.startsWith('{')) return new CommandError('failed', text || 'it ended without a word');
  const { error } = JSON.parse(last) as {
    error: { code: string; message: string; remedy: string };
  };
  return new CommandError(error.code, error.message, error.remedy);
}

function dirOf(command: Command): string {
  return path.resolve(command.optsWithGlobals<GlobalOptions>().dir ?? DEV_DIR);
}

/** Commander would take the last of several, and say nothing of the others. */
function onlyOnce(value: string, earlier: string | undefined): string {
  if (earlier === undefined) return value;
  throw new InvalidArgumentError('It is one volume; "dog vdi create" makes more.');
}

function volumeOf(text: string | undefined): WantedVolume | undefined {
  if (text === undefined) return undefined;
  const at = text.lastIndexOf(':');
  if (at < 1)
    throw new CommandError('usage', `--volume is NAME:SIZE, not "${text}"`, 'for example demo:1G');
  const name = text.slice(0, at);
  checkName(name);
  return { name, sizeBytes: parseSize(text.slice(at + 1)) };
}

function checkNodes(count: number | undefined): void {
  if (count === undefined || count <= MAX_DEV_NODES) return;
  throw new CommandError('usage', `a dev cluster has at most ${MAX_DEV_NODES} nodes`);
}

function numberOf(text: string): number {
  const match = /^n?(\d{1,3})$/.exec(text);
  if (match !== null && Number(match[1]) >= 1) return Number(match[1]);
  throw new CommandError('usage', `a node is a number such as 2, or n2, not "${text}"`);
}
