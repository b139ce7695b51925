// The judge of the judge. What guests saw of one block is that of a register when its requests have some order in which
// each read sees what was written last, and each request has its moment between its asking and its answer. history.ts
// decides that by zones, for values are unique; here such an order is searched (Wing and Gong, with Lowe's memory of what
// was tried). Slow, and nothing of the other's reasoning is in it. Times are places in the order of the run: no two are
// equal.

/** One request for the block. Reads that failed, or may be stale, are left out by the caller. */
export interface RegisterOp {
  readonly kind: 'write' | 'read';
  /** What it wrote or saw; 0 = zeroes, and what the block holds first. */
  readonly value: number;
  readonly start: number;
  /** Its moment is not later; Infinity = no bound. */
  readonly end: number;
  /** False: it was never acknowledged, it may have happened or not. */
  readonly isSure: boolean;
}

export type RegisterVerdict = 'right' | 'wrong' | 'undecided';

/** Steps of one block's search; more are undecided, and that is not a pass. */
export const MAX_REGISTER_STEPS = 200_000;

/** Whether some order explains all of them. */
export function judgeRegister(ops: readonly RegisterOp[]): RegisterVerdict {
  const seen = new Set(ops.filter((op) => op.kind === 'read').map((op) => op.value));
  // An unsure write that nobody saw need not have happened: every order that has it is one without it, too.
  const some = ops.filter((op) => op.isSure || seen.has(op.value));
  return new Search([...some].sort((a, b) => a.start - b.start)).run();
}

class Search {
  readonly #ops: readonly RegisterOp[];
  readonly #isDone: boolean[];
  readonly #tried = new Set<string>();
  #steps = 0;

  constructor(ops: readonly RegisterOp[]) {
    this.#ops = ops;
    this.#isDone = ops.map(() => false);
  }

  run(): RegisterVerdict {
    if (this.#explains(0, 0)) return 'right';
    return this.#steps > MAX_REGISTER_STEPS ? 'undecided' : 'wrong';
  }

  /**
   * Whether what is not done can follow.
   * @param latest the highest start of what is done: no moment that follows is before it
   */
  #explains(value: number, latest: number): boolean {
    const taken: number[] = [];
    const since = this.#takeReads(value, latest, taken);
    const limit = this.#limit();
    if (limit === Number.POSITIVE_INFINITY && !this.#hasSure()) return true;
    const isFound = this.#isNew(value) && this.#triesNext(value, since, limit);
    if (!isFound) for (const at of taken) this.#isDone[at] = false;
    return isFound;
  }

  /**
   * Reads that see this value and may come now: they change nothing, so now is as good as later; but for what might have
   * come before them and may not come behind them. Returns `latest`.
   */
  #takeReads(value: number, latest: number, taken: number[]): number {
    let since = latest;
    const bound = this.#boundOfUnsure(latest);
    for (let at = 0, limit = this.#limit(); at < this.#ops.length; at += 1) {
      const op = this.#ops[at] as RegisterOp;
      if (op.start > limit || op.start > bound) break;
      if (this.#isDone[at] || op.kind !== 'read' || op.value !== value) continue;
      this.#isDone[at] = true;
      taken.push(at);
      since = Math.max(since, op.start);
      // One that ended first is done: what begins later may come now.
      limit = this.#limit();
      at = -1;
    }
    return since;
  }

  #triesNext(value: number, latest: number, limit: number): boolean {
    for (const [at, op] of this.#ops.entries()) {
      if (op.start > limit) break;
      if (this.#isDone[at] || (!op.isSure && op.end < latest)) continue;
      // Zeroes on zeroes: unsure ones change nothing.
      if (op.kind === 'read' ? op.value !== value : !op.isSure && op.value === value) continue;
      this.#isDone[at] = true;
      if (this.#explains(op.value, Math.max(latest, op.start))) return true;
      this.#isDone[at] = false;
    }
    return false;
  }

  /** The first end of what surely happened and is not done: what begins behind it can not come before it. */
  #limit(): number {
    let limit = Number.POSITIVE_INFINITY;
    for (const [at, { isSure, end }] of this.#ops.entries()) {
      if (isSure && !this.#isDone[at] && end < limit) limit = end;
    }
    return limit;
  }

  /** The earliest bound of what may have happened and still can. */
  #boundOfUnsure(latest: number): number {
    let bound = Number.POSITIVE_INFINITY;
    for (const [at, { isSure, end }] of this.#ops.entries()) {
      if (!isSure && !this.#isDone[at] && end >= latest && end < bound) bound = end;
    }
    return bound;
  }

  #hasSure(): boolean {
    return this.#ops.some(({ isSure }, at) => isSure && !this.#isDone[at]);
  }

  /** Not tried before, and there are steps left. */
  #isNew(value: number): boolean {
    this.#steps += 1;
    if (this.#steps > MAX_REGISTER_STEPS) return false;
    const first = this.#isDone.indexOf(false);
    const ahead = this.#isDone
      .flatMap((isDone, at) => (isDone && at > first ? [at] : []))
      .join(',');
    const key = `${value} ${first} ${ahead}`;
    if (this.#tried.has(key)) return false;
    this.#tried.add(key);
    return true;
  }
}
