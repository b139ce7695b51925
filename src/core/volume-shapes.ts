// Documents of the admin API about what operators do with one volume: what requests say, what answers are. admin-shapes.ts
// has the volume itself.

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
}
