// Questions before what is hard to take back. `-f` answers yes; without a terminal there is nobody to ask, and that is a
// refusal, never a guess.

import type { GlobalOptions, Io } from './context.ts';
import { CommandError } from './failure.ts';

/**
 * What can not be taken back needs a word, not a key.
 * @param flag which says yes in scripts
 * @throws CommandError as below
 */
export async function askTyped(
  io: Io,
  word: string,
  question: string,
  flag: string,
): Promise<void> {
  if (io.type === undefined) {
    throw new CommandError(
      'usage',
      'there is no terminal to answer on: nothing was done',
      `read what is said above, and give ${flag} if you mean it`,
    );
  }
  if ((await io.type(question)).trim() === word) return;
  throw new CommandError('declined', 'nothing was done');
}

/** @throws CommandError 'usage' without a terminal, 'declined' when the answer is not yes */
export async function askFirst(io: Io, options: GlobalOptions, question: string): Promise<void> {
  if (options.force === true) return;
  if (io.confirm === undefined) {
    throw new CommandError(
      'usage',
      `${question} There is no terminal to answer on`,
      'use -f to say yes',
    );
  }
  if (await io.confirm(`${question} [y/N] `)) return;
  throw new CommandError('declined', 'nothing was done');
}
