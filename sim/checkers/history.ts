// C-lin, C-writer: the history of one volume, block by block (4 KiB), is that of a register with crash semantics. Every
// written block has a value of its own, so a check by zones (Gibbons and Korach) is linear after a sort. Zeroes have no
// value of their own: a read of zeroes only has to have some zeroing, or the beginning, that it can have seen.
// Times are places in the order of the run, not milliseconds: no two are equal.
// C-flush: when all copies lose their memory at once, what a writeback volume holds then is, per block, what was written
// before the last acknowledged flush began, or any of what came later; from there on it is a register again.

import { judgeRegister, type RegisterOp } from './register-search.ts';

/** One request, for one block. `value` 0 = zeroes. */
export interface BlockOp {
  readonly kind: 'write' | 'zero' | 'read';
  readonly block: number;
  /** Write: what it wrote. Read: what it saw, set when it ends. */
  value: number;
  readonly session: number;
  readonly start: number;
  /** Infinity = never answered, or answered with an error: it may have happened or not. */
  end: number;
  isOk: boolean;
  /** FUA: durable when acknowledged. */
  readonly isForced?: boolean;
  /** It happened before this place, or never: it was acknowledged, and its memory was lost then. */
  readonly lostAt?: number;
}

/** A flush on its way. */
export interface FlushOp {
  readonly start: number;
}

interface SessionNote {
  /** Place at which a later session's first request was done; writes issued after it must fail. */
  supersededAt: number;
}

interface Zone {
  readonly value: number;
  readonly left: number;
  readonly right: number;
}

/** All that guests of one volume did and saw. */
export class History {
  acknowledgedWrites = 0;
  unresolvedWrites = 0;
  reads = 0;
  flushes = 0;
  #place = 0;
  /** Where the last acknowledged flush began: what had ended before is durable. */
  #flushedUpTo = 0;
  readonly #sessions: SessionNote[] = [];
  readonly #blocks = new Map<number, BlockOp[]>();

  /** The number of a new session; it supersedes the ones before it once a request of it was done. */
  openSession(): number {
    this.#sessions.push({ supersededAt: Number.POSITIVE_INFINITY });
    return this.#sessions.length - 1;
  }

  /** Of the last guest: what is asked of the volume beside it, an operator's snapshot say, counts like its own requests. */
  get lastSession(): number {
    return this.#sessions.length - 1;
  }

  begin(op: Pick<BlockOp, 'kind' | 'block' | 'value' | 'session' | 'isForced'>): BlockOp {
    this.#place += 1;
    const started: BlockOp = {
      ...op,
      start: this.#place,
      end: Number.POSITIVE_INFINITY,
      isOk: false,
    };
    const ops = this.#blocks.get(op.block);
    if (ops === undefined) this.#blocks.set(op.block, [started]);
    else ops.push(started);
    return started;
  }

