// Goal: commands about a few volumes, given through all nodes at once, answer as if they had been one after the other
// (C2.3, C2.5, A6): no volume is made twice, none is missing that was there, no lock has two holders, whatever time-outs,
// crashes, cuts and pauses do. The history is judged by checkers/linearizable.ts.

import { judgeCommands } from '../checkers/linearizable.ts';
import { CommandClient, CommandHistory } from '../commands.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { SimRandom } from '../sim-random.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const NAMES = ['a', 'b', 'c'];
const ROUNDS = 5;
const MAX_NODES = 5;
const SMOKE_SEEDS = 8;
const MAX_PAUSE_MS = 9000;
/** Longer than any client's patience. */
const LAST_ANSWERS_S = 30;
/** A run with fewer answers judged nothing: when all is well again, clients are answered at least as often within this. */
const LEAST_ANSWERS = 40;
const ANSWERS_S = 60;

const FAULTS = [
  'kill',
  'power',
  'stop',
  'cut',
  'deaf',
  'mute',
  'control',
  'pause',
  'loss',
] as const;
type Fault = (typeof FAULTS)[number];
/** Whom these befall accuses nobody that others hear. The deaf are heard: two of them have a third called down, lawfully. */
const IS_SILENT: ReadonlySet<Fault> = new Set(['kill', 'power', 'stop', 'cut', 'mute', 'pause']);
type Clients = ReadonlyMap<SimNode, CommandClient>;

async function hurt(stage: Stage, victim: SimNode, kind: Fault): Promise<() => Promise<void>> {
  stage.world.note('stage', 'fault', `${kind} ${victim.name}`);
  const { paths } = stage.cable;
  if (kind === 'kill') victim.kill();
  else if (kind === 'power') victim.losePower();
  else if (kind === 'stop') await victim.stop();
  else if (kind === 'pause') {
    const ms = stage.random.unit() * MAX_PAUSE_MS;
    victim.running().process.pause(ms);
    return () => stage.run({ seconds: ms / 1000 });
  } else if (kind === 'loss') {
    paths.setLoss(victim.name, 0.5);
    return async () => paths.setLoss(victim.name, 0);
  } else return cut(stage, victim, kind);
  return () => victim.start();
}

/** 'control': it hears and says nothing of the map, while its data goes on. */
async function cut(stage: Stage, victim: SimNode, kind: Fault): Promise<() => Promise<void>> {
  const { paths } = stage.cable;
  const planes = kind === 'control' ? (['control'] as const) : undefined;
  const others = stage.nodes.filter((node) => node !== victim);
  for (const { name } of others) {
    if (kind !== 'mute') paths.cut(name, victim.name, planes);
    if (kind !== 'deaf') paths.cut(victim.name, name, planes);
  }
  return async () => {
    for (const { name } of others) {
      paths.heal(name, victim.name);
      paths.heal(victim.name, name);
    }
  };
}

async function oneRound(
  stage: Stage,
  clients: Clients,
  kinds: readonly Fault[],
  random: SimRandom,
): Promise<void> {
  const cures: (() => Promise<void>)[] = [];
  const hurtClients = new Set<CommandClient>();
  for (let count = random.between(1, 2); count > 0 && stage.running.length > 0; count -= 1) {
    const victim = random.chance(0.4) ? (stage.leader ?? stage.anyRunning()) : stage.anyRunning();
    const kind = random.pick(kinds);
    for (const [node, client] of clients) {
      if (node !== victim && IS_SILENT.has(kind)) continue;
      hurtClients.add(client);
      client.hurt();
    }
    cures.push(await hurt(stage, victim, kind));
    await stage.run({ seconds: random.exponential(1) });
  }
  await stage.run({ seconds: random.exponential(7) });
  for (const cure of cures) await cure();
  for (const client of hurtClients) client.healed();
}

function judge(history: CommandHistory): void {
  const { outcome, reason } = judgeCommands(history.commands);
  if (outcome !== 'right') throw new RunFailure(reason);
}

function hasEnough({ commands }: CommandHistory): true | string {
  const answers = commands.filter(({ answer }) => answer !== undefined).length;
  return answers >= LEAST_ANSWERS || `${answers}`;
}

export const commands = scenario(
  'commands',
  { nodes: 3, copies: 3, smokeSeeds: SMOKE_SEEDS },
  async (stage) => {
    const { random, cable, world } = stage;
    const nodes = random.between(3, MAX_NODES);
    while (stage.nodes.length < nodes) stage.addNode();
    await stage.form();
    const kinds = FAULTS.filter(() => random.chance(0.5));
    cable.gossipRate = random.pick([0, 0.5, 1]);
    world.note('stage', 'commands', `${nodes} nodes, ${kinds.join(' ')}`);
    const history = new CommandHistory();
    const clients: Clients = new Map(
      stage.nodes.map((node) => [node, new CommandClient(world, node, { names: NAMES, history })]),
    );
    for (const client of clients.values()) client.start();
    for (let round = 0; round < ROUNDS; round += 1) {
      await stage.run({ seconds: random.exponential(2) });
      const faults = kinds.length > 0 ? kinds : FAULTS;
      await oneRound(stage, clients, faults, random.fork('round'));
      if (random.chance(0.5)) await stage.check.converges({ seconds: 120 });
    }
    stage.heal();
    await stage.check.converges({ seconds: 120 });
    await stage.run({ seconds: 5 });
    await stage.until('answers enough', () => hasEnough(history), { seconds: ANSWERS_S });
    for (const client of clients.values()) client.freeze();
    await stage.run({ seconds: LAST_ANSWERS_S });
    judge(history);
  },
);
