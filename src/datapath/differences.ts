// Where the own copy of an object may differ from a source's (4.7): on a joiner in the regions that the source noted while
// it was away, and in open ones; anywhere where nobody noted anything. A note or an open write only says where to look: a
// survivor that was killed has all that its journal holds open again. So what both copies hold there is compared by hashes,
// and only what differs is fetched. All of it where there is nothing to start from.

import { OperatingError } from '../core/errors.ts';
import type { RegionMask } from '../core/extent.ts';
import { type NodeId, partitionOfKey } from '../core/ids.ts';
import { REGION_BYTES } from '../core/units.ts';
import type { ClusterView } from '../core/view.ts';
import { countRegions } from '../storage/object-state.ts';
import { type Frame, OP, STATUS } from '../wire/frame.ts';
import { encodeRegionsAsk, type PartitionCfg, type RowImage } from '../wire/payloads.ts';
import { type Parts, requestFrame } from './context.ts';
import { type CopyDone, type CopyOrder, copyObject, type PartialCopy } from './copy-object.ts';
import { AT_ONCE, type Rank } from './copy-streams.ts';
import { ALL_REGIONS, openRegionsOf } from './dirty-maps.ts';
import { MissedRegions } from './missed-regions.ts';
import { type CopyFence, objectKey } from './object-gate.ts';
import { versionOfRow } from './peer-answer.ts';
import { differingRegions, HASHES_BYTES, hashRegions } from './region-hashes.ts';

/** Until a source that hashes an object is taken for silent: it reads all of it. */
export const REGIONS_DEADLINE_MS = 5000;

const NO_REGIONS: RegionMask = { low: 0, high: 0 };

/** Undefined: all of it; an error: try again. */
type DifferencesDone = (found: PartialCopy | OperatingError | undefined) => void;

/** From whom, in which partition, at which cfg, and how urgent. */
type Where = PartitionCfg & { readonly source: NodeId; readonly rank: Rank };

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

  /** As copyObject, but what is equal stays where it is. */
  copy(fence: CopyFence, order: CopyOrder, done: CopyDone): void {
    const { row, cfg, source } = order;
    const rank = order.isPaid === true ? AT_ONCE : (order.rank ?? AT_ONCE);
    const where = { ...partitionOfKey(row.partition), cfg, source, rank };
    this.#find(where, row, (partial) => {
      if (partial instanceof OperatingError) return done(partial, 0);
      copyObject(this.#parts, fence, partial === undefined ? order : { ...order, partial }, done);
    });
  }

  /** @param row the object as the source has it */
  #find(where: Where, row: RowImage, done: DifferencesDone): void {
    const { self, views } = this.#parts;
    if (!this.#isComparable(row)) {
      done(undefined);
      return;
    }
    // Of a member of I nobody notes anything (4.5, R8).
    if (!views.current().partition(where.policy, where.p).joining.includes(self)) {
      this.#compare(where, row, ALL_REGIONS, done);
      return;
    }
    this.#missed.find(where, where.source, (missed) => {
      if (missed instanceof OperatingError) return done(missed);
      const noted =
        missed === 'unknown' ? ALL_REGIONS : missed.get(objectKey(row.generation, row.index));
      this.#compare(where, row, noted ?? NO_REGIONS, done);
    });
  }

  #isComparable(row: RowImage): boolean {
    const { store } = this.#parts;
    const own = store.row(row.generation, row.index);
    if (own?.kind !== 'data' || row.kind !== 'data' || row.verCount === 0) return false;
    return store.suspects.find(row) === undefined;
  }

  /**
   * What is noted, what is open at the source, and what is open here (a write that the others may have dropped) may
   * differ, and nothing else. What only one of the two copies owns (S1) does; the rest is judged by hashes of both copies
   * at these versions, never by guessing.
   */
  #compare(where: Where, row: RowImage, noted: RegionMask, done: DifferencesDone): void {
    const own = this.#parts.store.row(row.generation, row.index);
    if (own?.kind !== 'data') {
      done(undefined);
      return;
    }
    const ownVersion = versionOfRow(own);
    const suspected = union(noted, union(openRegionsOf(row), openRegionsOf(own)));
    const held = { low: row.ownLow & own.ownLow, high: row.ownHigh & own.ownHigh };
    const asked = {
      low: (suspected.low & held.low) >>> 0,
      high: (suspected.high & held.high) >>> 0,
    };
    const bytes = countRegions(asked.low, asked.high) * REGION_BYTES;
    if (bytes === 0) {
      done({ regions: suspected, ownVersion });
      return;
    }
    // Reading to compare takes its time from the guests as well (4.8); what is fetched then is paid for there.
    const { streams } = this.#parts;
    streams.whenPaced(where.rank, bytes, () => {
      this.#askHashes(where, row, asked, (equal) => {
        if (equal instanceof OperatingError) return done(equal);
        const regions = {
          low: (suspected.low & ~equal.low) >>> 0,
          high: (suspected.high & ~equal.high) >>> 0,
        };
        const left = countRegions(asked.low & ~equal.low, asked.high & ~equal.high);
        streams.unspent(where.rank, left * REGION_BYTES);
        done({ regions, ownVersion });
      });
    });
  }

  /** Those of the regions that are equal in both copies. */
  #askHashes(
    { cfg, p, source }: Where,
    row: RowImage,
    asked: RegionMask,
    done: (equal: RegionMask | OperatingError) => void,
  ): void {
    const { views, trace, ask } = this.#parts;
    const { generation, index } = row;
    const frame = requestFrame(views.current(), OP.REGIONS);
    Object.assign(frame, { cfg, partition: p, generation, index });
    frame.verToken = row.verToken as Frame['verToken'];
    frame.verCount = row.verCount;
    frame.payload = encodeRegionsAsk(asked);
    ask(source, frame, REGIONS_DEADLINE_MS, (reply) => {
      // BAD: a source of an older release.
      if (reply?.status === STATUS.BAD) return done(NO_REGIONS);
      const isHashed = reply?.status === STATUS.OK && reply.payload.length === HASHES_BYTES;
      if (!isHashed) return done(new OperatingError('unreachable', 'no hashes of the regions'));
      const there = reply.payload;
      hashRegions(this.#parts, row, asked, (here) => {
        trace.count('catch-up.compared');
        const differing = differingRegions(here, there);
        done({
          low: (asked.low & ~differing.low) >>> 0,
          high: (asked.high & ~differing.high) >>> 0,
        });
      });
    });
  }
}

function union(a: RegionMask, b: RegionMask): RegionMask {
  return { low: (a.low | b.low) >>> 0, high: (a.high | b.high) >>> 0 };
}
