// Runs `dog` in this process and keeps what it said.

import { run } from '../../src/cli/program.ts';

export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** `env` is all of the environment that the command sees. */
export async function dog(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  confirm?: (question: string) => Promise<boolean>,
  type?: (question: string) => Promise<string>,
  stdin: Uint8Array = new Uint8Array(0),
): Promise<Said> {
  let out = '';
  let err = '';
  const code = await run(args, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    outBytes: async (bytes) => {
      out += Buffer.from(bytes).toString('latin1');
    },
    input: async function* () {
      if (stdin.length > 0) yield stdin;
    },
    env,
    confirm,
    type,
    setExitCode: () => undefined,
  });
  return { code, out, err };
}
