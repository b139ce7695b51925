// Process entry of `dog`. Everything it does is in program.ts; here the real terminal and environment come in.

import { createInterface } from 'node:readline/promises';
import { run } from './program.ts';

process.stdout.on('error', endQuietly);
process.stderr.on('error', endQuietly);

const isTerminal = process.stdin.isTTY === true && process.stderr.isTTY === true;

process.exitCode = await run(process.argv.slice(2), {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  outBytes: written,
  input: () => process.stdin,
  env: process.env,
  setExitCode: () => undefined,
  isTerminal: process.stderr.isTTY === true,
  isOutTerminal: process.stdout.isTTY === true,
  confirm: isTerminal ? confirm : undefined,
  type: isTerminal ? typed : undefined,
});

/** A pipe that is full holds the writer up: memory stays bounded. Nothing of the bytes is needed any more afterwards. */
function written(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

/** On stderr: stdout is for the answer. */
async function confirm(question: string): Promise<boolean> {
  return /^y(es)?$/i.test((await typed(question)).trim());
}

async function typed(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await terminal.question(question);
  } finally {
    terminal.close();
  }
}

/** `dog vdi list | head -1`: the reader has gone, that is no failure. Anything else is. */
function endQuietly(error: NodeJS.ErrnoException): void {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
}
