// The source's side of copying: CONFIRM, LIST, CONTENTS, DIRTY and FETCH of a member of I for a joiner or an unequal
// member (4.6). No token: judged by cfg alone, so that a source that answers refuses older writes from then on (A8).

import { partitionKey } from '../core/ids.ts';
import { isSure, partitionOf } from '../core/partition.ts';
import { MAX_PAYLOAD_BYTES, OBJECT_BYTES, REGION_BYTES, SECTOR_BYTES } from '../core/units.ts';
import { countRegions } from '../storage/object-state.ts';
import type { Row } from '../storage/store-types.ts';
import { FLAG, type Frame, STATUS, type Status } from '../wire/frame.ts';
import {
  type Contents,
  type ContentsItem,
  decodeDirtyAsk,
  decodePartitionCfgs,
  decodeRegionsAsk,
  decodeSurveyAsk,
  encodeContents,
  encodeDirtyAnswer,
  encodePartitionCfgs,
  encodeRows,
  encodeSurveyAnswer,
  MANY_ROWS,
  MAX_CONTENTS_PER_FRAME,
  MAX_CONTENTS_ROWS,
  MAX_DIRTY_PER_FRAME,
  MAX_ROWS_PER_FRAME,
  NOT_KNOWN,
  type PartitionCfg,
} from '../wire/payloads.ts';
import type { Parts } from './context.ts';
import { ALL_REGIONS } from './dirty-maps.ts';
import { judgeCfg } from './judge.ts';
import { answerSettled, answerTo, type Judge, type Reply, versionOfRow } from './peer-answer.ts';
import { hashRegions } from './region-hashes.ts';

