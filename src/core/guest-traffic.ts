// What the holder of a volume knows of its guest's requests, and whether that guest looks stopped (H1): the condition for
// handing the volume to a session of another node. It counts; when to look again is the caller's business. Requests that
// are forwarded for a standby are not the guest's and never get here.

/** A stopped guest neither reads nor writes: so long without a request, of a guest that flushed last. */
export const HANDOVER_QUIET_MS = 250;

/** Why a volume is not handed over now: the places are on the wire, append only. */
export const HANDOVER_REASONS = [
  '',
  'its guest is writing',
  'its guest has not flushed since',
  'its guest is active',
  'it is being handed to another node',
  'a hand-over to another node is prepared',
  'its mode is exclusive, and no hand-over is prepared',
  'it is being given back',
  'what it has in flight does not end',
] as const;

export type HandoverReason = (typeof HANDOVER_REASONS)[number];

/** `waitMs`: look again then; 0 = only the next answer or flush can change it. */
export type QuietVerdict =
  | { readonly isQuiet: true }
  | { readonly isQuiet: false; readonly reason: HandoverReason; readonly waitMs: number };

/** How the hand-over was asked for. */
export interface QuietTerms {
  /** Announced in the log: then quiet is that nothing that writes is queued or in flight. */
  readonly isPrepared: boolean;
  /** `flushes` when the asking session connected: only a later flush can be the guest's last one (H1 b). */
  readonly flushesBefore: number;
}

export class GuestTraffic {
  /** All requests but FLUSH, so far. */
  requests = 0;
  /** Flushes answered so far. */
  flushes = 0;
  #lastMs = 0;
  #writes = 0;
  #pending = 0;
  #pendingWrites = 0;
  /** `flushes` as it was after the last one with no write since it was asked; 0 = there was a write. */
  #cleanFlush = 0;

  /** The guest asks for something. `ended` comes later, unless it was answered within the call. */
  arrived(isWrite: boolean, nowMs: number): void {
    this.touched(nowMs);
    this.#pending += 1;
    if (!isWrite) return;
    this.#pendingWrites += 1;
    this.#writes += 1;
    this.#cleanFlush = 0;
  }

  /** The request has truly ended: nothing of it is under way, whatever the guest was told before. */
  ended(isWrite: boolean): void {
    this.#pending -= 1;
    if (isWrite) this.#pendingWrites -= 1;
  }

  /** A read that was served at once. */
  touched(nowMs: number): void {
    this.requests += 1;
    this.#lastMs = nowMs;
  }

  /** A FLUSH is asked; what it gives is for its answer. */
  flushAsked(): number {
    return this.#writes;
  }

  flushAnswered(asked: number): void {
    this.flushes += 1;
    if (asked === this.#writes) this.#cleanFlush = this.flushes;
  }

  get isWriting(): boolean {
    return this.#pendingWrites > 0;
  }

  /** H1, but for the last look: a caller asks twice, with one turn of its sockets in between, and compares `requests`. */
  judge({ isPrepared, flushesBefore }: QuietTerms, nowMs: number): QuietVerdict {
    if (this.isWriting) return busy('its guest is writing');
    if (isPrepared) return { isQuiet: true };
    if (this.#cleanFlush <= flushesBefore) return busy('its guest has not flushed since');
    if (this.#pending > 0) return busy('its guest is active');
    const waitMs = this.#lastMs + HANDOVER_QUIET_MS - nowMs;
    return waitMs > 0 ? busy('its guest is active', waitMs) : { isQuiet: true };
  }
}

function busy(reason: HandoverReason, waitMs = 0): QuietVerdict {
  return { isQuiet: false, reason, waitMs };
}
