// What both ends of a data channel agree on: what a request costs in credits, who may greet whom, and the limits of a
// request's fields. Pure.

import type { NodeId } from '../core/ids.ts';
import { MAX_PAYLOAD_BYTES, MIB, OBJECT_BYTES } from '../core/units.ts';
import { encodeHeaders, FLAG, FRAME_VERSION, type Frame, frameBytes, OP } from '../wire/frame.ts';
import type { Hello } from '../wire/payloads.ts';

/** Bytes of requests that a node takes in flight per channel, unless its HELLO says otherwise. */
export const DEFAULT_CREDITS_BYTES = 32 * MIB;

const KNOWN_OPS: ReadonlySet<number> = new Set<number>(Object.values(OP));
/** Their replies carry about `count` bytes, which the server holds as well. */
const COPYING_OPS: ReadonlySet<number> = new Set<number>([OP.READ, OP.FETCH]);

/** Their status byte in a request is the strain of the gateway that asks (FORMATS). */
const TELLING_OPS: ReadonlySet<number> = new Set<number>([OP.READ, OP.WRITE, OP.ZERO]);

/** Credits that a request takes until its reply: its bytes, and those of its reply where they are many. */
export function requestCost(frame: Frame): number {
  const replyBytes = COPYING_OPS.has(frame.op) ? Math.min(frame.count, MAX_PAYLOAD_BYTES) : 0;
  return frameBytes(frame) + replyBytes;
}

/** A frame as the pieces that a channel sends; the payload is not copied. */
export function piecesOf(frame: Frame): readonly Uint8Array[] {
  const headers = encodeHeaders(frame);
  return frame.payload.length === 0 ? [headers] : [headers, frame.payload];
}

/** Why this HELLO is not from who it should be; undefined when it is. */
export function helloFault(theirs: Hello, ours: Hello, expected: NodeId): string | undefined {
  if (theirs.version !== FRAME_VERSION) return `frame version ${theirs.version} is not known`;
  if (theirs.clusterId !== ours.clusterId) return 'a node of another cluster';
  if (theirs.node !== expected) return `node ${theirs.node} where node ${expected} is expected`;
  if (theirs.creditsBytes === 0) return 'no credits';
  return undefined;
}

/** What is wrong with a request's shape; undefined when a handler may see it. */
export function requestFault(frame: Frame): string | undefined {
  if (!KNOWN_OPS.has(frame.op) || frame.op === OP.HELLO) return `unknown operation ${frame.op}`;
  if (frame.status !== 0 && !TELLING_OPS.has(frame.op)) return 'a status in a request';
  if (frame.offset + frame.count > OBJECT_BYTES) return 'a range beyond the object';
  if (frame.op === OP.WRITE) return writeFault(frame);
  if (COPYING_OPS.has(frame.op) && frame.count > MAX_PAYLOAD_BYTES) return 'a read above 1 MiB';
  return undefined;
}

function writeFault(frame: Frame): string | undefined {
  if (frame.count === 0 || frame.payload.length !== frame.count) return 'a write without its data';
  if ((frame.flags & FLAG.SECOND) === 0) return 'a write without its version';
  if (frame.sums.length === 0) return 'a write without its sums';
  return undefined;
}
