// Goal: a member returns and copies what it missed; in the middle of that a source dies, the target dies, both die, the
// leader dies, or the target's disk fills up: a story each. All of it ends well: nothing acknowledged is lost, the guest
// sees no error, whoever has died or run out of space is whole again in the end, and all copies are equal (4.3, 4.6).

import { MIB } from '../../src/core/units.ts';
import type { Guest } from '../guest.ts';
import { BLOCK_BYTES } from '../guest-block.ts';
import { type Scenario, scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const SIZE_MIB = 32;
const BLOCKS = (SIZE_MIB * MIB) / BLOCK_BYTES;
const LOAD = { workingSet: BLOCKS, depth: 2, thinkMs: 40 };
const TROUBLES = ['source-dies', 'target-dies', 'both-die', 'leader-dies', 'disk-fills'] as const;
type Trouble = (typeof TROUBLES)[number];
/** How much of the recovery is done when it is disturbed, at most. */
const MOST_DONE_BYTES = 8 * MIB;
const LIMIT_MS = 120_000;

/** Who died, and the way back for those that did not. */
interface Disturbed {
  readonly dead: readonly SimNode[];
  readonly cure: () => void;
}

/** In the middle of a recovery. */
export const recoveryBroken: readonly Scenario[] = TROUBLES.map((trouble) =>
  scenario(`recovery-${trouble}`, { nodes: 5, copies: 3, smokeSeeds: 2 }, (stage) =>
    tell(stage, trouble),
  ),
);

async function tell(stage: Stage, trouble: Trouble): Promise<void> {
  await stage.form();
  const gateway = stage.anyRunning();
  let guest = await stage.createVolume({ name: 'disk', sizeMiB: SIZE_MIB, at: gateway });
  await guest.fill(BLOCKS);
  const target = stage.anyRunning(gateway);
  await fallen(stage, target);
  // Everything is written anew: it misses all that it holds.
  await guest.fill(BLOCKS);
  guest.writeForever(LOAD);
  stage.check.watchCopies();
  await target.start();
  await midRecovery(stage, target);

  const { dead, cure } = disturb(stage, trouble, { target, gateway });
  guest = await goesOn(stage, guest);
  await stage.run({ seconds: stage.random.unit() * 4 });
  cure();
  for (const node of dead) {
    await node.start();
    await stage.run({ seconds: stage.random.unit() });
  }
  await stage.check.converges({ seconds: 180 });
  await guest.stop();
  const errors = guest.errors.filter((code) => trouble !== 'disk-fills' || code !== 'no-space');
  if (errors.length > 0) throw new RunFailure(`guest saw ${errors.join(', ')}`);
  await stage.check.everyAcknowledgedWriteIsReadable(guest);
  await stage.check.replicasAreIdentical({ seconds: 120 });
}

async function fallen(stage: Stage, node: SimNode): Promise<void> {
  if (stage.random.chance(0.5)) node.kill();
  else node.losePower();
  await stage.until('it is down', () => isCalledDown(stage, node), { seconds: 30 });
}

/** The target has copied something, and not all. */
async function midRecovery(stage: Stage, target: SimNode): Promise<void> {
  const wanted = 1 + stage.random.unit() * MOST_DONE_BYTES;
  const isMidway = (): boolean => {
    const { phase, catchUp } = target.running().handle.status();
    return phase === 'up' && catchUp.partitionsLeft > 0 && catchUp.bytesCopied >= wanted;
  };
  if (await stage.world.runUntil(isMidway, LIMIT_MS)) return;
  throw new RunFailure('the recovery was over before anything happened to it');
}

function disturb(
  stage: Stage,
  trouble: Trouble,
  { target, gateway }: { readonly target: SimNode; readonly gateway: SimNode },
): Disturbed {
  const none = (): void => {};
  if (trouble === 'disk-fills') {
    const before = target.disk.capacityBytes;
    target.disk.capacityBytes = target.disk.usedBytes + MIB;
    const cure = (): void => {
      target.disk.capacityBytes = before;
    };
    return { dead: [], cure };
  }
  const source = sourceOf(stage, target, gateway);
  const leader = stage.leader ?? gateway;
  const dead = {
    'source-dies': [source],
    'target-dies': [target],
    'both-die': [source, target],
    'leader-dies': [leader],
  }[trouble];
  for (const node of dead) {
    if (stage.random.chance(0.5)) node.kill();
    else node.losePower();
  }
  return { dead, cure: none };
}

/** A member in sync of a partition that the target joins. */
function sourceOf(stage: Stage, target: SimNode, gateway: SimNode): SimNode {
  const view = target.running().handle.view();
  const id = stage.numberOf(target);
  for (const policy of view?.policies.keys() ?? []) {
    for (let p = 0; p < (view?.partitions ?? 0); p += 1) {
      const config = view?.partition(policy, p);
      if (config?.joining.includes(id) !== true) continue;
      const sources = stage.running.filter((node) => config.inSync.includes(stage.numberOf(node)));
      const chosen = sources.find((node) => node !== gateway);
      if (chosen !== undefined) return chosen;
    }
  }
  const other = stage.running.find((node) => node !== target && node !== gateway);
  if (other === undefined) throw new RunFailure('nobody else runs');
  return other;
}

/** The leader may have been the gateway: then the guest moves. */
async function goesOn(stage: Stage, guest: Guest): Promise<Guest> {
  if (guest.gatewayIsAlive) return guest;
  guest.freeze();
  const successor = stage.guestOf(guest.volume);
  successor.attach(stage.anyRunning());
  await stage.check.lockIsReachable(successor, { seconds: 60 });
  successor.errors.length = 0;
  successor.writeForever(LOAD);
  return successor;
}
