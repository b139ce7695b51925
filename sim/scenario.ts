// A scenario: a story with an end that must be true. `scenario` declares one, `play` runs it on one seed.

import type { AgreementTuning } from '../src/agreement/options.ts';
import { nodeConfig } from '../src/config.ts';
import { KIB, MIB } from '../src/core/units.ts';
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
  /** Fixed seeds of the smoke test, when they are not 20. */
  readonly smokeSeeds?: number;
}

export interface Scenario {
  readonly name: string;
  readonly options: ScenarioOptions;
  readonly body: (stage: Stage) => Promise<void>;
}

/** Declares a story. The body starts with an empty stage: `stage.form()` makes the cluster. */
export function scenario(
  name: string,
  options: ScenarioOptions,
  body: (stage: Stage) => Promise<void>,
): Scenario {
  return { name, options, body };
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
}

export interface PlayOptions {
  readonly build: BuildNode;
  readonly seed: number;
  /** Mutants come in here. */
  readonly wrapPorts?: WrapPorts;
  /** Called before the story begins: mutants of disk and cable. */
  readonly prepare?: (stage: Stage) => void;
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
  let failure: string | undefined;
  try {
    options.prepare?.(stage);
    await story.body(stage);
    stage.check.historyIsLinearizable();
  } catch (error) {
    failure = reasonOf(world.failure ?? error);
  }
  for (const node of stage.running) node.kill();
  return {
    seed: options.seed,
    scenario: story.name,
    failure,
    hash: world.hash,
    simulatedMs: world.nowMs,
    events: world.eventCount,
    records: world.records,
  };
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `\n    ${error.cause.stack ?? ''}` : '';
  return error instanceof RunFailure
    ? error.message + cause
    : `${error.stack ?? error.message}${cause}`;
}
