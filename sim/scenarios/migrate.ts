// What the stories about migrations share: the steps of one, as QEMU takes them, and what must be true of it (C-migrate).

import type { Guest } from '../guest.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { lockAt } from './lock-beside.ts';

export const WORK = { workingSet: 64, depth: 4 };
/** The 250 ms of silence, the drain and one log entry, the first touches; nothing else is in the way. */
export const BLACK_OUT_MS = 1500;
/** Announced: no silence is waited for. */
export const PREPARED_BLACK_OUT_MS = 700;
/** A standby reads so many times while its source writes. */
const LOOKS = 4;

/** The destination's QEMU starts: it connects, and looks at the disk while the source still writes. */
export async function arrives(stage: Stage, node: SimNode, source: Guest): Promise<Guest> {
  const dest = stage.guestOf(source.volume);
  dest.standBy(node, source);
  for (let looks = 0; looks < LOOKS; looks += 1) {
    const code = await dest.tryRead(stage.random.between(0, WORK.workingSet - 1), 1);
    if (code !== undefined)
      throw new RunFailure(`C-migrate: the destination could not read: ${code}`);
  }
  return dest;
}

/** The source stops: all is answered, then it flushes. */
export async function stops(source: Guest): Promise<void> {
  await source.stop();
  await source.flush();
}

/** The destination runs: its first write has the volume within the limit. */
export async function runs(stage: Stage, dest: Guest, limitMs: number): Promise<void> {
  dest.takeOff();
  const since = stage.world.nowMs;
  await dest.write(stage.random.between(0, WORK.workingSet - 1));
  const ms = stage.world.nowMs - since;
  if (ms > limitMs) throw new RunFailure(`C-migrate: a black-out of ${ms.toFixed(0)} ms`);
  dest.writeForever(WORK);
}

/** 3.2, 6: nothing of the former guest lands, for good. */
export async function isFencedForGood(source: Guest): Promise<void> {
  for (let block = 0; block < 4; block += 1) {
    const code = await source.tryWrite(block);
    if (code !== 'fenced') {
      throw new RunFailure(
        `C-writer: the former guest wrote after the hand-over: ${code ?? 'done'}`,
      );
    }
  }
}

/** C-migrate: no request of a guest was refused. */
export function sawNothing(what: string, guest: Guest): void {
  if (guest.errors.length > 0) throw new RunFailure(`C-migrate: ${what} saw ${guest.errors[0]}`);
}

/** It was handed over, not taken: no barrier was owed. */
export function wasHandedOver(stage: Stage, to: SimNode): void {
  const lock = lockAt(to, 'disk');
  if (lock.node !== stage.numberOf(to) || lock.tookOver) {
    throw new RunFailure(`C-migrate: it is held by n${lock.node}, taken over: ${lock.tookOver}`);
  }
}

/** Whether any node said so since that event. */
export function wasSaid(stage: Stage, what: string, since: number): boolean {
  return stage.world.records.slice(since).some(({ name }) => name === what);
}
