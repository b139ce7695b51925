// Goal: a cluster of one to nine, on a network and with faults that the seed draws, each run without a random half of the
// kinds. Several nodes are hurt at once, voters, too: then nothing may go wrong, though much may stand still. In the end
// all is healed but, in some runs, one direction between two nodes; the cluster must come to rest all the same: one
// leader, an epoch that stays, nobody down that is well, every acknowledged write there (C-conv).

import { RARE_POINTS, type RarePoint } from '../../src/ports/ports.ts';
import { drawn, type Scenario } from '../scenario.ts';
import type { Players } from '../schedule/players.ts';
import type { CureStep, FaultStep } from '../schedule/step.ts';
import type { SimRandom } from '../sim-random.ts';
import type { Stage } from '../stage.ts';
import {
  DISK_FAULTS,
  damages,
  drawDiskFault,
  FAILURES,
  isDiskFault,
  MORE_FAILURES,
} from './disk-faults.ts';

const SMOKE_SEEDS = 6;
const MAX_PAUSE_MS = 12_000;
/** Come to many times a second: rarer. */
const FREQUENT: ReadonlySet<RarePoint> = new Set(['election-early', 'confirmation-lost']);
const WORKLOAD = { workingSet: 2048, thinkMs: 40, calmThinkMs: 400 };

const FAULTS = [
  'kill',
  'power',
  'stop',
  'cut',
  'deaf',
  'mute',
  'link',
  'data',
  'pause',
  'loss',
  ...DISK_FAULTS,
] as const;
type Fault = (typeof FAULTS)[number];

/** A network between excellent and miserable, and half of the fault kinds. */
async function drawWorld({ random }: Stage, players: Players): Promise<readonly Fault[]> {
  await players.do({
    act: 'weather',
    gossip: random.pick([0, 0.3, 0.95, 1]),
    gossipTwice: random.pick([0, 0.05, 0.5]),
    slowness: random.chance(0.3) ? random.between(2, 20) : 1,
    loss: random.chance(0.3) ? 0.02 : 0,
    breaks: random.chance(0.3) ? 0.0005 : 0,
  });
  const kinds = FAULTS.filter(() => random.chance(0.5));
  return kinds.length > 0 ? kinds : ['kill'];
}

function drawFault(stage: Stage, kind: Fault, isRare: boolean): FaultStep {
  const victim = stage.anyRunning();
  const { name: node } = victim;
  const failures = isRare ? MORE_FAILURES : FAILURES;
  if (isDiskFault(kind)) return drawDiskFault(stage, victim, kind, failures);
  if (kind === 'pause') return { fault: kind, node, ms: stage.random.unit() * MAX_PAUSE_MS };
  if (kind === 'loss') return { fault: kind, node, rate: 0.5 };
  if (kind !== 'link') return { fault: kind, node };
  const other = stage.nodes.find((each) => each !== victim);
  return { fault: kind, node, from: other?.name ?? '' };
}

/**
 * @param mayDamage there are copies that can heal others
 * @returns what is left to cure: bad copies, which other nodes heal, and a holder who closes what is open
 */
async function oneRound(
  stage: Stage,
  players: Players,
  how: {
    readonly kinds: readonly Fault[];
    readonly random: SimRandom;
    readonly mayDamage: boolean;
    readonly isRare: boolean;
  },
): Promise<CureStep | undefined> {
  const { kinds, random, mayDamage, isRare } = how;
  const most = Math.max(1, Math.floor(stage.nodes.length / 2));
  const count = random.between(1, most);
  const cures: CureStep[] = [];
  let heal: CureStep | undefined;
  for (let i = 0; i < count && stage.running.length > 0; i += 1) {
    const kind = random.pick(kinds);
    const isBarred = damages(kind) && (!mayDamage || heal !== undefined);
    const step = drawFault(stage, isBarred ? 'kill' : kind, isRare);
    await players.do(step);
    const cure = { cure: step.fault, node: step.node };
    if (damages(kind) && !isBarred) heal = cure;
    else if (kind !== 'pause') cures.push(cure);
    await players.do({ act: 'run', seconds: random.exponential(1) });
  }
  await players.do({ act: 'run', seconds: random.exponential(5) });
  for (const cure of cures) await players.do(cure);
  return heal;
}

