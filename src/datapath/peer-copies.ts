// The replica's side of settling and copying: SEAL, VERSIONS, EQUALISE, CLOSE, CONFIRM, LIST, FETCH (4.5, 4.6). What it
// says of versions is durable when it says it, and is judged once more at that moment: the map may have moved on.

import { OperatingError } from '../core/errors.ts';
import type { Version } from '../core/ids.ts';
import { NO_VERSION, partitionKey, partitionOfKey } from '../core/ids.ts';
import { partitionOf } from '../core/partition.ts';
import { MAX_PAYLOAD_BYTES, OBJECT_BYTES, SECTOR_BYTES } from '../core/units.ts';
import type { Volume } from '../core/view.ts';
import type { Row } from '../storage/store-types.ts';
import { FLAG, type Frame, replyTo, STATUS, type Status } from '../wire/frame.ts';
import {
  decodeCloses,
  decodeEqualise,
  decodeObjectNames,
  decodePartitionCfgs,
  type EqualiseItem,
  encodePartitionCfgs,
  encodeRows,
  MAX_ROWS_PER_FRAME,
  type PartitionCfg,
  type RowImage,
} from '../wire/payloads.ts';
import type { Parts } from './context.ts';
import { copyObject } from './copy-object.ts';
import { isMember, judgeCfg, judgeList, judgeToken } from './judge.ts';
import { type CopyFence, type JoinMarks, type ObjectGates, objectKey } from './object-gate.ts';

type Reply = (frame: Frame) => void;
type Judge = () => Status;

export class PeerCopies {
  readonly #parts: Parts;
  readonly #gates: ObjectGates;
  readonly #marks: JoinMarks;
  readonly #fence: CopyFence;

  constructor(parts: Parts, shared: { gates: ObjectGates; marks: JoinMarks; fence: CopyFence }) {
    this.#parts = parts;
    this.#gates = shared.gates;
    this.#marks = shared.marks;
    this.#fence = shared.fence;
  }

  /**
   * SEAL, also on board of ENSURE: from here on older tokens change nothing (the map has the token, F1), and copies in
   * progress are void. Answers the open rows of the family; `count` = how many partitions of the list it covers.
   */
  seal(frame: Frame, reply: Reply): void {
    const list = decodePartitionCfgs(frame.payload);
    const judge: Judge = () => {
      const view = this.#parts.views.current();
      const fenced = judgeToken(view.volumes.get(frame.volume), frame.token);
      return fenced === STATUS.OK ? judgeList(view, this.#parts.self, list) : fenced;
    };
    const status = judge();
    if (status !== STATUS.OK) {
      reply(this.#answer(frame, status));
      return;
    }
    const keys = list.map(({ policy, p }) => partitionKey(policy, p));
    this.#fence.seal(keys, () => {
      this.#whenSettled(frame, reply, judge, () => this.#sealPage(frame, list));
    });
  }

