// First touch (4.5): before a session's first I/O in a partition all of I+J is sealed under its token, and what any of
// them lists as open is made equal: the longest prefix among I wins, joiners are cut back to it, too (Trap 2). After a
// takeover the SEAL travels on an ENSURE, so its answers are the barrier as well (F3). A change of cfg starts the
// partition again. A touched partition stays touched for the life of the session; but of a writeback volume it is touched
// again when cfg rose because a member started anew, which may lack what it confirmed (R8). A touch that finds less than
// the session acknowledged ends the session. Where too few live members are left for it, reads go on with less: see
// read-only-touch.ts.
//
//   seal ──all of I+J──▶ versions of what is open ──▶ equalise ──▶ touched
//    ▲                                                   │
//    └───────────── new cfg, or any failure ─────────────┘

import { backoffMs } from '../core/backoff.ts';
import { OperatingError } from '../core/errors.ts';
import { type NodeId, partitionKey } from '../core/ids.ts';
import { partitionOf, writeSetOf } from '../core/partition.ts';
import { divideUp, OBJECT_BYTES } from '../core/units.ts';
import type { ClusterView } from '../core/view.ts';
import { OP } from '../wire/frame.ts';
import { encodePartitionCfgs, type PartitionCfg, type RowImage } from '../wire/payloads.ts';
import { configOf, lossOfPart, type Parts } from './context.ts';
import type { Table } from './equalise-plan.ts';
import { Equaliser, type TouchHooks } from './equaliser.ts';
import type { PathCell } from './path-cell.ts';
import { ReadOnlyTouches } from './read-only-touch.ts';
import { stackKey, stackOf } from './stack.ts';
import {
  nextToSeal,
  rowsOfReply,
  SEAL_DEADLINE_MS,
  type Touch,
  touchFrame,
} from './touch-frames.ts';

/** Partitions in one SEAL. */
export const SEAL_BATCH = 1024;
/** Pause after a member did not do its part; doubles up to the maximum. */
export const TOUCH_RETRY_MIN_MS = 10;
export const TOUCH_RETRY_MAX_MS = 1000;

export class Reconciler {
  readonly #parts: Parts;
  readonly #open: PathCell;
  readonly #equaliser: Equaliser;
  /** 1 = touched, by hash part; and under which cfg. */
  readonly #touched: Uint8Array;
  readonly #touchedCfg: Uint32Array;
  /** Map index of the last look for members that started anew, and the members that it saw. */
  #lookedAt: number;
  #members: ClusterView['members'];
  readonly #touches = new Map<number, Touch>();
  readonly #readOnly: ReadOnlyTouches;
  /** Members with a SEAL of this session in flight. */
  readonly #sealing = new Set<NodeId>();
  #isScheduled = false;

