// Sectors whose bytes nobody needs any more: their sums are dropped, and once a checkpoint has made that durable the
// space goes back to the file system (S2a). A sector passes three stages:
//
//   fresh     a record of the batch that is being applied dropped its sum
//   ready     the batch is applied: the next checkpoint covers the record
//   taken     that checkpoint runs; when the journal head is synced, no replay sees the record or anything before it
//
// A write takes its sectors out again at every stage, and what is punched is judged by the page of that moment: a
// sector with a sum is never touched. Holes are a wish: where the file system has none, nothing is lost but the space.

import { SECTOR_BYTES, SECTORS_PER_OBJECT } from '../core/units.ts';
import type { Clock, DiskFile, Trace } from '../ports/ports.ts';
import { DATA_OFFSET } from './layout.ts';
import type { ObjectCache } from './object-cache.ts';
import type { ObjectState } from './object-state.ts';

/** Holes made in one turn of the event loop: each is a system call of some 10 us. */
export const MAX_HOLES_PER_TURN = 64;

/** One bit per sector. */
type Sectors = Uint32Array;
type Stage = Map<ObjectState, Sectors>;

/** A run of sectors. */
interface Run {
  readonly state: ObjectState;
  readonly first: number;
  readonly count: number;
}

/** What may be punched, by stage. Bounded by the dirty objects: each one here has a page that no slot holds yet. */
export class HoleLedger {
  #fresh: Stage = new Map();
  #ready: Stage = new Map();
  #taken: Stage = new Map();

  /** True when a checkpoint would give space back. */
  get isWaiting(): boolean {
    return this.#ready.size > 0;
  }

  /** The sums of this range were dropped. */
  drop(state: ObjectState, offset: number, count: number): void {
    if (!state.hasFile) return;
    let sectors = this.#fresh.get(state);
    if (sectors === undefined) {
      sectors = new Uint32Array(SECTORS_PER_OBJECT / 32);
      this.#fresh.set(state, sectors);
    }
    for (const sector of sectorsOf(offset, count)) sectors[sector >>> 5]! |= 1 << (sector & 31);
  }

  /** This range has bytes again. */
  fill(state: ObjectState, offset: number, count: number): void {
    for (const stage of [this.#fresh, this.#ready, this.#taken]) {
      const sectors = stage.size === 0 ? undefined : stage.get(state);
      if (sectors === undefined) continue;
      for (const sector of sectorsOf(offset, count))
        sectors[sector >>> 5]! &= ~(1 << (sector & 31));
    }
  }

  /** The file is gone, or another one. */
  forget(state: ObjectState): void {
    for (const stage of [this.#fresh, this.#ready, this.#taken]) stage.delete(state);
  }

  /** The batch is applied. */
  settle(): void {
    if (this.#fresh.size === 0) return;
    if (this.#ready.size === 0) [this.#fresh, this.#ready] = [this.#ready, this.#fresh];
    for (const [state, sectors] of this.#fresh) {
      const others = this.#ready.get(state);
      if (others === undefined) this.#ready.set(state, sectors);
      else for (let i = 0; i < sectors.length; i += 1) others[i]! |= sectors[i] as number;
    }
    this.#fresh.clear();
  }

  /** A checkpoint begins: it covers what is ready. */
  take(): void {
    this.#taken = this.#ready;
    this.#ready = new Map();
  }

  /** The checkpoint is durable: the runs to punch, which are forgotten one by one. */
  *runs(): Generator<Run> {
    for (const [state, sectors] of this.#taken) {
      let first = 0;
      for (; first < SECTORS_PER_OBJECT; first += 1) {
        if (!has(sectors, first)) continue;
        let end = first;
        for (; end < SECTORS_PER_OBJECT && has(sectors, end); end += 1);
        yield { state, first, count: end - first };
        first = end;
      }
      this.#taken.delete(state);
    }
  }
}

/** Gives the space of taken runs back, a few at a time; `done` in a later turn when there were many. */
export function punchHoles(
  parts: {
    readonly clock: Clock;
    readonly trace: Trace;
    readonly cache: ObjectCache;
  },
  ledger: HoleLedger,
  done: () => void,
): void {
  const runs = ledger.runs();
  const turn = (): void => {
    for (let made = 0; made < MAX_HOLES_PER_TURN; ) {
      const step = runs.next();
      if (step.done === true) {
        done();
        return;
      }
      made += punchRun(parts, step.value);
    }
    parts.clock.soon(turn);
  };
  turn();
}

/** Punches the parts of a run that have no sum now, and that nothing accepted is about to fill. Returns the calls. */
function punchRun(parts: { readonly trace: Trace; readonly cache: ObjectCache }, run: Run): number {
  const { cache, trace } = parts;
  const { state } = run;
  const file = readyFile(cache, state);
  if (file === undefined) return 1;
  let calls = 1;
  const end = run.first + run.count;
  for (let sector = run.first; sector < end; sector += 1) {
    const first = sector;
    while (sector < end && isFree(state, sector)) sector += 1;
    if (sector === first) continue;
    const bytes = (sector - first) * SECTOR_BYTES;
    calls += 1;
    if (file.punch(DATA_OFFSET + first * SECTOR_BYTES, bytes)) trace.count('store.punched', bytes);
  }
  return calls;
}

/** The file of an object whose sums are known; undefined where there is nothing to give back, or no way to know. */
function readyFile(cache: ObjectCache, state: ObjectState): DiskFile | undefined {
  if (state.isDead || !state.hasFile) return undefined;
  try {
    return cache.loadPage(state) ? cache.file(state) : undefined;
  } catch {
    // A disk that can not be read says so to those who ask it for data.
    return undefined;
  }
}

function isFree(state: ObjectState, sector: number): boolean {
  if (state.page?.[sector] !== 0) return false;
  const at = sector * SECTOR_BYTES;
  return !state.pending.some(({ offset, count }) => offset <= at && at < offset + count);
}

function has(sectors: Sectors, sector: number): boolean {
  return ((sectors[sector >>> 5] as number) & (1 << (sector & 31))) !== 0;
}

function* sectorsOf(offset: number, count: number): Generator<number> {
  const end = (offset + count) / SECTOR_BYTES;
  for (let sector = offset / SECTOR_BYTES; sector < end; sector += 1) yield sector;
}
