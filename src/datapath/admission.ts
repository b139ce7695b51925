// How a request enters a session and leaves it: within the volume, while requests are taken, counted, and bounded; answered
// within the volume's io-timeout. Of a session that lost its volume to another guest a write is told of once (3.2, 6).
// It knows nothing of what a request does in between.

import { OperatingError } from '../core/errors.ts';
import type { GuestTraffic } from '../core/guest-traffic.ts';
import type { Parts } from './context.ts';
import { lossOf, type OpenVolume } from './open-volume.ts';
import { withinMs } from './patience.ts';
import type { Done } from './volume-session.ts';
import { waitReason } from './wait-reason.ts';

/** Requests of all connections in flight; one more is answered 'busy'. Fronts stop reading their sockets before. */
export const MAX_SESSION_REQUESTS = 4096;

/** `beside`: forwarded for a standby; no request of the own guest (H1). */
export type RequestKind = 'read' | 'write' | 'flush' | 'beside';

export interface Request {
  readonly offset: number;
  readonly length: number;
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
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Of the volume's option, as it is now; 0 = requests wait. */
  get patienceMs(): number {
    return this.#parts.views.current().volumes.get(this.#open.volume.id)?.ioTimeoutMs ?? 0;
  }

  /** Counts the request in; undefined when it was refused and answered. */
  admit(request: Request, done: Done): Done | undefined {
    const { offset, length, kind } = request;
    const refusal = this.#refusalOf(request);
    if (refusal !== undefined) {
      done(refusal);
      return undefined;
    }
    this.#inFlight += 1;
    const { clock, streams } = this.#parts;
    const since = clock.now();
    const isOfGuest = kind === 'read' || kind === 'write';
    if (isOfGuest) this.#traffic.arrived(kind === 'write', since);
    const why = () => waitReason(this.#open, this.#parts.views.current(), { offset, length });
    const answer = withinMs(clock, this.patienceMs, done, why);
    return (error) => {
      this.#inFlight -= 1;
      if (isOfGuest) this.#traffic.ended(kind === 'write');
      if (error === undefined && length > 0) streams.noteGuest(clock.now() - since, length);
      answer(error);
      this.#hooks.ended(isOfGuest);
    };
  }

  #refusalOf({ offset, length, kind }: Request): OperatingError | undefined {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.#open.now.sizeBytes)) {
      return new OperatingError('usage', 'the request lies beyond the end of the volume');
    }
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
