// Payloads of block frames that are lists or records instead of block data (docs/FORMATS.md, "Data channel
// payloads"). Each starts with PAYLOAD_VERSION and fits, full, into one frame.

import type { RegionMask } from '../core/extent.ts';
import type {
  ClusterId,
  ConfigVersion,
  FamilyId,
  GenerationId,
  Incarnation,
  MapIndex,
  NodeId,
  ObjectId,
  PartitionId,
  Version,
} from '../core/ids.ts';
import {
  branded,
  type Codec,
  choice,
  decode,
  encode,
  list,
  struct,
  u8,
  u16,
  u32,
  u48,
  versioned,
} from './codec.ts';
import {
  clusterId,
  configVersion,
  incarnation,
  mapIndex,
  nodeId,
  policyId,
  token,
} from './entry-codec.ts';

export const PAYLOAD_VERSION = 1;
/** 1 did not tell the life. */
export const PING_INFO_VERSION = 2;
/** 8 bytes each: all partitions of one policy in one SEAL. */
export const MAX_PARTITIONS_PER_FRAME = 65536;
/** 51 bytes each. More rows are further pages. */
export const MAX_ROWS_PER_FRAME = 16384;
/** 8 bytes each. */
export const MAX_NAMES_PER_FRAME = 65536;
/** 59 bytes each. */
export const MAX_EQUALISE_PER_FRAME = 16384;
/** 14 bytes each. */
export const MAX_CLOSES_PER_FRAME = 65536;
/** 8 bytes each. */
export const MAX_SURVEY_PER_FRAME = 65536;
/** 16 bytes each. */
export const MAX_DIRTY_PER_FRAME = 32768;
/** 12 bytes each in the answer: partitions of one CONTENTS. */
export const MAX_CONTENTS_PER_FRAME = 2048;
/** Rows in the answer to one CONTENTS: to read and write them costs both ends about 2 ms. */
export const MAX_CONTENTS_ROWS = 2048;

/** (p, cfg) of a policy: SEAL, ENSURE, CONFIRM, LIST. */
export interface PartitionCfg extends PartitionId {
  readonly cfg: ConfigVersion;
}

/** What a replica's table says of one object: storage's Row, as it travels. */
export interface RowImage {
  readonly generation: GenerationId;
  readonly index: number;
  readonly family: FamilyId;
  /** partitionKey(policy, p). */
  readonly partition: number;
  readonly verToken: number;
  readonly verCount: number;
  readonly kind: 'data' | 'zero';
  readonly ownLow: number;
  readonly ownHigh: number;
  readonly closed: number;
  readonly openLow: number;
  readonly openHigh: number;
}

/** "Be exactly at this version, as `source` has it" (4.5 step 2). */
export interface EqualiseItem {
  readonly generation: GenerationId;
  readonly index: number;
  readonly family: FamilyId;
  readonly partition: number;
  readonly version: Version;
  readonly source: NodeId;
  readonly kind: 'data' | 'zero';
  readonly ownLow: number;
  readonly ownHigh: number;
  readonly closed: number;
  readonly openLow: number;
  readonly openHigh: number;
}

/** R6: writes of this object up to `count` are durable on the whole write set. */
export interface CloseItem extends ObjectId {
  readonly count: number;
}

/** Whose missed changes a joiner asks for: DIRTY (4.7). */
export interface DirtyAsk extends PartitionCfg {
  readonly node: NodeId;
}

/** Regions 0-31 and 32-63 of an object that changed while a member was away. */
export interface DirtyObject extends ObjectId {
  readonly low: number;
  readonly high: number;
}

/** A partition that its source confirms (A8): so many of the rows that follow, in order; MANY_ROWS: to be asked by LIST. */
export interface ContentsItem extends PartitionCfg {
  readonly rows: number;
}
export const MANY_ROWS = 0xffffffff;

/** What a source has of the partitions of a CONTENTS, but for those that it does not confirm. */
export interface Contents {
  readonly partitions: readonly ContentsItem[];
  readonly rows: readonly RowImage[];
}

