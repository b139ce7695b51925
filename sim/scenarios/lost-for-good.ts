// Goal: LOST (section 6). Two of four hosts with all copies of some partitions burn. While they are only down, requests
// there wait, or fail after the volume's io-timeout, and nobody may go on without them. Once an operator has said that
// their disks are gone, requests there fail at once and all else works; accept-loss starts the partitions anew, as zeroes,
// cuts the guest off, and the volume goes on with all its copies.

import { isLostIn } from '../../src/core/lost.ts';
import { partitionOf, upCount } from '../../src/core/partition.ts';
import type { ClusterView, PartitionConfig } from '../../src/core/view.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const OBJECTS = 24;
const BLOCKS_PER_OBJECT = 1024;
const IO_TIMEOUT_MS = 3000;
const ALL = Array.from({ length: OBJECTS }, (_, index) => index);

export const lostForGood = scenario(
  'lost-for-good',
  { nodes: 5, copies: 2, smokeSeeds: 6 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: OBJECTS * 4, at: gateway });
    for (const i of ALL) await guest.write(i * BLOCKS_PER_OBJECT);

    const victims = drawVictims(stage, gateway);
    const numbers = victims.map((victim) => stage.numberOf(victim));
    for (const victim of victims) victim.losePower();
    const areDown = (): boolean => victims.every((victim) => isCalledDown(stage, victim));
    await stage.until('both are called down', areDown, { seconds: 60 });
    const gone = ALL.filter((i) => configOf(stage, i).inSync.every((n) => numbers.includes(n)));
    const [first] = gone;
    if (first === undefined) throw new RunFailure('nothing hangs on the two alone');
    await isRefused(stage, gateway, 'missing');

    await stage.ask(gateway, 'alter', (handle) =>
      handle.alterVolume('disk', { ioTimeoutMs: IO_TIMEOUT_MS }),
    );
    for (const code of [
      await guest.tryRead(first * BLOCKS_PER_OBJECT, 1),
      await guest.tryWrite(first * BLOCKS_PER_OBJECT + 1),
    ]) {
      if (code !== 'timeout') throw new RunFailure(`a request did not time out: ${code}`);
    }

    for (const node of numbers) {
      await stage.operate(gateway, 'forget', (admin) => admin.forget(node));
    }
    for (const i of ALL) await isAsItShould(stage, guest, i, gone.includes(i) ? 'io' : undefined);

    await stage.operate(gateway, 'accept', (admin) => admin.acceptLoss());
    guest.volume.history.forget(blocksOf(gone));
    if ((await guest.tryRead(first * BLOCKS_PER_OBJECT, 1)) === undefined) {
      throw new RunFailure('the guest that was attached was not cut off');
    }
    const next = stage.guestOf(guest.volume);
    next.attach(stage.anyRunning());
    for (const i of ALL) await next.read(i * BLOCKS_PER_OBJECT, 2);
    for (const i of ALL) await next.write(i * BLOCKS_PER_OBJECT);
    await stage.check.converges({ seconds: 180 });
    await stage.check.everyAcknowledgedWriteIsReadable(next);
    await stage.check.replicasAreIdentical({ seconds: 120 });
  },
);

/** Two that alone hold some object. */
function drawVictims(stage: Stage, gateway: SimNode): readonly SimNode[] {
  const own = stage.numberOf(gateway);
  const pairs = ALL.map((i) => configOf(stage, i).inSync).filter((set) => !set.includes(own));
  if (pairs.length === 0) throw new RunFailure('the gateway is everywhere');
  const pair = stage.random.pick(pairs);
  return stage.running.filter((node) => pair.includes(stage.numberOf(node)));
}

function viewOf(stage: Stage): ClusterView {
  return stage.running[0]?.running().handle.view() as ClusterView;
}

function configOf(stage: Stage, index: number): PartitionConfig {
  const view = viewOf(stage);
  const volume = view.volumeByName('disk');
  if (volume === undefined) throw new RunFailure('no volume');
  return view.partition(volume.policy, partitionOf(volume.family, index, view.partitions));
}

function blocksOf(objects: readonly number[]): number[] {
  return objects.flatMap((i) => [0, 1, 2, 3].map((at) => i * BLOCKS_PER_OBJECT + at));
}

async function isRefused(stage: Stage, at: SimNode, code: string): Promise<void> {
  let refused = '';
  await stage
    .operate(at, 'accept', (admin) => admin.acceptLoss())
    .catch((error: { readonly code?: string }) => {
      refused = error.code ?? String(error);
    });
  if (refused !== code) throw new RunFailure(`accept-loss before anything is lost: ${refused}`);
}

/** What is lost fails at once; what has a live copy is read; what is merely halted is left alone. */
async function isAsItShould(
  stage: Stage,
  guest: Parameters<Stage['check']['everyAcknowledgedWriteIsReadable']>[0],
  index: number,
  expected: string | undefined,
): Promise<void> {
  const view = viewOf(stage);
  const config = configOf(stage, index);
  if (isLostIn(view, config) !== (expected === 'io')) {
    throw new RunFailure(`object ${index}: lost is not what is gone: ${config.inSync.join(',')}`);
  }
  const live = upCount(config, (node) => view.members.get(node)?.state === 'up');
  if (expected === undefined && live === 0) return;
  const before = stage.world.nowMs;
  const codes = [await guest.tryRead(index * BLOCKS_PER_OBJECT, 1)];
  if (expected !== undefined) codes.push(await guest.tryWrite(index * BLOCKS_PER_OBJECT + 2));
  if (codes.some((code) => code !== expected)) {
    throw new RunFailure(`object ${index}: ${codes.join(', ')} instead of ${expected ?? 'data'}`);
  }
  if (expected === 'io' && stage.world.nowMs - before > IO_TIMEOUT_MS) {
    throw new RunFailure(`object ${index}: it took ${stage.world.nowMs - before} ms to fail`);
  }
}
