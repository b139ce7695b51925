// Goal: the ring is never left alone. Members join, leave, are killed and return, are called out and come back, get other
// weights, as the seed likes, while a guest writes; now and then two of these at once. All the time: redundancy never
// sinks (I5, I6), what is closed is on every member of an in-sync set (I1). After each: nothing else moved than the ring
// says (C-ring), no more was copied than what moved or, after an outage, what changed (C-move), all is at rest (C-conv).

import { partitionOf } from '../../src/core/partition.ts';
import type { ClusterView } from '../../src/core/view.ts';
import {
  checkBytesCopied,
  checkJoinMoves,
  checkLeaveMoves,
  checkOutageCopies,
  checkSamePlacements,
  objectsGained,
  type Placements,
  placementsOf,
} from '../checkers/movement.ts';
import type { Guest } from '../guest.ts';
import { BLOCK_BYTES } from '../guest-block.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const SIZE_MIB = 32;
const OBJECTS = SIZE_MIB / 4;
const BLOCKS = (SIZE_MIB * 2 ** 20) / BLOCK_BYTES;
const LOAD = { workingSet: BLOCKS, depth: 2, thinkMs: 80 };
const ROUNDS = 4;
const MIN_NODES = 4;
const MAX_NODES = 7;
const MAX_AWAY_S = 3;
const REST_S = 180;

type Kind = 'join' | 'leave' | 'kill' | 'out' | 'weigh';
/** What a change of the members may do to the placements. */
type Judge = (before: Placements, after: Placements) => string | undefined;

/** What the changes need. */
interface Ring {
  readonly stage: Stage;
  readonly guest: Guest;
  /** It stays. */
  readonly gateway: SimNode;
  /** Several changes at once: nobody can tell what each of them moved. */
  readonly isMixed: boolean;
}

export const restlessRing = scenario(
  'restless-ring',
  { nodes: MIN_NODES, copies: 3, smokeSeeds: 4 },
  async (stage) => {
    while (stage.random.chance(0.4) && stage.nodes.length < MAX_NODES) stage.addNode();
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: SIZE_MIB, at: gateway });
    await guest.fill(BLOCKS);
    stage.check.watchCopies();
    guest.writeForever(LOAD);
    for (let round = 0; round < ROUNDS; round += 1) {
      await stage.run({ seconds: 0.5 + stage.random.unit() });
      const isMixed = stage.random.chance(0.25);
      const ring = { stage, guest, gateway, isMixed };
      await change(ring);
      if (isMixed) {
        await stage.run({ seconds: stage.random.unit() });
        await change(ring);
      }
      await stage.check.converges({ seconds: REST_S });
      noErrors(guest);
    }
    await guest.stop();
    noErrors(guest);
    await stage.check.replicasAreIdentical({ seconds: REST_S });
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
  },
);

function noErrors({ errors }: Guest): void {
  if (errors.length > 0) throw new RunFailure(`guest: ${errors.join(', ')}`);
}

// ------------------------------------------------------------------------------------------- what moved

/** Where everything was, and what every node had copied, when a change began. */
class Before {
  readonly #ring: Ring;
  readonly #placements: Placements;
  readonly #copied: ReadonlyMap<SimNode, { readonly life: number; readonly bytes: number }>;
  readonly #moment: number;

  constructor(ring: Ring) {
    this.#ring = ring;
    const { stage, guest } = ring;
    this.#placements = placementsOf(viewOf(stage));
    this.#copied = new Map(stage.running.map((node) => [node, copiedBy(node)]));
    this.#moment = guest.volume.history.now;
  }