/** How much would this node copy in these partitions? */
export interface SurveyAsk {
  readonly node: NodeId;
  readonly partitions: readonly PartitionCfg[];
}

/** Bytes per partition of the ask, in its order; NOT_KNOWN = not a member of I at that cfg. */
export type SurveyAnswer = readonly number[];
export const NOT_KNOWN = 2 ** 48 - 1;

/** A page of them, and the cfg since which they were noted. */
export interface DirtyAnswer {
  readonly since: ConfigVersion;
  readonly objects: readonly DirtyObject[];
}

/** What PING and its reply carry (C1.2, C1.9). */
export interface PingInfo {
  readonly freeBytes: number;
  readonly totalBytes: number;
  readonly appliedIndex: MapIndex;
  /** Worst event loop lag of the last 10 s, at most 65535. */
  readonly lagMs: number;
  readonly storeGeneration: number;
  readonly journalSeq: number;
  /** The life that says so; 0 from a program that did not tell yet. */
  readonly incarnation: Incarnation;
}

/** First frame both ways on a data channel. */
export interface Hello {
  /** FRAME_VERSION of the sender. */
  readonly version: number;
  readonly clusterId: ClusterId;
  readonly node: NodeId;
  readonly incarnation: Incarnation;
  /** Bytes of requests that the sender takes in flight on this channel. */
  readonly creditsBytes: number;
}

const generation = branded<GenerationId>(u32);
const family = branded<FamilyId>(u32);
const kind = choice(['data', 'zero']);
const regions = { ownLow: u32, ownHigh: u32, closed: u48, openLow: u32, openHigh: u32 };
const place = { generation, index: u32, family, partition: u32 };

const partitionCfgs: Codec<readonly PartitionCfg[]> = versioned(
  PAYLOAD_VERSION,
  list(struct({ p: u16, policy: policyId, cfg: configVersion }), MAX_PARTITIONS_PER_FRAME),
);
const rowImage = struct({ ...place, verToken: u32, verCount: u48, kind, ...regions });
const rows: Codec<readonly RowImage[]> = versioned(
  PAYLOAD_VERSION,
  list(rowImage, MAX_ROWS_PER_FRAME),
);
const contents: Codec<Contents> = versioned(
  PAYLOAD_VERSION,
  struct({
    partitions: list(
      struct({ p: u16, policy: policyId, cfg: configVersion, rows: u32 }),
      MAX_CONTENTS_PER_FRAME,
    ),
    rows: list(rowImage, MAX_CONTENTS_ROWS),
  }),
);
const objectNames: Codec<readonly ObjectId[]> = versioned(
  PAYLOAD_VERSION,
  list(struct({ generation, index: u32 }), MAX_NAMES_PER_FRAME),
);
const version: Codec<Version> = struct({ token, count: u48 });
const equaliseItems: Codec<readonly EqualiseItem[]> = versioned(
  PAYLOAD_VERSION,
  list(struct({ ...place, version, source: nodeId, kind, ...regions }), MAX_EQUALISE_PER_FRAME),
);
const closeItems: Codec<readonly CloseItem[]> = versioned(
  PAYLOAD_VERSION,
  list(struct({ generation, index: u32, count: u48 }), MAX_CLOSES_PER_FRAME),
);
const dirtyAsk: Codec<DirtyAsk> = versioned(
  PAYLOAD_VERSION,
  struct({ p: u16, policy: policyId, cfg: configVersion, node: nodeId }),
);
const dirtyAnswer: Codec<DirtyAnswer> = versioned(
  PAYLOAD_VERSION,
  struct({
    since: configVersion,
    objects: list(struct({ generation, index: u32, low: u32, high: u32 }), MAX_DIRTY_PER_FRAME),
  }),
);
const regionsAsk: Codec<RegionMask> = versioned(PAYLOAD_VERSION, struct({ low: u32, high: u32 }));
const firstPingInfo = {
  freeBytes: u48,
  totalBytes: u48,
  appliedIndex: mapIndex,
  lagMs: u16,
  storeGeneration: u48,
  journalSeq: u48,
};
const surveyAsk: Codec<SurveyAsk> = versioned(
  PAYLOAD_VERSION,
  struct({
    node: nodeId,
    partitions: list(
      struct({ p: u16, policy: policyId, cfg: configVersion }),
      MAX_SURVEY_PER_FRAME,
    ),
  }),
);
const surveyAnswer: Codec<SurveyAnswer> = versioned(
  PAYLOAD_VERSION,
  list(u48, MAX_SURVEY_PER_FRAME),
);
const pingInfo: Codec<PingInfo> = versioned(
  PING_INFO_VERSION,
  struct({ ...firstPingInfo, incarnation }),
);
const oldPingInfo = versioned(1, struct(firstPingInfo));
const hello: Codec<Hello> = versioned(
  PAYLOAD_VERSION,
  struct({ version: u8, clusterId, node: nodeId, incarnation, creditsBytes: u32 }),
);

