// Runs at size (SIMULATOR.md, section 8): one cluster of hundreds of whole nodes without volumes, and one trouble after
// the other. After each: who was called down is who was bad, in at most two epochs per real change, in time.

import { realNowMs } from './bans.ts';
import { isUp, type ScaleOptions, ScaleStage, type WorkPerNode } from './scale-stage.ts';
import type { BuildNode, SimNode } from './sim-node.ts';
import { RunFailure, World } from './world.ts';

/** C1.5: ten that die in one moment are out of the map within this. */
const VERDICT_S = 10;
const SETTLE_S = 120;
/** Share of packets that a bad host loses. */
const BAD_LOSS = 0.8;
const ADOPT_S = 3;
const BAD_FOR_S = 60;
const FLAP_S = 20;
const FLAPS = 3;

export interface ScaleRun extends ScaleOptions {
  readonly seed: number;
  /** Simulated seconds of rest that are measured. */
  readonly quietS: number;
  /** Troubles by name, in this order; all unless given. */
  readonly troubles?: readonly string[];
  /** Gossip delivers nothing once the cluster is there: the same verdicts, perhaps a little later (C8.5). */
  readonly isSilent?: boolean;
}

/** One line of a report. */
export interface Figure {
  readonly what: string;
  readonly value: string;
}

export interface ScaleOutcome {
  readonly failure: string | undefined;
  readonly figures: readonly Figure[];
  /** Of a node at the bootstrap; undefined when that failed. */
  readonly work: WorkPerNode | undefined;
  /** Who was called down, in the order of verdicts. */
  readonly verdicts: readonly string[];
  readonly hash: string;
}

type Say = (what: string, value: string) => void;
type Trouble = (stage: ScaleStage, say: Say) => Promise<void>;

/** A hundredth of the nodes, two at least; no voters unless asked, so that a trouble is one trouble. */
function badOnes(stage: ScaleStage, count: number): SimNode[] {
  const choice = stage.running.filter((node) => !stage.isVoter(node));
  const bad: SimNode[] = [];
  while (bad.length < count && choice.length > 0) {
    bad.push(...choice.splice(stage.random.between(0, choice.length - 1), 1));
  }
  return bad;
}

const percentOf = (stage: ScaleStage): number => Math.max(2, Math.round(stage.nodes.length / 100));
const tenOf = (stage: ScaleStage): number => Math.min(10, Math.floor(stage.nodes.length / 4));

/** Runs a trouble and judges its verdicts: nobody but `bad`, and few epochs. */
async function judged(
  stage: ScaleStage,
  bad: readonly SimNode[],
  changes: number,
  trouble: () => Promise<void>,
): Promise<{ readonly epochs: number; readonly lastMs: number }> {
  const first = stage.verdicts.length;
  const { epoch } = stage;
  const startMs = stage.world.nowMs;
  await trouble();
  const verdicts = stage.verdicts.slice(first);
  const names = new Set(bad.map((node) => node.name));
  const innocent = verdicts.find(({ node }) => !names.has(node));
  if (innocent !== undefined) throw new RunFailure(`${innocent.node} was well, and called down`);
  const epochs = stage.epoch - epoch;
  if (epochs > 2 * changes) throw new RunFailure(`${epochs} epochs for ${changes} changes`);
  return { epochs, lastMs: Math.max(0, ...verdicts.map(({ atMs }) => atMs - startMs)) };
}

/** All of them die at once, by `kill`; one verdict takes them all; they come back. */
function die(what: string, kill: (node: SimNode) => void): Trouble {
  return async (stage, say) => {
    const bad = badOnes(stage, tenOf(stage));
    const { epochs, lastMs } = await judged(stage, bad, bad.length, async () => {
      for (const node of bad) kill(node);
      const areDown = () => bad.every((node) => stage.stateOf(node) === 'down');
      await stage.until(`C-detect: ${what}`, areDown, VERDICT_S);
    });
    if (epochs !== 1) throw new RunFailure(`${what}: ${epochs} epochs`);
    const dialled = stage.workPerNode.channels;
    say(what, `${bad.length} down in ${epochs} epoch after ${(lastMs / 1000).toFixed(2)} s`);
    for (const node of bad) await node.start();
    await stage.settles(`after ${what}`, SETTLE_S);
    // Longer than observers take to adopt the rings of the last epoch.
    await stage.run(ADOPT_S);
    const channels = stage.workPerNode.channels - dialled;
    say('  of it, a node', `${channels.toFixed(1)} channels dialled until all were back`);
  };
}