  end(op: BlockOp, isOk: boolean): void {
    this.#place += 1;
    op.isOk = isOk;
    if (op.kind !== 'read') {
      if (isOk) this.acknowledgedWrites += 1;
      else this.unresolvedWrites += 1;
    } else if (isOk) this.reads += 1;
    if (!isOk) return;
    op.end = this.#place;
    for (const older of this.#sessions.slice(0, op.session)) {
      older.supersededAt = Math.min(older.supersededAt, this.#place);
    }
  }

  beginFlush(): FlushOp {
    this.#place += 1;
    return { start: this.#place };
  }

  endFlush(op: FlushOp, isOk: boolean): void {
    this.#place += 1;
    if (!isOk) return;
    this.flushes += 1;
    this.#flushedUpTo = Math.max(this.#flushedUpTo, op.start);
  }

  /**
   * All copies of a writeback volume lost their memory now. Judges what was until here, then lets everything be undone
   * that no acknowledged flush covers, write by write (C-flush).
   */
  loseCache(): string | undefined {
    const wrong = this.check();
    if (wrong !== undefined) return wrong;
    this.#place += 1;
    for (const [block, ops] of this.#blocks) {
      const writes = ops.filter((op) => op.kind !== 'read');
      this.#blocks.set(
        block,
        writes.map((op) => {
          if (op.isOk && (op.isForced === true || op.end < this.#flushedUpTo)) return op;
          const lost = { ...op, isOk: false, end: Number.POSITIVE_INFINITY };
          return op.isOk ? { ...lost, lostAt: this.#place } : lost;
        }),
      );
    }
    return undefined;
  }

  /** All that was until now, to be judged by itself: what a loss undoes here stands there. */
  fork(): History {
    const fork = new History();
    fork.#place = this.#place;
    fork.#sessions.push(...this.#sessions.map((note) => ({ ...note })));
    for (const [block, ops] of this.#blocks) fork.#blocks.set(block, [...ops]);
    return fork;
  }

  /** What these blocks held is gone, and an operator said so: they begin anew. */
  forget(blocks: readonly number[]): void {
    for (const block of blocks) this.#blocks.delete(block);
  }

  /** Blocks that anybody ever wrote, sorted. */
  get blocks(): readonly number[] {
    return [...this.#blocks.keys()].sort((a, b) => a - b);
  }

  /** The present moment, in the order of all that happened. */
  get now(): number {
    return this.#place;
  }

  /** Blocks that a write or zero which was not answered by then, or began later, may have changed. */
  changedSince(moment: number): readonly number[] {
    const mayChange = (op: BlockOp): boolean => op.kind !== 'read' && op.end > moment;
    return this.blocks.filter((block) => (this.#blocks.get(block) ?? []).some(mayChange));
  }

  /** Whether this value was ever written to this block. */
  wasWritten(block: number, value: number): boolean {
    return (this.#blocks.get(block) ?? []).some((op) => op.kind === 'write' && op.value === value);
  }

  /** The first violation as a sentence, or undefined. */
  check(): string | undefined {
    for (const block of this.blocks) {
      const ops = this.#blocks.get(block) ?? [];
      const wrong = this.#checkFencing(ops) ?? this.#checkBlock(block, ops);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  /** What was asked of a block, in that order. */
  opsOf(block: number): readonly BlockOp[] {
    return this.#blocks.get(block) ?? [];
  }

  /**
   * The same question, block by block, to a search for an order, which is slow and shares none of the reasoning here.
   * A sentence when it finds none, or does not come to an end.
   */
  searchOrders(): string | undefined {
    for (const block of this.blocks) {
      const verdict = judgeRegister(this.#registerOps(this.#blocks.get(block) ?? []));
      if (verdict !== 'right') return `C-lin: block ${block}: the search for an order: ${verdict}`;
    }
    return undefined;
  }

  #registerOps(all: readonly BlockOp[]): readonly RegisterOp[] {
    return all.flatMap((op): readonly RegisterOp[] => {
      const { kind, value, start, isOk } = op;
      if (kind !== 'read') {
        const end = isOk ? op.end : this.#boundOf(op, all);
        return [{ kind: 'write', value, start, end, isSure: isOk }];
      }
      const counts = isOk && start < this.#supersededAt(op.session);
      return counts ? [{ kind, value, start, end: op.end, isSure: true }] : [];
    });
  }

  #checkFencing(ops: readonly BlockOp[]): string | undefined {
    const late = ops.find(
      (op) => op.kind !== 'read' && op.isOk && op.start > this.#supersededAt(op.session),
    );
    if (late === undefined) return undefined;
    return `C-writer: block ${late.block}: session ${late.session} had a write acknowledged that it issued after a later session's first request was done`;
  }

  #supersededAt(session: number): number {
    return this.#sessions[session]?.supersededAt ?? Number.POSITIVE_INFINITY;
  }

  #checkBlock(block: number, all: readonly BlockOp[]): string | undefined {
    // Reads of a superseded session may be stale (SIMULATOR.md, C-lin); those that failed saw nothing.
    const reads = all.filter(
      (op) => op.kind === 'read' && op.isOk && op.start < this.#supersededAt(op.session),
    );
    const writes = all.filter((op) => op.kind !== 'read');
    const settled = writes.flatMap((write) => {
      const zone = this.#zoneOf(write, reads, all);
      return zone === undefined ? [] : [{ write, zone }];
    });
    for (const read of reads) {
      const wrong =
        read.value === 0 ? zeroIsStale(read, writes, settled) : cameFromNowhere(read, writes);
      if (wrong !== undefined) return `C-lin: block ${block}: ${wrong}`;
    }
    const wrong = overlapOf(settled.map(({ zone }) => zone));
    return wrong === undefined ? undefined : `C-lin: block ${block}: ${wrong}`;
  }

  /** Undefined for a write that nobody saw and that was never acknowledged: it need not have happened. */
  #zoneOf(write: BlockOp, reads: readonly BlockOp[], all: readonly BlockOp[]): Zone | undefined {
    const seen = write.kind === 'write' ? reads.filter((read) => read.value === write.value) : [];
    if (!write.isOk && seen.length === 0) return undefined;
    let latestStart = write.start;
    let earliestEnd = write.isOk ? write.end : this.#boundOf(write, all);
    for (const read of seen) {
      latestStart = Math.max(latestStart, read.start);
      earliestEnd = Math.min(earliestEnd, read.end);
    }
    return { value: write.value, left: earliestEnd, right: latestStart };
  }

  /** An unresolved write of a session that ended cannot happen after a later session used the block (A11b). */
  #boundOf(write: BlockOp, all: readonly BlockOp[]): number {
    let bound = write.lostAt ?? Number.POSITIVE_INFINITY;
    for (const op of all)
      if (op.session > write.session && op.isOk) bound = Math.min(bound, op.end);
    return bound;
  }
}

function cameFromNowhere(read: BlockOp, writes: readonly BlockOp[]): string | undefined {
  const write = writes.find((op) => op.kind === 'write' && op.value === read.value);
  if (write === undefined) return `read value ${read.value}, which nobody wrote`;
  if (write.start > read.end) return `read value ${read.value} before it was written`;
  return undefined;
}

/** A write that happened, and between which places it was the content at least. */
interface Settled {
  readonly write: BlockOp;
  readonly zone: Zone;
}

/** Stale when a write that began after the last zeroing was acknowledged, or seen, before the read was asked. */
function zeroIsStale(
  read: BlockOp,
  writes: readonly BlockOp[],
  settled: readonly Settled[],
): string | undefined {
  const sources = writes
    .filter((op) => op.kind === 'zero' && op.start < read.end)
    .map((op) => op.end);
  const latest = Math.max(0, ...sources);
  const between = settled.find(
    ({ write, zone }) => write.kind === 'write' && write.start > latest && zone.left < read.start,
  );
  if (between === undefined) return undefined;
  const { value, isOk } = between.write;
  return `read zeroes, but the ${isOk ? 'acknowledged' : 'seen'} write of ${value} came after the last zeroing`;
}

/** A zone with left < right: the value was there all that time. The others only need one instant inside. */
function overlapOf(zones: readonly Zone[]): string | undefined {
  const forward = zones.filter((zone) => zone.left < zone.right).sort((a, b) => a.left - b.left);
  for (const [i, zone] of forward.entries()) {
    const next = forward[i + 1];
    if (next !== undefined && next.left < zone.right) {
      return `values ${zone.value} and ${next.value} were both the content for a time`;
    }
  }
  for (const point of zones.filter((zone) => zone.left > zone.right)) {
    const around = forward.find((zone) => zone.left < point.right && point.left < zone.right);
    if (around !== undefined) {
      return `${describe(point.value)} was written, yet ${describe(around.value)} was read after it as before`;
    }
  }
  return undefined;
}

function describe(value: number): string {
  return value === 0 ? 'zeroes' : `value ${value}`;
}
