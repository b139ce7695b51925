// How fast the simulator is on one core: npm run sim -- --profile. Five nodes with a guest at several paces, and hundreds of
// nodes without volumes. What counts is processor time of the whole process, collector and compiler included: the host may
// be busy. Each row is warmed up first. An aim that is missed is named, and the exit code is 1 (SIMULATOR.md, section 6).

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { OperatingError } from '../src/core/errors.ts';
import type { History } from './checkers/history.ts';
import { play, scenario } from './scenario.ts';
import type { BuildNode } from './sim-node.ts';

const NODES = 5;
const COPIES = 3;
const SEED = 1;
/** Hundreds of nodes in one heap; what is young dies before it is copied. */
const ROOM = ['--max-old-space-size=8000', '--max-semi-space-size=64'];
const WARM_UP_S = 10;
const GUEST_AIM = 100;
const SIZE_AIM = 10;
/** Requests in flight; so many guests ask at a pace of their own. */
const DEPTH = 4;
/** A pace at which a guest asks for the next as soon as it has an answer. */
const GREEDY = Number.POSITIVE_INFINITY;

/** What a run of a row came to. */
export interface Measured {
  readonly simulatedS: number;
  readonly cpuS: number;
  readonly events: number;
  readonly requests: number;
}

interface Row {
  readonly what: string;
  /** Requests per second. */
  readonly pace: number;
  readonly seconds: number;
  /** Simulated seconds in one of CPU; undefined = it is told, nothing is asked of it. */
  readonly aim?: number;
}

const ROWS: readonly Row[] = [
  { what: 'at rest', pace: 0, seconds: 300 },
  { what: 'guest, 3 requests/s', pace: 3, seconds: 300, aim: GUEST_AIM },
  { what: 'guest, 10 requests/s', pace: 10, seconds: 200, aim: GUEST_AIM },
  { what: 'guest, 30 requests/s', pace: 30, seconds: 100, aim: GUEST_AIM },
  { what: 'guest, 100 requests/s', pace: 100, seconds: 60 },
  { what: 'guest without a pause', pace: GREEDY, seconds: 10 },
];

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Requests of one block each that had an answer. */
function answered({ acknowledgedWrites, reads }: History): number {
  return acknowledgedWrites + reads;
}

/** One row; throws when the run failed. */
async function measure(build: BuildNode, { pace, seconds }: Row): Promise<Measured> {
  let measured: Measured | undefined;
  const options = { nodes: NODES, copies: COPIES };
  const story = scenario('profile', options, async (stage) => {
    await stage.form();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16 });
    const thinkMs = pace === GREEDY ? 0 : (1000 * DEPTH) / pace;
    if (pace > 0) guest.writeForever({ depth: DEPTH, thinkMs, maxBlocks: 1, workingSet: 2048 });
    await stage.run({ seconds: WARM_UP_S });
    const { history } = guest.volume;
    const { eventCount, nowMs } = stage.world;
    const [requests, cpuS] = [answered(history), cpuSeconds()];
    await stage.run({ seconds });
    measured = {
      simulatedS: (stage.world.nowMs - nowMs) / 1000,
      cpuS: cpuSeconds() - cpuS,
      events: stage.world.eventCount - eventCount,
      requests: answered(history) - requests,
    };
    await guest.stop();
  });
  const { failure } = await play(story, { build, seed: SEED });
  if (failure !== undefined || measured === undefined) {
    throw new OperatingError('corrupt', `the measured run failed: ${failure}`);
  }
  return measured;
}

/** The rate as people say it. */
export function rateOf({ simulatedS, cpuS }: Measured): number {
  return simulatedS / Math.max(cpuS, 0.001);
}

/** One line of the table. */
export function sayRow(what: string, measured: Measured, aim: number | undefined): string {
  const { simulatedS, cpuS, events, requests } = measured;
  const rate = rateOf(measured);
  const verdict = aim === undefined ? '' : rate >= aim ? `, aim ${aim}` : `, aim ${aim}: MISSED`;
  const perEvent = ((cpuS * 1e6) / Math.max(events, 1)).toFixed(1);
  return (
    `${what.padEnd(34)} ${rate.toFixed(0)} x real time${verdict}; ` +
    `${simulatedS.toFixed(0)} simulated s, ${cpuS.toFixed(2)} s of CPU, ` +
    `${(events / simulatedS).toFixed(0)} events/s of ${perEvent} us, ${(requests / simulatedS).toFixed(0)} requests/s`
  );
}

/** Hundreds of nodes: in a process of its own, whose nodes share equal states. */
async function measureSize(): Promise<Readonly<Record<string, Measured>>> {
  const child = fork(new URL('./profile-size.ts', import.meta.url), {
    execArgv: [...process.execArgv, ...ROOM],
  });
  const [answer] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [unknown];
  child.disconnect();
  if (typeof answer !== 'object' || answer === null) {
    throw new OperatingError('corrupt', 'the process of hundreds of nodes ended without figures');
  }
  return answer as Readonly<Record<string, Measured>>;
}

/** @returns how many aims were missed */
export async function profile(build: BuildNode, print: (line: string) => void): Promise<number> {
  let missed = 0;
  const tell = (what: string, measured: Measured, aim: number | undefined): void => {
    if (aim !== undefined && rateOf(measured) < aim) missed += 1;
    print(sayRow(what, measured, aim));
  };
  print(`processor time of one process, seed ${SEED}; ${NODES} nodes, ${COPIES} copies:`);
  for (const row of ROWS) tell(row.what, await measure(build, row), row.aim);
  print('300 nodes, control plane:');
  for (const [what, measured] of Object.entries(await measureSize())) {
    tell(what, measured, SIZE_AIM);
  }
  print(missed === 0 ? 'every aim is met' : `${missed} aims are missed`);
  return missed;
}
