// Goal: minCopies and the read-only touch (4.5). Two of three copies die in one instant, with the gateway, when its writes
// have reached the two and nobody else. Whoever takes the volume over can not write what hangs on the third copy,
// and reads it (but for what is open there). When one of the two is back, or both are, all is well again, and nothing that
// was read has changed (I12): not by the holder, not without any, not by a later one when the third copy is gone in turn.
// A guest of another volume on the same partitions lives through it: no write of a holder that lives is cut.

import { partitionOf, upCount } from '../../src/core/partition.ts';
import type { ClusterView } from '../../src/core/view.ts';
import type { Guest } from '../guest.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const OBJECTS = 24;
const BLOCKS_PER_OBJECT = 1024;
const CLOSE_SECONDS = 3;
const LOOK_UP_SECONDS = 2.5;

export const twoAtOnce = scenario(
  'two-at-once',
  { nodes: 5, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    // It holds no copies: who is called down first does not change who is in sync.
    await stage.operate(gateway, 'weigh', (admin) => admin.weigh(stage.numberOf(gateway), 0));
    await stage.check.converges({ seconds: 60 });
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: OBJECTS * 4, at: gateway });
    for (let i = 0; i < OBJECTS; i += 1) await guest.write(i * BLOCKS_PER_OBJECT, 2);
    await stage.run({ seconds: CLOSE_SECONDS });

    const victims = drawTwo(stage, gateway);
    const beside = stage.random.pick(
      stage.running.filter((node) => node !== gateway && !victims.includes(node)),
    );
    const neighbour = await stage.createVolume({ name: 'other', sizeMiB: OBJECTS * 4, at: beside });
    neighbour.writeForever({ workingSet: OBJECTS * BLOCKS_PER_OBJECT });
    await stage.run({ seconds: 1 });

    await dieInMidWrite(stage, guest, gateway, victims);
    const successor = stage.guestOf(guest.volume);
    successor.attach(stage.anyRunning());
    const waiting = await readsGoOn(stage, successor);
    const isHeld = stage.random.chance(0.5);
    if (isHeld) startWrites(successor, waiting);
    else await successor.detach();

    const areBoth = stage.random.chance(0.5);
    for (const victim of areBoth ? victims : victims.slice(0, 1)) await victim.start();
    await stage.check.converges({ seconds: 180 });
    if (areBoth && stage.random.chance(0.5)) await anotherDies(stage, [...victims, beside]);
    const reader = isHeld && successor.gatewayIsAlive ? successor : stage.guestOf(guest.volume);
    if (reader !== successor) reader.attach(stage.anyRunning());
    await stage.check.everyAcknowledgedWriteIsReadable(reader);
    for (let i = 0; i < OBJECTS; i += 1) await reader.write(i * BLOCKS_PER_OBJECT);

    for (const node of stage.nodes) if (!node.isRunning) await node.start();
    await stage.check.converges({ seconds: 180 });
    await neighbour.stop();
    for (const each of [reader, neighbour]) {
      if (each.errors.length > 0) throw new RunFailure(`guest saw ${each.errors.join(', ')}`);
      await stage.check.everyAcknowledgedWriteIsReadable(each);
    }
    await stage.check.replicasAreIdentical({ seconds: 120 });
  },
);

function drawTwo(stage: Stage, gateway: SimNode): readonly [SimNode, SimNode] {
  const first = stage.anyRunning(gateway);
  const others = stage.running.filter((node) => node !== gateway && node !== first);
  return [first, stage.random.pick(others)];
}

/** A write to each object reaches the victims and nobody else. */
async function dieInMidWrite(
  stage: Stage,
  guest: Guest,
  gateway: SimNode,
  victims: readonly [SimNode, SimNode],
): Promise<void> {
  for (const node of stage.nodes) {
    if (node !== gateway && !victims.includes(node)) {
      stage.cable.paths.cut(gateway.name, node.name, ['data']);
    }
  }
  for (let i = 0; i < OBJECTS; i += 1) guest.startWrite(i * BLOCKS_PER_OBJECT);
  // The gateway may ask one that is cut off first which version the object has.
  await stage.run({ seconds: LOOK_UP_SECONDS });
  guest.freeze();
  gateway.kill();
  for (const victim of victims) {
    if (stage.random.chance(0.5)) victim.kill();
    else victim.losePower();
  }
  stage.heal();
  await gateway.start();
  const areDown = (): boolean => victims.every((victim) => isCalledDown(stage, victim));
  await stage.until('the victims are called down', areDown, { seconds: 60 });
  const areUp = (): boolean => stage.running.every((node) => stage.memberOf(node)?.state === 'up');
  await stage.until('the others are up', areUp, { seconds: 60 });
}

/** Every object that nobody who lives has open is read. Gives the objects that can not be written. */
async function readsGoOn(stage: Stage, guest: Guest): Promise<readonly number[]> {
  const objects = Array.from({ length: OBJECTS }, (_, i) => i);
  const halted = objects.filter((i) => isHalted(stage, i));
  if (halted.length === 0) throw new RunFailure('no partition hangs on one copy');
  const readable = objects.filter((i) => !isOpenSomewhere(stage, i));
  // Twice: only the second one shows that what the first saw was settled.
  for (const _ of [1, 2]) await areRead(stage, guest, readable);
  const before = guest.volume.history.acknowledgedWrites;
  for (const i of halted) guest.startWrite(i * BLOCKS_PER_OBJECT + 1);
  await stage.run({ seconds: stage.random.unit() * 5 });
  if (guest.volume.history.acknowledgedWrites > before) {
    throw new RunFailure('R3: a write was acknowledged with fewer than minCopies live');
  }
  return halted;
}

async function areRead(stage: Stage, guest: Guest, objects: readonly number[]): Promise<void> {
  const left = new Set(objects);
  for (const i of objects) {
    guest.startRead(i * BLOCKS_PER_OBJECT, 2, (isOk) => {
      if (isOk) left.delete(i);
    });
  }
  const areAnswered = (): string | true =>
    left.size === 0 || `objects ${[...left].join(',')} of ${objects.length}`;
  await stage.until('what is closed is read', areAnswered, { seconds: 30 });
}

function startWrites(guest: Guest, objects: readonly number[]): void {
  for (const i of objects) guest.startWrite(i * BLOCKS_PER_OBJECT + 2);
}

/** A third member dies once the first two are no danger any more. */
async function anotherDies(stage: Stage, except: readonly SimNode[]): Promise<void> {
  const victim = stage.random.pick(stage.running.filter((node) => !except.includes(node)));
  victim.kill();
  await stage.until('a third is called down', () => isCalledDown(stage, victim), { seconds: 60 });
}

function placeOf(stage: Stage, index: number) {
  const view = stage.running[0]?.running().handle.view() as ClusterView;
  const volume = view.volumeByName('disk');
  if (volume === undefined) throw new RunFailure('no volume');
  const p = partitionOf(volume.family, index, view.partitions);
  return { view, volume, config: view.partition(volume.policy, p) };
}

function isHalted(stage: Stage, index: number): boolean {
  const { view, volume, config } = placeOf(stage, index);
  const minCopies = view.policies.get(volume.policy)?.minCopies ?? 0;
  return upCount(config, (node) => view.members.get(node)?.state === 'up') < minCopies;
}

function isOpenSomewhere(stage: Stage, index: number): boolean {
  const { volume, config } = placeOf(stage, index);
  return stage.running.some((node) => {
    if (!config.inSync.includes(stage.numberOf(node))) return false;
    const row = node.running().handle.inspect().store?.row(volume.head, index);
    return row !== undefined && row.closed < row.verCount;
  });
}
