// Goal: C-lock. Guests come and go at every moment: they leave while their lock is being granted or taken over, while
// nobody decides, while it is given back; volumes are deleted under guests that wait. Whatever was asked for and dropped,
// no lock stays with a node that lives and has nobody attached, and no node waits for a volume that is gone.

import { hasCode } from '../../src/core/errors.ts';
import { isHolderDead } from '../../src/core/lock.ts';
import type { VolumeSession } from '../../src/datapath/volume-session.ts';
import { BLOCK_BYTES } from '../guest-block.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';

const ROUNDS = 12;
const NAMES = ['red', 'green', 'blue'];
/** Longer than the wait for a grant that nobody wants any more. */
const SETTLE_S = 20;

interface Visit {
  readonly node: SimNode;
  readonly name: string;
  readonly session: VolumeSession;
  readonly process: object;
}

async function create(stage: Stage, name: string): Promise<void> {
  await stage
    .ask(stage.anyRunning(), 'create', (handle) =>
      handle.createVolume({ name, sizeBytes: 1 << 20 }),
    )
    .catch((error: unknown) => {
      // Refused: its node was called down while it asked, and is another life by now.
      if (!hasCode(error, 'exists') && !hasCode(error, 'refused')) throw error;
    });
}

/** Connects and, mostly, asks for the lock by a write. */
function visit(stage: Stage, node: SimNode, name: string): Visit | undefined {
  const { process, handle } = node.running();
  let session: VolumeSession | undefined;
  stage.world.enter(process, () => {
    if (handle.view()?.volumeByName(name) === undefined) return;
    session = handle.openVolume(name);
    session.connect();
    if (stage.random.chance(0.8)) session.write(0, new Uint8Array(BLOCK_BYTES).fill(1), () => {});
  });
  return session === undefined ? undefined : { node, name, session, process };
}

function leave(stage: Stage, { node, session, process }: Visit): void {
  if (!node.isRunning || node.running().process !== process) return;
  stage.world.enter(node.running().process, () => void session.disconnect());
}

/** Something in the way of whoever decides; its end comes after a while. */
async function trouble(stage: Stage): Promise<void> {
  const { random } = stage;
  const kind = random.pick(['none', 'split', 'alone', 'kill'] as const);
  if (kind === 'none') return;
  const one = stage.anyRunning();
  if (kind === 'split') stage.partition([one, stage.anyRunning(one)]);
  else if (kind === 'alone') stage.partition([one]);
  else if (stage.running.length === stage.nodes.length) one.kill();
  await stage.run({ seconds: random.exponential(1) });
}

async function oneRound(stage: Stage, visits: Visit[]): Promise<void> {
  const { random } = stage;
  const name = random.pick(NAMES);
  await create(stage, name);
  const coming = (): void => {
    const came = visit(stage, stage.anyRunning(), name);
    if (came !== undefined) visits.push(came);
  };
  coming();
  if (random.chance(0.5)) await stage.run({ seconds: random.exponential(0.3) });
  await trouble(stage);
  coming();
  // A moment before the grant, in the middle of it, or after it.
  await stage.run({ seconds: random.pick([0, 0.0005, 0.005, 1, 4]) });
  while (visits.length > 0 && random.chance(0.8)) leave(stage, visits.shift() as Visit);
  await stage.run({ seconds: random.exponential(3) });
  stage.heal();
  for (const node of stage.nodes) if (!node.isRunning) await node.start();
  if (random.chance(0.6)) await stage.check.converges({ seconds: 120 });
  if (!random.chance(0.4)) return;
  // Refused while it is held: then it stays.
  await stage
    .ask(stage.anyRunning(), 'delete', (handle) => handle.deleteVolume(name))
    .catch(() => {});
}

/** Locks of lives that are over stay until somebody asks: they keep nobody out. */
function heldBy(stage: Stage): string | undefined {
  for (const node of stage.running) {
    const view = node.running().handle.view();
    if (view === undefined) continue;
    for (const { name, lock } of view.volumes.values()) {
      const isLive = lock.state === 'held' && !isHolderDead(view, lock);
      if (isLive) return `C-lock: ${name} is held by node ${lock.node}`;
    }
  }
  return undefined;
}

export const locksComeAndGo = scenario(
  'locks-come-and-go',
  { nodes: 4, copies: 3, smokeSeeds: 6 },
  async (stage) => {
    await stage.form();
    const visits: Visit[] = [];
    for (let round = 0; round < ROUNDS; round += 1) await oneRound(stage, visits);
    for (const one of visits) leave(stage, one);
    await stage.check.converges({ seconds: 120 });
    await stage.until('all locks are given back', () => heldBy(stage) ?? true, {
      seconds: SETTLE_S,
    });
    await stage.check.replicasAreIdentical();
  },
);