async function stubbornLink(stage: Stage, players: Players): Promise<void> {
  const one = stage.anyRunning();
  const other = stage.anyRunning(one);
  await players.do({ act: 'stays-cut', from: one.name, to: other.name });
  await players.do({ act: 'rest', absent: 1 });
  await players.do({ act: 'heal' });
}

/** Half of the rare branches of product code, each more or less likely. Drawn from a stream of its own. */
async function drawRare({ random }: Stage, players: Players): Promise<void> {
  const own = random.fork('rare');
  const points: Record<string, number> = {};
  for (const point of RARE_POINTS) {
    const likely = own.pick(FREQUENT.has(point) ? [0.0005, 0.005] : [0.02, 0.2]);
    if (own.chance(0.5)) points[point] = likely;
  }
  await players.do({ act: 'rare', points });
}

/** How large the clusters of a swarm are, and how long their trouble. */
interface Kind {
  readonly maxNodes: number;
  readonly rounds: number;
  readonly sizeMiB: number;
  readonly work: typeof WORKLOAD;
  /** Rare branches of product code are taken, and disks fail in more ways. */
  readonly isRare: boolean;
}

const USUAL: Kind = { maxNodes: 9, rounds: 5, sizeMiB: 16, work: WORKLOAD, isRare: false };

function swarmOf(name: string, kind: Kind): Scenario {
  const options = { nodes: 1, copies: 3, partitions: 16, smokeSeeds: SMOKE_SEEDS };
  return drawn(name, options, async (stage, players) => {
    const { random } = stage;
    const { sizeMiB, work, isRare } = kind;
    const nodes = random.between(1, kind.maxNodes);
    const copies = random.between(1, Math.min(3, nodes));
    await players.do({ act: 'form', nodes, copies });
    const kinds = await drawWorld(stage, players);
    const about = `${nodes} nodes, ${kinds.join(' ')}`;
    await players.do({ act: 'note', name: 'swarm', text: about });
    const { name: node } = stage.anyRunning();
    await players.do({ act: 'guest', node, sizeMiB, work });
    // Only now: no operator asks for anything any more, who would be told that it was given up.
    if (isRare) await drawRare(stage, players);
    for (let round = 0; round < kind.rounds; round += 1) {
      await players.do({ act: 'run', seconds: random.exponential(2) });
      const how = { kinds, random: random.fork('round'), mayDamage: copies > 1, isRare };
      const heal = await oneRound(stage, players, how);
      if (random.chance(0.5)) await players.do({ act: 'converge', seconds: 180 });
      if (!players.guest.gatewayIsAlive) {
        await players.do({ act: 'move', node: stage.anyRunning().name, seconds: 60 });
      }
      if (heal !== undefined) await players.do(heal);
    }
    await rests(stage, players, nodes);
  });
}

/** All is healed, but in some runs one direction of one link; all comes to rest, and what was written is there. */
async function rests(stage: Stage, players: Players, nodes: number): Promise<void> {
  await players.do({ act: 'fair' });
  await players.do({ act: 'heal' });
  await players.do({ act: 'converge', seconds: 180 });
  if (nodes >= 3 && stage.random.chance(0.5)) await stubbornLink(stage, players);
  await players.do({ act: 'rest', absent: 0 });
  await players.do({ act: 'converge', seconds: 120 });
  await players.do({ act: 'verdict', node: stage.anyRunning().name });
}

export const swarm = swarmOf('swarm', USUAL);

/**
 * The same, and product code takes branches on purpose that hardly any run comes to: RARE_POINTS. A failing disk may fail
 * at reads only, or be out of reach.
 */
export const swarmRare = swarmOf('swarm-rare', { ...USUAL, isRare: true });

/** Short and small, with all that `swarm-rare` does: what takes tens of thousands of seeds to show. For soaks. */
export const swarmSmall = swarmOf('swarm-small', {
  ...{ maxNodes: 3, rounds: 2, sizeMiB: 4, isRare: true },
  work: { workingSet: 256, thinkMs: 40, calmThinkMs: 2000 },
});
