// What stories do to one node's disk, each with its cure: copies that rot or can not be read, accesses that go elsewhere, a
// disk that fills up, one that fails. Damage of copies is healed, by scrubs, before the cure is over: so no story has more
// bad copies at a time than its redundancy bears.

import { MIB, OBJECT_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import type { Guest } from '../guest.ts';
import type { FaultStep, Harm } from '../schedule/step.ts';
import type { SimNode } from '../sim-node.ts';
import type { SimRandom } from '../sim-random.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

export type Cure = () => Promise<void>;

const DATA_OFFSET = 4 * SECTOR_BYTES;
const SLOT_OFFSET = 2 * SECTOR_BYTES;
const OBJECT_SECTORS = OBJECT_BYTES / SECTOR_BYTES;
const HARMS = ['bit', 'bit', 'unreadable', 'sums', 'file'] as const;
const MAX_HARMS = 6;
/** Accesses of one fault that go elsewhere. */
const MAX_DETOURS = 4;
/** A node whose disk fails under it ends within this, if it touches its disk at all. */
const ENDS_MS = 10_000;
const SCRUB_S = 180;
/** Objects that nobody writes are closed within this. */
const CLOSE_S = 6;
const MAX_SCRUBS = 3;
/** Copies that no scrub could look at yet may be bad. */
const unhealed = new WeakSet<Stage>();

export const DISK_FAULTS = ['rot', 'astray', 'full', 'failing'] as const;
export type DiskFault = (typeof DISK_FAULTS)[number];

export function isDiskFault(kind: string): kind is DiskFault {
  return DISK_FAULTS.some((one) => one === kind);
}

/** Makes copies bad: no second node may be hurt like this before the first is healed. */
export function damages(kind: string): boolean {
  return kind === 'rot' || kind === 'astray';
}

/** One object of a node to damage: a bit of data or sums, a sector that can not be read, the file gone. */
function drawHarm(random: SimRandom, files: readonly string[]): Harm {
  const path = random.pick(files);
  const kind = random.pick(HARMS);
  const sector = random.between(0, OBJECT_SECTORS - 1);
  const position = DATA_OFFSET + sector * SECTOR_BYTES + random.between(0, SECTOR_BYTES - 1);
  return { kind, path, sector, position };
}

export function applyHarm(stage: Stage, victim: SimNode, harm: Harm): void {
  const { kind, path, sector, position } = harm;
  if (kind === 'bit') victim.disk.rot(path, position);
  else if (kind === 'unreadable') victim.disk.makeUnreadable(path, position);
  else if (kind === 'file') victim.disk.loseEntry(path);
  else for (const slot of [0, 1]) victim.disk.rot(path, slot * SLOT_OFFSET + 100);
  stage.world.note('stage', 'harm', `${kind} ${victim.name} ${path} ${sector}`);
}

/** Damages one object of a node by a draw. */
export function harm(stage: Stage, victim: SimNode): void {
  const files = victim.disk.filePaths('objects');
  if (files.length > 0) applyHarm(stage, victim, drawHarm(stage.random, files));
}

/** Asks every node for a scrub and waits until it is over and nothing is damaged any more. */
export async function scrubbed(stage: Stage, kind: 'light' | 'deep'): Promise<void> {
  for (const node of stage.running) {
    const { process, handle } = node.running();
    stage.world.enter(process, () => handle.scrub({ action: 'start', kind }));
  }
  await stage.until(
    `${kind} scrub and repairs are over`,
    () => {
      for (const node of stage.running) {
        const { handle } = node.running();
        const { run, late } = handle.scrub();
        if (run !== undefined || late.length > 0) return `${node.name} scrubs`;
      }
      return true;
    },
    { seconds: SCRUB_S },
  );
  await stage.check.noCopyIsSuspect({ seconds: SCRUB_S });
}

/** Free space left from now on; returns the way back. The disk is so small that its reserves are most of that. */
export function fill(node: SimNode, leaveBytes: number): () => void {
  const before = node.disk.capacityBytes;
  node.disk.capacityBytes = node.disk.usedBytes + leaveBytes;
  return () => {
    // Filled twice: the second to be emptied knows only what the first one left.
    node.disk.capacityBytes = Math.max(before, node.disk.capacityBytes);
  };
}

export const FAILURES = ['sync', 'write', 'read-only'] as const;
/** What swarms of old seeds do not draw. */
export const MORE_FAILURES = [...FAILURES, 'read', 'moved'] as const;
type Failure = (typeof MORE_FAILURES)[number];

/** Breaks the disk now; returns its repair. */
export function breakDisk(node: SimNode, fault: Failure): () => void {
  if (fault === 'sync') node.disk.failSyncs = Number.MAX_SAFE_INTEGER;
  else if (fault === 'write') node.disk.failsWrites = true;
  else if (fault === 'read') node.disk.failsReads = true;
  else if (fault === 'moved') node.disk.isMovedAway = true;
  else node.disk.isReadOnly = true;
  return () => {
    node.disk.failSyncs = 0;
    node.disk.failsWrites = false;
    node.disk.failsReads = false;
    node.disk.isMovedAway = false;
    node.disk.isReadOnly = false;
  };
}

/** One fault of one disk by a draw. The cure of damage needs all nodes up. */
export function drawDiskFault(
  stage: Stage,
  victim: SimNode,
  kind: DiskFault,
  failures: readonly Failure[] = FAILURES,
): FaultStep {
  const { random } = stage;
  const node = victim.name;
  if (kind === 'full') return { fault: kind, node, leaveBytes: random.between(4, 9) * MIB };
  if (kind === 'failing') return { fault: kind, node, how: random.pick(failures) };
  const isBarred = unhealed.has(stage);
  if (kind === 'rot') {
    return { fault: kind, node, harms: isBarred ? [] : drawHarms(random, victim) };
  }
  if (isBarred) return { fault: kind, node, accesses: [] };
  const accesses: ('read' | 'write')[] = [];
  for (let i = random.between(1, MAX_DETOURS); i > 0; i -= 1) {
    accesses.push(random.chance(0.5) ? 'write' : 'read');
  }
  return { fault: kind, node, accesses };
}

function drawHarms(random: SimRandom, victim: SimNode): readonly Harm[] {
  const harms: Harm[] = [];
  let files = victim.disk.filePaths('objects');
  for (let i = random.between(1, MAX_HARMS); i > 0; i -= 1) {
    if (files.length === 0) continue;
    const one = drawHarm(random, files);
    harms.push(one);
    if (one.kind === 'file') files = files.filter((path) => path !== one.path);
  }
  return harms;
}

/** Some accesses to copies go elsewhere. */
export function astray(
  stage: Stage,
  victim: SimNode,
  accesses: readonly ('read' | 'write')[],
): Cure {
  for (const access of accesses) {
    if (access === 'write') victim.disk.misdirectWrite(isCopy);
    else victim.disk.misdirectRead(isCopy);
  }
  return () => {
    victim.disk.clearDetours();
    return healed(stage);
  };
}

function isCopy(path: string): boolean {
  return path.startsWith('objects/') || path.startsWith('incoming/');
}

/**
 * A scrub leaves out what is open: where one did, guests hold their breath until a later one saw all. What a dead holder
 * left open stays so until the next one comes to it: then no copy is damaged anew before that.
 */
export async function healed(stage: Stage): Promise<void> {
  await stage.check.converges({ seconds: 180 });
  await scrubbed(stage, 'deep');
  stage.world.areGuestsHeld = true;
  for (let tries = 0; tries < MAX_SCRUBS && hasSkipped(stage); tries += 1) {
    await stage.run({ seconds: CLOSE_S });
    await scrubbed(stage, 'deep');
  }
  stage.world.areGuestsHeld = false;
  if (hasSkipped(stage)) unhealed.add(stage);
  else unhealed.delete(stage);
}

/**
 * At the end: every copy was looked at, and none is bad. A member that was away when its objects were closed has them open
 * until the next write to each; no scrub looks at them before.
 */
export async function allHealed(stage: Stage, guest: Guest): Promise<void> {
  const blocks = guest.volume.sizeBytes / SECTOR_BYTES;
  for (let block = 0; block < blocks; block += OBJECT_SECTORS) await guest.write(block);
  await healed(stage);
  if (unhealed.has(stage)) throw new RunFailure('objects of idle guests are never closed');
}

function hasSkipped({ running }: Stage): boolean {
  return running.some((node) => node.running().handle.scrub().skippedObjects > 0);
}

/** The node ends by itself when it touches its disk: its last words, not ours. */
export async function failing(stage: Stage, victim: SimNode, how: Failure): Promise<Cure> {
  victim.mayFail = true;
  const repair = breakDisk(victim, how);
  if (!(await stage.world.runUntil(() => !victim.isRunning, ENDS_MS))) victim.kill();
  return async () => {
    repair();
    victim.mayFail = false;
    if (!victim.isRunning) await victim.start();
  };
}
