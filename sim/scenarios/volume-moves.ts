// Goal: one volume moves to other numbers of copies, again and again, while its guest writes, reads and trims (S8). Its
// gateway dies in the middle, or a member does; the move is cancelled, or given another target; the guest leaves, so that
// a member copies the volume, and comes back elsewhere while it does. No answered write is missing, no guest sees an error,
// what is told of the progress is honest, and nothing is left of the former copies.

import type { GenerationId } from '../../src/core/ids.ts';
import { checkMoves } from '../checkers/moves.ts';
import type { Guest } from '../guest.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const SIZE_MIB = 64;
const BLOCKS = (SIZE_MIB * 2 ** 20) / 4096;
/** Filled before, and written over and over while it is copied. */
const HOT_BLOCKS = (2 * 2 ** 20) / 4096;
/** One works where everything is copied, the other one mostly where nothing was yet. */
const HOT = { workingSet: HOT_BLOCKS, depth: 8, thinkMs: 1, calmThinkMs: 100 };
const COLD = { workingSet: BLOCKS, depth: 6, thinkMs: 30, maxBlocks: 1, calmThinkMs: 300 };
const ROUNDS = 4;
const MOST_COPIES = 4;
const LIMIT_S = 240;

type Trouble = 'none' | 'gateway' | 'member' | 'cancel' | 'turn' | 'leave';
const TROUBLES: readonly Trouble[] = ['none', 'gateway', 'member', 'cancel', 'turn', 'leave'];

/** What the rounds work on. */
interface Move {
  readonly stage: Stage;
  guest: Guest;
  second: Guest;
  gateway: SimNode;
  copies: number;
  /** Of every guest that there was. */
  readonly guests: Guest[];
  readonly formerHeads: Set<GenerationId>;
}

export const volumeMoves = scenario(
  'volume-moves',
  { nodes: 4, copies: 3, smokeSeeds: 4 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: SIZE_MIB, at: gateway });
    await guest.fill(HOT_BLOCKS);
    const second = stage.guestOf(guest.volume);
    second.attachBeside(guest);
    const move: Move = {
      ...{ stage, guest, second, gateway, copies: 3, guests: [guest, second] },
      formerHeads: new Set<GenerationId>(),
    };
    stage.check.watchCopies();
    checkMoves(stage);
    guest.writeForever(HOT);
    second.writeForever(COLD);
    for (let round = 0; round < ROUNDS; round += 1) {
      await stage.run({ seconds: stage.random.unit() });
      await oneMove(move);
    }
    await move.guest.stop();
    await move.second.stop();
    for (const { errors } of move.guests) {
      if (errors.length > 0) throw new RunFailure(`guest saw ${errors.join(', ')}`);
    }
    await stage.check.everyAcknowledgedWriteIsReadable(move.guest);
    await stage.until('nothing is left of the former copies', () => leftOver(move), {
      seconds: 60,
    });
    await stage.check.replicasAreIdentical({ seconds: 120 });
  },
);

async function oneMove(move: Move): Promise<void> {
  const { stage } = move;
  const target = otherThan(stage, [move.copies]);
  await ask(move, target);
  await stage.run({ seconds: stage.random.unit() * 0.6 });
  const trouble = stage.random.pick(TROUBLES);
  stage.world.note('stage', 'move', `${move.copies} to ${target}, ${trouble}`);
  const wanted = await happens(move, trouble, target);
  await stage.until(`it has ${wanted} copies`, () => hasMoved(move, wanted), { seconds: LIMIT_S });
  move.copies = copiesOf(move);
  await goesOn(move);
  await stage.check.converges({ seconds: LIMIT_S });
}

function otherThan(stage: Stage, not: readonly number[]): number {
  const all = Array.from({ length: MOST_COPIES }, (_, i) => i + 1);
  return stage.random.pick(all.filter((copies) => !not.includes(copies)));
}

async function ask(move: Move, copies: number): Promise<void> {
  const { stage } = move;
  const at = stage.anyRunning();
  await stage.ask(at, 'alter-copy', (handle) => handle.moveVolume('disk', { copies }));
}

