// Goal: a snapshot of three volumes is of one instant (S4). Each has a guest on a node of its own; block by block B is
// written after A was acknowledged, C after B, the next A after C: never is there a B without its A in a snapshot. The worst
// that can come in between: the entry is late, its holders have given it up, and one of them hears of nothing; or a holder
// is cut off and called down, and its guest writes on to the copy that it has beside it.

import { partitionOf } from '../../src/core/partition.ts';
import type { Guest } from '../guest.ts';
import { BLOCK_BYTES, blockValue } from '../guest-block.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import type { World } from '../world.ts';

const NAMES = ['a', 'b', 'c'];
/** Many objects: each node has one of each volume. */
const SIZE_MIB = 256;
const BLOCKS_PER_OBJECT = 1024;
const ROUNDS = 4;
/** Between two writes. */
const THINK_MS = 10;
/** A kill comes so long after the asking at most. */
const TROUBLE_MS = 60;
/** The holders have given the snapshot up by now, and whoever asked for it has not. */
const LATE_MS = 5300;
const LIMIT_S = 120;

type Trouble = 'late' | 'stray' | 'none' | 'asker' | 'holder' | 'leader';
const TROUBLES: readonly Trouble[] = ['late', 'stray', 'none', 'asker', 'holder', 'leader'];

/** One of the three: its guest, the block that it writes, and which turn each value was. */
interface Part {
  guest: Guest;
  home: SimNode;
  readonly block: number;
  readonly turns: Map<number, number>;
}

/** Who writes: one block after the other, round and round. */
class Chain {
  readonly parts: readonly Part[];
  #turn = 1;
  #at = 0;
  /** Its last write was not acknowledged: the guest that comes next writes it again. */
  isBroken = false;
  isStopped = false;

  readonly #world: World;

  constructor(world: World, parts: readonly Part[]) {
    this.#world = world;
    this.parts = parts;
  }

