// A machine under a clock that the test moves, and promises that the test ends.

import { type AnyStateMachine, createActor } from 'xstate';
import type { TimerHandle } from '../../src/ports/ports.ts';
import { FakeClock } from '../datapath/fake-clock.ts';

/** Promise reactions between two moves of the clock: more than any machine here chains. */
const TURNS = 50;

/** Lets everything happen that needs no time. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn += 1) await Promise.resolve();
}

/** Options of createActor that take the test's clock. */
export function under(clock: FakeClock): {
  clock: {
    setTimeout: (fn: (...args: never[]) => void, ms: number) => TimerHandle;
    clearTimeout: (handle: TimerHandle) => void;
  };
} {
  return {
    clock: {
      setTimeout: (fn, ms) => clock.setTimer(ms, fn as () => void),
      clearTimeout: (handle) => clock.clearTimer(handle),
    },
  };
}

/** Starts `machine`; `pass` moves its clock and lets promises react. */
export function startMachine<Machine extends AnyStateMachine>(machine: Machine, input: unknown) {
  const clock = new FakeClock();
  const actor = createActor(machine as AnyStateMachine, { ...under(clock), input });
  const errors: unknown[] = [];
  actor.subscribe({ error: (error) => errors.push(error) });
  actor.start();
  return {
    clock,
    actor,
    errors,
    state: () => JSON.stringify(actor.getSnapshot().value).replaceAll('"', ''),
    send: async (event: { type: string; [key: string]: unknown }) => {
      actor.send(event);
      await settle();
    },
    pass: async (ms: number) => {
      clock.run(ms);
      await settle();
    },
  };
}

/** An effect whose end the test decides; counts its starts. */
export function controlled<Result = void>() {
  const ends: { resolve: (value: Result) => void; reject: (error: Error) => void }[] = [];
  const run = (): Promise<Result> =>
    new Promise((resolve, reject) => {
      ends.push({ resolve, reject });
    });
  return {
    run,
    get starts(): number {
      return ends.length;
    },
    finish: async (value: Result) => {
      ends.at(-1)?.resolve(value);
      await settle();
    },
    fail: async () => {
      ends.at(-1)?.reject(new RangeError('the test says so'));
      await settle();
    },
  };
}
