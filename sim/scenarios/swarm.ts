// Goal: a cluster of one to nine, on a network and with faults that the seed draws, each run without a random half of the
// kinds. Several nodes are hurt at once, voters, too: then nothing may go wrong, though much may stand still. In the end
// all is healed but, in some runs, one direction between two nodes; the cluster must come to rest all the same: one
// leader, an epoch that stays, nobody down that is well, every acknowledged write there (C-conv).

import type { Guest } from '../guest.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { SimRandom } from '../sim-random.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import {
  allHealed,
  type Cure,
  DISK_FAULTS,
  damages,
  hurtDisk,
  isDiskFault,
} from './disk-faults.ts';

const MAX_NODES = 9;
const ROUNDS = 5;
const SMOKE_SEEDS = 6;
const MAX_PAUSE_MS = 12_000;
/** A cluster with a fault that stays comes to rest within this, and then does not move for REST_S. */
const SETTLE_S = 60;
const REST_S = 30;
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

/** Half of the fault kinds, and a network between excellent and miserable. */
function drawWorld(stage: Stage): readonly Fault[] {
  const { random, cable } = stage;
  cable.gossipRate = random.pick([0, 0.3, 0.95, 1]);
  cable.gossipTwiceRate = random.pick([0, 0.05, 0.5]);
  cable.paths.slowness = random.chance(0.3) ? random.between(2, 20) : 1;
  cable.paths.lossRate = random.chance(0.3) ? 0.02 : 0;
  cable.paths.breakRate = random.chance(0.3) ? 0.0005 : 0;
  const kinds = FAULTS.filter(() => random.chance(0.5));
  return kinds.length > 0 ? kinds : ['kill'];
}

/** A cable as it should be. */
function soundCable(stage: Stage): void {
  const { paths } = stage.cable;
  paths.slowness = 1;
  paths.lossRate = 0;
  paths.breakRate = 0;
  for (const { name } of stage.nodes) paths.setLoss(name, 0);
}

async function hurt(stage: Stage, victim: SimNode, kind: Fault): Promise<Cure> {
  const { random, cable } = stage;
  stage.world.note('stage', 'fault', `${kind} ${victim.name}`);
  if (isDiskFault(kind)) return hurtDisk(stage, victim, kind);
  if (kind === 'kill') victim.kill();
  else if (kind === 'power') victim.losePower();
  else if (kind === 'stop') await victim.stop();
  else if (kind === 'pause') {
    victim.running().process.pause(random.unit() * MAX_PAUSE_MS);
    return async () => {};
  } else if (kind === 'loss') {
    cable.paths.setLoss(victim.name, 0.5);
    return async () => cable.paths.setLoss(victim.name, 0);
  } else return cut(stage, victim, kind);
  return () => victim.start();
}

async function cut(stage: Stage, victim: SimNode, kind: Fault): Promise<Cure> {
  const others = stage.nodes.filter((node) => node !== victim);
  const ends = kind === 'link' ? others.slice(0, 1) : others;
  const planes = kind === 'data' ? (['data'] as const) : undefined;
  const { paths } = stage.cable;
  for (const { name } of ends) {
    if (kind !== 'mute') paths.cut(name, victim.name, planes);
    if (kind !== 'deaf' && kind !== 'link') paths.cut(victim.name, name, planes);
  }
  return async () => {
    for (const { name } of ends) {
      paths.heal(name, victim.name);
      paths.heal(victim.name, name);
    }
  };
}

/**
 * @param mayDamage there are copies that can heal others
 * @returns what is left to cure: bad copies, which other nodes heal, and a holder who closes what is open
 */
async function oneRound(
  stage: Stage,
  kinds: readonly Fault[],
  random: SimRandom,
  mayDamage: boolean,
): Promise<Cure | undefined> {
  const most = Math.max(1, Math.floor(stage.nodes.length / 2));
  const count = random.between(1, most);
  const cures: Cure[] = [];
  let heal: Cure | undefined;
  for (let i = 0; i < count && stage.running.length > 0; i += 1) {
    const drawn = random.pick(kinds);
    const isBarred = damages(drawn) && (!mayDamage || heal !== undefined);
    const cure = await hurt(stage, stage.anyRunning(), isBarred ? 'kill' : drawn);
    if (damages(drawn) && !isBarred) heal = cure;
    else cures.push(cure);
    await stage.run({ seconds: random.exponential(1) });
  }
  await stage.run({ seconds: random.exponential(5) });
  for (const cure of cures) await cure();
  return heal;
}

/** Every member but at most one is up, and nothing moves. */
async function restsWithout(stage: Stage, isHealed: boolean): Promise<void> {
  await stage.world.whileWaiting(() => stage.run({ seconds: SETTLE_S }));
  const { epoch } = stage;
  await stage.world.whileWaiting(() => stage.run({ seconds: REST_S }));
  if (stage.epoch !== epoch) throw new RunFailure(`C-conv: epoch ${epoch} became ${stage.epoch}`);
  const statuses = stage.running.map((node) => node.running().handle.status());
  const leaders = statuses.filter(({ role }) => role === 'leader').length;
  if (leaders !== 1) throw new RunFailure(`C-conv: ${leaders} leaders`);
  const absent = statuses.filter(({ phase }) => phase !== 'up').length;
  const most = isHealed ? 0 : 1;
  if (absent > most) throw new RunFailure(`C-conv: ${absent} nodes live and are not up`);
}

async function stubbornLink(stage: Stage): Promise<void> {
  const one = stage.anyRunning();
  const other = stage.anyRunning(one);
  stage.cable.paths.cut(one.name, other.name);
  stage.world.note('stage', 'stays cut', `${one.name} ${other.name}`);
  await restsWithout(stage, false);
  stage.heal();
}

async function attached(stage: Stage, guest: Guest): Promise<Guest> {
  guest.freeze();
  const successor = stage.guestOf(guest.volume);
  successor.attach(stage.anyRunning());
  await stage.check.lockIsReachable(successor, { seconds: 60 });
  successor.writeForever(WORKLOAD);
  return successor;
}

export const swarm = scenario(
  'swarm',
  { nodes: 1, copies: 3, partitions: 16, smokeSeeds: SMOKE_SEEDS },
  async (stage) => {
    const { random } = stage;
    const nodes = random.between(1, MAX_NODES);
    while (stage.nodes.length < nodes) stage.addNode();
    const copies = random.between(1, Math.min(3, nodes));
    await stage.form({ copies });
    const kinds = drawWorld(stage);
    stage.world.note('stage', 'swarm', `${nodes} nodes, ${kinds.join(' ')}`);
    let guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: stage.anyRunning() });
    guest.writeForever(WORKLOAD);
    for (let round = 0; round < ROUNDS; round += 1) {
      await stage.run({ seconds: random.exponential(2) });
      const heal = await oneRound(stage, kinds, random.fork('round'), copies > 1);
      if (random.chance(0.5)) await stage.check.converges({ seconds: 180 });
      if (!guest.gatewayIsAlive) guest = await attached(stage, guest);
      await heal?.();
    }
    soundCable(stage);
    stage.heal();
    await stage.check.converges({ seconds: 180 });
    if (nodes >= 3 && random.chance(0.5)) await stubbornLink(stage);
    await restsWithout(stage, true);
    await stage.check.converges({ seconds: 120 });
    guest.freeze();
    await stage.run({ seconds: 6 });
    const last = stage.guestOf(guest.volume);
    await guest.detach();
    last.attach(stage.anyRunning());
    await stage.check.everyAcknowledgedWriteIsReadable(last);
    await allHealed(stage, last);
    await stage.check.replicasAreIdentical();
  },
);