async function zoneLost(stage: ScaleStage, say: Say): Promise<void> {
  const zone = stage.zoneOf(stage.nodes.findIndex((node) => node !== stage.leader));
  const bad = stage.inZone(zone);
  const { epochs, lastMs } = await judged(stage, bad, bad.length, async () => {
    for (const node of bad) node.losePower();
    const areDown = () => bad.every((node) => stage.stateOf(node) === 'down');
    await stage.until('C-detect: a zone', areDown, SETTLE_S);
  });
  say(
    'a zone loses power',
    `${bad.length} down in ${epochs} epochs, ${(lastMs / 1000).toFixed(2)} s`,
  );
  for (const node of bad) await node.start();
  await stage.settles('after the zone', SETTLE_S);
}

async function badCables(stage: ScaleStage, say: Say): Promise<void> {
  const bad = badOnes(stage, percentOf(stage));
  const { epochs, lastMs } = await judged(stage, bad, bad.length, async () => {
    for (const { name } of bad) stage.cable.paths.setLoss(name, BAD_LOSS);
    await stage.run(BAD_FOR_S);
    const spared = bad.filter((node) => stage.stateOf(node) !== 'down');
    if (spared.length > 0) throw new RunFailure(`${spared[0]?.name} loses 80 % and is up`);
    for (const { name } of bad) stage.cable.paths.setLoss(name, 0);
    await stage.until('they are back', () => bad.every(isUp), SETTLE_S);
  });
  const when = `${(lastMs / 1000).toFixed(1)} s`;
  say(
    '80 % loss on 1 %',
    `${bad.length} bad ones removed, the last after ${when}; ${epochs} epochs`,
  );
  await stage.settles('after the bad cables', SETTLE_S);
}

/** One direction of all links of a few nodes comes and goes. */
async function flapping(stage: ScaleStage, say: Say): Promise<void> {
  const bad = badOnes(stage, percentOf(stage));
  const { paths } = stage.cable;
  const each = (change: (well: string, ill: string) => void): void =>
    paths.together(() => {
      for (const ill of bad) {
        for (const well of stage.nodes) if (!bad.includes(well)) change(well.name, ill.name);
      }
    });
  const { epochs } = await judged(stage, bad, bad.length * FLAPS, async () => {
    for (let i = 0; i < FLAPS; i += 1) {
      each((well, ill) => (i % 2 === 0 ? paths.cut(well, ill) : paths.cut(ill, well)));
      await stage.run(FLAP_S);
      const spared = bad.find((node) => stage.stateOf(node) !== 'down');
      if (spared !== undefined) throw new RunFailure(`${spared.name} is one-way and up`);
      each((well, ill) => (i % 2 === 0 ? paths.heal(well, ill) : paths.heal(ill, well)));
      await stage.run(FLAP_S);
    }
  });
  say(
    'one-way links, 20 s on and off',
    `${bad.length} flapping ones, ${FLAPS} times: ${epochs} epochs for ${bad.length * FLAPS} flaps and returns`,
  );
  await stage.settles('after the flapping', SETTLE_S);
}

