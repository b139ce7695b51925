// The answer to BLOCK_STATUS: what the session says of a range, in the words of each context that was agreed on.

import type { AllocationExtent } from '../datapath/volume-session.ts';
import type { MetaContext } from './meta-contexts.ts';
import { COMMAND_FLAG, type Cookie, encodeStatusChunk } from './nbd-codec.ts';

/** One chunk per context, the last one marked; of REQ_ONE one extent each. Neighbours with the same flags are one. */
export function statusChunks(
  request: Cookie & { readonly flags: number },
  contexts: readonly MetaContext[],
  extents: readonly AllocationExtent[],
): Uint8Array[] {
  const isOne = (request.flags & COMMAND_FLAG.reqOne) !== 0;
  return contexts.map(({ id, flagsOf }, i) => {
    const flagged = joined(extents.map((one) => ({ length: one.length, flags: flagsOf(one) })));
    const told = isOne ? flagged.slice(0, 1) : flagged;
    return encodeStatusChunk(request, id, told, i === contexts.length - 1);
  });
}

interface Flagged {
  readonly length: number;
  readonly flags: number;
}

function joined(extents: readonly Flagged[]): Flagged[] {
  const kept: { length: number; flags: number }[] = [];
  for (const { length, flags } of extents) {
    const last = kept.at(-1);
    if (last?.flags === flags) last.length += length;
    else kept.push({ length, flags });
  }
  return kept;
}
