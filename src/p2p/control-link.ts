// Control messages to one peer: a bounded queue and one long-lived stream, dialled when something is sent. What waits
// when a dial fails or a stream breaks is lost without notice, as the Network port says.

import type { Stream } from '@libp2p/interface';
import { messageOf } from '../core/errors.ts';
import type { PeerKey } from '../core/ids.ts';
import type { Clock, Trace } from '../ports/ports.ts';
import { MessageQueue } from './control-stream.ts';

/** First and longest wait between two dials of one peer, in ms. */
const FIRST_REDIAL_MS = 50;
const MAX_REDIAL_MS = 1000;

export interface ControlLinkOptions {
  readonly clock: Clock;
  readonly trace: Trace;
  readonly peer: PeerKey;
  /** Opens the stream; bounded in time by itself. */
  readonly open: () => Promise<Stream>;
  /** There is a stream. */
  readonly onOpened: () => void;
}

/** One direction to one peer. */
export class ControlLink {
  readonly #options: ControlLinkOptions;
  readonly #queue = new MessageQueue();
  #isRunning = false;
  #isStopped = false;
  #redialAt = 0;
  #backoffMs = 0;
  /** Why the present outage began, in the log; '' = not told. */
  #told = '';

  constructor(options: ControlLinkOptions) {
    this.#options = options;
  }

  /** False when it was dropped at once: a dial failed just now, or too much waits. */
  send(message: Uint8Array): boolean {
    if (this.#isStopped || !this.#mayRun()) return false;
    const isQueued = this.#queue.push(message);
    if (!isQueued) this.#options.trace.count('control.dropped');
    this.connect();
    return isQueued;
  }

  /** There is a stream, or a dial for one. */
  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Neither, and no dial failed just now. */
  get mayDial(): boolean {
    return !this.#isRunning && !this.#isStopped && this.#mayRun();
  }

  /** No dial before that time; 0 where none failed. */
  get redialAt(): number {
    return this.#redialAt;
  }

  /** Dials unless there is a stream, or a dial failed just now. */
  connect(): void {
    if (this.#isRunning || this.#isStopped || !this.#mayRun()) return;
    this.#isRunning = true;
    this.#run().catch((error: unknown) => this.#tell(messageOf(error)));
  }

  stop(): void {
    this.#isStopped = true;
    this.#queue.clear();
    this.#queue.end();
  }

  #mayRun(): boolean {
    return this.#isRunning || this.#options.clock.now() >= this.#redialAt;
  }

  /** Once for each reason of an outage: a peer may be away for days. */
  #tell(reason: string): void {
    if (reason === this.#told) return;
    this.#told = reason;
    const { trace, peer } = this.#options;
    trace.event('control.link.broken', { peer, reason });
  }

  async #run(): Promise<void> {
    let stream: Stream | undefined;
    let openedAt: number | undefined;
    try {
      stream = await this.#options.open();
      if (this.#isStopped) return;
      openedAt = this.#options.clock.now();
      this.#options.onOpened();
      await this.#queue.sendTo(stream);
      this.#ended(openedAt, false);
    } catch (error) {
      this.#ended(openedAt, true);
      throw error;
    } finally {
      this.#isRunning = false;
      this.#queue.clear();
      if (stream !== undefined) closeStream(stream);
    }
  }

  /** A peer that takes streams and closes them at once (it does not know us, say) waits like one that is away. */
  #ended(openedAt: number | undefined, isBroken: boolean): void {
    const now = this.#options.clock.now();
    const hasLived = openedAt !== undefined && now - openedAt >= MAX_REDIAL_MS;
    if (hasLived) {
      this.#backoffMs = 0;
      this.#told = '';
      if (!isBroken) return;
    }
    this.#backoffMs = Math.min(MAX_REDIAL_MS, Math.max(FIRST_REDIAL_MS, this.#backoffMs * 2));
    this.#redialAt = now + this.#backoffMs;
  }
}

function closeStream(stream: Stream): void {
  stream.close().catch((error) => stream.abort(error));
}
