// Goal: C-lock. A client that leaves while its lock is under way leaves no lock behind, and keeps nobody out: it leaves
// while its node can not reach the others with a take-over; while a hand-over to it is being completed; while its node
// still gives back the lock of its last visit. Those whom nobody decides for wait, and what is granted too late is given
// back.

import { isHolderDead } from '../../src/core/lock.ts';
import type { VolumeSession } from '../../src/datapath/volume-session.ts';
import type { Guest } from '../guest.ts';
import { BLOCK_BYTES } from '../guest-block.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { connect, readFrom, untilHeld, untilKnown } from './lock-beside.ts';
import { wasSaid } from './migrate.ts';

/** A session that ends waits so long for what it has under way, by its node's clock (DRAIN_MS), and a little. */
const DRAINED_MS = 5150;
const BLOCKS = 16;
/** Nobody writes there: no guest reads it. */
const SPARE_BLOCK = 1000;
const FREE_S = 20;

/** One volume that a guest at `home` has, and a client that comes to `away` and leaves. */
interface Scene {
  readonly stage: Stage;
  readonly guest: Guest;
  readonly home: SimNode;
  readonly away: SimNode;
  readonly third: SimNode;
}

function ask({ stage, away }: Scene, session: VolumeSession): void {
  stage.world.enter(away.running().process, () => {
    session.read(0, BLOCK_BYTES, new Uint8Array(BLOCK_BYTES), 0, () => {});
  });
}

async function read(stage: Stage, node: SimNode, session: VolumeSession): Promise<void> {
  const seen = await readFrom(stage, node, session, 0);
  if (seen instanceof Error) throw new RunFailure(`C-lock: at ${node.name}: ${seen.message}`);
}

function leave(stage: Stage, node: SimNode, session: VolumeSession): void {
  stage.world.enter(node.running().process, () => void session.disconnect());
}

/** Leaves, and is gone: what it has under way was given up. */
async function left({ stage, away }: Scene, session: VolumeSession): Promise<void> {
  leave(stage, away, session);
  await stage.run({ seconds: DRAINED_MS / away.clockRate / 1000 });
}

/** Nobody is attached: no node that lives holds it. */
async function isFree({ stage, guest }: Scene): Promise<void> {
  const held = (): string | true => {
    for (const node of stage.running) {
      const view = node.running().handle.view();
      const lock = view?.volumeByName(guest.volume.name)?.lock;
      if (view === undefined || lock?.state !== 'held' || isHolderDead(view, lock)) continue;
      return `C-lock: ${guest.volume.name} is held by n${lock.node}`;
    }
    return true;
  };
  await stage.until('the lock is given back', held, { seconds: FREE_S });
}

/** Closed and opened again at once, as at a reboot, while nobody hears that the lock was given back. */
async function reopened(scene: Scene): Promise<void> {
  const { stage, guest, away } = scene;
  await guest.detach();
  const first = connect(stage, away, guest.volume.name);
  await read(stage, away, first);
  await untilHeld(stage, guest.volume.name, away);
  stage.partition([away], ['control']);
  leave(stage, away, first);
  await stage.run({ seconds: 0.1 });
  const second = connect(stage, away, guest.volume.name);
  ask(scene, second);
  await left(scene, second);
  const last = connect(stage, away, guest.volume.name);
  ask(scene, last);
  await stage.run({ seconds: 0.3 });
  stage.heal();
  await read(stage, away, last);
  leave(stage, away, last);
}

/** The holder's guest has stopped, and the holder is drained; the word to the log does not come through. */
async function handedOver(scene: Scene): Promise<void> {
  const { stage, guest, away } = scene;
  const since = stage.world.records.length;
  const visitor = connect(stage, away, guest.volume.name);
  await stage.run({ seconds: 0.3 });
  await guest.write(0);
  await guest.flush();
  stage.partition([away], ['control']);
  stage.world.enter(away.running().process, () => {
    visitor.write(SPARE_BLOCK * BLOCK_BYTES, new Uint8Array(BLOCK_BYTES), () => {});
  });
  const isDrained = () => wasSaid(stage, 'handover.drained', since);
  if (!(await stage.world.runUntil(isDrained, 5000))) throw new RunFailure('it was not drained');
  await left(scene, visitor);
  stage.heal();
  await guest.detach();
}

/** The holder dies. Who stood beside it leaves; who takes over leaves while nobody hears of it. */
async function takenOver(scene: Scene): Promise<void> {
  const { stage, guest, home, away, third } = scene;
  const { name } = guest.volume;
  const idle = connect(stage, away, name);
  await read(stage, away, idle);
  const beside = connect(stage, third, name);
  await read(stage, third, beside);
  leave(stage, third, beside);
  home.kill();
  await stage.until('the holder is called down', () => isCalledDown(stage, home), { seconds: 30 });
  await stage.run({ seconds: 0.2 });
  leave(stage, away, idle);
  await stage.run({ seconds: 0.5 });
  stage.partition([away], ['control']);
  const visitor = connect(stage, away, name);
  ask(scene, visitor);
  await left(scene, visitor);
  stage.heal();
}

export const locksGivenUp = scenario(
  'locks-given-up',
  { nodes: 5, copies: 3, smokeSeeds: 3 },
  async (stage) => {
    await stage.form();
    const { leader, random } = stage;
    const followers = stage.running.filter((node) => node !== leader);
    const pick = (...not: readonly SimNode[]) =>
      random.pick(followers.filter((node) => !not.includes(node)));
    const home = pick();
    const away = pick(home);
    const third = pick(home, away);
    for (const [name, act] of [
      ['red', reopened],
      ['green', handedOver],
      ['blue', takenOver],
    ] as const) {
      const guest = await stage.createVolume({ name, sizeMiB: 16, at: home });
      const scene = { stage, guest, home, away, third };
      await untilKnown(stage, name);
      await guest.fill(BLOCKS);
      await untilHeld(stage, name, home);
      await act(scene);
      await isFree(scene);
      const next = stage.guestOf(guest.volume);
      next.attach(third);
      await stage.check.lockIsReachable(next, { seconds: 20 });
      await next.readAll();
      await next.detach();
    }
    await home.start();
    await stage.check.converges({ seconds: 120 });
    await stage.check.replicasAreIdentical();
  },
);
