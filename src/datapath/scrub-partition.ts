// One partition of a scrub (4.10). Deep: every byte of this node's closed copies against their sums. Light: rows and sums
// against another in-sync member, files as the next start would find them. What fails its own sums is noted by the store
// and healed by the repairer; what differs though both copies pass is told and never guessed at.

import type { NodeId, ObjectId } from '../core/ids.ts';
import { partitionOfKey } from '../core/ids.ts';
import { isRead } from '../core/reclaim.ts';
import { KIB, MAX_PAYLOAD_BYTES, OBJECT_BYTES } from '../core/units.ts';
import type { Row } from '../storage/store-types.ts';
import { FLAG, type Frame, OP, STATUS } from '../wire/frame.ts';
import { decodeRows, encodePartitionCfgs, type RowImage } from '../wire/payloads.ts';
import { isUp, type Parts, requestFrame } from './context.ts';
import { objectKey } from './object-gate.ts';

/** Bytes of one read of a deep scrub. */
export const SCRUB_PIECE_BYTES = 256 * KIB;
/** What one object of a light scrub is counted as, on either side: a few pages. */
export const LIGHT_OBJECT_BYTES = 32 * KIB;
export const SCRUB_DEADLINE_MS = 5000;
/** Before a difference is looked at once more: a close may be on its way. */
export const SCRUB_RECHECK_MS = 1000;
/** Differences kept for health; more are counted. */
export const MAX_DIFFERENCES = 1024;

/** Slows a scrub down and ends it. */
export interface Pace {
  readonly isStopped: () => boolean;
  /** Waits until these bytes are within the rate. */
  spend(bytes: number): Promise<void>;
}

/** Two copies that differ though none fails its sums. */
export interface Difference extends ObjectId {
  readonly peer: NodeId;
  readonly what: 'version' | 'regions' | 'sums';
}

export interface PartitionScrub {
  /** Open, or changed during each look: left for the next run. */
  readonly skipped: number;
  readonly badSectors: number;
}

