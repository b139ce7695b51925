// Whether this node's log is of the same history as that of the others, asked at a start. After a forced recovery there may
// be two (section 6): who was away then, or was given up, may know decisions that the rest of the cluster does not have, or
// has otherwise. Raft takes it for granted that this can not be.

import { OperatingError } from '../core/errors.ts';
import { isLaterHistory } from '../core/history.ts';
import type { MapIndex, NodeId } from '../core/ids.ts';
import type { ReplyBody, RequestBody } from '../wire/messages.ts';

/** Members asked at once, voters first. */
export const MAX_HISTORY_ASKED = 8;
/** How long each of them may take. */
export const HISTORY_TIMEOUT_MS = 1000;

export interface HistoryCheckOptions {
  /** The last entry that is committed here, and its term; index 0: nothing is. */
  readonly last: { readonly index: number; readonly term: number | undefined };
  /** Of the state here: it knows which recoveries were forced. */
  readonly settings: ReadonlyMap<string, string>;
  /** Others, voters first. */
  readonly members: readonly NodeId[];
  readonly ask: (node: NodeId, body: RequestBody, timeoutMs: number) => Promise<ReplyBody>;
}

/** The member that knows a later history; undefined: nobody who answered does. Never rejects for silence. */
export async function contradictedBy(options: HistoryCheckOptions): Promise<NodeId | undefined> {
  const { last, members } = options;
  if (last.index === 0 || last.term === undefined) return undefined;
  const asked = members.slice(0, MAX_HISTORY_ASKED).map(async (node) => {
    return (await contradicts(options, node)) ? node : undefined;
  });
  return (await Promise.all(asked)).find((node) => node !== undefined);
}

async function contradicts(
  { last, ask, settings }: HistoryCheckOptions,
  node: NodeId,
): Promise<boolean> {
  const from = last.index as MapIndex;
  const body = { type: 'pull', from, maxBytes: 1 } as const;
  const reply = await ask(node, body, HISTORY_TIMEOUT_MS).catch(silence);
  if (reply?.type !== 'entries') return false;
  const [entry] = reply.entries;
  if (entry !== undefined) {
    const isOther = entry.index === last.index && entry.term !== last.term;
    return isOther && isLaterHistory(entry.term, settings);
  }
  // It is behind. Where it leads, and a majority says so, nothing beyond its answer was ever decided in its history.
  const read = await ask(node, { type: 'readIndex' }, HISTORY_TIMEOUT_MS).catch(silence);
  return read?.type === 'readIndex' && read.index < last.index && isLaterHistory(0, settings);
}

function silence(error: unknown): undefined {
  if (!(error instanceof OperatingError)) throw error;
}
