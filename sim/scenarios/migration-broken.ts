// Goal: 3.3.6. A migration, announced or not, in which the source, the destination, both, or the leader die, stand still or
// are cut off, at each of its steps. Whatever comes of it: one of the two guests goes on or nobody does, what was
// acknowledged is there (C-lin, C-writer), and the lock is to be had again (C-lock).

import type { Guest } from '../guest.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { lockAt } from './lock-beside.ts';
import { arrives, stops, WORK, wasSaid } from './migrate.ts';

const TROUBLES = [
  'source-dies',
  'dest-dies',
  'both-die',
  'leader-dies',
  'source-cut',
  'dest-cut',
  'source-stands-still',
  'dest-stands-still',
] as const;
const STEPS = ['before', 'asking', 'drained', 'completed'] as const;
/** The step comes, or something in the run has made it impossible. */
const STEP_MS = 4000;
/** Until the lock is to be had: the verdict on a silent node, an election, a holder that cancels. */
const LOCK_S = 60;

async function until(stage: Stage, step: (typeof STEPS)[number], dest: SimNode): Promise<void> {
  const { world, random } = stage;
  const since = world.records.length;
  const number = stage.numberOf(dest);
  if (step === 'asking') await stage.run({ seconds: random.unit() * 0.25 });
  if (step === 'drained') {
    await world.runUntil(() => wasSaid(stage, 'handover.drained', since), STEP_MS);
    await world.runUntil(() => false, random.unit() * 5);
  }
  if (step === 'completed') {
    await world.runUntil(() => lockAt(dest, 'disk').node === number, STEP_MS);
    await world.runUntil(() => false, random.unit() * 20);
  }
}

function inflict(stage: Stage, home: SimNode, away: SimNode): string {
  const { random } = stage;
  const trouble = random.pick(TROUBLES);
  const victims = {
    'source-dies': [home],
    'dest-dies': [away],
    'both-die': [home, away],
    'leader-dies': [stage.leader ?? home],
    'source-cut': [],
    'dest-cut': [],
    'source-stands-still': [],
    'dest-stands-still': [],
  }[trouble];
  for (const victim of victims) victim.kill();
  if (trouble === 'source-cut') stage.partition([home]);
  if (trouble === 'dest-cut') stage.partition([away]);
  const ms = 500 + random.unit() * 20_000;
  if (trouble === 'source-stands-still') home.running().process.pause(ms);
  if (trouble === 'dest-stands-still') away.running().process.pause(ms);
  return trouble;
}

/** Who still has a gateway leaves in order, so that the lock is free or its holder dead. */
async function leave(guest: Guest): Promise<void> {
  guest.freeze();
  if (guest.gatewayIsAlive) await guest.detach();
}

export const migrationBroken = scenario(
  'migration-broken',
  { nodes: 5, copies: 3, smokeSeeds: 6 },
  async (stage) => {
    const { random } = stage;
    await stage.form();
    const home = stage.anyRunning();
    const away = stage.anyRunning(home);
    const mode = random.chance(0.3) ? 'writeback' : 'durable';
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: home, mode });
    await guest.fill(WORK.workingSet);
    guest.writeForever(WORK);
    const dest = await arrives(stage, away, guest);
    if (random.chance(0.5)) {
      const number = stage.numberOf(away);
      await stage.ask(home, 'prepare', (handle) =>
        handle.volumes().prepareHandover('disk', number),
      );
    }
    await stops(guest);
    const isSourceWhole = guest.errors.length === 0;
    dest.takeOff();
    const asked = stage.world.nowMs;
    for (let block = 0; block < 3; block += 1) dest.startWrite(block);
    await until(stage, random.pick(STEPS), away);
    const trouble = inflict(stage, home, away);
    await stage.run({ seconds: random.unit() * 15 });

    stage.heal();
    for (const node of stage.nodes) if (!node.isRunning) await node.start();
    await stage.check.converges({ seconds: 120 });
    if (!isSourceWhole) throw new RunFailure(`C-migrate: the source saw ${guest.errors[0]}`);
    // Moved nothing: the source goes on, as after a migration that failed.
    const isHomeAgain = lockAt(home, 'disk').node === stage.numberOf(home);
    if (isHomeAgain && trouble === 'dest-dies' && guest.gatewayIsAlive) {
      const code = await guest.tryWrite(0);
      if (code !== undefined) throw new RunFailure(`C-migrate: the source saw ${code}`);
    } else if (guest.gatewayIsAlive) await guest.tryWrite(1);
    if (dest.gatewayIsAlive) await dest.tryWrite(2);
    stage.world.note('stage', 'migration', `${trouble} ${Math.round(stage.world.nowMs - asked)}`);
    await leave(guest);
    await leave(dest);
    const last = stage.guestOf(guest.volume);
    last.attach(stage.anyRunning());
    await stage.check.lockIsReachable(last, { seconds: LOCK_S });
    await stage.check.everyAcknowledgedWriteIsReadable(last);
    await stage.check.replicasAreIdentical();
  },
);
