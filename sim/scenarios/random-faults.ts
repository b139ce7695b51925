// Goal: nothing in particular. Nodes are killed, lose power, are cut off, paused and healed, their disks rot, fill up and
// fail as the seed likes, at most one at a time, so that a majority and enough copies live; the guest moves to another
// gateway when its own is hit. All safety checkers run throughout; in the end everything is healed, converges, and every
// acknowledged write is there.

import { drawn } from '../scenario.ts';
import type { Players } from '../schedule/players.ts';
import type { FaultStep } from '../schedule/step.ts';
import type { SimNode } from '../sim-node.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import { DISK_FAULTS, drawDiskFault, isDiskFault } from './disk-faults.ts';

const NODES = 4;
const COPIES = 3;
const ROUNDS = 6;
/** Long runs: `npm run sim` has the rest. */
const SMOKE_SEEDS = 5;
const MAX_PAUSE_MS = 8000;
/** A disk that nearly hangs: half a second a sync. */
const SLOWNESS = 1000;
const CALLED_DOWN_S = 10;

/** Blocks over several objects: ends of partitions' lives differ. */
const WORKLOAD = { workingSet: 4096, thinkMs: 20, calmThinkMs: 200 };

const FAULTS = [
  'kill',
  'power',
  'stop',
  'cut',
  'deaf',
  'mute',
  'data',
  'pause',
  'slow',
  ...DISK_FAULTS,
] as const;
type Fault = (typeof FAULTS)[number];

function drawFault(stage: Stage, victim: SimNode, kind: Fault): FaultStep {
  const { name: node } = victim;
  if (isDiskFault(kind)) return drawDiskFault(stage, victim, kind);
  if (kind === 'pause') return { fault: kind, node, ms: stage.random.unit() * MAX_PAUSE_MS };
  return kind === 'slow' ? { fault: kind, node, factor: SLOWNESS } : { fault: kind, node };
}

async function cure(players: Players, { fault, node }: FaultStep): Promise<void> {
  const isCut = ['cut', 'deaf', 'mute', 'data'].includes(fault);
  if (isCut) await players.do({ act: 'heal' });
  else if (fault !== 'pause') await players.do({ cure: fault, node });
}

/** @returns where the guest is now */
async function oneRound(stage: Stage, players: Players, gateway: SimNode): Promise<SimNode> {
  const { random } = stage;
  let at = gateway;
  const moveTo = async (node: SimNode): Promise<void> => {
    at = node;
    await players.do({ act: 'move', node: node.name, seconds: 30 });
  };
  await players.do({ act: 'run', seconds: random.exponential(1) });
  const victim = stage.anyRunning();
  const step = drawFault(stage, victim, random.pick(FAULTS));
  await players.do(step);
  // A paused gateway comes back in the middle of a move: it may go on with its lock (C4.2).
  const isMoved = !victim.isRunning || (step.fault === 'cut' && random.chance(0.5));
  if (victim === gateway && isMoved) {
    await players.do({ act: 'called-down', node: victim.name, seconds: CALLED_DOWN_S });
    if (isCalledDown(stage, victim)) await moveTo(stage.anyRunning(victim));
  }
  await players.do({ act: 'run', seconds: random.exponential(3) });
  await cure(players, step);
  if (random.chance(0.7)) await players.do({ act: 'converge', seconds: 120 });
  if (!players.guest.gatewayIsAlive) await moveTo(stage.anyRunning());
  return at;
}

export const randomFaults = drawn(
  'random-faults',
  { nodes: 1, copies: COPIES, partitions: 32, smokeSeeds: SMOKE_SEEDS },
  async (stage, players) => {
    await players.do({ act: 'form', nodes: NODES, copies: COPIES });
    let gateway = stage.anyRunning();
    await players.do({ act: 'guest', node: gateway.name, sizeMiB: 16, work: WORKLOAD });
    for (let round = 0; round < ROUNDS; round += 1) {
      gateway = await oneRound(stage, players, gateway);
    }
    await players.do({ act: 'heal' });
    await players.do({ act: 'converge', seconds: 120 });
    await players.do({ act: 'verdict', node: stage.anyRunning().name });
  },
);
