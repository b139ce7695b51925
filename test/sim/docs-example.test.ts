// What docs/SIMULATOR.md shows a newcomer works as it stands there.

import '../../sim/bans.ts';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { play, type Scenario } from '../../sim/scenario.ts';

const DOC = new URL('../../docs/SIMULATOR.md', import.meta.url);
const SCENARIO = new URL('../../sim/scenario.ts', import.meta.url).href;

test.serial('the story in ten lines can be copied and holds', async (t) => {
  t.timeout(120_000);
  const [, code = ''] = /```ts\n([\s\S]*?)```/.exec(readFileSync(DOC, 'utf8')) ?? [];
  t.true(code.split('\n').length < 20);
  const folder = mkdtempSync(path.join(tmpdir(), 'sim-story-'));
  const file = path.join(folder, 'sim', 'five-seconds.ts');
  try {
    mkdirSync(path.dirname(file));
    writeFileSync(file, code.replace("'../scenario.ts'", `'${SCENARIO}'`));
    const { fiveSeconds } = (await import(pathToFileURL(file).href)) as { fiveSeconds: Scenario };
    const { buildNode: build } = await import('../../src/build-node.ts');
    for (const seed of [1, 2, 3]) {
      t.is((await play(fiveSeconds, { build, seed })).failure, undefined, `seed ${seed}`);
    }
    const isBroken = await play(fiveSeconds, {
      build,
      seed: 1,
      prepare: (stage) => stage.world.schedule(6000, undefined, () => stage.node('node-1').kill()),
    });
    t.truthy(isBroken.failure, 'its end is a judgement');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
