// Goal: nothing in particular. Nodes are killed, lose power, are cut off, paused and healed, their disks rot, fill up and
// fail as the seed likes, at most one at a time, so that a majority and enough copies live; the guest moves to another
// gateway when its own is hit. All safety checkers run throughout; in the end everything is healed, converges, and every
// acknowledged write is there.

import type { Guest } from '../guest.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import { allHealed, DISK_FAULTS, hurtDisk, isDiskFault } from './disk-faults.ts';

const ROUNDS = 6;
/** Long runs: `npm run sim` has the rest. */
const SMOKE_SEEDS = 5;
const MAX_PAUSE_MS = 8000;
/** A disk that nearly hangs: half a second a sync. */
const SLOWNESS = 1000;

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

/** One fault from its beginning to its cure. */
async function hurt(stage: Stage, victim: SimNode, kind: Fault): Promise<() => Promise<void>> {
  const { random } = stage;
  stage.world.note('stage', 'fault', `${kind} ${victim.name}`);
  const others = stage.nodes.filter((node) => node !== victim);
  if (isDiskFault(kind)) return hurtDisk(stage, victim, kind);
  if (kind === 'kill') victim.kill();
  else if (kind === 'power') victim.losePower();
  else if (kind === 'stop') await victim.stop();
  else if (kind === 'slow') {
    victim.disk.slowness = SLOWNESS;
    return async () => {
      victim.disk.slowness = 1;
    };
  } else if (kind === 'pause') {
    victim.running().process.pause(random.unit() * MAX_PAUSE_MS);
    return async () => {};
  } else {
    for (const { name } of others) {
      const planes = kind === 'data' ? (['data'] as const) : undefined;
      if (kind !== 'mute') stage.cable.paths.cut(name, victim.name, planes);
      if (kind !== 'deaf') stage.cable.paths.cut(victim.name, name, planes);
    }
    return async () => stage.heal();
  }
  return () => victim.start();
}

async function moveGuest(stage: Stage, guest: Guest, gateway: SimNode): Promise<Guest> {
  guest.freeze();
  const successor = stage.guestOf(guest.volume);
  successor.attach(gateway);
  await stage.check.lockIsReachable(successor, { seconds: 30 });
  successor.writeForever(WORKLOAD);
  return successor;
}

export const randomFaults = scenario(
  'random-faults',
  { nodes: 4, copies: 3, partitions: 32, smokeSeeds: SMOKE_SEEDS },
  async (stage) => {
    const { random } = stage;
    await stage.form();
    let gateway = stage.anyRunning();
    let guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever(WORKLOAD);
    for (let round = 0; round < ROUNDS; round += 1) {
      await stage.run({ seconds: random.exponential(1) });
      const victim = stage.anyRunning();
      const fault = random.pick(FAULTS);
      const cure = await hurt(stage, victim, fault);
      // A paused gateway comes back in the middle of a move: it may go on with its lock (C4.2).
      const isMoved = !victim.isRunning || (fault === 'cut' && random.chance(0.5));
      if (victim === gateway && isMoved) {
        const isDown = (): boolean => isCalledDown(stage, victim);
        if (await stage.world.runUntil(isDown, 10_000)) {
          gateway = stage.anyRunning(victim);
          guest = await moveGuest(stage, guest, gateway);
        }
      }
      await stage.run({ seconds: random.exponential(3) });
      await cure();
      if (random.chance(0.7)) await stage.check.converges({ seconds: 120 });
      if (!guest.gatewayIsAlive) {
        gateway = stage.anyRunning();
        guest = await moveGuest(stage, guest, gateway);
      }
    }
    stage.heal();
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
