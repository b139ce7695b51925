// Holds requests of one session back to its volume's limits (dog vdi alter --iops, --bandwidth). A request is one, however
// large, and its bytes are what is read or written; zeroes and trims carry none, flushes are not asked. In order, and
// before anything else: what waits here has no lock, no range and no version yet, so a snapshot or a hand-over does not
// wait for it. Without limits there is none of this.

import { TokenBucket } from '../core/token-bucket.ts';
import type { VolumeRates } from '../core/view.ts';
import type { Clock, TimerHandle } from '../ports/ports.ts';

interface Waiting {
  readonly bytes: number;
  readonly go: () => void;
}

export class RateLimit {
  readonly #clock: Clock;
  #requests: TokenBucket | undefined;
  #bytes: TokenBucket | undefined;
  /** Bounded by the session's requests in flight. */
  #waiting: Waiting[] = [];
  #timer: TimerHandle | undefined;

  constructor(clock: Clock, rates: VolumeRates) {
    this.#clock = clock;
    this.set(rates);
  }

  /** Other limits, at once: also for who waits. */
  set({ iops, bytesPerSecond }: VolumeRates): void {
    const now = this.#clock.now();
    this.#requests = tuned(this.#requests, iops, now);
    this.#bytes = tuned(this.#bytes, bytesPerSecond, now);
    this.#look();
  }

  /** Runs `go` when it is this request's turn, perhaps at once. */
  pass(bytes: number, go: () => void): void {
    if (this.#waiting.length > 0 || this.#waitMs() > 0) {
      this.#waiting.push({ bytes, go });
      this.#look();
      return;
    }
    this.#take(bytes);
    go();
  }

  /** Nobody is held back any more. */
  end(): void {
    this.set({ iops: 0, bytesPerSecond: 0 });
  }

  #waitMs(): number {
    const now = this.#clock.now();
    return Math.max(this.#requests?.waitMs(now) ?? 0, this.#bytes?.waitMs(now) ?? 0);
  }

  #take(bytes: number): void {
    const now = this.#clock.now();
    this.#requests?.take(1, now);
    this.#bytes?.take(bytes, now);
  }

  /** Lets go whose turn it is, and looks again when it is the next one's. What they ask at once comes after them. */
  #look(): void {
    if (this.#timer !== undefined) this.#clock.clearTimer(this.#timer);
    this.#timer = undefined;
    const freed: Waiting[] = [];
    for (const waiting of this.#waiting) {
      if (this.#waitMs() > 0) break;
      this.#take(waiting.bytes);
      freed.push(waiting);
    }
    this.#waiting.splice(0, freed.length);
    if (this.#waiting.length > 0) {
      this.#timer = this.#clock.setTimer(this.#waitMs(), () => this.#look());
    }
    for (const { go } of freed) go();
  }
}

function tuned(
  bucket: TokenBucket | undefined,
  perSecond: number,
  now: number,
): TokenBucket | undefined {
  if (perSecond === 0) return undefined;
  if (bucket === undefined) return new TokenBucket(perSecond, now);
  bucket.retune(perSecond, now);
  return bucket;
}
