// One client from its first byte to its last: handshake, then transmission, then the release of the volume. It owns the
// time limit of the handshake; transmission has none, for an idle guest is silent for hours. nbd-server.ts gives it a
// socket, tests and the simulator a duplex in memory.

import type { Clock, TimerHandle, Trace } from '../ports/ports.ts';
import type { ByteChannel, ByteReceiver, TlsDoor } from './byte-channel.ts';
import type { Attachment, Exports } from './exports.ts';
import { type Agreement, Handshake, type HandshakeEnd } from './handshake.ts';
import { Transmission } from './transmission.ts';

/** From connect to the end of negotiation; who takes longer is cut. Milliseconds. */
export const HANDSHAKE_MS = 10_000;
/** What a client in its handshake gets to hear ERR_SHUTDOWN at an orderly end. Milliseconds. */
export const HANDSHAKE_GRACE_MS = 200;
/** What a client has to read its last replies and close, once we are through with it. Milliseconds. */
export const LINGER_MS = 5_000;

export interface ConnectionDeps {
  readonly exports: Exports;
  readonly clock: Clock;
  readonly trace: Trace;
  /** Set where a client has to speak TLS. */
  readonly tls?: TlsDoor | undefined;
  /** Called once: the socket is gone, its requests have ended, the session was told. */
  readonly onFinished: () => void;
}

export class Connection implements ByteReceiver {
  readonly #channel: ByteChannel;
  readonly #deps: ConnectionDeps;
  readonly #handshake: Handshake;
  #timer: TimerHandle;
  #attachment: Attachment | undefined;
  #transmission: Transmission | undefined;
  /** Who it proved to be; empty without TLS. */
  #client = '';
  /** Why it ends, when that is not the client's DISC. */
  #reason = '';

  constructor(channel: ByteChannel, deps: ConnectionDeps) {
    this.#channel = channel;
    this.#deps = deps;
    const end: HandshakeEnd = {
      attached: (agreement, rest) => this.#attached(agreement, rest),
      startTls: (begin) =>
        begin({
          secured: (client) => {
            this.#client = client.name;
            this.#handshake.secured(client);
          },
          failed: (reason) => {
            this.#reason = reason;
            this.#channel.destroy();
          },
        }),
      failed: (reason) => {
        this.#reason = reason;
        this.#channel.end();
      },
    };
    this.#handshake = new Handshake(channel, deps.exports, end, deps.tls);
    this.#timer = this.#cutAfter(HANDSHAKE_MS, 'handshake took too long');
  }

  onData(chunk: Uint8Array): void {
    if (this.#transmission === undefined) this.#handshake.onData(chunk);
    else this.#transmission.onData(chunk);
  }

  onDrain(): void {
    this.#transmission?.onDrain();
  }

  /** Orderly end: what is in flight is answered, the rest gets ESHUTDOWN (ERR_SHUTDOWN in the handshake). */
  shutDown(): void {
    if (this.#transmission !== undefined) {
      this.#transmission.shutDown();
      return;
    }
    this.#handshake.shutDown();
    this.#deps.clock.clearTimer(this.#timer);
    this.#timer = this.#cutAfter(HANDSHAKE_GRACE_MS, 'this node is shutting down');
  }

  onClose(): void {
    this.#deps.clock.clearTimer(this.#timer);
    if (this.#transmission === undefined) {
      this.#handshake.stop();
      this.#deps.trace.event('nbd.closed', { volume: '', reason: this.#reason });
      this.#deps.onFinished();
      return;
    }
    // Its client is gone: what hangs must not keep a lock, nor bar the client that comes back (3.2). The session bounds its
    // drain; the place of this connection is taken until its last request is over.
    const released = this.#release();
    this.#transmission.onGone(() => void released.then(() => this.#deps.onFinished()));
  }

  #cutAfter(ms: number, reason: string): TimerHandle {
    return this.#deps.clock.setTimer(ms, () => {
      this.#reason = reason;
      this.#channel.destroy();
    });
  }

  #attached(agreement: Agreement, rest: Uint8Array): void {
    const { clock, trace } = this.#deps;
    clock.clearTimer(this.#timer);
    this.#attachment = agreement.attachment;
    const client = this.#client === '' ? {} : { client: this.#client };
    trace.event('nbd.attached', { volume: agreement.attachment.session.volume.name, ...client });
    this.#transmission = new Transmission(agreement, {
      channel: this.#channel,
      clock,
      onEnd: (reason) => {
        this.#reason = reason ?? '';
        this.#channel.end();
        this.#timer = this.#cutAfter(LINGER_MS, this.#reason);
      },
    });
    if (rest.length > 0) this.#transmission.onData(rest);
  }

  /** Never rejects. */
  async #release(): Promise<void> {
    const attachment = this.#attachment;
    if (attachment === undefined) return;
    const { trace } = this.#deps;
    const volume = attachment.session.volume.name;
    trace.event('nbd.closed', { volume, reason: this.#reason });
    await attachment.release().catch((error: unknown) => {
      trace.warn('nbd.release-failed', { volume, error: String(error) });
    });
  }
}
