// How a request enters a session and leaves it: within the volume, while requests are taken, counted, and bounded; as fast
// as the volume's limits let it, and answered within its io-timeout from then on. Of a session that lost its volume to
// another guest a write is told of once (3.2, 6). It knows nothing of what a request does in between.

import { OperatingError } from '../core/errors.ts';
import type { GuestTraffic } from '../core/guest-traffic.ts';
import type { ClusterView, VolumeRates } from '../core/view.ts';
import { NO_RATES } from '../core/volume-rates.ts';
import type { Parts } from './context.ts';
import { lossOf, type OpenVolume } from './open-volume.ts';
import { withinMs } from './patience.ts';
import { RateLimit } from './rate-limit.ts';
import type { Done } from './volume-session.ts';
import { waitReason } from './wait-reason.ts';

/** Requests of all connections in flight; one more is answered 'busy'. Fronts stop reading their sockets before. */
export const MAX_SESSION_REQUESTS = 4096;

/** `beside`: forwarded for a standby; no request of the own guest (H1). */
export type RequestKind = 'read' | 'write' | 'flush' | 'beside';

export interface Request {
  readonly offset: number;
  readonly length: number;
  /** That travel: none of zeroes, trims and flushes. */
  readonly bytes: number;
  readonly kind: RequestKind;
}

export interface AdmissionHooks {
  /** The session is not ending. */
  readonly isTaking: () => boolean;
  /** A request has ended and was answered. */
  readonly ended: (isOfGuest: boolean) => void;
}

type AdmissionParts = Pick<Parts, 'clock' | 'streams' | 'trace' | 'views'>;

export class Admission {
  readonly #parts: AdmissionParts;
  readonly #open: OpenVolume;
  readonly #traffic: GuestTraffic;
  readonly #hooks: AdmissionHooks;
  #inFlight = 0;
  #isSecondWriterTold = false;
  #rates: VolumeRates = NO_RATES;
  /** Of a volume with limits. */
  #limit: RateLimit | undefined;

  constructor(
    parts: AdmissionParts,
    open: OpenVolume,
    traffic: GuestTraffic,
    hooks: AdmissionHooks,
  ) {
    this.#parts = parts;
    this.#open = open;
    this.#traffic = traffic;
    this.#hooks = hooks;
    this.viewChanged(parts.views.current());
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Of the volume's option, as it is now; 0 = requests wait. */
  get patienceMs(): number {
    return this.#parts.views.current().volumes.get(this.#open.volume.id)?.ioTimeoutMs ?? 0;
  }

  /** True while requests may have to wait for their turn. */
  get isLimited(): boolean {
    return this.#limit !== undefined;
  }

  /** The volume's limits are what the map says, at once. */
  viewChanged(view: ClusterView): void {
    const rates = view.volumes.get(this.#open.volume.id)?.rates ?? NO_RATES;
    if (rates === this.#rates) return;
    this.#rates = rates;
    if (rates.iops === 0 && rates.bytesPerSecond === 0) this.lost();
    else if (this.#limit === undefined) this.#limit = new RateLimit(this.#parts.clock, rates);
    else this.#limit.set(rates);
  }

  /** The session is over: whoever waits for a turn is told so by whatever comes next. */
  lost(): void {
    const limit = this.#limit;
    this.#limit = undefined;
    limit?.end();
  }

  /**
   * Counts the request in, and runs `go` once: at its turn, with how it ends. Not when it is refused: that is answered.
   */
  admit(request: Request, done: Done, go: (finish: Done) => void): void {
    const refusal = this.#refusalOf(request);
    if (refusal !== undefined) {
      done(refusal);
      return;
    }
    const { kind, bytes } = request;
    this.#inFlight += 1;
    if (isOfGuest(kind)) this.#traffic.arrived(kind === 'write', this.#parts.clock.now());
    if (this.#limit === undefined || kind === 'flush') go(this.#finishOf(request, done));
    else this.#limit.pass(bytes, () => this.#passed(request, done, go));
  }

  /** The volume may be smaller by now. */
  #passed(request: Request, done: Done, go: (finish: Done) => void): void {
    const finish = this.#finishOf(request, done);
    const beyond = this.#endProblem(request);
    if (beyond === undefined) go(finish);
    else finish(beyond);
  }

  /** From here on the guest's patience counts, and the time that recovery looks at. */
  #finishOf({ offset, length, kind }: Request, done: Done): Done {
    const { clock, streams } = this.#parts;
    const since = clock.now();
    const why = () => waitReason(this.#open, this.#parts.views.current(), { offset, length });
    const answer = withinMs(clock, this.patienceMs, done, why);
    return (error) => {
      this.#inFlight -= 1;
      if (isOfGuest(kind)) this.#traffic.ended(kind === 'write');
      if (error === undefined && length > 0) streams.noteGuest(clock.now() - since, length);
      answer(error);
      this.#hooks.ended(isOfGuest(kind));
    };
  }

  #endProblem({ offset, length }: Request): OperatingError | undefined {
    if (offset >= 0 && length >= 0 && offset + length <= this.#open.now.sizeBytes) return undefined;
    return new OperatingError('usage', 'the request lies beyond the end of the volume');
  }

  #refusalOf(request: Request): OperatingError | undefined {
    const beyond = this.#endProblem(request);
    if (beyond !== undefined) return beyond;
    const { kind } = request;
    if (this.#open.state === 'lost' || !this.#hooks.isTaking()) {
      if (kind === 'write') this.tellSecondWriter();
      return lossOf(this.#open);
    }
    if (this.#inFlight < MAX_SESSION_REQUESTS) return undefined;
    return new OperatingError('busy', 'too many requests in flight', { advice: 'retry' });
  }

  /** Another guest has the volume, and this one still writes. Nothing of it lands. */
  tellSecondWriter(): void {
    const { error } = this.#open;
    if (this.#isSecondWriterTold || error?.code !== 'fenced') return;
    this.#isSecondWriterTold = true;
    const { name } = this.#open.now;
    this.#parts.trace.warn('second-writer', { volume: name, reason: error.message });
  }
}

function isOfGuest(kind: RequestKind): boolean {
  return kind === 'read' || kind === 'write';
}