export class PeerSource {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Which of these cfgs has this node applied? A sure member of I that says yes refuses older ones for ever (A8). */
  confirm(frame: Frame, reply: Reply): void {
    const list = decodePartitionCfgs(frame.payload);
    const make = (): Frame => {
      const made = answerTo(this.#parts, frame, STATUS.OK);
      made.payload = encodePartitionCfgs(list.filter((one) => this.#isConfirmed(one)));
      return made;
    };
    answerSettled(this.#parts, frame, reply, { judge: () => STATUS.OK, make });
  }

  /** CONFIRM and LIST of many partitions at once: most of them hold little or nothing. */
  contents(frame: Frame, reply: Reply): void {
    const asked = decodePartitionCfgs(frame.payload);
    if (asked.length > MAX_CONTENTS_PER_FRAME) {
      reply(answerTo(this.#parts, frame, STATUS.BAD));
      return;
    }
    const make = (): Frame => {
      const made = answerTo(this.#parts, frame, STATUS.OK);
      made.payload = encodeContents(this.#contentsOf(asked));
      return made;
    };
    answerSettled(this.#parts, frame, reply, { judge: () => STATUS.OK, make });
  }

  #contentsOf(asked: readonly PartitionCfg[]): Contents {
    const partitions: ContentsItem[] = [];
    const rows: Row[] = [];
    for (const one of asked) {
      if (!this.#isConfirmed(one)) continue;
      const { policy, p, cfg } = one;
      const held = this.#parts.store.rowsOf(partitionKey(policy, p));
      const isMany = rows.length + held.length > MAX_CONTENTS_ROWS;
      partitions.push({ policy, p, cfg, rows: isMany ? MANY_ROWS : held.length });
      if (!isMany) rows.push(...held);
    }
    return { partitions, rows };
  }

  /** This node has applied that cfg, and is a sure member of I. */
  #isConfirmed({ policy, p, cfg }: PartitionCfg): boolean {
    const { views, self } = this.#parts;
    const view = views.current();
    if (!view.policies.has(policy) || p >= view.partitions) return false;
    const config = view.partition(policy, p);
    return config.cfg === cfg && isSure(config, self);
  }

  /** Rows of one partition (list of one), after the one that the header names; MORE until the end. */
  list(frame: Frame, reply: Reply): void {
    const [asked] = decodePartitionCfgs(frame.payload);
    if (asked === undefined) {
      reply(answerTo(this.#parts, frame, STATUS.BAD));
      return;
    }
    const judge: Judge = () => this.#judgeSource(asked);
    const status = judge();
    if (status !== STATUS.OK) {
      reply(answerTo(this.#parts, frame, status));
      return;
    }
    answerSettled(this.#parts, frame, reply, {
      judge,
      make: () => {
        const all = this.#parts.store.rowsOf(partitionKey(asked.policy, asked.p));
        const isFirst = frame.generation === 0;
        const start = isFirst ? 0 : all.findIndex((row) => isAfter(row, frame));
        const rest = start < 0 ? [] : all.slice(start);
        const made = answerTo(this.#parts, frame, STATUS.OK);
        made.payload = encodeRows(rest.slice(0, MAX_ROWS_PER_FRAME));
        if (rest.length > MAX_ROWS_PER_FRAME) made.flags |= FLAG.MORE;
        return made;
      },
    });
  }

  /**
   * What a joiner misses here since it left (4.7), after the object that the header names; MORE until the end. OVERFLOW:
   * this member does not know it, or not from the beginning.
   */
  dirty(frame: Frame, reply: Reply): void {
    const asked = decodeDirtyAsk(frame.payload);
    const status = this.#judgeSource(asked);
    if (status !== STATUS.OK) {
      reply(answerTo(this.#parts, frame, status));
      return;
    }
    const where = { partition: partitionKey(asked.policy, asked.p), node: asked.node };
    const page = this.#parts.dirty.page(where, frame, MAX_DIRTY_PER_FRAME);
    if (page === undefined) {
      reply(answerTo(this.#parts, frame, STATUS.OVERFLOW));
      return;
    }
    const made = answerTo(this.#parts, frame, STATUS.OK);
    made.payload = encodeDirtyAnswer(page);
    if (page.hasMore) made.flags |= FLAG.MORE;
    reply(made);
  }

  /** How much the asking node would copy: what is noted that it missed, else all that is here. An upper bound. */
  survey(frame: Frame, reply: Reply): void {
    const { node, partitions } = decodeSurveyAsk(frame.payload);
    const made = answerTo(this.#parts, frame, STATUS.OK);
    made.payload = encodeSurveyAnswer(
      partitions.map((asked) => {
        if (this.#judgeSource(asked) !== STATUS.OK) return NOT_KNOWN;
        const key = partitionKey(asked.policy, asked.p);
        return this.#parts.dirty.missedBytes(key, node) ?? this.#heldBytes(key);
      }),
    );
    reply(made);
  }

  #heldBytes(key: number): number {
    let regions = 0;
    for (const row of this.#parts.store.rowsOf(key)) {
      if (row.kind === 'data') regions += countRegions(row.ownLow, row.ownHigh);
    }
    return regions * REGION_BYTES;
  }

  /** Part of an object at the named version: sums of the range, data of the sectors that have one. */
  fetch(frame: Frame, reply: Reply): void {
    const { store } = this.#parts;
    const { generation, index, offset, count } = frame;
    const isAligned = offset % SECTOR_BYTES === 0 && count % SECTOR_BYTES === 0 && count > 0;
    if (!isAligned || count > MAX_PAYLOAD_BYTES || offset + count > OBJECT_BYTES) {
      reply(answerTo(this.#parts, frame, STATUS.BAD));
      return;
    }
    const judge: Judge = () => this.#judgeFetch(frame);
    const status = judge();
    const own = versionOfRow(store.row(generation, index));
    if (status !== STATUS.OK) {
      reply(answerTo(this.#parts, frame, status, own));
      return;
    }
    // Copies that nobody waits for take turns here, too (4.8).
    const waits = this.#parts.streams.whenOutgoing(frame.closed, (release) => {
      this.#handOut(frame, judge, (made) => {
        release();
        reply(made);
      });
    });
    if (!waits) reply(answerTo(this.#parts, frame, STATUS.BUSY, own));
  }

  #handOut(frame: Frame, judge: Judge, reply: Reply): void {
    const { store, streams } = this.#parts;
    const { generation, index, offset, count } = frame;
    // What it says of this object is durable; what others are about to be does not matter here.
    store.objectSettled(frame, (failed) => {
      if (failed !== undefined) return reply(answerTo(this.#parts, frame, STATUS.IO));
      store.readForCopy(generation, index, offset, count, (error, sums, data) => {
        const now = judge();
        const ver = versionOfRow(store.row(generation, index));
        if (now !== STATUS.OK) return reply(answerTo(this.#parts, frame, now, ver));
        if (error !== undefined) {
          const isBad = error.code === 'suspect' || error.code === 'corrupt';
          return reply(answerTo(this.#parts, frame, isBad ? STATUS.SUSPECT : STATUS.IO, ver));
        }
        const made = answerTo(this.#parts, frame, STATUS.OK, ver);
        made.flags |= FLAG.SUMS;
        made.sums = sums;
        made.payload = data;
        made.closed = streams.strainServed;
        reply(made);
      });
    });
  }

  /** All sums of an object at the named version, as the disk has them: for light scrub. */
  hashes(frame: Frame, reply: Reply): void {
    const { store } = this.#parts;
    this.#answerOf(frame, reply, (done) => store.readSums(frame.generation, frame.index, done));
  }

  /** Hashes of regions of an object at the named version, for a copy that may differ there (4.7); no mask: of all. */
  regions(frame: Frame, reply: Reply): void {
    const mask = frame.payload.length === 0 ? ALL_REGIONS : decodeRegionsAsk(frame.payload);
    this.#answerOf(frame, reply, (done) => hashRegions(this.#parts, frame, mask, done));
  }

  /** What `look` finds of an object, if it has the named version before and after. */
  #answerOf(
    frame: Frame,
    reply: Reply,
    look: (done: (found: Uint8Array | undefined) => void) => void,
  ): void {
    const { store } = this.#parts;
    const judge: Judge = () => this.#judgeFetch(frame);
    const own = () => versionOfRow(store.row(frame.generation, frame.index));
    const status = judge();
    if (status !== STATUS.OK) {
      reply(answerTo(this.#parts, frame, status, own()));
      return;
    }
    store.settled((failed) => {
      if (failed !== undefined) return reply(answerTo(this.#parts, frame, STATUS.IO));
      look((found) => {
        const now = judge();
        const verdict = now === STATUS.OK && found === undefined ? STATUS.SUSPECT : now;
        const made = answerTo(this.#parts, frame, verdict, own());
        if (verdict === STATUS.OK && found !== undefined) made.payload = found;
        reply(made);
      });
    });
  }

  #judgeFetch(frame: Frame): Status {
    const { store, views } = this.#parts;
    const row = store.row(frame.generation, frame.index);
    const view = views.current();
    const volume = view.volumeOfGeneration(frame.generation);
    if (volume === undefined) return STATUS.GONE;
    const p = partitionOf(volume.family, frame.index, view.partitions);
    if (p !== frame.partition) return STATUS.BAD;
    const status = this.#judgeSource({
      policy: volume.policy,
      p: frame.partition,
      cfg: frame.cfg,
    });
    if (status !== STATUS.OK) return status;
    const isSame = row?.verToken === frame.verToken && row?.verCount === frame.verCount;
    return isSame ? STATUS.OK : STATUS.CHANGED;
  }

  /** Only a member of I at the same cfg hands anything over (A8, 4.6). */
  #judgeSource({ policy, p, cfg }: PartitionCfg): Status {
    const view = this.#parts.views.current();
    if (!view.policies.has(policy) || p >= view.partitions) return STATUS.BAD;
    const config = view.partition(policy, p);
    const stale = judgeCfg(config, cfg);
    if (stale !== STATUS.OK) return stale;
    return config.inSync.includes(this.#parts.self) ? STATUS.OK : STATUS.NOT_MEMBER;
  }
}

function isAfter(
  row: Row,
  cursor: { readonly generation: number; readonly index: number },
): boolean {
  if (row.generation !== cursor.generation) return row.generation > cursor.generation;
  return row.index > cursor.index;
}
