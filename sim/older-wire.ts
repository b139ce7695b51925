// What programs of an earlier release say, rewritten on its way: their knocks name no versions (format 1), their rumours
// of the map have no term (version 1), their ping answers name no incarnation (version 1), and CONTENTS is an op that they
// do not know. A rumour between two releases is refused by its receiver, whichever is the newer. The rest is said alike.

import {
  decodeFrame,
  encodeHeaders,
  type Frame,
  OP,
  REPLY_BIT,
  STATUS,
} from '../src/wire/frame.ts';
import { KNOCK_VERSION, MAP_DELTA_VERSION } from '../src/wire/messages.ts';
import type { Stage } from './stage.ts';

/** Of a knock of format 2 behind the weight: isWitness u8, oldest u16, newest u16. */
const KNOCK_TAIL_BYTES = 5;
const KNOCK_RANGE_BYTES = 4;
const PING_INFO_VERSION = 2;
/** Of version 2 behind the journal sequence: the incarnation. */
const PING_TAIL_BYTES = 4;
const FIRST_VERSION = 1;

export interface OlderWire {
  /** Names of hosts whose program is of the earlier release. */
  readonly old: Set<string>;
  /** The protocol versions that a host's knocks name, where they are not those of this program. */
  readonly ranges: Map<string, readonly [oldest: number, newest: number]>;
  /** Messages that were rewritten, by kind. */
  readonly counts: Map<'knock' | 'rumour' | 'ping' | 'contents', number>;
}

export function olderWire({ cable }: Stage): OlderWire {
  const wire: OlderWire = { old: new Set(), ranges: new Map(), counts: new Map() };
  cable.tamperKnock = (from, bytes) => knockOf(wire, from, bytes);
  cable.tamperGossip = (from, to, topic, bytes) => {
    if (topic !== 'map' || wire.old.has(from) === wire.old.has(to)) return bytes;
    if (bytes[0] !== MAP_DELTA_VERSION) return bytes;
    count(wire, 'rumour');
    return withVersion(bytes, FIRST_VERSION);
  };
  cable.tamper = ({ plane, from, bytes }) => {
    if (plane !== 'data' || !wire.old.has(from)) return bytes;
    const frame = decodeFrame(bytes);
    const changed = answerOf(wire, frame);
    return changed === frame ? bytes : Buffer.concat([encodeHeaders(changed), changed.payload]);
  };
  return wire;
}

function knockOf(wire: OlderWire, from: string, bytes: Uint8Array): Uint8Array {
  const range = wire.ranges.get(from);
  if (range !== undefined) {
    const changed = Buffer.from(bytes);
    changed.writeUInt16LE(range[0], bytes.length - KNOCK_RANGE_BYTES);
    changed.writeUInt16LE(range[1], bytes.length - KNOCK_RANGE_BYTES / 2);
    return changed;
  }
  if (!wire.old.has(from) || bytes[0] !== KNOCK_VERSION) return bytes;
  count(wire, 'knock');
  return withVersion(bytes.subarray(0, bytes.length - KNOCK_TAIL_BYTES), FIRST_VERSION);
}

function answerOf(wire: OlderWire, frame: Frame): Frame {
  const { op, payload } = frame;
  if (op === OP.CONTENTS + REPLY_BIT) {
    count(wire, 'contents');
    return { ...frame, status: STATUS.BAD, payload: new Uint8Array(0) };
  }
  if (op !== OP.PING + REPLY_BIT || payload[0] !== PING_INFO_VERSION) return frame;
  count(wire, 'ping');
  const shorter = payload.subarray(0, payload.length - PING_TAIL_BYTES);
  return { ...frame, payload: withVersion(shorter, FIRST_VERSION) };
}

function withVersion(bytes: Uint8Array, version: number): Uint8Array {
  const changed = bytes.slice();
  changed[0] = version;
  return changed;
}

function count({ counts }: OlderWire, kind: 'knock' | 'rumour' | 'ping' | 'contents'): void {
  counts.set(kind, (counts.get(kind) ?? 0) + 1);
}
