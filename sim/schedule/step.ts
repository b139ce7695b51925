// What a drawn story does, as data: one step for each fault, each cure, each wait and each judgement. A list of them is a
// schedule: it can be printed, kept, shortened and played again. As text it is one JSON object a line; the first names the
// story and the seed, from which network, disks and guests draw. Lines that do not begin with { are not read, so what a
// run printed is a schedule, too. `at` is when a step began in the run that was recorded: for readers only, times come
// from the waits.

import { OperatingError } from '../../src/core/errors.ts';

/** A disk's bad place, named by what was drawn. */
export interface Harm {
  readonly kind: 'bit' | 'unreadable' | 'sums' | 'file';
  readonly path: string;
  readonly sector: number;
  /** In the file. */
  readonly position: number;
}

/** Hurts one node until its cure. */
export type FaultStep = { readonly node: string } & (
  | { readonly fault: 'kill' | 'power' | 'stop' }
  | { readonly fault: 'cut' | 'deaf' | 'mute' | 'data' }
  /** What it hears from one other node. */
  | { readonly fault: 'link'; readonly from: string }
  | { readonly fault: 'pause'; readonly ms: number }
  | { readonly fault: 'loss'; readonly rate: number }
  | { readonly fault: 'slow'; readonly factor: number }
  | { readonly fault: 'rot'; readonly harms: readonly Harm[] }
  | { readonly fault: 'astray'; readonly accesses: readonly ('read' | 'write')[] }
  | { readonly fault: 'full'; readonly leaveBytes: number }
  | { readonly fault: 'failing'; readonly how: 'sync' | 'write' | 'read-only' | 'read' | 'moved' }
  /** Its disk is gone, and its key; an empty one is in its place. */
  | { readonly fault: 'wiped' }
  /** Without power; meanwhile a bit of a file turns. */
  | { readonly fault: 'ruined'; readonly path: string; readonly position: number }
);

export type FaultKind = FaultStep['fault'];

/** Ends the oldest fault of this kind on this node. */
export interface CureStep {
  readonly cure: FaultKind;
  readonly node: string;
}

/** How good the network is for all. */
export interface Weather {
  readonly gossip: number;
  readonly gossipTwice: number;
  readonly slowness: number;
  readonly loss: number;
  readonly breaks: number;
}

export interface GuestWork {
  readonly workingSet: number;
  readonly thinkMs: number;
  readonly calmThinkMs: number;
  readonly depth?: number;
  readonly maxBlocks?: number;
}

export type OtherStep =
  | { readonly act: 'form'; readonly nodes: number; readonly copies: number }
  | ({ readonly act: 'weather' } & Weather)
  /** Rare branches of product code, and how likely each is taken when it is come to. */
  | { readonly act: 'rare'; readonly points: Readonly<Record<string, number>> }
  | { readonly act: 'note'; readonly name: string; readonly text: string }
  | {
      readonly act: 'guest';
      readonly node: string;
      readonly sizeMiB: number;
      readonly work: GuestWork;
    }
  | { readonly act: 'run'; readonly seconds: number }
  /** C-conv, or the run has failed. */
  | { readonly act: 'converge'; readonly seconds: number }
  /** Waits until the others have this node down; goes on after that long, too. */
  | { readonly act: 'called-down'; readonly node: string; readonly seconds: number }
  /** The guest goes on through another node, which must get the lock. */
  | { readonly act: 'move'; readonly node: string; readonly seconds: number }
  | { readonly act: 'fair' }
  | { readonly act: 'heal' }
  /** From here on nodes may end by themselves, for a reason that they name; nothing need be served. */
  | { readonly act: 'may-halt' }
  /** The guest tries the nodes that are up, one after the other, until one takes it. */
  | { readonly act: 'try-on' }
  /** Whatever can be read is read. */
  | { readonly act: 'last-reads' }
  | { readonly act: 'stays-cut'; readonly from: string; readonly to: string }
  /** One leader, an epoch that stays; at most so many that live are not up. */
  | { readonly act: 'rest'; readonly absent: number }
  /** Every acknowledged write is read back through this node, all copies are compared. */
  | { readonly act: 'verdict'; readonly node: string };

export type Step = FaultStep | CureStep | OtherStep;

/** A step and when it began, in simulated seconds. */
export type TimedStep = Step & { readonly at?: number };

export interface Schedule {
  readonly scenario: string;
  readonly seed: number;
  readonly steps: readonly TimedStep[];
}

const FORMAT = 1;
/** A schedule of a long run has a few hundred. */
const MAX_STEPS = 10_000;

export function formatSchedule({ scenario, seed, steps }: Schedule): readonly string[] {
  const head = JSON.stringify({ schedule: FORMAT, scenario, seed });
  return [head, ...steps.map((step) => JSON.stringify(step))];
}

/** @throws OperatingError that names the line which is none of ours */
export function parseSchedule(text: string): Schedule {
  const lines = text.split('\n').filter((line) => line.startsWith('{'));
  const [head, ...rest] = lines.map((line, at) => parseLine(line, at + 1));
  const { schedule, scenario, seed } = (head ?? {}) as Readonly<Record<string, unknown>>;
  if (schedule !== FORMAT || typeof scenario !== 'string' || !Number.isInteger(seed)) {
    throw wrong('its first line is not {"schedule":1,"scenario":...,"seed":...}');
  }
  if (rest.length > MAX_STEPS) throw wrong(`more than ${MAX_STEPS} steps`);
  rest.forEach((step, at) => {
    const kinds = ['fault', 'cure', 'act'].filter((key) => typeof step[key] === 'string');
    if (kinds.length !== 1) throw wrong(`step ${at + 1} has not one of fault, cure, act`);
  });
  return { scenario, seed: seed as number, steps: rest as unknown as readonly TimedStep[] };
}

function parseLine(line: string, number: number): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(line) as Readonly<Record<string, unknown>>;
  } catch {
    throw wrong(`line ${number} of those that begin with { is no JSON`);
  }
}

function wrong(what: string): OperatingError {
  return new OperatingError('usage', `no schedule: ${what}`);
}

/** One step as a sentence. */
export function sayStep(step: TimedStep): string {
  const when = step.at === undefined ? '' : `${step.at.toFixed(3)} s  `;
  if ('cure' in step) return `${when}${step.node}: ${step.cure} is over`;
  if ('fault' in step) {
    const { fault, node } = step;
    return `${when}${node}: ${fault}${restOf(step, ['fault', 'node'])}`;
  }
  return `${when}${step.act}${restOf(step, ['act'])}`;
}

function restOf(step: object, known: readonly string[]): string {
  const rest = Object.entries(step).filter(([key]) => key !== 'at' && !known.includes(key));
  return rest.map(([key, value]) => ` ${key} ${textOf(value)}`).join(',');
}

function textOf(value: unknown): string {
  if (typeof value === 'number') return String(Math.round(value * 1000) / 1000);
  return typeof value === 'string' ? value : JSON.stringify(value);
}
