// How a node that starts gets the log: several members are asked how far they are, which costs little; whoever answers
// first is asked for the log itself, once. A member that is further makes the pull go on; a dead one delays nothing.

import { OperatingError } from '../core/errors.ts';
import type { MapIndex, PeerKey } from '../core/ids.ts';
import type { Random } from '../ports/ports.ts';
import type { ReplyBody, RequestBody } from '../wire/messages.ts';

/** Members asked at once when a node starts. */
export const MAX_CATCH_UP_SOURCES = 8;
/** How long one of them may take to say how far it is; silence of all means: try again. */
export const HOW_FAR_TIMEOUT_MS = 2000;
/** An index that no log reaches: an answer to a pull from there says only how far the log is. */
const BEYOND = 2 ** 47;

/** The question how far a log is committed: `commit` of its answer. */
export const HOW_FAR = { type: 'pull', from: BEYOND as MapIndex, maxBytes: 0 } as const;

export interface LogCatchUpOptions {
  /** Known members but this one. */
  readonly sources: readonly PeerKey[];
  readonly random: Random;
  readonly ask: (peer: PeerKey, body: RequestBody, timeoutMs: number) => Promise<ReplyBody>;
  /** Gets the log up to there, from this member first; resolves when it is there or the pull gave up. */
  readonly reach: (index: number, source: PeerKey) => Promise<void>;
}

/**
 * The committed entries of at least one other member, where there is another one; false when nobody answered. Asks others
 * each time: the first members may all be gone.
 */
export async function catchUpLog(options: LogCatchUpOptions): Promise<boolean> {
  const { sources: all, random, ask, reach } = options;
  if (all.length === 0) return true;
  const start = random.u32() % all.length;
  const sources = [...all.slice(start), ...all.slice(0, start)].slice(0, MAX_CATCH_UP_SOURCES);
  const reached = sources.map(async (source) => {
    const reply = await ask(source, HOW_FAR, HOW_FAR_TIMEOUT_MS);
    if (!('commit' in reply)) throw new OperatingError('refused', 'it has no log');
    await reach(reply.commit, source);
  });
  return Promise.any(reached).then(() => true, nobodyAnswered);
}

/** Anything but an operating error is a bug here, and must not pass for silence. */
function nobodyAnswered(error: unknown): false {
  const reasons: readonly unknown[] = error instanceof AggregateError ? error.errors : [error];
  const bug = reasons.find((reason) => !(reason instanceof OperatingError));
  if (bug !== undefined) throw bug;
  return false;
}