/** @returns the number of copies that the volume is to have in the end; 0 = any */
async function happens(move: Move, trouble: Trouble, target: number): Promise<number> {
  const { stage } = move;
  switch (trouble) {
    case 'none':
      return target;
    case 'gateway':
      await gatewayDies(move);
      return target;
    case 'member':
      await memberDies(move);
      return target;
    case 'cancel':
      await stage.ask(stage.anyRunning(), 'cancel', (handle) => handle.cancelMove('disk'));
      // It may have come too late.
      return 0;
    case 'turn': {
      const other = otherThan(stage, [target]);
      await ask(move, other);
      return other;
    }
    case 'leave':
      await leaves(move);
      return target;
  }
}

async function gatewayDies(move: Move): Promise<void> {
  const { stage, gateway } = move;
  await stage.inMidWrite(move.guest);
  fall(stage, gateway);
  await stage.until('the holder is down', () => isCalledDown(stage, gateway), { seconds: 30 });
  attach(move, stage.anyRunning());
  await stage.run({ seconds: stage.random.unit() });
  await gateway.start();
}

async function memberDies({ stage, gateway }: Move): Promise<void> {
  const victim = stage.anyRunning(gateway);
  fall(stage, victim);
  await stage.run({ seconds: stage.random.unit() * 6 });
  await victim.start();
}

function fall(stage: Stage, victim: SimNode): void {
  if (stage.random.chance(0.5)) victim.kill();
  else victim.losePower();
}

/** Then a member takes the volume, and lets go when the guest is back. */
async function leaves(move: Move): Promise<void> {
  const { stage } = move;
  for (const guest of [move.guest, move.second]) {
    await guest.stop();
    await guest.detach();
  }
  await stage.run({ seconds: stage.random.unit() * 6 });
  attach(move, stage.anyRunning());
}

function attach(move: Move, node: SimNode): void {
  const { stage, guest } = move;
  move.gateway = node;
  move.guest = stage.guestOf(guest.volume);
  move.second = stage.guestOf(guest.volume);
  move.guests.push(move.guest, move.second);
  move.guest.attach(node);
  move.second.attachBeside(move.guest);
  move.guest.writeForever(HOT);
  move.second.writeForever(COLD);
}

async function goesOn({ stage, guest }: Move): Promise<void> {
  const { history } = guest.volume;
  const before = history.acknowledgedWrites;
  await stage.until('writes go on', () => history.acknowledgedWrites > before + 20, {
    seconds: 60,
  });
}

function hasMoved(move: Move, wanted: number): true | string {
  const { stage, formerHeads } = move;
  for (const node of stage.running) {
    const view = node.running().handle.view();
    const volume = view?.volumeByName('disk');
    if (view === undefined || volume === undefined) return `${node.name} knows no volume`;
    for (const { generation } of view.moves.values()) formerHeads.add(generation);
    formerHeads.add(volume.head);
    if (view.moves.size > 0) return `${node.name} has it moving`;
    const copies = view.policies.get(volume.policy)?.copies ?? 0;
    if (wanted !== 0 && copies !== wanted) return `${node.name} has it with ${copies} copies`;
  }
  return true;
}

function copiesOf({ stage }: Move): number {
  const view = stage.running[0]?.running().handle.view();
  const volume = view?.volumeByName('disk');
  return (volume && view?.policies.get(volume.policy)?.copies) ?? 0;
}

/** Rows of generations that were heads or copies once. */
function leftOver({ stage, formerHeads }: Move): true | string {
  for (const node of stage.running) {
    const { store, view } = node.running().handle.inspect();
    const head = view?.volumeByName('disk')?.head;
    for (const key of store?.partitionsHeld() ?? []) {
      const old = store?.rowsOf(key).find(({ generation }) => generation !== head);
      if (old === undefined) continue;
      const known = formerHeads.has(old.generation) ? 'a former copy' : 'an unknown generation';
      return `${node.name} has object ${old.index} of ${known}, ${old.generation}`;
    }
  }
  return true;
}
