// The tree of `dog`'s commands and the one place where errors end: a sentence on stderr and an exit code.

import { readFileSync } from 'node:fs';
import { Command, CommanderError, type Option } from 'commander';
import { addClusterCommands } from './cluster.ts';
import { formatOf, type GlobalOptions, helpTail, type Io } from './context.ts';
import { addDevCommands } from './dev.ts';
import { CommandError, EXIT, exitCodeOf, failureText } from './failure.ts';
import { addNodeCommands } from './node.ts';
import { countOf, timeOf } from './numbers.ts';
import { addVdiCommands } from './vdi.ts';

const HELP_ENDS = new Set(['commander.help', 'commander.helpDisplayed', 'commander.version']);

/** Runs one command line, without the program's name; returns the exit code. Never throws. */
export async function run(args: readonly string[], io: Io): Promise<number> {
  let code: number = EXIT.done;
  const setExitCode = (wanted: number): void => {
    code = wanted;
    io.setExitCode(wanted);
  };
  const program = buildProgram({ ...io, setExitCode });
  try {
    await program.parseAsync(args, { from: 'user' });
    return code;
  } catch (error) {
    return reportFailure(error, program, args, io);
  }
}

export function buildProgram(io: Io): Command {
  const program = new Command('dog');
  program
    .description('Sheepdog: highly available volumes for guests on plain hosts')
    .usage('[options] NOUN VERB [arguments]')
    .option('-a, --address <host>', 'ask the node at this address (port 7000 unless -p)')
    .option('-p, --port <port>', 'port of the node')
    .option('--dir <dir>', 'ask a dev cluster under this directory')
    .option('--json', 'one JSON document on stdout, errors as JSON on stderr')
    .option('-r, --raw', 'tab-separated columns without a header, sizes in bytes')
    .option('-f, --force', 'no question')
    .option(
      '--expect-epoch <number>',
      'do nothing if the cluster has moved on (exit 6)',
      countOf('expect-epoch', Number.MAX_SAFE_INTEGER),
    )
    .option('--timeout <time>', 'for the answer: 5s, 2m', timeOf('timeout'))
    .helpOption('-h, --help', 'show help')
    .addHelpText('after', helpTail('dog cluster info', 'dog vdi create demo 10G'));
  settle(program, io);
  program
    .command('version')
    .description('version of this program')
    .addHelpText('after', helpTail('dog version', 'dog version --json'))
    .action((_options, command: Command) => {
      const data = { version: version(), node: process.version };
      const isJson = formatOf(command.optsWithGlobals<GlobalOptions>()) === 'json';
      const document = { schema: 'dog/version/1', epoch: 0, data, warnings: [] };
      io.out(isJson ? `${JSON.stringify(document)}\n` : `dog ${data.version}\n`);
    });
  addClusterCommands(program, io);
  addNodeCommands(program, io);
  addVdiCommands(program, io);
  addDevCommands(program, io);
  for (const command of descendants(program)) settle(command, io);
  return program;
}

/** Commander must neither write nor exit by itself: `run` does. */
function settle(command: Command, io: Io): void {
  command
    .exitOverride()
    .showSuggestionAfterError(true)
    .configureHelp({ showGlobalOptions: true, helpWidth: 100, visibleGlobalOptions })
    .configureOutput({ writeOut: io.out, writeErr: () => undefined, outputError: () => undefined });
}

/** Those of `dog` itself: what stands above a command on the way is no option of it. */
function visibleGlobalOptions(command: Command): Option[] {
  let top = command;
  while (top.parent !== null) top = top.parent;
  return top === command ? [] : [...top.options];
}

function descendants(command: Command): readonly Command[] {
  return command.commands.flatMap((child) => [child, ...descendants(child)]);
}

function reportFailure(error: unknown, program: Command, args: readonly string[], io: Io): number {
  if (error instanceof CommanderError && HELP_ENDS.has(error.code)) {
    if (error.code !== 'commander.help') return EXIT.done;
    // A noun without a verb, or nothing at all: help, but on stderr and as wrong usage.
    io.err(helpOf(program, args));
    return EXIT.usage;
  }
  const json = args.includes('--json');
  const final = error instanceof CommanderError ? usageError(error, meant(program, args)) : error;
  io.err(failureText(final, { json }));
  return exitCodeOf(final);
}

function usageError(error: CommanderError, command: Command): CommandError {
  const [first = '', ...rest] = error.message.replace(/^error: /, '').split('\n');
  const suggestion = rest
    .join(' ')
    .trim()
    .replace(/^\(|\)$/g, '');
  const help = `see "${pathOf(command)} --help"`;
  return new CommandError('usage', first, suggestion === '' ? help : suggestion);
}

function helpOf(program: Command, args: readonly string[]): string {
  return meant(program, args).helpInformation();
}

/** The command that the words lead to, as far as they are known. */
function meant(program: Command, args: readonly string[]): Command {
  let found = program;
  for (const word of args) {
    found = found.commands.find((command) => command.name() === word) ?? found;
  }
  return found;
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
