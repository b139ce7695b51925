// From a schedule that fails to a small one that fails by the same checker. First steps are left out (a fault goes with its
// cure), then what is left is made simpler: fewer nodes, a better network, an easier guest, shorter waits. The seed stays,
// so network, disks and guests draw as before. Every candidate is a run of its own; their number is bounded.

import { ddmin } from './ddmin.ts';
import type { OtherStep, Step, TimedStep, Weather } from './step.ts';

/** Runs that one shrinking may take, unless told. */
export const MAX_SHRINK_RUNS = 200;
/** Characters of a failure without a checker's name that must agree. */
const MAX_REASON = 60;
const FAIR: Weather = { gossip: 0.95, gossipTwice: 0.05, slowness: 1, loss: 0, breaks: 0 };
const MIN_WORKING_SET = 16;
const MAX_THINK_MS = 400;
/** Waits shorter than this are not halved any more. */
const MIN_WAIT_S = 0.1;
const MIN_PAUSE_MS = 100;

export interface Shrinking {
  /** Plays these steps; the reason of the failure, if any. */
  readonly play: (steps: readonly Step[]) => Promise<string | undefined>;
  readonly maxRuns: number;
  /** Told whenever it became smaller. */
  readonly onSmaller?: (steps: readonly Step[], runs: number) => void;
}

export interface Shrunk {
  readonly steps: readonly Step[];
  /** In the words of the smallest run. */
  readonly failure: string;
  readonly runs: number;
}

/** The rule or checker that a failure names. */
export function ruleOf(failure: string): string | undefined {
  const [line = ''] = failure.split('\n');
  return /\b(C-[a-z]+|[ACFHIRS]\d+(?:\.\d+)?[a-z]?)\b/.exec(line)?.[1];
}

/** By what a failure is known again: its rule; without one its first words, numbers aside. */
export function checkerOf(failure: string): string {
  const [line = ''] = failure.split('\n');
  return ruleOf(failure) ?? line.replace(/\d+/g, '#').slice(0, MAX_REASON);
}

/** How many faults a schedule has. */
export function faultCount(steps: readonly Step[]): number {
  return steps.filter((step) => 'fault' in step).length;
}

/** @returns undefined when the steps do not fail like that, played anew */
export async function shrink(
  first: { readonly steps: readonly TimedStep[]; readonly failure: string },
  how: Shrinking,
): Promise<Shrunk | undefined> {
  const hunt = new Hunt(first.failure, how);
  if (!(await hunt.fails(first.steps.map(withoutTime)))) return undefined;
  for (let before = ''; before !== hunt.text && !hunt.isOver; ) {
    before = hunt.text;
    await leaveOut(hunt);
    await simplify(hunt);
  }
  return { steps: hunt.steps, failure: hunt.failure, runs: hunt.runs };
}

/** The smallest that still fails, and the count of runs. */
class Hunt {
  steps: readonly Step[] = [];
  failure: string;
  runs = 0;
  readonly #checker: string;
  readonly #how: Shrinking;

  constructor(failure: string, how: Shrinking) {
    this.failure = failure;
    this.#checker = checkerOf(failure);
    this.#how = how;
  }

  get isOver(): boolean {
    return this.runs >= this.#how.maxRuns;
  }

  get text(): string {
    return JSON.stringify(this.steps);
  }

