// LOOK (op 56) and USAGE (op 57): a node asks a member how its copies of named objects are, and how much the rows of a
// family hold there (docs/FORMATS.md, "Data channel"). Asked for when a person asks; nothing depends on it.

import { COPY_STATES, type CopyLook, type LayerUsage } from '../core/copy-check.ts';
import type { FamilyId, GenerationId, ObjectId } from '../core/ids.ts';
import {
  bool,
  branded,
  bytes,
  type Codec,
  choice,
  decode,
  encode,
  list,
  struct,
  u16,
  u32,
  u48,
  versioned,
} from './codec.ts';
import { configVersion, policyId } from './entry-codec.ts';
import type { PartitionCfg } from './payloads.ts';

const LOOKS_VERSION = 1;
/** Objects of one LOOK. */
export const MAX_LOOKS_PER_FRAME = 1024;
/** Bad sectors that are named of one copy. */
export const MAX_TOLD_BAD = 64;
/** Partitions of one USAGE. */
export const MAX_USAGE_PARTITIONS = 4096;
/** Layers in the answer to one USAGE: more than a family has. */
export const MAX_USAGE_LAYERS = 65_536;
const DIGEST_BYTES = 32;

/** What is asked for. */
export interface LookAsk {
  /** `rows`: what the table says; `bytes`: every byte against its sum, and all of them together as one digest. */
  readonly depth: 'rows' | 'bytes';
  /** What is damaged is healed from other copies afterwards, as after a scrub; else nothing changes. */
  readonly heals: boolean;
  readonly objects: readonly ObjectId[];
}

export interface UsageAsk {
  readonly family: FamilyId;
  readonly partitions: readonly PartitionCfg[];
}

const generation = branded<GenerationId>(u32);
const place = { generation, index: u32 };

const lookAsk: Codec<LookAsk> = versioned(
  LOOKS_VERSION,
  struct({
    depth: choice(['rows', 'bytes']),
    heals: bool,
    objects: list(struct(place), MAX_LOOKS_PER_FRAME),
  }),
);

const looks: Codec<readonly CopyLook[]> = versioned(
  LOOKS_VERSION,
  list(
    struct({
      ...place,
      state: choice(COPY_STATES),
      verToken: u32,
      verCount: u48,
      closed: u48,
      kind: choice(['data', 'zero']),
      ownLow: u32,
      ownHigh: u32,
      sectors: u16,
      bad: list(u16, MAX_TOLD_BAD),
      digest: bytes(DIGEST_BYTES),
    }),
    MAX_LOOKS_PER_FRAME,
  ),
);

const usageAsk: Codec<UsageAsk> = versioned(
  LOOKS_VERSION,
  struct({
    family: branded<FamilyId>(u32),
    partitions: list(
      struct({ p: u16, policy: policyId, cfg: configVersion }),
      MAX_USAGE_PARTITIONS,
    ),
  }),
);

const usage: Codec<readonly LayerUsage[]> = versioned(
  LOOKS_VERSION,
  list(struct({ generation, objects: u32, bytes: u48 }), MAX_USAGE_LAYERS),
);

export const encodeLookAsk = (value: LookAsk): Uint8Array => encode(lookAsk, value);
/** @throws OperatingError 'bad-frame' */
export const decodeLookAsk = (from: Uint8Array): LookAsk => decode(lookAsk, from);

export const encodeLooks = (value: readonly CopyLook[]): Uint8Array => encode(looks, value);
/** @throws OperatingError 'bad-frame' */
export const decodeLooks = (from: Uint8Array): readonly CopyLook[] => decode(looks, from);

export const encodeUsageAsk = (value: UsageAsk): Uint8Array => encode(usageAsk, value);
/** @throws OperatingError 'bad-frame' */
export const decodeUsageAsk = (from: Uint8Array): UsageAsk => decode(usageAsk, from);

export const encodeUsage = (value: readonly LayerUsage[]): Uint8Array => encode(usage, value);
/** @throws OperatingError 'bad-frame' */
export const decodeUsage = (from: Uint8Array): readonly LayerUsage[] => decode(usage, from);
