// Makes one object of a partition that this node joins equal to its source (4.6): asks what the source has now, fetches
// the regions that may differ (4.7, differences.ts), and marks it as synced for this cfg: from then on a
// drain may only extend it (Trap 1). Tries again while the object changes under it or a SEAL makes the copy void.

import { OperatingError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import { OP, STATUS } from '../wire/frame.ts';
import { decodeRows, encodeObjectNames, type RowImage } from '../wire/payloads.ts';
import type { Parts } from './context.ts';
import type { Differences } from './differences.ts';
import { type Drain, drainFrame, isCurrent, overtaken } from './drain.ts';
import { type CopyFence, type JoinMarks, objectKey } from './object-gate.ts';

/** Tries to copy one object that changes meanwhile or is sealed, before its partition is given up for this round. */
export const COPY_TRIES = 8;
/** Pause between these tries. */
export const COPY_RETRY_MS = 20;
export const ROW_DEADLINE_MS = 5000;

/** `lost`: sectors that no member has right; the copy is not whole. `bytes` came from others. */
type CopyDone = (error: OperatingError | undefined, lost: number, bytes: number) => void;

export class ObjectCopier {
  readonly #parts: Parts;
  readonly #marks: JoinMarks;
  readonly #fence: CopyFence;
  readonly #differences: Differences;
  objectsCopied = 0;
  /** Bytes of data that came from others. */
  bytesCopied = 0;
  /** Objects of which some sectors were right nowhere. */
  objectsIncomplete = 0;

  constructor(
    parts: Parts,
    shared: { marks: JoinMarks; fence: CopyFence; differences: Differences },
  ) {
    this.#parts = parts;
    this.#marks = shared.marks;
    this.#fence = shared.fence;
    this.#differences = shared.differences;
  }

  /** The caller holds the object's gate. `done` without an error: synced for this cfg. */
  copy(drain: Drain, oid: ObjectId, done: CopyDone): void {
    this.#try(drain, oid, 1, done);
  }

  /** A copy whose file or sums are gone is copied, whatever its version: nobody counts as in sync with it (R4). */
  isDamaged(oid: ObjectId): boolean {
    return this.#parts.store.suspects.find(oid)?.isWhole === true;
  }

  /** Copies what the source has of the object now. */
  #try(drain: Drain, oid: ObjectId, tries: number, done: CopyDone): void {
    const seals = this.#fence.sealsOf(drain.key);
    const again = (error: OperatingError): void => {
      if (tries >= COPY_TRIES || !isCurrent(this.#parts, drain) || !drain.isWanted()) {
        done(error, 0, 0);
        return;
      }
      this.#parts.clock.setTimer(COPY_RETRY_MS, () => this.#try(drain, oid, tries + 1, done));
    };
    this.#askRow(drain, oid, (row) => {
      if (row === undefined) return again(new OperatingError('unreachable', 'no answer'));
      const isValid = (): boolean =>
        isCurrent(this.#parts, drain) && this.#fence.sealsOf(drain.key) === seals;
      if (!isValid()) return again(overtaken());
      this.#copyRow(drain, row, isValid, (error, lost, bytes) => {
        if (error !== undefined) return again(error);
        const isEnough = tries > 1 || this.#parts.clock.rarely?.('copy-again') !== true;
        if (!isEnough) return again(overtaken());
        this.#marks.set(drain.key, drain.cfg, objectKey(oid.generation, oid.index));
        done(undefined, lost, bytes);
      });
    });
  }

  #copyRow(drain: Drain, row: RowImage, isValid: () => boolean, done: CopyDone): void {
    const own = this.#parts.store.row(row.generation, row.index);
    const isEqual = own?.verToken === row.verToken && own?.verCount === row.verCount;
    const isSame = isEqual && !this.isDamaged(row);
    if (isSame || (own === undefined && row.verCount === 0)) {
      done(undefined, 0, 0);
      return;
    }
    const { source, others, cfg, rank, isWanted } = drain;
    let lost = 0;
    const onLost = (sectors: number): void => {
      lost += sectors;
    };
    const order = { source, others, cfg, rank, isPaid: true, isWanted, row, isValid, onLost };
    this.#differences.copy(this.#fence, order, (error, bytes) => {
      this.bytesCopied += bytes;
      if (error === undefined) this.objectsCopied += 1;
      if (error === undefined && lost > 0) this.objectsIncomplete += 1;
      done(error, lost, bytes);
    });
  }

  /** The generations of these that the source has a row of, at one index; undefined = no good answer. */
  listStack(
    drain: Drain,
    names: readonly ObjectId[],
    done: (found: ReadonlySet<number> | undefined) => void,
  ): void {
    const frame = drainFrame(this.#parts, drain, OP.VERSIONS);
    frame.payload = encodeObjectNames(names);
    this.#parts.ask(drain.source, frame, ROW_DEADLINE_MS, (reply) => {
      if (reply?.status === STATUS.STALE) this.#parts.pull(reply.mapIndex, drain.source);
      if (reply?.status !== STATUS.OK) return done(undefined);
      done(new Set(decodeRows(reply.payload).map((row) => row.generation)));
    });
  }

  /** The source's row now; verCount 0 = it has none; undefined = no good answer. */
  #askRow(drain: Drain, oid: ObjectId, done: (row: RowImage | undefined) => void): void {
    const volume = this.#parts.views.current().volumeOfGeneration(oid.generation);
    if (volume === undefined) {
      done(undefined);
      return;
    }
    const frame = drainFrame(this.#parts, drain, OP.VERSIONS);
    const { generation, index } = oid;
    frame.payload = encodeObjectNames([{ generation, index }]);
    this.#parts.ask(drain.source, frame, ROW_DEADLINE_MS, (reply) => {
      if (reply?.status === STATUS.STALE) this.#parts.pull(reply.mapIndex, drain.source);
      if (reply?.status !== STATUS.OK) return done(undefined);
      const [row] = decodeRows(reply.payload);
      const nothing = { verToken: 0, verCount: 0, kind: 'zero', closed: 0 } as const;
      const masks = { ownLow: 0, ownHigh: 0, openLow: 0, openHigh: 0 };
      const place = { generation, index, family: volume.family, partition: drain.key };
      done(row ?? { ...place, ...nothing, ...masks });
    });
  }
}
