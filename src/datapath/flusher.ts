// What a writeback session has acknowledged and not yet made durable (R5), and the SYNC rounds that make it so. One round
// at a time: it takes all partitions that are unsynced when it starts, and ends when every member of W(p), at the cfg
// known then, has synced each of them under that cfg, after any touch that this cfg demands. Flushes that come meanwhile
// share the next round. A session starts with every partition of the volume counted as unsynced: it does not know what
// the one before it left in caches (3.1).

import { backoffMs } from '../core/backoff.ts';
import type { ConfigVersion, MapIndex, NodeId } from '../core/ids.ts';
import { writeSetOf } from '../core/partition.ts';
import { partitionsOfVolume } from '../core/volume-move.ts';
import type { TimerHandle } from '../ports/ports.ts';
import { type Frame, OP, STATUS } from '../wire/frame.ts';
import { encodePartitionCfgs, type PartitionCfg } from '../wire/payloads.ts';
import { configOf, type Parts, requestFrame } from './context.ts';
import type { PathCell } from './path-cell.ts';
import type { Done } from './volume-session.ts';

/** Partitions in one SYNC. */
export const SYNC_BATCH = 4096;
export const SYNC_DEADLINE_MS = 5000;
/** Pause after a member did not do its part; doubles up to the maximum. */
export const SYNC_RETRY_MIN_MS = 10;
export const SYNC_RETRY_MAX_MS = 1000;
/** Objects with acknowledged, unsynced writes; beyond, writes wait for a round. */
export const MAX_UNSYNCED_OBJECTS = 8192;
/** A guest that never flushes is flushed after this: open sets and what a power cut takes stay small. */
export const BACKGROUND_SYNC_MS = 2000;

export interface FlusherHooks {
  readonly isTouched: (p: number) => boolean;
  /** Calls `then` when the partition is touched or the session lost. */
  readonly whenTouched: (p: number, then: () => void) => void;
  /** All of W has made the object durable up to `count`: it may be closed (R6). */
  readonly onSynced: (index: number, p: number, count: number) => void;
}

/** Acknowledged count by object index. */
type Objects = Map<number, number>;

/** One partition in a round. */
interface Item {
  readonly p: number;
  readonly objects: Objects;
  cfg: ConfigVersion;
  /** Who has synced it under `cfg`. */
  readonly answers: Set<NodeId>;
  isWaiting: boolean;
}

export class Flusher {
  readonly #parts: Parts;
  readonly #open: PathCell;
  readonly #hooks: FlusherHooks;
  readonly #unsynced = new Map<number, Objects>();
  #objects = 0;
  #round: Map<number, Item> | undefined;
  /** Flushes of the round, and of the one after it. Bounded by the session's requests. */
  #asked: Done[] = [];
  #next: Done[] = [];
  /** Members with a SYNC in flight, or in their pause. */
  readonly #busy = new Set<NodeId>();
  readonly #failures = new Map<NodeId, number>();
  #timer: TimerHandle | undefined;
  #isPumpDue = false;

  constructor(parts: Parts, open: PathCell, hooks: FlusherHooks) {
    this.#parts = parts;
    this.#open = open;
    this.#hooks = hooks;
    const view = parts.views.current();
    for (const p of partitionsOfVolume(view, open.volume)) this.#unsynced.set(p, new Map());
  }

