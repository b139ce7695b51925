// MOVES (op 53): a node asks another how the volumes move that it copies. The request has no payload, the reply is a list of
// MoveStatus (docs/FORMATS.md, "Codecs"). Asked for when a person asks; nothing depends on it.

import type { VolumeId } from '../core/ids.ts';
import type { MoveStatus } from '../core/move-progress.ts';
import {
  branded,
  type Codec,
  choice,
  decode,
  encode,
  list,
  str,
  struct,
  u32,
  u48,
  versioned,
} from './codec.ts';
import { generation } from './entry-codec.ts';

const MOVES_VERSION = 1;
/** Moves that one node tells of at most. */
export const MAX_TOLD_MOVES = 256;
export const MAX_MOVE_REASON_BYTES = 400;

const move: Codec<MoveStatus> = struct({
  volume: branded<VolumeId>(u32),
  generation,
  stage: choice(['waiting', 'counting', 'copying', 'finishing']),
  reason: str(MAX_MOVE_REASON_BYTES),
  startedMs: u48,
  stageMs: u48,
  totalBytes: u48,
  doneBytes: u48,
  bytesPerSecond: u48,
  leftMs: u48,
});
const moves: Codec<readonly MoveStatus[]> = versioned(MOVES_VERSION, list(move, MAX_TOLD_MOVES));

export const encodeMoves = (value: readonly MoveStatus[]): Uint8Array => encode(moves, value);
/** @throws OperatingError 'bad-frame' */
export const decodeMoves = (bytes: Uint8Array): readonly MoveStatus[] => decode(moves, bytes);
