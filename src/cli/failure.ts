// How a command ends: exit codes by error code, and an error as one sentence, a cause and a cure; never a stack trace.

import type { AdminFailure } from '../core/admin-shapes.ts';
import { messageOf, OperatingError } from '../core/errors.ts';

export const EXIT = {
  done: 0,
  failed: 1,
  noState: 2,
  exists: 3,
  full: 4,
  missing: 5,
  busy: 6,
  usage: 64,
  notAllowed: 77,
} as const;

/** For the help of every command. */
export const EXIT_TEXT =
  'Exit codes: 0 done, 1 failed, 2 no node answers or the cluster can not do it now, 3 exists already,\n' +
  '  4 full, 5 missing, 6 busy or held, 64 wrong usage, 77 not allowed';

const BY_CODE: Readonly<Record<string, number>> = {
  usage: EXIT.usage,
  'too-large': EXIT.usage,
  unsupported: EXIT.usage,
  exists: EXIT.exists,
  'already-formatted': EXIT.exists,
  missing: EXIT.missing,
  'no-space': EXIT.full,
  held: EXIT.busy,
  busy: EXIT.busy,
  locked: EXIT.busy,
  refused: EXIT.notAllowed,
  'not-formatted': EXIT.noState,
  'no-quorum': EXIT.noState,
  halted: EXIT.noState,
  degraded: EXIT.noState,
  unreachable: EXIT.noState,
  timeout: EXIT.noState,
  'shutting-down': EXIT.noState,
  'stale-config': EXIT.busy,
};

/** What any error becomes on its way out of the program. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly code: string;
  readonly remedy: string;
  readonly affected: readonly string[];

  constructor(code: string, message: string, remedy = '', affected: readonly string[] = []) {
    super(message);
    this.code = code;
    this.remedy = remedy;
    this.affected = affected;
  }
}

export function exitCodeOf(error: unknown): number {
  return BY_CODE[asCommandError(error).code] ?? EXIT.failed;
}

export function asCommandError(error: unknown): CommandError {
  if (error instanceof CommandError) return error;
  if (error instanceof OperatingError) {
    return new CommandError(error.code, error.message, error.remedy);
  }
  return new CommandError('internal', messageOf(error), 'please report this with the command');
}

/** One or two lines for a person, or one JSON document for a program. */
export function failureText(error: unknown, options: { readonly json: boolean }): string {
  const { code, message, remedy, affected } = asCommandError(error);
  if (options.json) {
    const failure: AdminFailure = { error: { code, message, remedy, affected } };
    return `${JSON.stringify(failure)}\n`;
  }
  return remedy === '' ? `dog: ${message}\n` : `dog: ${message}\n  cure: ${remedy}\n`;
}