/** The data path of a few nodes comes and goes, the control plane is fine. */
async function dataOnly(stage: ScaleStage, say: Say): Promise<void> {
  const bad = badOnes(stage, percentOf(stage));
  const { paths } = stage.cable;
  const { epochs } = await judged(stage, bad, bad.length, async () => {
    paths.together(() => {
      for (const ill of bad) {
        for (const { name } of stage.nodes)
          if (name !== ill.name) paths.cut(name, ill.name, ['data']);
      }
    });
    await stage.run(BAD_FOR_S);
    const spared = bad.filter((node) => stage.stateOf(node) !== 'down');
    if (spared.length > 0) throw new RunFailure(`${spared[0]?.name} has no data path and is up`);
    paths.healAll();
    await stage.until('they are back', () => bad.every(isUp), SETTLE_S);
  });
  say('data path cut, control fine, 60 s', `${bad.length} removed, back once: ${epochs} epochs`);
  await stage.settles('after the cut of data paths', SETTLE_S);
}

const withoutGossip: Trouble = async (stage, say) => {
  stage.cable.gossipRate = 0;
  await die('10 killed, gossip at 0 %', (node) => node.kill())(stage, say);
};

export const TROUBLES: Readonly<Record<string, Trouble>> = {
  killed: die('10 killed at once', (node) => node.kill()),
  dark: die('10 lose power at once', (node) => node.losePower()),
  loss: badCables,
  flapping,
  data: dataOnly,
  zone: zoneLost,
  silent: withoutGossip,
};

async function rest(stage: ScaleStage, quietS: number, say: Say): Promise<void> {
  stage.traffic.reset();
  const { nowMs } = stage.world;
  const { epoch } = stage;
  const cpuMs = process.cpuUsage().user / 1000;
  await stage.run(quietS);
  const cpuS = (process.cpuUsage().user / 1000 - cpuMs) / 1000;
  if (stage.epoch !== epoch) throw new RunFailure('an epoch rose while nothing happened');
  const rates = [...stage.bytesPerNodeSecond(nowMs)];
  const sum = rates.reduce((total, [, rate]) => total + rate, 0);
  say('at rest', `${quietS} simulated s in ${cpuS.toFixed(1)} s of CPU`);
  say('control traffic sent per node', `${sum.toFixed(0)} B/s`);
  say('  of it', rates.map(([kind, rate]) => `${kind} ${rate.toFixed(1)}`).join(', '));
}

/** Never throws. `tell` hears each figure when it is known. */
export async function runAtSize(
  build: BuildNode,
  run: ScaleRun,
  tell: (figure: Figure) => void = () => {},
): Promise<ScaleOutcome> {
  const figures: Figure[] = [];
  const say: Say = (what, value) => {
    figures.push({ what, value });
    tell({ what, value });
  };
  const world = new World(run.seed);
  const stage = new ScaleStage(world, build, run);
  const startedMs = realNowMs();
  let failure: string | undefined;
  let work: WorkPerNode | undefined;
  try {
    await stage.bootstrap();
    const entries = `epoch ${stage.epoch}, ${stage.newest?.index} entries`;
    const cpu = `${(process.cpuUsage().user / 1e6).toFixed(0)} s of CPU`;
    say('bootstrap', `${(world.nowMs / 1000).toFixed(1)} simulated s, ${cpu}, ${entries}`);
    work = stage.workPerNode;
    const { views, syncs, channels } = work;
    const made = `${channels.toFixed(1)} channels dialled`;
    say('  of it, a node', `${views.toFixed(0)} views, ${syncs.toFixed(0)} syncs, ${made}`);
    await rest(stage, run.quietS, say);
    if (run.isSilent === true) stage.cable.gossipRate = 0;
    for (const name of run.troubles ?? Object.keys(TROUBLES)) await TROUBLES[name]?.(stage, say);
  } catch (error) {
    const reason = world.failure ?? error;
    failure = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason);
  }
  const rss = Math.round(process.memoryUsage().rss / 1e6);
  const wall = ((realNowMs() - startedMs) / 1000).toFixed(0);
  say(
    'whole run',
    `${(world.nowMs / 1000).toFixed(0)} simulated s, ${wall} s of wall time, ${rss} MB`,
  );
  for (const node of stage.running) node.kill();
  const verdicts = stage.verdicts.map(({ node }) => node);
  return { failure, figures, verdicts, work, hash: world.hash };
}