export class Scrubber {
  readonly #parts: Parts;
  readonly #differences = new Map<string, Difference>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** What was told and not found equal since. */
  differences(limit: number): readonly Difference[] {
    return [...this.#differences.values()].slice(0, limit);
  }

  get differenceCount(): number {
    return this.#differences.size;
  }

  /** Every byte of the partition's closed objects. Never rejects. */
  async deep(key: number, pace: Pace): Promise<PartitionScrub> {
    let skipped = 0;
    let badSectors = 0;
    for (const { generation, index } of this.#rows(key)) {
      const row = this.#parts.store.row(generation, index);
      if (pace.isStopped()) break;
      if (row === undefined || row.kind === 'zero') continue;
      // The file is looked at in any case: a descriptor of ours would hide for long that it is gone.
      await this.#sumsOf(row);
      if (!isClosed(row)) {
        skipped += 1;
        continue;
      }
      for (let offset = 0; offset < OBJECT_BYTES; offset += SCRUB_PIECE_BYTES) {
        if (pace.isStopped()) break;
        const found = await this.#check(row, offset, SCRUB_PIECE_BYTES);
        badSectors += found.bad.length;
        if (found.isLost) break;
        await pace.spend(found.checkedBytes);
      }
    }
    return { skipped, badSectors };
  }

  /** Rows and sums of the partition against one other member. Never rejects. */
  async light(key: number, pace: Pace): Promise<PartitionScrub> {
    const peer = this.#peerOf(key);
    const theirs = peer === undefined ? undefined : await this.#list(key, peer);
    let skipped = 0;
    const own = this.#rows(key);
    for (const row of own) {
      if (pace.isStopped()) break;
      await pace.spend(LIGHT_OBJECT_BYTES);
      if (peer === undefined || theirs === undefined) {
        await this.#sumsOf(row);
        continue;
      }
      if (!(await this.#compare(key, peer, row, theirs.get(nameOf(row))))) skipped += 1;
    }
    const known = new Set(own.map(nameOf));
    for (const [name, row] of theirs ?? []) {
      if (peer === undefined || pace.isStopped()) break;
      if (!known.has(name) && !(await this.#compare(key, peer, row, row))) skipped += 1;
    }
    return { skipped, badSectors: 0 };
  }

  /** Rows of volumes that live, as of now. Those of deleted ones are left out (S6). */
  #rows(key: number): readonly Row[] {
    const view = this.#parts.views.current();
    const { policy, p } = partitionOfKey(key);
    if (!view.partition(policy, p).inSync.includes(this.#parts.self)) return [];
    return this.#parts.store.rowsOf(key).filter(({ generation }) => isRead(view, generation));
  }

  /** The next sure member in the set, so that all copies are compared round the ring. */
  #peerOf(key: number): NodeId | undefined {
    const view = this.#parts.views.current();
    const { policy, p } = partitionOfKey(key);
    const { inSync, doubtful } = view.partition(policy, p);
    const { self } = this.#parts;
    const others = inSync.filter(
      (node) => node !== self && !doubtful.includes(node) && isUp(view, node),
    );
    return others.find((node) => node > self) ?? others[0];
  }

  // ------------------------------------------------------------------------------------------ one object

  /** False: in use, nothing can be said. A difference is looked at twice before it is told. */
  async #compare(
    key: number,
    peer: NodeId,
    oid: ObjectId,
    listed: RowImage | undefined,
  ): Promise<boolean> {
    const first = await this.#differs(key, peer, oid, listed);
    if (first === undefined || first === 'equal') {
      if (first === 'equal') this.#differences.delete(nameOf(oid));
      return first === 'equal';
    }
    await new Promise<void>((resolve) => {
      this.#parts.clock.setTimer(SCRUB_RECHECK_MS, resolve);
    });
    const again = await this.#list(key, peer);
    const second = await this.#differs(key, peer, oid, again?.get(nameOf(oid)));
    if (again === undefined || second === undefined) return false;
    if (second === 'equal') return true;
    const difference = { generation: oid.generation, index: oid.index, peer, what: second };
    this.#parts.trace.warn('scrub.differs', { object: nameOf(oid), peer, what: second });
    if (this.#differences.size < MAX_DIFFERENCES) this.#differences.set(nameOf(oid), difference);
    return true;
  }

  /** Undefined: open on either side, moving, or damaged and under repair. */
  async #differs(
    key: number,
    peer: NodeId,
    { generation, index }: ObjectId,
    theirs: RowImage | undefined,
  ): Promise<Difference['what'] | 'equal' | undefined> {
    const { store } = this.#parts;
    const own = store.row(generation, index);
    if (own === undefined && theirs === undefined) return 'equal';
    const isOpen = (own !== undefined && !isClosed(own)) || (theirs && !isClosed(theirs));
    if (isOpen === true || store.suspects.find({ generation, index }) !== undefined)
      return undefined;
    if (own === undefined || theirs === undefined) return 'version';
    if (own.verToken !== theirs.verToken || own.verCount !== theirs.verCount) return 'version';
    const isSame =
      own.kind === theirs.kind && own.ownLow === theirs.ownLow && own.ownHigh === theirs.ownHigh;
    if (!isSame) return 'regions';
    if (own.kind === 'zero') return 'equal';
    const [mine, sums] = [await this.#sumsOf(own), await this.#hashes(key, peer, theirs)];
    const now = store.row(generation, index);
    const isStill = now?.verToken === theirs.verToken && now.verCount === theirs.verCount;
    if (mine === undefined || sums === undefined || !isStill) return undefined;
    if (isEqual(mine, sums)) return 'equal';
    return this.#whoIsWrong(key, peer, theirs);
  }

  /** The copy that fails its own sums loses: it is noted on its node by the look at it, and healed there. */
  async #whoIsWrong(key: number, peer: NodeId, row: RowImage): Promise<'sums' | undefined> {
    for (let offset = 0; offset < OBJECT_BYTES; offset += MAX_PAYLOAD_BYTES) {
      const own = await this.#check(row, offset, MAX_PAYLOAD_BYTES);
      if (own.isLost || own.bad.length > 0) return undefined;
      const frame = this.#frame(key, OP.FETCH, row);
      frame.offset = offset;
      frame.count = MAX_PAYLOAD_BYTES;
      const reply = await this.#ask(peer, frame);
      if (reply?.status !== STATUS.OK) return undefined;
    }
    return 'sums';
  }

  #sumsOf({ generation, index }: ObjectId): Promise<Uint8Array | undefined> {
    return new Promise((resolve) => this.#parts.store.readSums(generation, index, resolve));
  }

  #check(
    { generation, index }: ObjectId,
    offset: number,
    count: number,
  ): Promise<Parameters<Parameters<Parts['store']['check']>[3]>[0]> {
    return new Promise((resolve) => {
      this.#parts.store.check(generation, index, { offset, count }, resolve);
    });
  }

  // ------------------------------------------------------------------------------------------ the other side

  async #hashes(key: number, peer: NodeId, row: RowImage): Promise<Uint8Array | undefined> {
    const reply = await this.#ask(peer, this.#frame(key, OP.HASHES, row));
    return reply?.status === STATUS.OK ? reply.payload : undefined;
  }

  async #list(key: number, peer: NodeId): Promise<ReadonlyMap<string, RowImage> | undefined> {
    const rows = new Map<string, RowImage>();
    const view = this.#parts.views.current();
    for (let after: RowImage | undefined; ; ) {
      const frame = this.#frame(key, OP.LIST, after);
      frame.verToken = 0 as Frame['verToken'];
      frame.verCount = 0;
      const { policy, p } = partitionOfKey(key);
      frame.payload = encodePartitionCfgs([{ policy, p, cfg: frame.cfg }]);
      const reply = await this.#ask(peer, frame);
      if (reply?.status !== STATUS.OK) return undefined;
      const page = decodeRows(reply.payload);
      for (const row of page) {
        if (isRead(view, row.generation)) rows.set(nameOf(row), row);
      }
      after = page.at(-1);
      if ((reply.flags & FLAG.MORE) === 0 || after === undefined) return rows;
    }
  }

  /** At the row's object and version, without a token: judged by cfg. */
  #frame(key: number, op: number, row: RowImage | undefined): Frame {
    const view = this.#parts.views.current();
    const { policy, p } = partitionOfKey(key);
    const frame = requestFrame(view, op);
    frame.partition = p;
    frame.cfg = view.partition(policy, p).cfg;
    if (row === undefined) return frame;
    frame.generation = row.generation;
    frame.index = row.index;
    frame.verToken = row.verToken as Frame['verToken'];
    frame.verCount = row.verCount;
    return frame;
  }

  #ask(peer: NodeId, frame: Frame): Promise<Frame | undefined> {
    return new Promise((resolve) => {
      this.#parts.ask(peer, frame, SCRUB_DEADLINE_MS, (reply) => {
        if (reply?.status === STATUS.STALE) this.#parts.pull(reply.mapIndex, peer);
        resolve(reply);
      });
    });
  }
}

function isClosed(row: { readonly closed: number; readonly verCount: number }): boolean {
  return row.closed >= row.verCount;
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

function nameOf({ generation, index }: ObjectId): string {
  return objectKey(generation, index);
}