  /** Whose write is under way, or broke. */
  get current(): Part {
    return this.parts[this.#at] as Part;
  }

  step(): void {
    const part = this.current;
    this.isBroken = false;
    part.turns.set(part.guest.volume.nextValue, this.#turn);
    part.guest.startWrite(part.block, 1, (isOk) => {
      this.isBroken = !isOk;
      if (!isOk || this.isStopped) return;
      this.#at = (this.#at + 1) % this.parts.length;
      if (this.#at === 0) this.#turn += 1;
      this.#world.schedule(THINK_MS, undefined, () => this.step());
    });
  }
}

export const groupSnapshots = scenario(
  'group-snapshots',
  { nodes: 5, copies: 1, smokeSeeds: 3 },
  async (stage) => {
    await stage.form();
    const parts: Part[] = [];
    for (const [i, name] of NAMES.entries()) parts.push(await partOn(stage, name, i + 1));
    const chain = new Chain(stage.world, parts);
    chain.step();
    for (let round = 0; round < ROUNDS; round += 1) {
      await stage.run({ seconds: stage.random.unit() });
      const trouble = TROUBLES[round < 2 ? round : stage.random.between(0, TROUBLES.length - 1)];
      await oneSnapshot(stage, chain, trouble as Trouble, `s${round}`);
      await recover(stage, chain);
      await checkAll(stage, parts);
    }
    chain.isStopped = true;
    await stage.check.converges({ seconds: LIMIT_S });
  },
);

/** A volume whose guest writes to an object of which its own node has the only copy. */
async function partOn(stage: Stage, name: string, at: number): Promise<Part> {
  const home = stage.nodes[at] as SimNode;
  const guest = await stage.createVolume({ name, sizeMiB: SIZE_MIB, at: home });
  const view = home.running().handle.view();
  const volume = view?.volumeByName(name);
  const node = stage.numberOf(home);
  let block = 0;
  for (
    let index = 0;
    view !== undefined && volume !== undefined && index < SIZE_MIB / 4;
    index += 1
  ) {
    const p = partitionOf(volume.family, index, view.partitions);
    if (view.partition(volume.policy, p).inSync.includes(node)) block = index * BLOCKS_PER_OBJECT;
  }
  return { guest, home, block, turns: new Map([[0, 0]]) };
}

async function oneSnapshot(
  stage: Stage,
  chain: Chain,
  trouble: Trouble,
  tag: string,
): Promise<void> {
  const asker = stage.nodes[0] as SimNode;
  stage.world.note('stage', 'snapshot', `${tag}, ${trouble}`);
  await prepare(stage, chain, trouble, asker);
  try {
    await stage.ask(asker, 'snapshot', (handle) => handle.layers().snapshot(NAMES, tag));
  } catch (error) {
    stage.world.note('stage', 'snapshot', `${tag} failed: ${String(error)}`);
  }
  // What goes on beside a late entry goes on for a while.
  await stage.run({ seconds: 2 + stage.random.unit() });
}

/** What happens before or while it is asked for. */
async function prepare(
  stage: Stage,
  { parts }: Chain,
  trouble: Trouble,
  asker: SimNode,
): Promise<void> {
  const { random, world } = stage;
  const holder = random.pick(parts).home;
  switch (trouble) {
    case 'none':
      return;
    case 'late': {
      stage.partition([asker], ['control']);
      const lateMs = LATE_MS + random.unit() * 2000;
      world.schedule(lateMs, undefined, () => {
        stage.heal();
        stage.partition([holder], ['control']);
      });
      return;
    }
    case 'stray':
      stage.partition([holder]);
      await stage.until('it is called down', () => isCalledDown(stage, holder), { seconds: 30 });
      return;
    default: {
      const victim = trouble === 'asker' ? asker : trouble === 'holder' ? holder : stage.leader;
      world.schedule(random.unit() * TROUBLE_MS, undefined, () => victim?.kill());
    }
  }
}

/** All is well again, and the chain goes on. */
async function recover(stage: Stage, chain: Chain): Promise<void> {
  stage.heal();
  for (const node of stage.nodes) if (!node.isRunning) await node.start();
  await stage.check.converges({ seconds: LIMIT_S });
  for (const part of chain.parts) {
    const isLost = !part.guest.gatewayIsAlive;
    const isCurrent = part === chain.current;
    if (!isLost && !(isCurrent && chain.isBroken)) continue;
    part.guest = stage.guestOf(part.guest.volume);
    part.guest.attach(part.home);
    // What a gateway died of is never answered.
    if (isCurrent) chain.isBroken = true;
  }
  if (chain.isBroken) chain.step();
}

/** Of each snapshot that is there: the turns that it shows. */
async function checkAll(stage: Stage, parts: readonly Part[]): Promise<void> {
  const view = (stage.nodes[0] as SimNode).running().handle.view();
  const tags = new Set([...(view?.generations.values() ?? [])].map(({ tag }) => tag));
  tags.delete('');
  for (const tag of tags) {
    const turns: number[] = [];
    for (const part of parts) turns.push(await turnIn(stage, part, tag));
    const [a = 0, b = 0, c = 0] = turns;
    if (a >= b && b >= c && c >= a - 1) continue;
    stage.world.fail(`C-snap: ${tag} has turn ${a} of a, ${b} of b, ${c} of c`);
  }
}

async function turnIn(stage: Stage, { guest, block, turns }: Part, tag: string): Promise<number> {
  const bytes = new Uint8Array(BLOCK_BYTES);
  await stage.ask(stage.anyRunning(), `read ${tag}`, async (handle) => {
    const session = handle.openVolume(`${guest.volume.name}@${tag}`);
    session.connect();
    await new Promise<void>((resolve, reject) => {
      session.read(block * BLOCK_BYTES, BLOCK_BYTES, bytes, 0, (error) =>
        error ? reject(error) : resolve(),
      );
    });
    await session.disconnect();
  });
  const value = blockValue(bytes, 0, { volume: guest.volume.id, block });
  const turn = turns.get(value ?? -1);
  if (turn === undefined)
    stage.world.fail(`I8: ${guest.volume.name}@${tag} shows what nobody wrote`);
  return turn ?? 0;
}
