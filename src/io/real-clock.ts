// The machine's clock. `soon` runs its functions after the events of this turn of the loop, all of one batch together:
// frames, replies and journal records of everything that came in at once leave at once.

import type { Clock, TimerHandle } from '../ports/ports.ts';

/** Functions that `soon` functions add run in the same batch, this many rounds deep; then other events get their turn. */
const MAX_ROUNDS = 8;

/** Milliseconds since the start of the process, and Node's timers. */
export function createRealClock(): Clock {
  let batch: (() => void)[] = [];
  let isScheduled = false;

  const schedule = () => {
    isScheduled = true;
    setImmediate(flush);
  };
  const flush = () => {
    try {
      for (let round = 0; round < MAX_ROUNDS && batch.length > 0; round += 1) {
        const functions = batch;
        batch = [];
        for (const fn of functions) fn();
      }
    } finally {
      isScheduled = false;
      if (batch.length > 0) schedule();
    }
  };
  return {
    now: () => performance.now(),
    date: () => Date.now(),
    setTimer: (ms, fn) => setTimeout(fn, ms) as unknown as TimerHandle,
    clearTimer: (handle) => clearTimeout(handle as unknown as NodeJS.Timeout),
    soon: (fn) => {
      batch.push(fn);
      if (!isScheduled) schedule();
    },
  };
}