  #sealPage(frame: Frame, list: readonly PartitionCfg[]): Frame {
    const family = this.#parts.views.current().volumes.get(frame.volume)?.family;
    const open: RowImage[] = [];
    let count = 0;
    for (const { policy, p } of list) {
      const rows = this.#parts.store.rowsOf(partitionKey(policy, p));
      const found = rows.filter((row) => row.family === family && row.closed < row.verCount);
      if (count > 0 && open.length + found.length > MAX_ROWS_PER_FRAME) break;
      open.push(...found.slice(0, MAX_ROWS_PER_FRAME));
      count += 1;
    }
    const made = this.#answer(frame, STATUS.OK);
    made.count = count;
    if (count < list.length) made.flags |= FLAG.MORE;
    made.payload = encodeRows(open);
    return made;
  }

  /** Rows of named objects; those that are absent are left out. By a holder (F1), or by a joiner (volume 0). */
  versions(frame: Frame, reply: Reply): void {
    const names = decodeObjectNames(frame.payload);
    const [first] = names;
    if (first === undefined || names.length > MAX_ROWS_PER_FRAME) {
      reply(this.#answer(frame, STATUS.BAD));
      return;
    }
    const judge: Judge = () => this.#judgeObjects(frame, names);
    const status = judge();
    if (status !== STATUS.OK) {
      reply(this.#answer(frame, status));
      return;
    }
    this.#whenSettled(frame, reply, judge, () => {
      const rows: Row[] = [];
      for (const { generation, index } of names) {
        const row = this.#parts.store.row(generation, index);
        if (row !== undefined) rows.push(row);
      }
      const made = this.#answer(frame, STATUS.OK);
      made.payload = encodeRows(rows);
      return made;
    });
  }

  /** All objects lie in the partition of the frame; its cfg is ours, this node is in W. */
  #judgeObjects(
    frame: Frame,
    names: readonly { readonly generation: Frame['generation']; readonly index: number }[],
  ): Status {
    const view = this.#parts.views.current();
    let volume: Volume | undefined;
    for (const { generation, index } of names) {
      volume = view.volumeOfGeneration(generation);
      if (volume === undefined) return STATUS.GONE;
      if (partitionOf(volume.family, index, view.partitions) !== frame.partition) return STATUS.BAD;
    }
    if (volume === undefined) return STATUS.BAD;
    if (frame.volume !== 0) {
      const fenced = judgeToken(view.volumes.get(frame.volume), frame.token);
      if (fenced !== STATUS.OK) return fenced;
    }
    const config = view.partition(volume.policy, frame.partition);
    const stale = judgeCfg(config, frame.cfg);
    if (stale !== STATUS.OK) return stale;
    return isMember(config, this.#parts.self) ? STATUS.OK : STATUS.NOT_MEMBER;
  }

  // ------------------------------------------------------------------------------------------ equalise

  /** Be exactly at the named versions: one object after the other, each fetched from its source where it differs. */
  equalise(frame: Frame, reply: Reply): void {
    const items = decodeEqualise(frame.payload);
    const seals = new Map(
      items.map((item) => [item.partition, this.#fence.sealsOf(item.partition)]),
    );
    const judge: Judge = () => {
      for (const [partition, count] of seals) {
        if (this.#fence.sealsOf(partition) !== count) return STATUS.BUSY;
      }
      for (const item of items) if (!this.#isPlaced(item)) return STATUS.BAD;
      return this.#judgeObjects(frame, items);
    };
    const status = judge();
    if (status !== STATUS.OK) {
      reply(this.#answer(frame, status));
      return;
    }
    this.#equaliseNext(frame, items, 0, judge, reply);
  }

  #isPlaced(item: EqualiseItem): boolean {
    const view = this.#parts.views.current();
    const volume = view.volumeOfGeneration(item.generation);
    if (volume === undefined || volume.family !== item.family) return false;
    const p = partitionOf(volume.family, item.index, view.partitions);
    return partitionKey(volume.policy, p) === item.partition;
  }

  #equaliseNext(
    frame: Frame,
    items: readonly EqualiseItem[],
    at: number,
    judge: Judge,
    reply: Reply,
  ): void {
    const item = items[at];
    if (item === undefined) {
      this.#whenSettled(frame, reply, judge, () => this.#answer(frame, STATUS.OK));
      return;
    }
    const key = objectKey(item.generation, item.index);
    const waits = this.#gates.wait(key, () => {
      this.#gates.enter(key);
      this.#equaliseOne(item, judge, frame, (error) => {
        this.#gates.leave(key);
        if (error === undefined) return this.#equaliseNext(frame, items, at + 1, judge, reply);
        const status = judge();
        reply(this.#answer(frame, status === STATUS.OK ? STATUS.BUSY : status));
      });
    });
    if (!waits) reply(this.#answer(frame, STATUS.BUSY));
  }

  #equaliseOne(
    item: EqualiseItem,
    judge: Judge,
    frame: Frame,
    done: (error: OperatingError | undefined) => void,
  ): void {
    if (judge() !== STATUS.OK) {
      done(new OperatingError('stale-config', 'EQUALISE became void'));
      return;
    }
    const finish = (error: OperatingError | undefined): void => {
      if (error === undefined) this.#markSynced(item);
      done(error);
    };
    const own = versionOf(this.#parts.store.row(item.generation, item.index));
    const { version, source, ...rest } = item;
    if (own.token === version.token && own.count === version.count) {
      finish(undefined);
      return;
    }
    if (source === this.#parts.self) {
      done(new OperatingError('changed', 'this node is no source of that version'));
      return;
    }
    const row: RowImage = { ...rest, verToken: version.token, verCount: version.count };
    const order = { source, cfg: frame.cfg, row, isValid: () => judge() === STATUS.OK };
    copyObject(this.#parts, this.#fence, order, finish);
  }

  /** A joiner that was made equal is synced: no drain may shorten it (Trap 1). */
  #markSynced(item: EqualiseItem): void {
    const { policy, p } = partitionOfKey(item.partition);
    const config = this.#parts.views.current().partition(policy, p);
    if (!config.joining.includes(this.#parts.self)) return;
    this.#marks.set(item.partition, config.cfg, objectKey(item.generation, item.index));
  }

  // ------------------------------------------------------------------------------------------ close

  /**
   * R6. What is closed is acknowledged, hence on every member of I (I1). A joiner may hold another history until its
   * stack is synced, so it takes no close before.
   */
  close(frame: Frame, reply: Reply): void {
    const { store, self, views } = this.#parts;
    const view = views.current();
    const fenced = judgeToken(view.volumes.get(frame.volume), frame.token);
    if (fenced !== STATUS.OK) {
      reply(this.#answer(frame, fenced));
      return;
    }
    for (const { generation, index, count } of decodeCloses(frame.payload)) {
      const volume = view.volumeOfGeneration(generation);
      const row = store.row(generation, index);
      if (volume === undefined || row === undefined || count <= row.closed) continue;
      const p = partitionOf(volume.family, index, view.partitions);
      const config = view.partition(volume.policy, p);
      const partition = partitionKey(volume.policy, p);
      const isSynced =
        config.inSync.includes(self) ||
        (config.joining.includes(self) &&
          this.#marks.isSynced(partition, config.cfg, objectKey(generation, index)));
      if (isSynced) store.close(generation, index, Math.min(count, row.verCount));
    }
    reply(this.#answer(frame, STATUS.OK));
  }

  // ------------------------------------------------------------------------------------------ for joiners

  /** Which of these cfgs has this node applied? A member of I that says yes refuses older ones for ever (A8). */
  confirm(frame: Frame, reply: Reply): void {
    const list = decodePartitionCfgs(frame.payload);
    const { views, self } = this.#parts;
    const isApplied = ({ policy, p, cfg }: PartitionCfg): boolean => {
      const view = views.current();
      if (!view.policies.has(policy) || p >= view.partitions) return false;
      const config = view.partition(policy, p);
      return config.cfg === cfg && config.inSync.includes(self);
    };
    this.#whenSettled(
      frame,
      reply,
      () => STATUS.OK,
      () => {
        const made = this.#answer(frame, STATUS.OK);
        made.payload = encodePartitionCfgs(list.filter(isApplied));
        return made;
      },
    );
  }

  /** Rows of one partition (list of one), after the one that the header names; MORE until the end. */
  list(frame: Frame, reply: Reply): void {
    const [asked] = decodePartitionCfgs(frame.payload);
    if (asked === undefined) {
      reply(this.#answer(frame, STATUS.BAD));
      return;
    }
    const judge: Judge = () => this.#judgeSource(asked);
    const status = judge();
    if (status !== STATUS.OK) {
      reply(this.#answer(frame, status));
      return;
    }
    this.#whenSettled(frame, reply, judge, () => {
      const all = this.#parts.store.rowsOf(partitionKey(asked.policy, asked.p));
      const isFirst = frame.generation === 0;
      const start = isFirst ? 0 : all.findIndex((row) => isAfter(row, frame));
      const rest = start < 0 ? [] : all.slice(start);
      const made = this.#answer(frame, STATUS.OK);
      made.payload = encodeRows(rest.slice(0, MAX_ROWS_PER_FRAME));
      if (rest.length > MAX_ROWS_PER_FRAME) made.flags |= FLAG.MORE;
      return made;
    });
  }

  /** Part of an object at the named version: sums of the range, data of the sectors that have one. */
  fetch(frame: Frame, reply: Reply): void {
    const { store } = this.#parts;
    const { generation, index, offset, count } = frame;
    const isAligned = offset % SECTOR_BYTES === 0 && count % SECTOR_BYTES === 0 && count > 0;
    if (!isAligned || count > MAX_PAYLOAD_BYTES || offset + count > OBJECT_BYTES) {
      reply(this.#answer(frame, STATUS.BAD));
      return;
    }
    const judge: Judge = () => this.#judgeFetch(frame);
    const status = judge();
    const own = versionOf(store.row(generation, index));
    if (status !== STATUS.OK) {
      reply(this.#answer(frame, status, own));
      return;
    }
    store.settled((failed) => {
      if (failed !== undefined) return reply(this.#answer(frame, STATUS.IO));
      store.readForCopy(generation, index, offset, count, (error, sums, data) => {
        const now = judge();
        const ver = versionOf(store.row(generation, index));
        if (now !== STATUS.OK) return reply(this.#answer(frame, now, ver));
        if (error !== undefined) {
          const isBad = error.code === 'suspect' || error.code === 'corrupt';
          return reply(this.#answer(frame, isBad ? STATUS.SUSPECT : STATUS.IO, ver));
        }
        const made = this.#answer(frame, STATUS.OK, ver);
        made.flags |= FLAG.SUMS;
        made.sums = sums;
        made.payload = data;
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

  // ------------------------------------------------------------------------------------------ helpers

  /** Answers once all that was accepted before is durable, if the request is still right then. */
  #whenSettled(frame: Frame, reply: Reply, judge: Judge, make: () => Frame): void {
    this.#parts.store.settled((error) => {
      if (error !== undefined) return reply(this.#answer(frame, STATUS.IO));
      const status = judge();
      reply(status === STATUS.OK ? make() : this.#answer(frame, status));
    });
  }

  #answer(frame: Frame, status: Status, own: Version = NO_VERSION): Frame {
    const made = replyTo(frame, status);
    made.mapIndex = this.#parts.views.current().index;
    made.verToken = own.token;
    made.verCount = own.count;
    return made;
  }
}

function versionOf(row: Row | undefined): Version {
  if (row === undefined) return NO_VERSION;
  return { token: row.verToken as Version['token'], count: row.verCount };
}

function isAfter(
  row: Row,
  cursor: { readonly generation: number; readonly index: number },
): boolean {
  if (row.generation !== cursor.generation) return row.generation > cursor.generation;
  return row.index > cursor.index;
}
