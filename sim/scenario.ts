// A scenario: a story with an end that must be true. `scenario` declares one, `play` runs it on one seed.

import type { AgreementTuning } from '../src/agreement/options.ts';
import { nodeConfig } from '../src/config.ts';
import { KIB, MIB } from '../src/core/units.ts';
import type { RarePoint } from '../src/ports/ports.ts';
import type { FaultKind } from './reach/fault-kinds.ts';
import { Players } from './schedule/players.ts';
import type { Step, TimedStep } from './schedule/step.ts';
import type { BuildNode } from './sim-node.ts';
import { Stage, type WrapPorts } from './stage.ts';
import { RunFailure, type TraceRecord, World } from './world.ts';

/** Smallest journal that a node accepts: it wraps and checkpoints often. */
const SIM_JOURNAL_BYTES = 8 * MIB;
/** Two blocks: many a guest's write goes past the journal. */
const SIM_EXTENT_BYTES = 8 * KIB;
/** Audited and compacted often, so that every story has snapshots, and nodes that need them. */
const SIM_MAP_LOG: AgreementTuning = {
  auditEvery: 10,
  pace: { everyEntries: 20, keepEntries: 5 },
};

export interface ScenarioOptions {
  readonly nodes: number;
  readonly copies: number;
  readonly partitions?: number;
  /** Fixed seeds of the smoke test, when they are not 12. */
  readonly smokeSeeds?: number;
}

export interface Scenario {
  readonly name: string;
  readonly options: ScenarioOptions;
  readonly body: Body;
  /** Its faults are steps that `Players` carry out: the run has a schedule. */
  readonly isDrawn: boolean;
}

type Body = (stage: Stage, players: Players) => Promise<void>;

/** Declares a story. The body starts with an empty stage: `stage.form()` makes the cluster. */
export function scenario(name: string, options: ScenarioOptions, body: Body): Scenario {
  return { name, options, body, isDrawn: false };
}

/** Declares a story that the seed draws. All that it does to the cluster it does by `players.do`. */
export function drawn(name: string, options: ScenarioOptions, body: Body): Scenario {
  return { name, options, body, isDrawn: true };
}

/** What became of one seed. */
export interface Outcome {
  readonly seed: number;
  readonly scenario: string;
  /** The reason, one line; undefined = the story ended well. */
  readonly failure: string | undefined;
  readonly hash: string;
  readonly simulatedMs: number;
  readonly events: number;
  readonly records: readonly TraceRecord[];
  /** What was done, up to the end or the failure; of stories that are drawn, and of those played by a schedule. */
  readonly steps: readonly TimedStep[];
  /** Faults that took effect, by kind. */
  readonly faults: ReadonlyMap<FaultKind, number>;
  /** Rare branches that product code took, by point. */
  readonly rare: ReadonlyMap<RarePoint, number>;
}

export interface PlayOptions {
  readonly build: BuildNode;
  readonly seed: number;
  /** Mutants come in here. */
  readonly wrapPorts?: WrapPorts;
  /** Called before the story begins: mutants of disk and cable. */
  readonly prepare?: (stage: Stage) => void;
  /** Instead of what the story draws. */
  readonly steps?: readonly Step[];
}

/** Runs one seed of a story to its end or its first failure. Never throws. */
export async function play(story: Scenario, options: PlayOptions): Promise<Outcome> {
  const world = new World(options.seed);
  const { nodes, copies, partitions = 16 } = story.options;
  const config = nodeConfig({
    journalBytes: SIM_JOURNAL_BYTES,
    extentBytes: SIM_EXTENT_BYTES,
    mapLog: SIM_MAP_LOG,
  });
  const stage = new Stage(
    world,
    options.build,
    { nodes, copies, partitions, config },
    options.wrapPorts ?? ((_name, ports) => ports),
  );
  const players = new Players(stage);
  let failure: string | undefined;
  try {
    options.prepare?.(stage);
    if (options.steps === undefined) await story.body(stage, players);
    else await players.play(options.steps);
    stage.check.historyIsLinearizable();
    stage.check.someHistoriesAreSearched();
  } catch (error) {
    failure = reasonOf(world.failure ?? error);
  }
  const faults = new Map(world.faults);
  // The run is over: who watched it hears no more.
  world.onFault = () => {};
  world.onNote = () => {};
  for (const node of stage.running) node.kill();
  return {
    seed: options.seed,
    scenario: story.name,
    failure,
    hash: world.hash,
    simulatedMs: world.nowMs,
    events: world.eventCount,
    records: world.records,
    steps: players.steps,
    faults,
    rare: world.rare,
  };
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `\n    ${error.cause.stack ?? ''}` : '';
  return error instanceof RunFailure
    ? error.message + cause
    : `${error.stack ?? error.message}${cause}`;
}
