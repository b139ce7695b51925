// Goal: beyond the fault budget nothing wrong is served. Disks are lost for good, files rot, copies go bad on several nodes
// at once, more than the copies and the voters bear, while hosts die and the network breaks. The cluster may halt: no
// convergence is asked for, nobody need be answered. But who is answered reads what a register would say, no node says
// nonsense or ends without a reason, and all other checkers of safety go on.

import { drawn } from '../scenario.ts';
import type { Players } from '../schedule/players.ts';
import type { FaultStep } from '../schedule/step.ts';
import type { SimRandom } from '../sim-random.ts';
import type { Stage } from '../stage.ts';
import { drawDiskFault } from './disk-faults.ts';

const ROUNDS = 5;
const MIN_NODES = 2;
const MAX_NODES = 6;
const SMOKE_SEEDS = 6;
const MAX_FILE_BYTES = 64 * 1024;
const WORKLOAD = { workingSet: 2048, thinkMs: 20, calmThinkMs: 200 };

const FAULTS = ['wiped', 'ruined', 'rot', 'rot', 'power', 'kill', 'cut', 'link'] as const;

/** Agreement and journal: where the end of a file is torn, rot may pass for what a crash left. One node's at most. */
const LOGS = /^(map|journal)/;

class Ruin {
  readonly #stage: Stage;
  readonly #random: SimRandom;
  /** Whose logs may rot. */
  readonly #unlucky: string;

  constructor(stage: Stage) {
    this.#stage = stage;
    this.#random = stage.random.fork('ruin');
    this.#unlucky = stage.anyRunning().name;
  }

  draw(): FaultStep {
    const victim = this.#stage.anyRunning();
    const { name: node } = victim;
    const fault = this.#random.pick(FAULTS);
    if (fault === 'rot') return drawDiskFault(this.#stage, victim, fault);
    if (fault === 'link') {
      return { fault, node, from: this.#random.pick(this.#stage.nodes).name };
    }
    if (fault !== 'ruined') return { fault, node };
    const files = victim.disk
      .filePaths()
      .filter((path) => node === this.#unlucky || !LOGS.test(path));
    if (files.length === 0) return { fault: 'kill', node };
    const position = this.#random.between(0, MAX_FILE_BYTES);
    return { fault, node, path: this.#random.pick(files), position };
  }
}

async function oneRound(stage: Stage, players: Players, ruin: Ruin): Promise<void> {
  const { random } = stage;
  const cures: FaultStep[] = [];
  for (let i = random.between(1, 3); i > 0 && stage.running.length > 0; i -= 1) {
    const step = ruin.draw();
    await players.do(step);
    // What rots stays rotten.
    if (step.fault !== 'rot') cures.push(step);
    await players.do({ act: 'run', seconds: random.exponential(1) });
  }
  await players.do({ act: 'run', seconds: random.exponential(5) });
  for (const { fault, node } of cures) await players.do({ cure: fault, node });
  await players.do({ act: 'run', seconds: random.exponential(4) });
  await players.do({ act: 'try-on' });
}

export const mayHalt = drawn(
  'may-halt',
  { nodes: 1, copies: 3, partitions: 16, smokeSeeds: SMOKE_SEEDS },
  async (stage, players) => {
    const { random } = stage;
    const nodes = random.between(MIN_NODES, MAX_NODES);
    await players.do({ act: 'form', nodes, copies: random.between(1, Math.min(3, nodes)) });
    const { name: node } = stage.anyRunning();
    await players.do({ act: 'guest', node, sizeMiB: 16, work: WORKLOAD });
    await players.do({ act: 'run', seconds: 1 + random.exponential(2) });
    await players.do({ act: 'may-halt' });
    const ruin = new Ruin(stage);
    for (let round = 0; round < ROUNDS; round += 1) await oneRound(stage, players, ruin);
    await players.do({ act: 'heal' });
    await players.do({ act: 'last-reads' });
  },
);
