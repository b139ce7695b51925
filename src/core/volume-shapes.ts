// Documents of the admin API about what operators do with one volume: what requests say, what answers are. admin-shapes.ts
// has the volume itself.

import type { GenerationId } from './ids.ts';
import type { AttachMode } from './view.ts';

/** An attribute of a volume, without its value. */
export interface AttributeInfo {
  readonly key: string;
  readonly bytes: number;
}

export interface AttributeData {
  readonly key: string;
  /** base64 */
  readonly value: string;
}

export interface AttributeRequest extends AttributeData {
  /** Refused where there is one. */
  readonly isNew?: boolean;
}

export interface RenameRequest {
  readonly to: string;
  /** Also while a guest has it. */
  readonly force?: boolean;
}

/** A hold on a volume's session, for reading and writing it without a guest. */
export interface HoldData {
  readonly id: number;
  readonly sizeBytes: number;
  /** Most bytes of one piece. */
  readonly pieceBytes: number;
  /** A client with nothing to move says so often that it is there. */
  readonly keepEveryMs: number;
}

/** A run of bytes of a volume that are all of one kind. */
export interface ExtentData {
  readonly length: number;
  /** False: reads as zeroes and takes no space. */
  readonly isAllocated: boolean;
  /** The layer whose bytes show there, 0 = nobody's; absent: not known. */
  readonly layer?: GenerationId | 0;
}

/** To whom a volume is to be handed over at that one's first write; `cancel` takes it back. */
export interface MigrateRequest {
  /** As `n2`. */
  readonly node?: string;
  readonly cancel?: boolean;
}

/** What became of it. */
export interface MigrateData {
  readonly volume: string;
  readonly did: 'prepared' | 'cancelled' | 'same' | 'nothing';
  /** Who holds it; null: nobody. */
  readonly holder: string | null;
  /** Prepared successor; null: none. */
  readonly next: string | null;
  /** Whom a hand-over was announced for before, and is no more; null: nobody. */
  readonly replaced: string | null;
}

/** A volume that was deleted and can be had back. */
export interface TrashData {
  readonly name: string;
  readonly id: number;
  readonly sizeBytes: number;
  readonly trashedAt: string;
  /** Of the time that the cluster runs; 0: it goes at the leader's next look. */
  readonly leftMs: number;
}

export interface RestoreRequest {
  readonly name: string;
}

/** One layer of a family, below the row before it that is less deep. */
export interface LayerData {
  readonly depth: number;
  readonly generation: number;
  /** 0 = it is a root. */
  readonly parent: number;
  readonly family: number;
  /** `deleted`: nobody names it; it goes when nothing below shows it any more. */
  readonly kind: 'volume' | 'snapshot' | 'deleted';
  /** `name` or `name@tag`; empty for a deleted one, and for the copy of a volume that moves. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly createdAt: string | null;
  readonly isProtected: boolean;
}

export interface SnapshotData {
  /** `name@tag` */
  readonly name: string;
  readonly generation: number;
}

export interface SnapshotRequest {
  readonly volumes: readonly string[];
  readonly tag: string;
}

export interface CloneRequest {
  /** `name` or `name@tag` */
  readonly from: string;
  readonly to: string;
  readonly mode?: 'durable' | 'writeback';
  readonly attachMode?: AttachMode;
  readonly deep?: boolean;
}

/** A volume becomes what was prepared in a clone. */
export interface BecomeRequest {
  /** `name@tag`, of its family. */
  readonly snapshot: string;
  /** That its lock had when it was looked at. */
  readonly token: number;
}

export interface ResizeRequest {
  readonly sizeBytes: number;
  /** Also smaller. */
  readonly force?: boolean;
}

/** How much of it may pass in a second, reads and writes together; 0 = no limit. */
export interface VolumeRatesData {
  readonly iops: number;
  readonly bytesPerSecond: number;
}

export interface CreateRequest extends Partial<VolumeRatesData> {
  readonly name: string;
  readonly sizeBytes: number;
  readonly copies?: number;
  readonly minCopies?: number;
  readonly strict?: boolean;
  /** What a confirmed write is (R5); 'durable' unless given. */
  readonly mode?: 'durable' | 'writeback';
  /** Who may attach beside a holder; 'handover' unless given. */
  readonly attachMode?: AttachMode;
  /** 0 = requests wait. */
  readonly ioTimeoutMs?: number;
}

/** At least one. */
export interface AlterRequest extends Partial<VolumeRatesData> {
  readonly mode?: 'durable' | 'writeback';
  readonly ioTimeoutMs?: number;
  readonly attachMode?: AttachMode;
}
