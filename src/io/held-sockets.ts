// Listening sockets that whoever starts the process holds for it (LISTEN_FDS and LISTEN_PID, as systemd passes them): they
// outlive the process, so that guests who come while it is away wait in the kernel and are not refused (decision 0049).

import { fstatSync, readFileSync } from 'node:fs';
import { OperatingError } from '../core/errors.ts';

const FIRST_DESCRIPTOR = 3;
/** More than anybody would pass. */
const MAX_HELD_SOCKETS = 16;
const REMEDY = 'pass one listening socket for each --nbd flag, in their order';

/**
 * The descriptors that were passed to this very process; none where LISTEN_PID names another one.
 * @throws OperatingError 'usage' for a count that is none
 */
export function heldSockets(env: NodeJS.ProcessEnv, pid: number): readonly number[] {
  const { LISTEN_PID: owner, LISTEN_FDS: count } = env;
  if (owner !== String(pid) || count === undefined) return [];
  const number = /^\d+$/.test(count) ? Number(count) : Number.NaN;
  if (!(number <= MAX_HELD_SOCKETS)) {
    const message = `LISTEN_FDS is a number up to ${MAX_HELD_SOCKETS}, not "${count}"`;
    throw new OperatingError('usage', message, { remedy: REMEDY });
  }
  return Array.from({ length: number }, (_, at) => FIRST_DESCRIPTOR + at);
}

/** Where a unix socket is bound; undefined for any other descriptor, and where the system does not say. */
export function boundPath(descriptor: number): string | undefined {
  const { ino } = fstatSync(descriptor);
  const line = /^[0-9a-f]+: (?:\S+ ){4}\S+ +(\d+) (.+)$/i;
  for (const text of readFileSync('/proc/net/unix', 'utf8').split('\n')) {
    const [, inode, path] = line.exec(text) ?? [];
    if (Number(inode) === ino) return path;
  }
  return undefined;
}

/**
 * Those of `held` for these addresses, in their order.
 * @throws OperatingError 'usage' when there are fewer or more, or a unix socket is bound elsewhere
 */
export function heldFor(
  addresses: readonly (
    | { readonly kind: 'unix'; readonly path: string }
    | { readonly kind: string }
  )[],
  held: readonly number[],
): readonly (number | undefined)[] {
  if (held.length === 0) return addresses.map(() => undefined);
  if (held.length !== addresses.length) {
    const message = `${held.length} sockets were passed for ${addresses.length} --nbd addresses`;
    throw new OperatingError('usage', message, { remedy: REMEDY });
  }
  addresses.forEach((address, at) => {
    const bound = boundPath(held[at] as number);
    const wanted = 'path' in address ? address.path : undefined;
    if (bound === wanted) return;
    const message = `socket ${at + 1} of those passed is bound to ${bound ?? 'no path'}, and --nbd says ${wanted ?? 'TCP'}`;
    throw new OperatingError('usage', message, { remedy: REMEDY });
  });
  return held;
}
