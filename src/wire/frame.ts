// Block frames of the data channel, byte by byte in docs/FORMATS.md ("Data channel"). Little-endian.
// A frame = base header (32) + second header (40, flag SECOND) + sums (flag SUMS) + payload.

import type { ConfigVersion, FencingToken, GenerationId, MapIndex, VolumeId } from '../core/ids.ts';

export const FRAME_VERSION = 1;
export const BASE_HEADER_BYTES = 32;
export const SECOND_HEADER_BYTES = 40;

export const OP = {
  READ: 1,
  WRITE: 2,
  ZERO: 3,
  SYNC: 4,
  SEAL: 16,
  EQUALISE: 17,
  VERSIONS: 18,
  CLOSE: 19,
  ENSURE: 20,
  HANDOVER: 21,
  CONFIRM: 32,
  DIRTY: 33,
  LIST: 34,
  FETCH: 35,
  HASHES: 36,
  HELLO: 48,
  PING: 49,
  MAP: 50,
} as const;
/** Added to the op in a reply. */
export const REPLY_BIT = 128;

export const FLAG = {
  SECOND: 1,
  SUMS: 2,
  SYNC: 4,
  STANDBY: 8,
  MORE: 16,
  UNMAP: 32,
  NO_COW: 64,
  READ_ONLY: 128,
} as const;

export const STATUS = {
  OK: 0,
  STALE: 1,
  FENCED: 2,
  GAP: 3,
  DIVERGED: 4,
  BEHIND: 5,
  FROZEN: 6,
  NOT_MEMBER: 7,
  SUSPECT: 8,
  NOSPC: 9,
  BUSY: 10,
  BAD: 11,
  IO: 12,
  GONE: 13,
  CHANGED: 14,
  OVERFLOW: 15,
  NOT_HOLDER: 16,
} as const;
export type Status = (typeof STATUS)[keyof typeof STATUS];

/** A frame as values. Requests between a node and itself are passed as this, never encoded. */
export interface Frame {
  op: number;
  status: number;
  flags: number;
  requestId: number;
  generation: GenerationId;
  index: number;
  offset: number;
  count: number;
  /** Second header; zeroes when the frame has none. */
  cfg: ConfigVersion;
  partition: number;
  mapIndex: MapIndex;
  token: FencingToken;
  verToken: FencingToken;
  verCount: number;
  closed: number;
  volume: VolumeId;
  /** One u32 (little-endian) per sector touched, as stored; empty without flag SUMS. */
  sums: Uint8Array;
  payload: Uint8Array;
}
