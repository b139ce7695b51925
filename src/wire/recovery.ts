// RECOVERY (op 52): a node asks another how its recovery is. The request has no payload, the reply one NodeRecovery
// (docs/FORMATS.md, "Codecs"). Asked for when a person asks; nothing depends on it.

import type { GenerationId } from '../core/ids.ts';
import {
  type FailedObject,
  MAX_ENDED_TASKS,
  MAX_TASKS,
  MAX_TOLD_FAILURES,
  type NodeRecovery,
  type RecoveryTask,
} from '../core/recovery-progress.ts';
import {
  bool,
  branded,
  type Codec,
  choice,
  decode,
  encode,
  list,
  str,
  struct,
  u16,
  u32,
  u48,
  versioned,
} from './codec.ts';
import { nodeId, policyId } from './entry-codec.ts';

const RECOVERY_VERSION = 1;
const MAX_REASON_BYTES = 400;

const failure: Codec<FailedObject> = struct({
  policy: policyId,
  p: u16,
  generation: branded<GenerationId>(u32),
  index: u32,
  reason: str(MAX_REASON_BYTES),
});
const task: Codec<RecoveryTask> = struct({
  kind: choice(['catch-up', 'repair', 'move']),
  startedMs: u48,
  endedMs: u48,
  isHeld: bool,
  partitions: u32,
  partitionsDone: u32,
  partitionsGone: u32,
  isCounted: bool,
  totalBytes: u48,
  doneBytes: u48,
  bytesPerSecond: u48,
  leftMs: u48,
  failures: list(failure, MAX_TOLD_FAILURES),
  incomplete: u32,
});
const recovery: Codec<NodeRecovery> = versioned(
  RECOVERY_VERSION,
  struct({
    node: nodeId,
    isHeld: bool,
    rateLimit: u48,
    incoming: u16,
    outgoing: u16,
    objectsCopied: u48,
    bytesCopied: u48,
    tasks: list(task, MAX_TASKS + MAX_ENDED_TASKS),
  }),
);

export const encodeRecovery = (value: NodeRecovery): Uint8Array => encode(recovery, value);
/** @throws OperatingError 'bad-frame' */
export const decodeRecovery = (bytes: Uint8Array): NodeRecovery => decode(recovery, bytes);
