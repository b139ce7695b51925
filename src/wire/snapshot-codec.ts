// Bytes of a snapshot of the map: where it stands in the log, what its state hashes to, and the state. The same bytes lie
// in the file and travel in pieces, so that a snapshot may be fetched from anybody. What is decoded was checked: the
// state hashes as its maker said (C2.8).

import { OperatingError } from '../core/errors.ts';
import type { LogBase } from '../core/raft/state.ts';
import type { ClusterState } from '../core/state.ts';
import { hashOf, STATE_HASH_VERSION } from '../core/state-hash.ts';
import { Reader, Writer } from './bytes.ts';
import { str, struct, u16, versioned } from './codec.ts';
import { logBase } from './raft-codec.ts';
import { decodeState, encodeState, MAX_STATE_BYTES } from './state-codec.ts';

export const SNAPSHOT_VERSION = 1;
const MAX_HASH_BYTES = 128;
const HEAD_BYTES = 1024;
/** Largest snapshot. */
export const MAX_SNAPSHOT_BYTES = MAX_STATE_BYTES + HEAD_BYTES;

/** The state after applying everything up to `base.index`. */
export interface MapSnapshot {
  readonly base: LogBase;
  readonly state: ClusterState;
}

const head = versioned(
  SNAPSHOT_VERSION,
  struct({ base: logBase, hashVersion: u16, stateHash: str(MAX_HASH_BYTES) }),
);

/** Equal snapshots give equal bytes. */
export function encodeSnapshot({ base, state }: MapSnapshot): Uint8Array {
  const writer = new Writer(MAX_SNAPSHOT_BYTES);
  head.write(writer, { base, hashVersion: STATE_HASH_VERSION, stateHash: hashOf(state) });
  writer.raw(encodeState(state));
  return writer.finish();
}

/** @throws OperatingError 'bad-frame'; 'corrupt' when the state is not the one that the snapshot names */
export function decodeSnapshot(bytes: Uint8Array): MapSnapshot {
  const reader = new Reader(bytes);
  const { base, hashVersion, stateHash } = head.read(reader);
  const state = decodeState(reader.raw(reader.remaining));
  const isKnown = hashVersion === STATE_HASH_VERSION;
  if (state.index !== base.index || (isKnown && hashOf(state) !== stateHash)) {
    throw new OperatingError('corrupt', `the snapshot of index ${base.index} holds another state`);
  }
  return { base, state };
}