// All decoders throw OperatingError 'bad-frame' and nothing else.
export const encodePartitionCfgs = (items: readonly PartitionCfg[]): Uint8Array =>
  encode(partitionCfgs, items);
export const decodePartitionCfgs = (bytes: Uint8Array): readonly PartitionCfg[] =>
  decode(partitionCfgs, bytes);
export const encodeRows = (items: readonly RowImage[]): Uint8Array => encode(rows, items);
export const decodeRows = (bytes: Uint8Array): readonly RowImage[] => decode(rows, bytes);
export const encodeContents = (value: Contents): Uint8Array => encode(contents, value);
export const decodeContents = (bytes: Uint8Array): Contents => decode(contents, bytes);
export const encodeObjectNames = (items: readonly ObjectId[]): Uint8Array =>
  encode(objectNames, items);
export const decodeObjectNames = (bytes: Uint8Array): readonly ObjectId[] =>
  decode(objectNames, bytes);
export const encodeEqualise = (items: readonly EqualiseItem[]): Uint8Array =>
  encode(equaliseItems, items);
export const decodeEqualise = (bytes: Uint8Array): readonly EqualiseItem[] =>
  decode(equaliseItems, bytes);
export const encodeCloses = (items: readonly CloseItem[]): Uint8Array => encode(closeItems, items);
export const decodeCloses = (bytes: Uint8Array): readonly CloseItem[] => decode(closeItems, bytes);
export const encodeDirtyAsk = (ask: DirtyAsk): Uint8Array => encode(dirtyAsk, ask);
export const decodeDirtyAsk = (bytes: Uint8Array): DirtyAsk => decode(dirtyAsk, bytes);
export const encodeDirtyAnswer = (answer: DirtyAnswer): Uint8Array => encode(dirtyAnswer, answer);
export const decodeDirtyAnswer = (bytes: Uint8Array): DirtyAnswer => decode(dirtyAnswer, bytes);
export const encodeRegionsAsk = (mask: RegionMask): Uint8Array => encode(regionsAsk, mask);
export const decodeRegionsAsk = (bytes: Uint8Array): RegionMask => decode(regionsAsk, bytes);
export const encodeSurveyAsk = (ask: SurveyAsk): Uint8Array => encode(surveyAsk, ask);
export const decodeSurveyAsk = (bytes: Uint8Array): SurveyAsk => decode(surveyAsk, bytes);
export const encodeSurveyAnswer = (answer: SurveyAnswer): Uint8Array =>
  encode(surveyAnswer, answer);
export const decodeSurveyAnswer = (bytes: Uint8Array): SurveyAnswer => decode(surveyAnswer, bytes);
export const encodePingInfo = (info: PingInfo): Uint8Array => encode(pingInfo, info);
export function decodePingInfo(bytes: Uint8Array): PingInfo {
  if (bytes[0] !== 1) return decode(pingInfo, bytes);
  return { ...decode(oldPingInfo, bytes), incarnation: 0 as Incarnation };
}
export const encodeHello = (value: Hello): Uint8Array => encode(hello, value);
export const decodeHello = (bytes: Uint8Array): Hello => decode(hello, bytes);