  /** What a path before this one, of the same session, acknowledged and did not sync: this one owes it (R5, R8). */
  inherit(former: Flusher): void {
    for (const p of [...this.#unsynced.keys()]) {
      for (const [index, count] of former.acknowledgedIn(p)) this.note(index, p, count);
    }
  }

  /** True while too many objects are unsynced for more writes. */
  get isFull(): boolean {
    return this.#objects >= MAX_UNSYNCED_OBJECTS;
  }

  /** Writes of the object up to `count` are acknowledged. */
  note(index: number, p: number, count: number): void {
    const objects = this.#unsynced.get(p) ?? new Map<number, number>();
    this.#unsynced.set(p, objects);
    if (!objects.has(index)) this.#objects += 1;
    objects.set(index, count);
    this.#timer ??= this.#parts.clock.setTimer(BACKGROUND_SYNC_MS, () => {
      this.#timer = undefined;
      this.#begin();
    });
  }

  /** True while the object has acknowledged writes that are not synced: its pipe must not be forgotten. */
  owes(index: number, p: number): boolean {
    return (
      this.#unsynced.get(p)?.has(index) === true || this.#itemOf(p)?.objects.has(index) === true
    );
  }

  /** What this session has acknowledged in p and not synced: a touch must find at least this (R8). */
  acknowledgedIn(p: number): ReadonlyMap<number, number> {
    const before = this.#itemOf(p)?.objects;
    const now = this.#unsynced.get(p);
    if (before === undefined || before.size === 0) return now ?? new Map();
    return new Map([...before, ...(now ?? [])]);
  }

  /** Makes all durable that was acknowledged before this call. */
  flush(done: Done): void {
    if (!this.#open.isHeld) {
      done(this.#open.error);
      return;
    }
    this.#parts.trace.count('flush.asked');
    if (this.#unsynced.size === 0 && this.#round === undefined) {
      done(undefined);
      return;
    }
    this.#next.push(done);
    this.#begin();
  }

  /** The same, but not waited for longer than this; `then` in any case. */
  flushWithin(ms: number, then: () => void): void {
    if (!this.#open.isHeld) {
      then();
      return;
    }
    let isOver = false;
    const once = (): void => {
      if (isOver) return;
      isOver = true;
      this.#parts.clock.clearTimer(timer);
      then();
    };
    const timer = this.#parts.clock.setTimer(ms, once);
    this.flush(once);
  }

  viewChanged(): void {
    this.#pump();
  }

  sessionLost(): void {
    if (this.#timer !== undefined) this.#parts.clock.clearTimer(this.#timer);
    this.#timer = undefined;
    this.#unsynced.clear();
    this.#objects = 0;
    this.#round = undefined;
    const flushes = [...this.#asked, ...this.#next];
    this.#asked = [];
    this.#next = [];
    for (const done of flushes) done(this.#open.error);
  }

  #itemOf(p: number): Item | undefined {
    return this.#round?.get(p);
  }

  // ------------------------------------------------------------------------------------------ a round

  #begin(): void {
    if (this.#round !== undefined || !this.#open.isHeld) return;
    if (this.#timer !== undefined) this.#parts.clock.clearTimer(this.#timer);
    this.#timer = undefined;
    const round = new Map<number, Item>();
    for (const [p, objects] of this.#unsynced) {
      const item = { p, objects, cfg: 0 as ConfigVersion, answers: new Set<NodeId>() };
      round.set(p, { ...item, isWaiting: false });
    }
    this.#unsynced.clear();
    this.#round = round;
    this.#asked = this.#next;
    this.#next = [];
    this.#parts.trace.count('flush.rounds');
    this.#pump();
  }

  /** Sends what is missing to whom it is missing from; ends partitions that are done, and the round with the last. */
  #pump(): void {
    const round = this.#round;
    if (round === undefined || !this.#open.isHeld) return;
    const view = this.#parts.views.current();
    const lists = new Map<NodeId, PartitionCfg[]>();
    const { volume } = this.#open;
    for (const item of [...round.values()]) {
      if (!this.#isTouched(item)) continue;
      const config = configOf(view, volume, item.p);
      if (item.cfg !== config.cfg) {
        item.cfg = config.cfg;
        item.answers.clear();
      }
      const missing = writeSetOf(config).filter((node) => !item.answers.has(node));
      if (missing.length === 0) this.#finish(item);
      for (const node of missing) {
        const list = lists.get(node) ?? [];
        if (this.#busy.has(node) || list.length >= SYNC_BATCH) continue;
        list.push({ policy: volume.policy, p: item.p, cfg: item.cfg });
        lists.set(node, list);
      }
    }
    if (round.size === 0) {
      this.#over();
      return;
    }
    for (const [node, list] of lists) this.#send(node, list);
  }

  #isTouched(item: Item): boolean {
    if (this.#hooks.isTouched(item.p)) return true;
    if (item.isWaiting) return false;
    item.isWaiting = true;
    this.#hooks.whenTouched(item.p, () => {
      item.isWaiting = false;
      // Many partitions are touched at once.
      this.#pumpSoon();
    });
    return false;
  }

  #pumpSoon(): void {
    if (this.#isPumpDue) return;
    this.#isPumpDue = true;
    this.#parts.clock.soon(() => {
      this.#isPumpDue = false;
      this.#pump();
    });
  }

  #send(node: NodeId, list: readonly PartitionCfg[]): void {
    const frame = requestFrame(this.#parts.views.current(), OP.SYNC);
    frame.volume = this.#open.volume.id;
    frame.token = this.#open.token;
    frame.payload = encodePartitionCfgs(list);
    this.#busy.add(node);
    this.#parts.ask(node, frame, SYNC_DEADLINE_MS, (reply) => {
      if (reply?.status !== STATUS.OK) return this.#failed(node, reply);
      this.#busy.delete(node);
      this.#failures.delete(node);
      for (const { p, cfg } of list) {
        const item = this.#itemOf(p);
        if (item?.cfg === cfg) item.answers.add(node);
      }
      this.#pumpSoon();
    });
  }

  #failed(node: NodeId, reply: Frame | undefined): void {
    if (reply?.status === STATUS.FENCED) {
      this.#busy.delete(node);
      this.#open.fenced();
      return;
    }
    if (reply?.status === STATUS.STALE || reply?.status === STATUS.NOT_MEMBER) {
      this.#parts.pull(reply.mapIndex as MapIndex, node);
    }
    this.#parts.trace.count('flush.retried');
    const failures = this.#failures.get(node) ?? 0;
    this.#failures.set(node, failures + 1);
    const pauseMs = backoffMs(failures, SYNC_RETRY_MIN_MS, SYNC_RETRY_MAX_MS);
    this.#parts.clock.setTimer(pauseMs, () => {
      this.#busy.delete(node);
      this.#pump();
    });
  }

  #finish(item: Item): void {
    this.#round?.delete(item.p);
    this.#objects -= item.objects.size;
    for (const [index, count] of item.objects) this.#hooks.onSynced(index, item.p, count);
  }

  #over(): void {
    this.#round = undefined;
    const flushes = this.#asked;
    this.#asked = [];
    for (const done of flushes) done(undefined);
    if (this.#next.length > 0) this.#begin();
  }
}
