// The barrier of who takes nothing over (F3): one sure member of each partition of a volume has applied what this node has.
// From there on no write under an older token is acknowledged, whoever still sends it. One round: what is not known after
// it is the caller's to ask again.

import type { NodeId } from '../core/ids.ts';
import { isSure } from '../core/partition.ts';
import type { Volume } from '../core/view.ts';
import { partitionsOfVolume } from '../core/volume-move.ts';
import { OP, STATUS } from '../wire/frame.ts';
import { encodePartitionCfgs } from '../wire/payloads.ts';
import { configOf, isUp, type Parts, requestFrame } from './context.ts';

/** Each member is asked so long: it applies the log up to here first. */
export const BARRIER_DEADLINE_MS = 3000;

/** `done` once: whether no write of an older token can be acknowledged any more. */
export function awaitBarrier(parts: Parts, volume: Volume, done: (isUp: boolean) => void): void {
  const view = parts.views.current();
  const open = new Map<number, readonly NodeId[]>();
  for (const p of partitionsOfVolume(view, volume)) {
    const config = configOf(view, volume, p);
    open.set(
      p,
      config.inSync.filter((node) => isUp(view, node) && isSure(config, node)),
    );
  }
  const nodes = new Set([...open.values()].flat());
  let left = nodes.size;
  let isDone = false;
  const look = (): void => {
    if (isDone || (open.size > 0 && left > 0)) return;
    isDone = true;
    done(open.size === 0);
  };
  for (const node of nodes) {
    const frame = requestFrame(view, OP.CONFIRM);
    frame.payload = encodePartitionCfgs([]);
    parts.ask(node, frame, BARRIER_DEADLINE_MS, (reply) => {
      left -= 1;
      if (reply?.status === STATUS.OK) {
        for (const [p, members] of open) if (members.includes(node)) open.delete(p);
      }
      look();
    });
  }
  look();
}
