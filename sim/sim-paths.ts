// What lies between hosts: latency, loss (a lost packet is a late one: the links below are TCP), cuts by direction and
// by plane. A pipe is one direction of one link: ordered until it breaks, held back while its path is cut.

import type { FaultKind } from './reach/fault-kinds.ts';
import type { SimRandom } from './sim-random.ts';

/** `gossip` follows the control plane's cuts. */
export type Plane = 'control' | 'data';

/** Mean of the jitter on top of the base latency of a path. */
const JITTER_MEAN_MS = 0.1;
/** A lost packet is sent again after about this long. */
const RESEND_MS = 200;
/** A host that loses packets sends each again at most so often, each time after twice as long. */
const MAX_RESENDS = 6;
/** 1 GB/s: a full frame of 1 MiB takes a millisecond. */
const BYTES_PER_MS = 1_000_000;

/** One direction between two hosts, as somebody uses it again and again. */
export interface Way {
  readonly from: string;
  readonly to: string;
  /** Drawn at the first use. */
  baseMs?: number;
}

/** Which directions of which planes let nothing through, and how good the rest is. */
export class SimPaths {
  /** Probability that a packet is lost (and comes RESEND_MS later). */
  lossRate = 0;
  /** Probability that a control link or channel breaks at a delivery, losing the tail. */
  breakRate = 0;
  /** Factor on all latencies. */
  slowness = 1;
  /** Called when cuts changed: held pipes look again. */
  onChange: () => void = () => {};
  onFault: (kind: FaultKind, where: string) => void = () => {};
  readonly #random: SimRandom;
  readonly #cuts = new Set<string>();
  /** By both names, the lesser one first. */
  readonly #baseMs = new Map<string, Map<string, number>>();
  /** Probability that a packet from or to this host is lost, each way. */
  readonly #lossOf = new Map<string, number>();

  constructor(random: SimRandom) {
    this.#random = random;
  }

  /** Cuts one direction; both planes unless one is named. */
  cut(from: string, to: string, planes: readonly Plane[] = ['control', 'data']): void {
    for (const plane of planes) this.#cuts.add(`${plane} ${from}>${to}`);
    const [only] = planes;
    this.onFault(planes.length > 1 || only === undefined ? 'cut' : `cut-${only}`, to);
    this.onChange();
  }

  heal(from: string, to: string): void {
    this.#cuts.delete(`control ${from}>${to}`);
    this.#cuts.delete(`data ${from}>${to}`);
    this.onChange();
  }

  healAll(): void {
    this.#cuts.clear();
    this.onChange();
  }

  /** Changes many cuts; held pipes look once, at the end. */
  together(change: () => void): void {
    const { onChange } = this;
    this.onChange = () => {};
    change();
    this.onChange = onChange;
    onChange();
  }

  /** A host with a bad cable: packets from and to it are lost with this probability; 0 = well again. */
  setLoss(host: string, rate: number): void {
    if (rate > 0) this.#lossOf.set(host, rate);
    else this.#lossOf.delete(host);
  }

  isCut(from: string, to: string, plane: Plane): boolean {
    return this.#cuts.size > 0 && this.#cuts.has(`${plane} ${from}>${to}`);
  }

  /** A drawn time for `bytes` to get from one host to another. */
  delayMs(from: string, to: string, bytes: number): number {
    return this.delayOn({ from, to }, bytes);
  }

  /** The same. */
  delayOn(way: Way, bytes: number): number {
    const { from, to } = way;
    const jitter = this.#random.exponential(JITTER_MEAN_MS);
    const resend = this.lossRate > 0 && this.#random.chance(this.lossRate) ? RESEND_MS : 0;
    const late = this.#lossOf.size > 0 ? this.#resendMs(from, to) : 0;
    if (resend + late > 0) this.onFault('packet-lost', to);
    way.baseMs ??= this.#base(from, to);
    return (way.baseMs + jitter + bytes / BYTES_PER_MS) * this.slowness + resend + late;
  }

  #resendMs(from: string, to: string): number {
    const rate = Math.max(this.#lossOf.get(from) ?? 0, this.#lossOf.get(to) ?? 0);
    let lateMs = 0;
    for (let tries = 0; tries < MAX_RESENDS && rate > 0; tries += 1) {
      if (!this.#random.chance(rate)) break;
      lateMs += RESEND_MS * 2 ** tries;
    }
    return lateMs;
  }

  breaksNow(): boolean {
    return this.breakRate > 0 && this.#random.chance(this.breakRate);
  }

  #base(from: string, to: string): number {
    const [low, high] = from < to ? [from, to] : [to, from];
    let bases = this.#baseMs.get(low);
    if (bases === undefined) {
      bases = new Map();
      this.#baseMs.set(low, bases);
    }
    let base = bases.get(high);
    if (base === undefined) {
      base = 0.05 + this.#random.unit() * 0.4;
      bases.set(high, base);
    }
    return base;
  }
}
