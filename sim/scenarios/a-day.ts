// Goal: nothing happens for long, then something does. One hour, or a whole day, of a small cluster whose guest thinks
// for seconds between two requests; now and then one node is hurt and cured. What only time brings shows here: counters,
// logs and files that grow, timers of hours, the scrub that comes round, a peace that is none. For soaks.

import { drawn, type Scenario } from '../scenario.ts';
import type { Players } from '../schedule/players.ts';
import type { FaultStep } from '../schedule/step.ts';
import type { Stage } from '../stage.ts';

const HOUR_S = 3600;
/** Between two faults, on average. */
const PEACE_S = 1500;
const FAULT_S = 90;
/** Small ones are cheap: more days in a night. */
const MAX_NODES = 5;
const MAX_PAUSE_MS = 30_000;
/** A guest that thinks: a request every two seconds or so. */
const WORKLOAD = { workingSet: 2048, thinkMs: 2000, calmThinkMs: 8000, depth: 2 };

const FAULTS = ['kill', 'power', 'stop', 'cut', 'deaf', 'mute', 'data', 'pause', 'loss'] as const;

function drawFault({ random }: Stage, node: string): FaultStep {
  const fault = random.pick(FAULTS);
  if (fault === 'pause') return { fault, node, ms: random.unit() * MAX_PAUSE_MS };
  return fault === 'loss' ? { fault, node, rate: 0.3 } : { fault, node };
}

async function trouble(stage: Stage, players: Players): Promise<void> {
  const step = drawFault(stage, stage.anyRunning().name);
  await players.do(step);
  await players.do({ act: 'run', seconds: stage.random.exponential(FAULT_S) });
  if (step.fault !== 'pause') await players.do({ cure: step.fault, node: step.node });
  await players.do({ act: 'converge', seconds: 180 });
  if (!players.guest.gatewayIsAlive) {
    await players.do({ act: 'move', node: stage.anyRunning().name, seconds: 60 });
  }
}

function long(name: string, hours: number): Scenario {
  return drawn(name, { nodes: 1, copies: 3, partitions: 16 }, async (stage, players) => {
    const { random } = stage;
    const nodes = random.between(2, MAX_NODES);
    await players.do({ act: 'form', nodes, copies: random.between(2, Math.min(3, nodes)) });
    const { name: node } = stage.anyRunning();
    await players.do({ act: 'guest', node, sizeMiB: 16, work: WORKLOAD });
    const endMs = hours * HOUR_S * 1000;
    for (;;) {
      const leftS = (endMs - stage.world.nowMs) / 1000;
      const seconds = random.exponential(PEACE_S);
      await players.do({ act: 'run', seconds: Math.max(0, Math.min(seconds, leftS)) });
      if (seconds >= leftS) break;
      await trouble(stage, players);
    }
    await players.do({ act: 'heal' });
    await players.do({ act: 'converge', seconds: 120 });
    await players.do({ act: 'verdict', node: stage.anyRunning().name });
  });
}

export const anHour = long('an-hour', 1);
export const aDay = long('a-day', 24);
