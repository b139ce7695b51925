// The replica's side of settling: SEAL, VERSIONS, EQUALISE, CLOSE (4.5). What it
// says of versions is durable when it says it, and is judged once more at that moment: the map may have moved on.

import { OperatingError } from '../core/errors.ts';
import { partitionKey, partitionOfKey } from '../core/ids.ts';
import { isSure, partitionOf } from '../core/partition.ts';
import type { ClusterView, Volume } from '../core/view.ts';
import type { Row } from '../storage/store-types.ts';
import { FLAG, type Frame, STATUS, type Status } from '../wire/frame.ts';
import {
  decodeCloses,
  decodeEqualise,
  decodeObjectNames,
  decodePartitionCfgs,
  type EqualiseItem,
  encodeRows,
  MAX_ROWS_PER_FRAME,
  type PartitionCfg,
  type RowImage,
} from '../wire/payloads.ts';
import type { Parts } from './context.ts';
import type { Differences } from './differences.ts';
import { isMember, judgeCfg, judgeList, judgeToken } from './judge.ts';
import { type CopyFence, type JoinMarks, type ObjectGates, objectKey } from './object-gate.ts';
import { answerSettled, answerTo, type Judge, type Reply, versionOfRow } from './peer-answer.ts';

export class PeerCopies {
  readonly #parts: Parts;
  readonly #gates: ObjectGates;
  readonly #marks: JoinMarks;
  readonly #fence: CopyFence;
  readonly #differences: Differences;

  constructor(
    parts: Parts,
    shared: { gates: ObjectGates; marks: JoinMarks; fence: CopyFence; differences: Differences },
  ) {
    this.#parts = parts;
    this.#gates = shared.gates;
    this.#marks = shared.marks;
    this.#fence = shared.fence;
    this.#differences = shared.differences;
  }

  /**
   * SEAL, also on board of ENSURE: from here on older tokens change nothing (the map has the token, F1), and copies in
   * progress are void. Answers the open rows of the family; `count` = how many partitions of the list it covers.
   */
  seal(frame: Frame, reply: Reply): void {
    const list = decodePartitionCfgs(frame.payload);
    const judge = this.#judgeOf(frame, list);
    const status = judge();
    if (status !== STATUS.OK) {
      reply(answerTo(this.#parts, frame, status));
      return;
    }
    const keys = list.map(({ policy, p }) => partitionKey(policy, p));
    this.#fence.seal(keys, () => {
      answerSettled(this.#parts, frame, reply, {
        judge,
        make: () => this.#sealPage(frame, list),
      });
    });
  }

  /** By the view of the moment in which it is called: the token first, then each partition of the list. */
  #judgeOf({ volume, token, generation }: Frame, list: readonly PartitionCfg[]): Judge {
    return () => {
      const view = this.#parts.views.current();
      const fenced = judgeToken(ownerOf(view, { volume, token, generation }), token);
      return fenced === STATUS.OK ? judgeList(view, this.#parts.self, list) : fenced;
    };
  }

  /** R5: all that this node confirmed in these partitions is durable; judged when asked and when answered. */
  sync(frame: Frame, reply: Reply): void {
    const list = decodePartitionCfgs(frame.payload);
    const judge = this.#judgeOf(frame, list);
    const status = judge();
    if (status !== STATUS.OK) {
      reply(answerTo(this.#parts, frame, status));
      return;
    }
    const make = (): Frame => answerTo(this.#parts, frame, STATUS.OK);
    answerSettled(this.#parts, frame, reply, { judge, make });
  }

  #sealPage(frame: Frame, list: readonly PartitionCfg[]): Frame {
    const view = this.#parts.views.current();
    // Of the head and of what it is copied into (S8); the partitions of the list say which is asked for.
    const family = ownerOf(view, frame)?.family;
    const copy = view.moves.get(frame.volume)?.family;
    const open: RowImage[] = [];
    let count = 0;
    for (const { policy, p } of list) {
      const rows = this.#parts.store.rowsOf(partitionKey(policy, p));
      const found = rows.filter((row) => {
        return (row.family === family || row.family === copy) && row.closed < row.verCount;
      });
      if (count > 0 && open.length + found.length > MAX_ROWS_PER_FRAME) break;
      open.push(...found.slice(0, MAX_ROWS_PER_FRAME));
      count += 1;
    }
    const made = answerTo(this.#parts, frame, STATUS.OK);
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
      reply(answerTo(this.#parts, frame, STATUS.BAD));
      return;
    }
    const judge: Judge = () => this.#judgeObjects(frame, names);
    const status = judge();
    if (status !== STATUS.OK) {
      reply(answerTo(this.#parts, frame, status));
      return;
    }
    answerSettled(this.#parts, frame, reply, {
      judge,
      make: () => {
        const rows: Row[] = [];
        for (const { generation, index } of names) {
          const row = this.#parts.store.row(generation, index);
          if (row !== undefined) rows.push(row);
        }
        const made = answerTo(this.#parts, frame, STATUS.OK);
        made.payload = encodeRows(rows);
        return made;
      },
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
      const fenced = judgeToken(ownerOf(view, frame), frame.token);
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
      reply(answerTo(this.#parts, frame, status));
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
      answerSettled(this.#parts, frame, reply, {
        judge,
        make: () => answerTo(this.#parts, frame, STATUS.OK),
      });
      return;
    }
    const key = objectKey(item.generation, item.index);
    const waits = this.#gates.wait(key, () => {
      this.#gates.enter(key);
      this.#equaliseOne(item, judge, frame, (error) => {
        this.#gates.leave(key);
        if (error === undefined) return this.#equaliseNext(frame, items, at + 1, judge, reply);
        const status = judge();
        reply(answerTo(this.#parts, frame, status === STATUS.OK ? STATUS.BUSY : status));
      });
    });
    if (!waits) reply(answerTo(this.#parts, frame, STATUS.BUSY));
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
    const own = versionOfRow(this.#parts.store.row(item.generation, item.index));
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
    const isValid = (): boolean => judge() === STATUS.OK;
    const order = { source, cfg: frame.cfg, row, isValid, isOwnSure: this.#isSure(item.partition) };
    this.#differences.copy(this.#fence, order, (error) => {
      if (error?.code === 'no-space') this.#parts.noRoom?.(partitionOfKey(item.partition));
      finish(error);
    });
  }

  #isSure(partition: number): boolean {
    const { policy, p } = partitionOfKey(partition);
    const config = this.#parts.views.current().partition(policy, p);
    return config.inSync.includes(this.#parts.self) && isSure(config, this.#parts.self);
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
    const fenced = judgeToken(ownerOf(view, frame), frame.token);
    if (fenced !== STATUS.OK) {
      reply(answerTo(this.#parts, frame, fenced));
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
    reply(answerTo(this.#parts, frame, STATUS.OK));
  }
}

/** Whose token counts: the volume's; of a request without one, the frozen layer's that it names, which is nobody's (S3). */
function ownerOf(
  view: ClusterView,
  { volume, token, generation }: Pick<Frame, 'volume' | 'token' | 'generation'>,
): Volume | undefined {
  const state = view.generations.get(generation)?.state ?? 'head';
  const isOfLayer = token === 0 && state !== 'head';
  return isOfLayer ? view.volumeOfGeneration(generation) : view.volumes.get(volume);
}
