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
  type NodeSpace,
} from '../core/condition.ts';
import type { GenerationId, NodeId } from '../core/ids.ts';
import { type KnownMixUp, MAX_MIX_UPS } from '../core/mix-up.ts';
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

const CONDITION_VERSION = 3;
/** It did not tell of mix-ups and space. */
const OLD_CONDITION_VERSION = 2;
const MAX_ADDRESS_BYTES = 256;
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
const mixUp: Codec<KnownMixUp> = struct({
  kind: choice(['identity-twice', 'address-taken', 'other-history']),
  node: nodeId,
  address: str(MAX_ADDRESS_BYTES),
  found: branded<NodeId | 0>(u32),
});
const oldCondition = {
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
};
const space: Codec<NodeSpace> = struct({
  totalBytes: u48,
  freeBytes: u48,
  usedBytes: u48,
  objects: u48,
  appliedIndex: u48,
});
const condition: Codec<NodeCondition & { readonly space: NodeSpace }> = versioned(
  CONDITION_VERSION,
  struct({ ...oldCondition, mixUps: list(mixUp, MAX_MIX_UPS), space }),
);
const conditionWithout = versioned(OLD_CONDITION_VERSION, struct(oldCondition));

const NO_SPACE = { totalBytes: 0, freeBytes: 0, usedBytes: 0, objects: 0, appliedIndex: 0 };

export const encodeCondition = (value: NodeCondition): Uint8Array =>
  encode(condition, { ...value, space: value.space ?? NO_SPACE });
/** @throws OperatingError 'bad-frame' */
export function decodeCondition(bytes: Uint8Array): NodeCondition {
  if (bytes[0] !== OLD_CONDITION_VERSION) return decode(condition, bytes);
  return { ...decode(conditionWithout, bytes), mixUps: [], space: undefined };
}
