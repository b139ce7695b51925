// Reads that must be current (C2.3): the leader's word on what is committed, confirmed by a majority after the question,
// then this node's own log up to there. Costs one round trip to the leader and one of the leader to the voters.

import { OperatingError } from '../core/errors.ts';
import type { NodeId } from '../core/ids.ts';
import type { Clock } from '../ports/ports.ts';
import type { ReplyBody, RequestBody } from '../wire/messages.ts';
import type { RaftDriver } from './raft-driver.ts';
import { pause } from './waiting.ts';

export const READ_TIMEOUT_MS = 5000;
/** One question to one leader. */
export const READ_TRY_MS = 1000;
/** Between two tries, and between two looks at how far this node has applied. */
export const READ_PAUSE_MS = 20;

export interface CurrentReadOptions {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly driver: () => RaftDriver;
  readonly voters: () => readonly NodeId[];
  readonly applied: () => number;
  readonly pull: (index: number, from: NodeId) => void;
  readonly ask: (node: NodeId, body: RequestBody, timeoutMs: number) => Promise<ReplyBody>;
}

/**
 * Resolves when this node has applied all that was committed anywhere when it was called.
 * @throws OperatingError 'no-quorum' when no majority answered in time
 */
export async function readCurrent(
  options: CurrentReadOptions,
  timeoutMs = READ_TIMEOUT_MS,
): Promise<void> {
  const { clock, applied, pull } = options;
  const deadline = clock.now() + timeoutMs;
  let found: { readonly index: number; readonly from: NodeId } | undefined;
  for (let turn = 0; clock.now() < deadline; turn += 1) {
    found ??= await askLeader(options, turn);
    if (found !== undefined) {
      if (applied() >= found.index) return;
      pull(found.index, found.from);
    }
    await pause(clock, READ_PAUSE_MS);
  }
  throw new OperatingError('no-quorum', 'no majority of the voters says what is decided by now', {
    advice: 'retry',
    remedy: 'start the nodes that dog node list shows as down or not in reach',
  });
}

async function askLeader(
  options: CurrentReadOptions,
  turn: number,
): Promise<{ readonly index: number; readonly from: NodeId } | undefined> {
  const { self, driver, voters, ask } = options;
  const others = voters().filter((voter) => voter !== self);
  const leader = driver().leader ?? others[turn % Math.max(1, others.length)];
  if (driver().role === 'leader') {
    const { index } = await driver().read();
    return index === undefined ? undefined : { index, from: self };
  }
  if (leader === undefined || leader === self) return undefined;
  const reply = await ask(leader, { type: 'readIndex' }, READ_TRY_MS).catch(silence);
  return reply?.type === 'readIndex' ? { index: reply.index, from: leader } : undefined;
}

function silence(error: unknown): undefined {
  if (!(error instanceof OperatingError)) throw error;
}
