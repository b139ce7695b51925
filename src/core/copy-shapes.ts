// Documents of the admin API about the copies of a volume: where an object is and was, what layers hold, what changed
// between two of them, what a comparison of all copies found. Offsets and lengths are bytes.

/** One row of the table of one member: an object of one layer. */
export interface CopyRowData {
  readonly generation: number;
  /** `name`, `name@tag`, or empty for a deleted layer that still shows. */
  readonly layer: string;
  /** `token.count` of its last write. */
  readonly version: string;
  /** A write of it may be under way. */
  readonly isOpen: boolean;
  readonly kind: 'data' | 'zero';
  readonly ownedBytes: number;
  /** `whole` as far as this member knows without a look at the disk. */
  readonly state: 'whole' | 'damaged' | 'lost' | 'busy';
}

/** One member's copy, or its place for one. */
export interface CopyPlaceData {
  readonly node: string;
  readonly zone: string;
  /** `doubtful`: in sync, and may lack what was not flushed; `wanted`: the ring wants a copy there. */
  readonly role: 'in sync' | 'doubtful' | 'joining' | 'wanted';
  readonly isUp: boolean;
  /** False: it did not say what it has. */
  readonly hasAnswered: boolean;
  readonly rows: readonly CopyRowData[];
}

export interface ObjectLocationData {
  readonly volume: string;
  readonly index: number;
  readonly offset: number;
  readonly policy: number;
  readonly partition: number;
  readonly config: number;
  readonly copies: readonly CopyPlaceData[];
}

export interface ObjectListData {
  readonly objects: readonly {
    readonly index: number;
    readonly partition: number;
    readonly inSync: readonly string[];
    readonly joining: readonly string[];
  }[];
  /** Where to go on; null at the end. */
  readonly next: number | null;
}

export interface CopyEpochData {
  /** Of the map log. */
  readonly index: number;
  readonly epoch: number;
  readonly config: number;
  readonly inSync: readonly string[];
  readonly joining: readonly string[];
  /** The entry that made it so; empty where that is not known any more. */
  readonly by: string;
}

export interface ObjectHistoryData {
  readonly volume: string;
  readonly index: number;
  readonly offset: number;
  readonly policy: number;
  readonly partition: number;
  /** What was before this index of the map log is not known here; 0 = all is. */
  readonly knownFrom: number;
  readonly epochs: readonly CopyEpochData[];
}

/** What one layer holds, one copy of it. */
export interface LayerUsageData {
  readonly generation: number;
  readonly name: string;
  readonly kind: 'volume' | 'snapshot' | 'deleted';
  readonly objects: number;
  readonly bytes: number;
}

export interface UsageData {
  readonly name: string;
  readonly copies: number;
  readonly sizeBytes: number;
  /** Of this layer alone: what it was written since the layer above it was frozen. */
  readonly ownBytes: number;
  /** Of the layers above it, which others may show as well. */
  readonly sharedBytes: number;
  /** Of the whole family. */
  readonly familyBytes: number;
  readonly layers: readonly LayerUsageData[];
}

export interface ChangedRangeData {
  readonly offset: number;
  readonly length: number;
  /** False: zeroes there now. */
  readonly isData: boolean;
}

export interface ChangesData {
  readonly ranges: readonly ChangedRangeData[];
  /** As far as it was looked; the rest is asked for again. */
  readonly to: number;
  readonly beforeBytes: number;
  readonly afterBytes: number;
}

export interface CheckRequest {
  /** The index at which it begins. */
  readonly from: number;
  readonly count: number;
  readonly heal: boolean;
}

export interface CheckFindingData {
  readonly index: number;
  readonly offset: number;
  readonly layer: string;
  readonly node: string;
  /** `stale`: older than another copy in sync; `differs`: of one version, and each passes its checksums. */
  readonly problem: 'damaged' | 'lost' | 'stale' | 'differs';
  /** Sectors of the object that fail their checksums; the first of them. */
  readonly badSectors: readonly number[];
  readonly isRepaired: boolean;
}

export interface CheckData {
  /** Where to go on. */
  readonly next: number;
  readonly total: number;
  readonly isDone: boolean;
  readonly objects: number;
  readonly copies: number;
  readonly bytes: number;
  /** In use at every look. */
  readonly busy: number;
  /** Copies of members that did not answer. */
  readonly unasked: number;
  readonly findings: readonly CheckFindingData[];
}
