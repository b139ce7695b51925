// What a doubtful member does to be sure again (R8): for each partition it asks one sure member of I that is up, else all
// of I, for their rows, and extends its own objects to the longest version it hears of. It cuts back only what it has
// beyond a sure member from a holder whose token is not the last one: nobody will ever acknowledge that, and a read-only
// touch may have read past it (4.5, I12). What it fetched is void if cfg changed, or if it answered a SEAL of the
// partition, since it asked: then that partition is for another round. What is settled here is told to the log by
// `isrSettle`; what of I is down then is not waited for here.

import type { OperatingError } from '../core/errors.ts';
import { type NodeId, partitionKey } from '../core/ids.ts';
import { isSure } from '../core/partition.ts';
import { isNeverAcknowledged } from '../core/read-only.ts';
import { settlingSources } from '../core/recovery-work.ts';
import { FLAG, type Frame, OP, STATUS } from '../wire/frame.ts';
import {
  decodeRows,
  encodePartitionCfgs,
  type PartitionCfg,
  type RowImage,
} from '../wire/payloads.ts';
import { type Parts, requestFrame } from './context.ts';
import type { Differences } from './differences.ts';
import { type CopyFence, type ObjectGates, objectKey } from './object-gate.ts';
import { imageOf, versionOfRow } from './peer-answer.ts';

/** Partitions settled at once. */
export const SETTLE_WORKERS = 8;
const SETTLE_LIST_DEADLINE_MS = 5000;

interface Settling extends PartitionCfg {
  readonly key: number;
  readonly sources: readonly NodeId[];
  /** Longest version heard of, by object, and who has it. */
  readonly longest: Map<string, { readonly row: RowImage; readonly source: NodeId }>;
}

/** One object to be made equal to the source's. */
interface Due {
  readonly row: RowImage;
  readonly source: NodeId;
  /** False when it is not needed any more. */
  readonly isDue: () => boolean;
}

type Done = (error: OperatingError | undefined) => void;

export class Settler {
  readonly #parts: Parts;
  readonly #gates: ObjectGates;
  readonly #fence: CopyFence;
  readonly #differences: Differences;

  constructor(
    parts: Parts,
    shared: { gates: ObjectGates; fence: CopyFence; differences: Differences },
  ) {
    this.#parts = parts;
    this.#gates = shared.gates;
    this.#fence = shared.fence;
    this.#differences = shared.differences;
  }

  /** Settles these partitions; resolves with those that are settled and durable here. */
  run(list: readonly PartitionCfg[]): Promise<readonly PartitionCfg[]> {
    return new Promise((resolve) => this.settleAll(list, resolve));
  }

