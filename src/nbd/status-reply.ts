// The answer to BLOCK_STATUS: what the session says of a range, in the words of each context that was agreed on.

import type { AllocationExtent } from '../datapath/volume-session.ts';
import type { MetaContext } from './meta-contexts.ts';
import { COMMAND_FLAG, type Cookie, encodeStatusChunk } from './nbd-codec.ts';

/** One chunk per context, the last one marked; of REQ_ONE one extent each. */
export function statusChunks(
  request: Cookie & { readonly flags: number },
  contexts: readonly MetaContext[],
  extents: readonly AllocationExtent[],
): Uint8Array[] {
  const isOne = (request.flags & COMMAND_FLAG.reqOne) !== 0;
  const told = isOne ? extents.slice(0, 1) : extents;
  return contexts.map(({ id, flagsOf }, i) => {
    const flagged = told.map((one) => ({ length: one.length, flags: flagsOf(one) }));
    return encodeStatusChunk(request, id, flagged, i === contexts.length - 1);
  });
}