  /** Keeps them when they do. */
  async fails(steps: readonly Step[]): Promise<boolean> {
    if (this.isOver) return false;
    this.runs += 1;
    const failure = await this.#how.play(steps);
    if (failure === undefined || checkerOf(failure) !== this.#checker) return false;
    this.steps = steps;
    this.failure = failure;
    this.#how.onSmaller?.(steps, this.runs);
    return true;
  }
}

function withoutTime({ at: _at, ...step }: TimedStep): Step {
  return step as Step;
}

/** Steps that go together. What makes the cluster and its guest stays. */
export function unitsOf(steps: readonly Step[]): readonly (readonly number[])[] {
  const units: number[][] = [];
  const open = new Map<string, number[][]>();
  steps.forEach((step, place) => {
    if ('act' in step && (step.act === 'form' || step.act === 'guest')) return;
    const key = 'cure' in step ? `${step.cure} ${step.node}` : '';
    const faulty = open.get(key)?.shift();
    if (faulty !== undefined) {
      faulty.push(place);
      return;
    }
    const unit = [place];
    units.push(unit);
    if ('fault' in step) {
      const name = `${step.fault} ${step.node}`;
      open.set(name, [...(open.get(name) ?? []), unit]);
    }
  });
  return units;
}

async function leaveOut(hunt: Hunt): Promise<void> {
  const all = hunt.steps;
  const units = unitsOf(all);
  const removable = new Set(units.flat());
  await ddmin(units, (some) => {
    const places = new Set(some.flat());
    return hunt.fails(all.filter((_step, at) => places.has(at) || !removable.has(at)));
  });
}

/** Each step as simple as it can be. */
async function simplify(hunt: Hunt): Promise<void> {
  for (let at = 0; at < hunt.steps.length && !hunt.isOver; at += 1) {
    for (let isSimpler = true; isSimpler && !hunt.isOver; ) {
      isSimpler = false;
      for (const simple of simplerThan(hunt.steps[at] as Step)) {
        isSimpler = await hunt.fails(hunt.steps.with(at, simple));
        if (isSimpler) break;
      }
    }
  }
}

/** What may stand in the place of a step, the simplest first. */
export function simplerThan(step: Step): readonly Step[] {
  if ('cure' in step) return [];
  if ('act' in step) return simplerAct(step);
  if (step.fault === 'rot' && step.harms.length > 1) {
    return step.harms.map((harm) => ({ ...step, harms: [harm] }));
  }
  if (step.fault === 'astray' && step.accesses.length > 1) {
    return [{ ...step, accesses: step.accesses.slice(0, 1) }];
  }
  if (step.fault === 'pause' && step.ms > MIN_PAUSE_MS) {
    return [{ ...step, ms: Math.floor(step.ms / 2) }];
  }
  return [];
}

function simplerAct(step: OtherStep): readonly Step[] {
  if (step.act === 'form') return fewerNodes(step);
  if (step.act === 'run') {
    return step.seconds > MIN_WAIT_S ? [{ ...step, seconds: roundedHalf(step.seconds) }] : [];
  }
  if (step.act === 'weather') return fairer(step);
  return step.act === 'guest' ? easier(step) : [];
}

function roundedHalf(seconds: number): number {
  return Math.floor(seconds * 5) / 10;
}

function fewerNodes(form: OtherStep & { act: 'form' }): readonly Step[] {
  const simple: Step[] = [];
  for (let nodes = 1; nodes < form.nodes; nodes += 1) {
    simple.push({ ...form, nodes, copies: Math.min(form.copies, nodes) });
  }
  if (form.copies > 1) simple.push({ ...form, copies: form.copies - 1 });
  return simple;
}

function fairer(weather: OtherStep & { act: 'weather' }): readonly Step[] {
  const keys = (Object.keys(FAIR) as (keyof Weather)[]).filter((key) => weather[key] !== FAIR[key]);
  if (keys.length === 0) return [];
  return [{ ...weather, ...FAIR }, ...keys.map((key) => ({ ...weather, [key]: FAIR[key] }))];
}

function easier(guest: OtherStep & { act: 'guest' }): readonly Step[] {
  const { work } = guest;
  const simple: Step[] = [];
  if (work.depth !== 1) simple.push({ ...guest, work: { ...work, depth: 1 } });
  if (work.maxBlocks !== 1) simple.push({ ...guest, work: { ...work, maxBlocks: 1 } });
  if (work.workingSet > MIN_WORKING_SET) {
    const workingSet = Math.max(MIN_WORKING_SET, work.workingSet >> 3);
    simple.push({ ...guest, work: { ...work, workingSet } });
  }
  if (work.thinkMs < MAX_THINK_MS) {
    const thinkMs = Math.min(MAX_THINK_MS, work.thinkMs * 4);
    simple.push({ ...guest, work: { ...work, thinkMs } });
  }
  return simple;
}