  /** Waits until all is at rest, then judges what moved and what was copied for it. */
  async settled(judge: Judge, returned?: SimNode): Promise<void> {
    const { stage, isMixed } = this.#ring;
    if (isMixed) return;
    await stage.check.converges({ seconds: REST_S });
    const view = viewOf(stage);
    const after = placementsOf(view);
    const copies = stage.running.map((node) => {
      const count = (p: number): number => objectsIn(view, p);
      const gained = objectsGained(this.#placements, after, stage.numberOf(node), count);
      return { node, name: node.name, objectsGained: gained, bytes: this.#copiedSince(node) };
    });
    const wrong =
      judge(this.#placements, after) ??
      checkBytesCopied(copies.filter(({ node }) => node !== returned)) ??
      this.#checkReturned(returned);
    if (wrong !== undefined) throw new RunFailure(wrong);
  }

  #copiedSince(node: SimNode): number {
    const { life, bytes } = copiedBy(node);
    const old = this.#copied.get(node);
    return old?.life === life ? bytes - old.bytes : bytes;
  }

  #checkReturned(node: SimNode | undefined): string | undefined {
    if (node === undefined) return undefined;
    const changedBlocks = this.#ring.guest.volume.history.changedSince(this.#moment);
    const bytes = this.#copiedSince(node);
    return checkOutageCopies({ name: node.name, bytes, changedBlocks, blockBytes: BLOCK_BYTES });
  }
}

function copiedBy(node: SimNode): { readonly life: number; readonly bytes: number } {
  return { life: node.lives, bytes: node.running().handle.status().catchUp.bytesCopied };
}

function viewOf(stage: Stage): ClusterView {
  const view = stage.running[0]?.running().handle.view();
  if (view === undefined) throw new RunFailure('no view');
  return view;
}

/** Objects of the volume, which is full. */
function objectsIn(view: ClusterView, p: number): number {
  const family = view.volumeByName('disk')?.family;
  if (family === undefined) throw new RunFailure('no volume');
  const all = Array.from({ length: OBJECTS }, (_, index) => index);
  return all.filter((index) => partitionOf(family, index, view.partitions) === p).length;
}

// ------------------------------------------------------------------------------------------- changes

/** One of those that are possible now, by a draw. */
function change(ring: Ring): Promise<void> {
  const { stage, gateway } = ring;
  const { length } = stage.running;
  const kinds: Kind[] = ['kill', 'weigh'];
  if (length < MAX_NODES) kinds.push('join');
  if (length > MIN_NODES) kinds.push('leave', 'out');
  const kind = stage.random.pick(kinds);
  stage.world.note('stage', 'change', kind);
  if (kind === 'join') return join(ring);
  if (kind === 'weigh') return weigh(ring, stage.anyRunning());
  const node = stage.anyRunning(gateway);
  if (kind === 'leave') return leave(ring, node);
  return kind === 'kill' ? away(ring, node) : outAndBack(ring, node);
}

async function join(ring: Ring): Promise<void> {
  const { stage } = ring;
  const before = new Before(ring);
  const newcomer = stage.addNode();
  await stage.join(newcomer, { weight: stage.random.between(1, 2) });
  const joined = stage.numberOf(newcomer);
  await before.settled((old, now) => checkJoinMoves(old, now, joined));
}

async function leave(ring: Ring, leaver: SimNode): Promise<void> {
  const { stage, gateway } = ring;
  const before = new Before(ring);
  const left = stage.numberOf(leaver);
  await stage.operate(gateway, 'drain', (admin) => admin.drain(left));
  const isGone = (): boolean => stage.memberOf(leaver)?.standing === 'gone';
  await stage.until(`${leaver.name} is gone`, isGone, { seconds: REST_S });
  await fallen(ring, leaver);
  await stage.operate(gateway, 'forget', (admin) => admin.forget(left));
  await before.settled((old, now) => checkLeaveMoves(old, now, left));
}

async function away(ring: Ring, victim: SimNode): Promise<void> {
  const before = new Before(ring);
  await fallen(ring, victim);
  await ring.stage.run({ seconds: ring.stage.random.unit() * MAX_AWAY_S });
  await victim.start();
  await before.settled(checkSamePlacements, victim);
}

async function fallen({ stage }: Ring, victim: SimNode): Promise<void> {
  if (stage.random.chance(0.5)) victim.kill();
  else victim.losePower();
  const isDown = (): boolean => stage.memberOf(victim)?.state === 'down';
  await stage.until(`${victim.name} is down`, isDown, { seconds: 30 });
}

/** The ring without it, and with it again: then it is as it was. */
async function outAndBack(ring: Ring, victim: SimNode): Promise<void> {
  const { stage, gateway } = ring;
  const node = stage.numberOf(victim);
  const whole = placementsOf(viewOf(stage));
  const out = new Before(ring);
  await fallen(ring, victim);
  await stage.operate(gateway, 'out', (admin) => admin.out(node));
  await out.settled((old, now) => checkLeaveMoves(old, now, node));
  const back = new Before(ring);
  await victim.start();
  await stage.operate(gateway, 'in', (admin) => admin.in(node));
  await back.settled(
    (old, now) => checkJoinMoves(old, now, node) ?? checkSamePlacements(whole, now),
  );
}

async function weigh(ring: Ring, node: SimNode): Promise<void> {
  const { stage, gateway } = ring;
  const before = new Before(ring);
  const number = stage.numberOf(node);
  const old = stage.memberOf(node)?.weight ?? 1;
  const weight = stage.random.pick([1, 2, 3].filter((each) => each !== old));
  await stage.operate(gateway, 'weigh', (admin) => admin.weigh(number, weight));
  const check = weight > old ? checkJoinMoves : checkLeaveMoves;
  await before.settled((was, now) => check(was, now, number));
}