  constructor(parts: Parts, open: PathCell, hooks: TouchHooks) {
    this.#parts = parts;
    this.#open = open;
    this.#equaliser = new Equaliser(parts, open, {
      ...hooks,
      isCurrent: (touch, round) => this.#isCurrent(touch, round),
      onFailed: (touch) => this.#pause(touch),
      onDone: (touch) => this.#finish(touch),
    });
    this.#readOnly = new ReadOnlyTouches(parts, open, (p) => this.#granted(p));
    const view = parts.views.current();
    this.#touched = new Uint8Array(view.partitions);
    this.#touchedCfg = new Uint32Array(view.partitions);
    this.#lookedAt = view.index;
    this.#members = view.members;
  }

  isTouched(p: number): boolean {
    if (this.#touched[p] !== 1) return false;
    if (this.#open.volume.durability === 'durable') return true;
    // Who asks may be told of a new view before this session is.
    this.#lookForDoubt(this.#parts.views.current());
    return this.#touched[p] === 1;
  }

  /** Calls `fn` once p is touched, or the session lost: look which. */
  whenTouched(p: number, fn: () => void): void {
    if (!this.#open.isHeld || this.isTouched(p)) {
      fn();
      return;
    }
    this.#begin(p).waiters.push(fn);
    this.#schedule();
  }

  /** Calls `fn` once this object may be read, or the session is lost: look which. */
  whenReadable(p: number, index: number, fn: () => void): void {
    const isReadable = this.isTouched(p) || this.#readOnly.isReadable(p, index);
    if (!this.#open.isHeld || isReadable || this.#isLost(p)) {
      fn();
      return;
    }
    this.#begin(p).readers.push({ index, fn });
    this.#readOnly.want(p);
    this.#schedule();
  }

  /** Nobody will ever answer: who waits is told so by whoever it waits through. */
  #isLost(p: number): boolean {
    return lossOfPart(this.#parts.views.current(), this.#open.volume, p) !== undefined;
  }

  /** Whom to read from while p is not touched; undefined = whoever answers reads. */
  readersOf(p: number): readonly NodeId[] | undefined {
    return this.isTouched(p) ? undefined : this.#readOnly.readersOf(p);
  }

  #granted(p: number): void {
    const readers = this.#touches.get(p)?.readers ?? [];
    for (const { index, fn } of readers.splice(0)) this.whenReadable(p, index, fn);
  }

  /** Begins to touch every partition that the volume has objects in. */
  touchAll(): void {
    const { volume } = this.#open;
    const { partitions } = this.#parts.views.current();
    const objects = divideUp(volume.sizeBytes, OBJECT_BYTES);
    for (let index = 0, found = 0; index < objects && found < partitions; index += 1) {
      const p = partitionOf(volume.family, index, partitions);
      if (this.isTouched(p) || this.#touches.has(p)) continue;
      this.#begin(p);
      found += 1;
    }
    this.#schedule();
  }

  viewChanged(view: ClusterView): void {
    if (this.#open.volume.durability === 'writeback') this.#lookForDoubt(view);
    for (const touch of this.#touches.values()) {
      if (configOf(view, this.#open.volume, touch.p).cfg !== touch.config.cfg) this.#restart(touch);
    }
    for (const { p, readers } of this.#touches.values()) {
      if (readers.length > 0 && this.#isLost(p)) for (const { fn } of readers.splice(0)) fn();
    }
    this.#readOnly.viewChanged();
  }

  sessionLost(): void {
    const touches = [...this.#touches.values()];
    this.#touches.clear();
    for (const touch of touches) wake(touch);
  }

  /**
   * R8: cfg rose where a member of I is doubtful, or was between two views that this node saw: what it confirmed may be
   * gone. The partition is touched again under the new cfg, which refuses all that is on its way under the old one.
   */
  #lookForDoubt(view: ClusterView): void {
    if (view.index === this.#lookedAt) return;
    this.#lookedAt = view.index;
    const before = this.#members;
    this.#members = view.members;
    const isNew = (node: NodeId): boolean =>
      view.members.get(node)?.incarnation !== before.get(node)?.incarnation;
    for (let p = 0; p < this.#touched.length; p += 1) {
      if (this.#touched[p] !== 1) continue;
      const { cfg, inSync, doubtful } = configOf(view, this.#open.volume, p);
      if (cfg === this.#touchedCfg[p]) continue;
      const isAnew = inSync.some(isNew);
      if (doubtful.length === 0 && !isAnew) {
        this.#touchedCfg[p] = cfg;
        continue;
      }
      this.#touched[p] = 0;
      this.#begin(p);
      this.#schedule();
    }
  }

  #begin(p: number): Touch {
    const found = this.#touches.get(p);
    if (found !== undefined) return found;
    const touch: Touch = {
      p,
      config: configOf(this.#parts.views.current(), this.#open.volume, p),
      round: 0,
      failures: 0,
      phase: 'sealing',
      tables: new Map(),
      waiters: [],
      readers: [],
    };
    this.#touches.set(p, touch);
    return touch;
  }

  #restart(touch: Touch): void {
    touch.round += 1;
    touch.config = configOf(this.#parts.views.current(), this.#open.volume, touch.p);
    touch.phase = 'sealing';
    touch.tables.clear();
    this.#schedule();
  }

  /** A member refused or is silent: starts the partition again after a pause, or at the next cfg. */
  #pause(touch: Touch): void {
    if (touch.phase === 'pausing') return;
    touch.round += 1;
    touch.phase = 'pausing';
    const { round } = touch;
    const pauseMs = backoffMs(touch.failures, TOUCH_RETRY_MIN_MS, TOUCH_RETRY_MAX_MS);
    touch.failures += 1;
    this.#parts.clock.setTimer(pauseMs, () => {
      if (this.#isCurrent(touch, round)) this.#restart(touch);
    });
  }

  #isCurrent(touch: Touch, round: number): boolean {
    return this.#open.isHeld && this.#touches.get(touch.p) === touch && touch.round === round;
  }

  // ------------------------------------------------------------------------------------------ step 1: seal

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#parts.clock.soon(() => {
      this.#isScheduled = false;
      if (this.#open.isHeld) this.#sealAll();
    });
  }

  /** One SEAL per member for all partitions that still miss its answer; waited-for ones first. */
  #sealAll(): void {
    const batches = new Map<NodeId, Touch[]>();
    const touches = [...this.#touches.values()].filter((touch) => touch.phase === 'sealing');
    const first = touches.filter((touch) => touch.waiters.length + touch.readers.length > 0);
    const rest = touches.filter((touch) => touch.waiters.length + touch.readers.length === 0);
    for (const touch of [...first, ...rest]) {
      for (const node of nextToSeal(touch)) {
        if (this.#sealing.has(node)) continue;
        const batch = batches.get(node) ?? [];
        if (batch.length < SEAL_BATCH) batch.push(touch);
        batches.set(node, batch);
      }
    }
    for (const [node, batch] of batches) this.#seal(node, batch);
  }

  #seal(node: NodeId, batch: readonly Touch[]): void {
    const { volume, tookOver } = this.#open;
    const asked = batch.map((touch) => ({ touch, round: touch.round }));
    const list: PartitionCfg[] = batch.map(({ p, config }) => {
      return { policy: volume.policy, p, cfg: config.cfg };
    });
    const frame = touchFrame(this.#parts, this.#open, tookOver ? OP.ENSURE : OP.SEAL);
    frame.payload = encodePartitionCfgs(list);
    this.#sealing.add(node);
    this.#parts.ask(node, frame, SEAL_DEADLINE_MS, (reply) => {
      this.#sealing.delete(node);
      if (!this.#open.isHeld) return;
      const current = asked.filter(({ touch, round }) => this.#isCurrent(touch, round));
      const rows = rowsOfReply(this.#parts, this.#open, node, reply);
      if (rows === undefined) {
        for (const { touch } of current) this.#pause(touch);
      } else {
        // The first `count` partitions of the list were answered; the rest is the next page.
        const answered = new Set(batch.slice(0, reply?.count ?? 0));
        this.#sealed(
          node,
          current.map(({ touch }) => touch).filter((touch) => answered.has(touch)),
          rows,
        );
      }
      this.#schedule();
    });
  }

  #sealed(node: NodeId, touches: readonly Touch[], rows: readonly RowImage[]): void {
    const { volume } = this.#open;
    const stack = stackOf(this.#parts.views.current(), volume.head);
    const byPartition = new Map<number, Table>();
    for (const row of rows) {
      const table: Table = byPartition.get(row.partition) ?? new Map();
      if (stack.has(row.generation)) table.set(stackKey(row.generation, row.index), row);
      byPartition.set(row.partition, table);
    }
    for (const touch of touches) {
      const key = partitionKey(volume.policy, touch.p);
      touch.tables.set(node, byPartition.get(key) ?? new Map());
      const members = writeSetOf(touch.config);
      if (!members.every((member) => touch.tables.has(member))) continue;
      if (this.#readOnly.isBroken(touch.p, touch.config)) {
        this.#readsAreVoid(touch);
        return;
      }
      this.#equaliser.compare(touch);
    }
  }

  /** What the guest read came from members of which none can tell any more what was closed then. It must hear of it. */
  #readsAreVoid(touch: Touch): void {
    const { name, id } = this.#open.volume;
    this.#parts.trace.warn('read-only.void', { volume: id, p: touch.p });
    const text = `nobody is left who knows which content of ${name} was read while copies were missing`;
    const remedy = 'check its file systems, then attach it again';
    this.#open.giveUp(new OperatingError('diverged', text, { remedy }));
  }

  #finish(touch: Touch): void {
    this.#touched[touch.p] = 1;
    this.#touchedCfg[touch.p] = touch.config.cfg;
    this.#touches.delete(touch.p);
    this.#readOnly.touched(touch.p);
    wake(touch);
  }
}

function wake(touch: Touch): void {
  for (const fn of touch.waiters.splice(0)) fn();
  for (const { fn } of touch.readers.splice(0)) fn();
}
