// How long a guest's request may wait, whatever it waits for (3.5, option io-timeout): copies, the lock, a majority. Then
// the guest is told EIO, and what was asked goes on by itself: it may happen yet. So nothing of it may refer to the
// guest's bytes any more: they are copied first, where a volume has the option.

import { OperatingError } from '../core/errors.ts';
import type { Clock } from '../ports/ports.ts';
import type { Done } from './volume-session.ts';

/** The error of a request that waited too long, and for what. */
function timedOut(ms: number, reason: string): OperatingError {
  const because = reason === '' ? '' : `: ${reason}`;
  const text = `no answer within the volume's io-timeout of ${ms} ms${because}`;
  return new OperatingError('timeout', text);
}

/**
 * `done` with the answer, or with an error after `ms`; once. `ms` 0: as it is.
 * @param why asked when time is up: what is in the way, or ''
 */
export function withinMs(clock: Clock, ms: number, done: Done, why = (): string => ''): Done {
  if (ms === 0) return done;
  let isOver = false;
  const answer: Done = (error) => {
    if (isOver) return;
    isOver = true;
    clock.clearTimer(timer);
    done(error);
  };
  const timer = clock.setTimer(ms, () => answer(timedOut(ms, why())));
  return answer;
}

/** A place to read into that stays ours when the guest was told an error, and what brings it to the guest. */
export function ownTarget(
  ms: number,
  guest: { readonly target: Uint8Array; readonly at: number; readonly length: number },
  done: Done,
): { readonly target: Uint8Array; readonly at: number; readonly done: Done } {
  const { target, at, length } = guest;
  if (ms === 0) return { target, at, done };
  const own = new Uint8Array(length);
  return {
    target: own,
    at: 0,
    done: (error) => {
      if (error === undefined) target.set(own, at);
      done(error);
    },
  };
}
