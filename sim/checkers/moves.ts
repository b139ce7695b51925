// What a node tells of a volume that it moves is honest, all the time: nothing above the total, the total of one copy never
// changes once it is known, and what is done of it never sinks.

import type { MoveStatus } from '../../src/core/move-progress.ts';
import type { Stage } from '../stage.ts';

const LOOK_EVERY_MS = 50;

/** From now on. */
export function checkMoves(stage: Stage): void {
  const last = new Map<string, MoveStatus>();
  const look = (): void => {
    for (const node of stage.running) {
      for (const said of node.running().handle.inspect().moves ?? []) {
        const wrong = note(last, `${node.name} ${node.lives}`, said);
        if (wrong === undefined) continue;
        stage.world.fail(`move as ${node.name} tells it: ${wrong}`);
        return;
      }
    }
    stage.world.schedule(LOOK_EVERY_MS, undefined, look);
  };
  look();
}

function note(last: Map<string, MoveStatus>, who: string, said: MoveStatus): string | undefined {
  const { doneBytes, totalBytes } = said;
  if (doneBytes > totalBytes) return `${doneBytes} of ${totalBytes} bytes are done`;
  const key = `${who} ${said.generation}`;
  const before = last.get(key);
  last.set(key, said);
  // Before it begins it may show the copy before, which was dropped.
  if (before === undefined || before.startedMs !== said.startedMs) return undefined;
  if (before.totalBytes > 0 && before.totalBytes !== totalBytes) {
    return `its total was ${before.totalBytes} and is ${totalBytes}`;
  }
  return doneBytes < before.doneBytes
    ? `${before.doneBytes} were done, now ${doneBytes}`
    : undefined;
}
