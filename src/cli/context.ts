// What every command needs: the options that stand everywhere, the way to the node, and where text goes.

import type { Command } from 'commander';
import { type Ask, ask, findTarget } from './client.ts';
import { EXIT_TEXT } from './failure.ts';
import type { Format, Output } from './output.ts';

export interface Io {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** To stdout, as they are; resolves when they are not needed any more. */
  readonly outBytes: (bytes: Uint8Array) => Promise<void>;
  /** What comes on stdin. */
  readonly input: () => AsyncIterable<Uint8Array>;
  readonly env: NodeJS.ProcessEnv;
  /** For commands that end well and still say something by their code. */
  readonly setExitCode: (code: number) => void;
  /** A person looks at stderr: a line may be written over. */
  readonly isTerminal?: boolean;
  /** A person looks at stdout: it is no place for bytes. */
  readonly isOutTerminal?: boolean;
  /** Asks a person; undefined where there is no terminal. */
  readonly confirm?: ((question: string) => Promise<boolean>) | undefined;
  /** The same, for an answer that is typed out. */
  readonly type?: ((question: string) => Promise<string>) | undefined;
}

export interface GlobalOptions {
  readonly address?: string;
  readonly port?: string;
  readonly dir?: string;
  readonly json?: boolean;
  readonly raw?: boolean;
  readonly force?: boolean;
  readonly expectEpoch?: number;
  readonly timeout?: number;
}

/** A way to ask the chosen node; the node is found at the first question. */
export interface Session extends Output {
  readonly options: GlobalOptions;
  ask<Data>(route: string, options?: Ask): ReturnType<typeof ask<Data>>;
}

export function sessionOf(command: Command, io: Io): Session {
  const options = command.optsWithGlobals<GlobalOptions>();
  return {
    options,
    format: formatOf(options),
    out: io.out,
    err: io.err,
    async ask<Data>(route: string, request?: Ask) {
      const { expectEpoch, timeout: timeoutMs } = options;
      return ask<Data>(await findTarget(options, io.env), route, {
        ...(expectEpoch === undefined ? {} : { expectEpoch }),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
        ...request,
      });
    },
  };
}

export function formatOf(options: GlobalOptions): Format {
  if (options.json === true) return 'json';
  return options.raw === true ? 'raw' : 'human';
}

/** Two examples and the exit codes, below the help of a command. */
export function helpTail(first: string, second: string): string {
  return `\nExamples:\n  ${first}\n  ${second}\n\n${EXIT_TEXT}`;
}
