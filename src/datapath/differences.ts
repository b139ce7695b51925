// Where a joiner's copy of an object may differ from its source's (4.7): in the regions that the source noted while this
// node was away, and in open ones; where nobody noted anything, in those whose hashes differ. All of it where there is
// nothing to start from.

import { OperatingError } from '../core/errors.ts';
import type { RegionMask } from '../core/extent.ts';
import type { NodeId } from '../core/ids.ts';
import type { ClusterView } from '../core/view.ts';
import { type Frame, OP, STATUS } from '../wire/frame.ts';
import type { PartitionCfg, RowImage } from '../wire/payloads.ts';
import { type Parts, requestFrame } from './context.ts';
import type { PartialCopy } from './copy-object.ts';
import { openRegionsOf } from './dirty-maps.ts';
import { MissedRegions } from './missed-regions.ts';
import { objectKey } from './object-gate.ts';
import { versionOfRow } from './peer-answer.ts';
import { differingRegions, HASHES_BYTES, hashRegions } from './region-hashes.ts';

/** Until a source that hashes an object is taken for silent: it reads all of it. */
export const REGIONS_DEADLINE_MS = 5000;

/** Undefined: all of it; an error: try again. */
type DifferencesDone = (found: PartialCopy | OperatingError | undefined) => void;

/** From whom, in which partition, at which cfg. */
type Where = PartitionCfg & { readonly source: NodeId };

export class Differences {
  readonly #parts: Parts;
  readonly #missed: MissedRegions;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#missed = new MissedRegions(parts);
  }

  /** What was missed is known for one cfg only. */
  forgetPast(view: ClusterView): void {
    this.#missed.forgetPast(view);
  }

  /** @param row the object as the source has it */
  find(where: Where, row: RowImage, done: DifferencesDone): void {
    const { store } = this.#parts;
    const own = store.row(row.generation, row.index);
    const isComparable = own?.kind === 'data' && row.kind === 'data';
    if (!isComparable || store.suspects.find(row) !== undefined) {
      done(undefined);
      return;
    }
    this.#missed.find(where, where.source, (missed) => {
      if (missed === 'unknown') this.#compare(where, row, done);
      else if (missed instanceof OperatingError) done(missed);
      else done(this.#noted(row, missed.get(objectKey(row.generation, row.index))));
    });
  }

  /**
   * What changed at the source while this node was away, what is open there, and what is open here: a write that the
   * others may have dropped.
   */
  #noted(row: RowImage, noted: RegionMask | undefined): PartialCopy | undefined {
    const own = this.#parts.store.row(row.generation, row.index);
    if (own?.kind !== 'data') return undefined;
    const there = openRegionsOf(row);
    const here = openRegionsOf(own);
    const low = ((noted?.low ?? 0) | there.low | here.low) >>> 0;
    const high = ((noted?.high ?? 0) | there.high | here.high) >>> 0;
    return { regions: { low, high }, ownVersion: versionOfRow(own) };
  }

  /** By the hashes of the regions of both copies at these versions, never by guessing. */
  #compare({ cfg, p, source }: Where, row: RowImage, done: DifferencesDone): void {
    const { store, views, trace, ask } = this.#parts;
    const { generation, index } = row;
    const ownVersion = versionOfRow(store.row(generation, index));
    const frame = requestFrame(views.current(), OP.REGIONS);
    Object.assign(frame, { cfg, partition: p, generation, index });
    frame.verToken = row.verToken as Frame['verToken'];
    frame.verCount = row.verCount;
    ask(source, frame, REGIONS_DEADLINE_MS, (reply) => {
      // BAD: a source of an older release.
      if (reply?.status === STATUS.BAD) return done(undefined);
      const isHashed = reply?.status === STATUS.OK && reply.payload.length === HASHES_BYTES;
      if (!isHashed) return done(new OperatingError('unreachable', 'no hashes of the regions'));
      const there = reply.payload;
      hashRegions(this.#parts, row, (own) => {
        trace.count('catch-up.compared');
        done({ regions: differingRegions(own, there), ownVersion });
      });
    });
  }
}
