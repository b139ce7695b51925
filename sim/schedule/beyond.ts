// Beyond the fault budget: disks that are gone or rotten on more nodes than any redundancy bears. Then a cluster may halt,
// in whole or in part, and nodes may refuse to start or end by themselves; but each says why in an error of operation, and
// what is served is right: a guest that is answered at all is answered with what a register would say.

import { OperatingError } from '../../src/core/errors.ts';
import type { Guest } from '../guest.ts';
import type { Cure } from '../scenarios/disk-faults.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import type { FaultStep, GuestWork } from './step.ts';

/** Requests to what is halted end with an error. */
const IO_TIMEOUT_MS = 2000;
const SETTLE_S = 30;
const READ_BLOCKS = 64;
const BLOCK_BYTES = 4096;
/** What a node has in mind may go back when these are damaged; it says so, and serves nobody meanwhile (A10). */
const MAP_FILES = /^map/;

/** A node's own words, or the run has failed. */
function isReason(what: string, error: unknown): void {
  if (error instanceof OperatingError) return;
  throw new RunFailure(`${what} without a reason: ${String(error)}`, { cause: error });
}

export async function mayHalt(stage: Stage): Promise<void> {
  for (const node of stage.nodes) node.mayFail = true;
  const at = stage.anyRunning();
  for (const { name } of stage.volumes) {
    await stage.ask(at, 'alter', (handle) =>
      handle.alterVolume(name, { ioTimeoutMs: IO_TIMEOUT_MS }),
    );
  }
}

/** @returns how the host comes back, if its node can start */
export async function ruin(
  stage: Stage,
  victim: SimNode,
  step: Extract<FaultStep, { fault: 'wiped' | 'ruined' }>,
): Promise<Cure> {
  if (step.fault === 'wiped') {
    victim.loseDisk();
    stage.viewChecker.forget(victim.name);
  } else {
    victim.losePower();
    victim.disk.rot(step.path, step.position);
    if (MAP_FILES.test(step.path)) stage.viewChecker.forget(victim.name);
  }
  return () => startsOrSaysWhy(victim);
}

async function startsOrSaysWhy(node: SimNode): Promise<void> {
  if (node.isRunning) return;
  node.lastFall = undefined;
  await node.start().catch((error: unknown) => {
    // A node that ended while it started never says "started".
    if (!node.isRunning && node.lastFall !== undefined) return;
    isReason(`${node.name} does not start`, error);
    if (node.isRunning) node.kill();
  });
  if (node.lastFall !== undefined) isReason(`${node.name} ended`, node.lastFall);
}

function areUp({ running }: Stage): readonly SimNode[] {
  return running.filter((node) => node.running().handle.status().phase === 'up');
}

/** One more guest of the volume through the first node that lets it write; the old one when there is none. */
export async function tryOn(stage: Stage, old: Guest, work: GuestWork | undefined): Promise<Guest> {
  if (old.gatewayIsAlive) return old;
  old.freeze();
  for (const node of areUp(stage)) {
    const next = attached(stage, old, node);
    if (next === undefined || (await next.tryWrite(0)) !== undefined) continue;
    next.writeForever(work);
    return next;
  }
  return old;
}

/** Undefined: the node does not know the volume now. */
function attached(stage: Stage, old: Guest, node: SimNode): Guest | undefined {
  const next = stage.guestOf(old.volume);
  try {
    next.attach(node);
    return next;
  } catch (error) {
    isReason(`attaching at ${node.name}`, error);
    return undefined;
  }
}

/** At the end, on a whole network: each block that can be read is, through every node that is up, until one serves it. */
export async function lastReads(stage: Stage, guest: Guest): Promise<void> {
  guest.freeze();
  for (const node of stage.nodes) await startsOrSaysWhy(node);
  await stage.run({ seconds: SETTLE_S });
  const { history, sizeBytes } = guest.volume;
  const chunks = new Set(history.blocks.map((block) => Math.floor(block / READ_BLOCKS)));
  let [served, refused] = [0, 0];
  for (const node of areUp(stage)) {
    const next = attached(stage, guest, node);
    for (const chunk of next === undefined ? [] : chunks) {
      if (!node.isRunning) break;
      const first = chunk * READ_BLOCKS;
      const count = Math.min(READ_BLOCKS, sizeBytes / BLOCK_BYTES - first);
      if ((await next?.tryRead(first, count)) === undefined) served += 1;
      else refused += 1;
    }
    if (served > 0) break;
  }
  stage.world.note('stage', 'last reads', `${served} served, ${refused} refused`);
  for (const node of stage.nodes) {
    if (node.lastFall !== undefined) isReason(`${node.name} ended`, node.lastFall);
  }
}
