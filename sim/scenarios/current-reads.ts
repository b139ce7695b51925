// Goal: a read that asks for what is current sees all that anybody was told before it was asked (C2.3), through any node,
// while leaders are cut off or sleep, and others lead in their place. Who is cut off from the majority gets no answer
// instead of an old one; a leader that slept does not answer by itself.

import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const ROUNDS = 10;
const KEY = 'membership/out-after';
const SLEEP_MS = 6000;

/** Takes the leader, or anybody, out of the cluster's sight; resolves when another one leads. */
async function hurt(stage: Stage): Promise<SimNode> {
  const { random } = stage;
  const victim =
    stage.leader !== undefined && random.chance(0.8) ? stage.leader : stage.anyRunning();
  if (random.chance(0.5)) stage.partition([victim]);
  else victim.running().process.pause(SLEEP_MS);
  const isLed = (): boolean =>
    stage.running.some(
      (node) => node !== victim && node.running().handle.status().role === 'leader',
    );
  await stage.until('another one leads', isLed, { seconds: 20 });
  return victim;
}

/** Writes through one of the others and reads through `reader`; true when that was answered. */
async function writeAndRead(
  stage: Stage,
  value: string,
  writer: SimNode,
  reader: SimNode,
): Promise<boolean> {
  const isWritten = await stage
    .operate(writer, 'set', (admin) => admin.set('out-after', `${value}ms`))
    .then(() => true)
    // Its writer was called down meanwhile, perhaps.
    .catch(() => false);
  if (!isWritten) return false;
  const isAnswered = await stage
    .operate(reader, 'read', (admin) => admin.catchUp())
    .then(() => true)
    .catch(() => false);
  const seen = reader.running().handle.view()?.settings.get(KEY);
  if (isAnswered && seen !== value) {
    throw new RunFailure(`C2.3: ${reader.name} saw ${seen ?? 'nothing'}, decided was ${value}`);
  }
  return isAnswered;
}

export const currentReads = scenario(
  'current-reads',
  { nodes: 4, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    const { random } = stage;
    await stage.form();
    let reads = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const victim = round % 2 === 1 ? await hurt(stage) : undefined;
      const writer = stage.anyRunning(victim);
      const reader = victim !== undefined && random.chance(0.7) ? victim : stage.anyRunning();
      const value = `${(700 + round) * 1000}`;
      if (await writeAndRead(stage, value, writer, reader)) reads += 1;
      stage.heal();
      await stage.check.converges({ seconds: 60 });
    }
    if (reads < ROUNDS / 3) throw new RunFailure(`${reads} reads were answered`);
  },
);