  /** The same by callback: a few at a time. */
  settleAll(list: readonly PartitionCfg[], done: (settled: readonly PartitionCfg[]) => void): void {
    const settled: PartitionCfg[] = [];
    let next = 0;
    let working = Math.min(SETTLE_WORKERS, list.length);
    const end = (): void => {
      this.#parts.store.settled((error) => {
        done(error === undefined ? settled.filter((where) => this.#isCurrent(where)) : []);
      });
    };
    const step = (): void => {
      const where = list[next];
      next += 1;
      if (where === undefined) {
        working -= 1;
        if (working === 0) end();
        return;
      }
      this.#settle(where, (isSettled) => {
        if (isSettled) settled.push(where);
        this.#parts.clock.soon(step);
      });
    };
    if (working === 0) end();
    for (let i = working; i > 0; i -= 1) step();
  }

  #sourcesOf({ policy, p }: PartitionCfg): readonly NodeId[] | undefined {
    const { self, views } = this.#parts;
    const view = views.current();
    return settlingSources(view, view.partition(policy, p), self);
  }

  #settle(where: PartitionCfg, done: (isSettled: boolean) => void): void {
    const sources = this.#isCurrent(where) ? this.#sourcesOf(where) : undefined;
    if (sources === undefined) {
      done(false);
      return;
    }
    const key = partitionKey(where.policy, where.p);
    const seals = this.#fence.sealsOf(key);
    const settling: Settling = { ...where, key, sources, longest: new Map() };
    const isValid = (): boolean => this.#isCurrent(where) && this.#fence.sealsOf(key) === seals;
    this.#ask(settling, 0, (isHeard) => {
      if (!isHeard || !isValid()) return done(false);
      const work = [...this.#lackOf(settling), ...this.#excessOf(settling)];
      this.#extend(settling, work, isValid, (error) => done(error === undefined && isValid()));
    });
  }

  #isCurrent({ policy, p, cfg }: PartitionCfg): boolean {
    const config = this.#parts.views.current().partition(policy, p);
    return config.cfg === cfg && config.doubtful.includes(this.#parts.self);
  }

  #lackOf({ longest }: Settling): Due[] {
    return [...longest.values()]
      .filter(({ row }) => this.#mayLack(row))
      .map(({ row, source }) => ({ row, source, isDue: () => this.#isShorter(row) }));
  }

  /** What this node alone has of holders that are fenced. Only a sure member's list shows what was acknowledged. */
  #excessOf({ policy, p, key, sources, longest }: Settling): Due[] {
    const { store, views } = this.#parts;
    const [source] = sources;
    const config = views.current().partition(policy, p);
    if (source === undefined || sources.length > 1 || !isSure(config, source)) return [];
    const due: Due[] = [];
    for (const own of store.rowsOf(key)) {
      const theirs = longest.get(objectKey(own.generation, own.index))?.row;
      const row = theirs ?? { ...imageOf(own), verToken: 0, verCount: 0 };
      const isDue = (): boolean => this.#isBeyond(row);
      if (isDue()) due.push({ row, source, isDue });
    }
    return due;
  }

  #isBeyond(row: RowImage): boolean {
    const own = this.#parts.store.row(row.generation, row.index);
    const volume = this.#parts.views.current().volumeOfGeneration(row.generation);
    if (own === undefined || volume === undefined) return false;
    return isNeverAcknowledged(versionOfRow(own), versionOfRow(row), volume.lock.token);
  }

  /** Durable volumes lose nothing in a restart: where they differ, a write is on its way. */
  #mayLack(row: RowImage): boolean {
    const volume = this.#parts.views.current().volumeOfGeneration(row.generation);
    return volume?.durability === 'writeback' && this.#isShorter(row);
  }

  /** Members of I are prefixes of one history (I2): the greater count is the longer one. */
  #isShorter(row: RowImage): boolean {
    const own = this.#parts.store.row(row.generation, row.index);
    return (own?.verCount ?? 0) < row.verCount;
  }

  #ask(settling: Settling, at: number, done: (isHeard: boolean) => void): void {
    const source = settling.sources[at];
    if (source === undefined) {
      done(true);
      return;
    }
    this.#list(settling, source, undefined, (isHeard) => {
      if (isHeard) this.#ask(settling, at + 1, done);
      else done(false);
    });
  }

  #list(
    settling: Settling,
    source: NodeId,
    after: RowImage | undefined,
    done: (isHeard: boolean) => void,
  ): void {
    const frame = requestFrame(this.#parts.views.current(), OP.LIST);
    frame.partition = settling.p;
    frame.cfg = settling.cfg;
    frame.generation = after?.generation ?? (0 as Frame['generation']);
    frame.index = after?.index ?? 0;
    frame.payload = encodePartitionCfgs([settling]);
    this.#parts.ask(source, frame, SETTLE_LIST_DEADLINE_MS, (reply) => {
      if (reply?.status === STATUS.STALE) this.#parts.pull(reply.mapIndex, source);
      if (reply?.status !== STATUS.OK) return done(false);
      const page = decodeRows(reply.payload);
      for (const row of page) note(settling, row, source);
      const last = page.at(-1);
      if ((reply.flags & FLAG.MORE) === 0 || last === undefined) return done(true);
      this.#list(settling, source, last, done);
    });
  }

  #extend(
    settling: Settling,
    work: readonly Due[],
    isValid: () => boolean,
    done: Done,
    at = 0,
  ): void {
    const one = work[at];
    if (one === undefined) {
      done(undefined);
      return;
    }
    const { row, source, isDue } = one;
    const key = objectKey(row.generation, row.index);
    const next: Done = (error) => {
      if (error !== undefined) return done(error);
      this.#parts.clock.soon(() => this.#extend(settling, work, isValid, done, at + 1));
    };
    const waits = this.#gates.wait(key, () => {
      if (!isDue()) return next(undefined);
      this.#gates.enter(key);
      const order = { source, cfg: settling.cfg, row, isValid };
      this.#differences.copy(this.#fence, order, (error) => {
        this.#gates.leave(key);
        if (error === undefined) this.#parts.trace.count('settle.extended');
        next(error);
      });
    });
    if (!waits) this.#parts.clock.soon(() => this.#extend(settling, work, isValid, done, at));
  }
}

function note(settling: Settling, row: RowImage, source: NodeId): void {
  if (row.partition !== settling.key) return;
  const key = objectKey(row.generation, row.index);
  const known = settling.longest.get(key);
  if (known === undefined || known.row.verCount < row.verCount) {
    settling.longest.set(key, { row, source });
  }
}
