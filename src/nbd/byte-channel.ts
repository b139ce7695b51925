// The socket as an NBD connection needs it. nbd-server.ts gives real ones, tests and the simulator pairs in memory.

import type { NbdClient } from './access.ts';

/** What a connection does with its socket. */
export interface ByteChannel {
  /** Bytes written that the system has not taken yet. 0 = every buffer given to `write` may be used again. */
  readonly queuedBytes: number;
  /** Where the client is, for people. */
  readonly from?: string;
  /** How long it has acknowledged nothing while something waits for it; 0 = it answers. Absent: by no network. */
  silentForMs?(): number;
  /**
   * Sends in order. `bytes` is kept by reference until sent. Ignored when closed.
   * @param sent the system has taken it; never called when the channel breaks before
   */
  write(bytes: Uint8Array, sent?: () => void): void;
  /** Stops and restarts `onData`. One chunk more may still come after `pause`. */
  pause(): void;
  resume(): void;
  /** Closes after all that was written. `onClose` follows. */
  end(): void;
  /** Closes at once. `onClose` follows. */
  destroy(): void;
}

/** A client's way into TLS. */
export interface TlsDoor {
  /**
   * Reads keys, certificates and rights as they are now.
   * @returns what begins TLS, once the answer to STARTTLS was written
   * @throws OperatingError why that is not possible
   */
  prepare(): (outcome: TlsOutcome) => void;
}

/** How it went; one of the two, once. */
export interface TlsOutcome {
  readonly secured: (client: NbdClient) => void;
  readonly failed: (reason: string) => void;
}

/** What a socket tells its connection. */
export interface ByteReceiver {
  /** `chunk` belongs to the socket and is overwritten after the call: copy what has to last. */
  onData(chunk: Uint8Array): void;
  /** What was queued has been sent. */
  onDrain(): void;
  /** Called once, last. */
  onClose(): void;
}
