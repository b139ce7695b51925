// The process of `npm run sim -- --profile` that runs hundreds of nodes: they share equal states, so nothing else may run
// here. Tells its parent what each row came to, and ends.

import './bans.ts';
import './share-states.ts';
import { enableCompileCache } from 'node:module';
import type { Measured } from './profile.ts';
import { ScaleStage } from './scale-stage.ts';
import { World } from './world.ts';

const SEED = 1;
const OPTIONS = { nodes: 300, zones: 3, partitions: 16 };
const REST_S = 60;
const SETTLE_S = 120;
const VERDICT_S = 10;
const KILLED = 10;
/** After they are back: what follows of it is over. */
const AFTER_S = 30;

enableCompileCache();
const { buildNode } = await import('../src/build-node.ts');
const stage = new ScaleStage(new World(SEED), buildNode, OPTIONS);

async function measured(work: () => Promise<void>): Promise<Measured> {
  const { nowMs, eventCount } = stage.world;
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return {
    simulatedS: (stage.world.nowMs - nowMs) / 1000,
    cpuS: (user + system) / 1e6,
    events: stage.world.eventCount - eventCount,
    requests: 0,
  };
}

async function tenKilled(): Promise<void> {
  const bad = stage.running.filter((node) => !stage.isVoter(node)).slice(0, KILLED);
  for (const node of bad) node.kill();
  const areDown = (): boolean => bad.every((node) => stage.stateOf(node) === 'down');
  await stage.until('ten are called down', areDown, VERDICT_S);
  for (const node of bad) await node.start();
  await stage.settles('after the ten', SETTLE_S);
  await stage.run(AFTER_S);
}

await stage.bootstrap();
await stage.run(SETTLE_S);
const rows: Record<string, Measured> = {
  'at rest': await measured(() => stage.run(REST_S)),
  'ten killed, called down, back': await measured(tenKilled),
};
process.send?.(rows);
