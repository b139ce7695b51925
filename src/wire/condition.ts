// CONDITION (op 51): a node asks another how its copies are. The request has no payload, the reply one NodeCondition
// (docs/FORMATS.md, "Codecs"). Asked for when a person asks for health; nothing depends on it.

import {
  type CacheLoss,
  type CopyDifference,
  type DamagedCopy,
  MAX_CACHE_LOSSES,
  MAX_TOLD_OBJECTS,
  MAX_TOLD_SECTORS,
  type NodeCondition,
} from '../core/condition.ts';
import type { GenerationId } from '../core/ids.ts';
import {
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
import { nodeId, volumeId } from './entry-codec.ts';

const CONDITION_VERSION = 2;
const MAX_REASON_BYTES = 400;

const place = { generation: branded<GenerationId>(u32), index: u32 };
const damaged: Codec<DamagedCopy> = struct({
  ...place,
  lost: list(u16, MAX_TOLD_SECTORS),
  reason: str(MAX_REASON_BYTES),
});
const difference: Codec<CopyDifference> = struct({
  ...place,
  peer: nodeId,
  what: choice(['version', 'regions', 'sums']),
});
const cacheLoss: Codec<CacheLoss> = struct({ volume: volumeId, dateMs: u48 });
const condition: Codec<NodeCondition> = versioned(
  CONDITION_VERSION,
  struct({
    node: nodeId,
    sectorsRepaired: u48,
    objectsRepaired: u48,
    lastRepairMs: u48,
    damagedCount: u32,
    damaged: list(damaged, MAX_TOLD_OBJECTS),
    differenceCount: u32,
    differences: list(difference, MAX_TOLD_OBJECTS),
    scrubLate: list(choice(['light', 'deep']), 2),
    cacheLosses: list(cacheLoss, MAX_CACHE_LOSSES),
  }),
);

export const encodeCondition = (value: NodeCondition): Uint8Array => encode(condition, value);
/** @throws OperatingError 'bad-frame' */
export const decodeCondition = (bytes: Uint8Array): NodeCondition => decode(condition, bytes);
