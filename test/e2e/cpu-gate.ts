// What one operation costs the nodes of a cluster in CPU, held against what was recorded. A busy host makes each operation
// dearer, now and then by nearly twice (cold caches, small batches), and another host is another machine; so
//
//   - the cost is divided by that of a fixed piece of work (a unit), taken in the same seconds
//   - of many short windows the cheapest counts, for both: what a host does beside only ever adds
//   - what the nodes spend at rest is taken off
//   - as soon as a window is cheap enough the gate is passed; a dear program has no such window
//
// Gateway and replicas are judged apart: what is added to one of them must not hide behind the others.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { crc32 } from '../../src/core/checksum.ts';
import { KIB, MIB } from '../../src/core/units.ts';
import type { NbdClient } from './nbd-client.ts';

const BLOCK_BYTES = 4 * KIB;
const DEPTH = 64;
/** Operations of one window: some hundred milliseconds of CPU. */
const WINDOW = { read: 16_000, write: 3000 } as const;
/** Windows that are tried at most; a quiet host needs the first ones only. */
const MAX_WINDOWS = 16;
/** A program fails that costs so many times what is recorded. */
export const MAX_GROWTH = 1.5;
/** Units of one sample, about a millisecond, and samples before each window: a dear unit would let a dear program pass. */
const UNIT_ROUNDS = 500;
const UNIT_SAMPLES = 50;
/** Rounds of samples before the first window: compiling. */
const UNIT_WARM_UP = 5;
const UNIT_FILE_BYTES = MIB;

export type Kind = keyof typeof WINDOW;

/** In units for one operation. */
export interface Cost {
  readonly gateway: number;
  /** Of each other node, on average. */
  readonly replica: number;
}

/** CPU time of a process, all threads, in ns. */
export function cpuNs(pid: number): number {
  let ns = 0;
  for (const task of fs.readdirSync(`/proc/${pid}/task`)) {
    const stat = fs.readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8');
    ns += Number(stat.split(' ')[0]);
  }
  return ns;
}

/** A fixed piece of work of JavaScript and the system: read 4 KiB of a cached file, sum and copy them. ns for each. */
class Unit {
  readonly #file: number;
  readonly #bytes = new Uint8Array(BLOCK_BYTES);
  readonly #copies = new Map<number, Uint8Array>();
  best = Number.POSITIVE_INFINITY;

  constructor() {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-unit-'));
    fs.writeFileSync(path.join(dir, 'file'), Buffer.alloc(UNIT_FILE_BYTES, 7));
    this.#file = fs.openSync(path.join(dir, 'file'), 'r');
    fs.rmSync(dir, { recursive: true });
  }

  measure(): void {
    for (let n = 0; n < UNIT_SAMPLES; n += 1) this.#sample();
  }

  #sample(): void {
    const since = performance.now();
    for (let i = 0; i < UNIT_ROUNDS; i += 1) {
      const at = (i * 7919 * BLOCK_BYTES) % UNIT_FILE_BYTES;
      fs.readSync(this.#file, this.#bytes, 0, BLOCK_BYTES, at);
      this.#copies.set(crc32(this.#bytes) % DEPTH, new Uint8Array(this.#bytes));
    }
    // By the clock: the system counts CPU of so short a time by ticks. The quickest sample is one that nobody interrupted.
    this.best = Math.min(this.best, ((performance.now() - since) * 1e6) / UNIT_ROUNDS);
  }

  close(): void {
    fs.closeSync(this.#file);
  }
}

export interface GateOptions {
  readonly client: NbdClient;
  /** The gateway's first. */
  readonly pids: readonly number[];
  /** CPU ns per ms that each of them spends at rest. */
  readonly idle: readonly number[];
  readonly recorded: Readonly<Record<Kind, Cost>>;
}

export interface Verdict {
  readonly isPassed: boolean;
  /** The cheapest windows. */
  readonly cost: Cost;
  readonly unitNs: number;
  readonly windows: number;
}

/** Runs windows of one kind until one is cheap enough, or there were MAX_WINDOWS. */
export async function passGate(kind: Kind, options: GateOptions): Promise<Verdict> {
  const { pids, recorded } = options;
  const unit = new Unit();
  const best = pids.map(() => Number.POSITIVE_INFINITY);
  const costOf = (): Cost => {
    const [gateway = 0, ...others] = best.map((ns) => ns / unit.best);
    return { gateway, replica: others.reduce((sum, one) => sum + one, 0) / others.length };
  };
  const isCheap = (): boolean => {
    const { gateway, replica } = costOf();
    const limit = recorded[kind];
    return gateway <= limit.gateway * MAX_GROWTH && replica <= limit.replica * MAX_GROWTH;
  };
  let windows = 0;
  try {
    for (let n = 0; n < UNIT_WARM_UP; n += 1) unit.measure();
    while (windows < MAX_WINDOWS && (windows === 0 || !isCheap())) {
      windows += 1;
      unit.measure();
      const each = await windowOf(kind, options);
      each.forEach((ns, i) => {
        best[i] = Math.min(best[i] as number, ns);
      });
    }
  } finally {
    unit.close();
  }
  return { isPassed: isCheap(), cost: costOf(), unitNs: unit.best, windows };
}

/** CPU ns of each process for one operation, what it spends at rest taken off. */
async function windowOf(kind: Kind, { client, pids, idle }: GateOptions): Promise<number[]> {
  const before = pids.map(cpuNs);
  const since = performance.now();
  await operations(client, kind, WINDOW[kind]);
  const ms = performance.now() - since;
  return pids.map((pid, i) => {
    return Math.max(0, cpuNs(pid) - (before[i] ?? 0) - (idle[i] ?? 0) * ms) / WINDOW[kind];
  });
}

/** DEPTH in flight; what one tick asks for leaves together, as a guest's ring does it. */
async function operations(client: NbdClient, kind: Kind, count: number): Promise<void> {
  const data = Buffer.alloc(BLOCK_BYTES, count % 251);
  const blocks = client.sizeBytes / BLOCK_BYTES;
  let [begun, over] = [0, 0];
  let failure: unknown;
  let wake: () => void = () => undefined;
  const one = (): void => {
    const offset = ((begun * 40_503) % blocks) * BLOCK_BYTES;
    begun += 1;
    const asked = kind === 'read' ? client.read(offset, BLOCK_BYTES) : client.write(offset, data);
    asked.then(
      () => {
        over += 1;
        wake();
      },
      (error: unknown) => {
        failure ??= error;
        wake();
      },
    );
  };
  while (over < count && failure === undefined) {
    client.together(() => {
      while (begun - over < DEPTH && begun < count) one();
    });
    // All replies of a chunk are counted before this goes on.
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
  if (failure !== undefined) throw failure;
}
