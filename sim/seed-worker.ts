// One of several processes that play seeds for run.ts: takes a task, plays it, answers, until the other end is gone. The
// guards of bans.ts come before product code here, too.

import './bans.ts';
import { enableCompileCache } from 'node:module';
import type { SeedTask } from './play-seeds.ts';

enableCompileCache();
const { buildNode } = await import('../src/build-node.ts');
const { playerHere } = await import('./player.ts');
const playSeed = playerHere(buildNode);

process.on('message', (task: SeedTask) => {
  playSeed(task).then(
    (result) => process.send?.(result),
    (error: unknown) => {
      process.stderr.write(`sim: ${task.story} seed ${task.seed}: ${String(error)}\n`);
      process.exit(1);
    },
  );
});
