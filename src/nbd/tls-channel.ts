// A TCP client that has to speak TLS: in the clear up to STARTTLS, encrypted afterwards, one ByteChannel for both. What
// came in the clear is never looked at again once TLS has begun. node:tls judges keys and certificates: a server of its
// own per client, fed with the accepted socket, so that nothing is left to chance about who came.

import type { Socket } from 'node:net';
import { Server, type TLSSocket } from 'node:tls';
import { messageOf, OperatingError } from '../core/errors.ts';
import { FastSocket, originOf, silenceOf } from '../io/fast-socket.ts';
import type { Clock } from '../ports/ports.ts';
import type { NbdCredentials } from './access.ts';
import type { ByteChannel, ByteReceiver, TlsOutcome } from './byte-channel.ts';

/** Probes of an idle client begin after this. Milliseconds. */
const KEEP_ALIVE_MS = 10_000;
/**
 * Authenticated and forward secret, of both versions. Of TLS 1.3 only those with SHA-256: keys go with no other hash, and
 * beside certificates OpenSSL would choose another one and leave the key out.
 */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-PSK-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
].join(':');
const NOTHING = new Uint8Array(0);

export class TlsChannel implements ByteChannel {
  readonly #raw: Socket;
  readonly #clock: Clock;
  readonly #receiver: ByteReceiver;
  #secure: FastSocket | undefined;
  #isClosed = false;

  /** Takes over an accepted socket and reads at once, in the clear. */
  constructor(raw: Socket, clock: Clock, receiver: ByteReceiver) {
    this.#raw = raw;
    this.#clock = clock;
    this.#receiver = receiver;
    raw.setNoDelay(true);
    raw.setKeepAlive(true, KEEP_ALIVE_MS);
    raw.on('error', () => undefined); // 'close' follows
    raw.on('close', () => this.#closed());
    raw.on('data', (chunk: Buffer) => receiver.onData(chunk));
    raw.resume();
  }

  get from(): string {
    return originOf(this.#raw);
  }

  silentForMs(): number {
    return silenceOf(this.#raw);
  }

  /** After the answer to STARTTLS was written: the next bytes are TLS, whatever they are. */
  startTls(credentials: NbdCredentials, outcome: TlsOutcome): void {
    const raw = this.#raw;
    raw.pause();
    raw.removeAllListeners('data');
    // TLS writes past the queue of the raw socket: it has to be empty.
    raw.write(NOTHING, (error) => {
      if (error !== undefined && error !== null) return;
      try {
        this.#handshake(credentials, outcome);
      } catch (broken) {
        // Keys or certificates that do not fit together.
        outcome.failed(messageOf(broken));
      }
    });
  }

  #handshake({ keys, certificates, access }: NbdCredentials, outcome: TlsOutcome): void {
    let identity: string | undefined;
    const server = serverFor({ keys, certificates }, (name) => {
      identity = name;
    });
    server.on('tlsClientError', (error) => outcome.failed(`TLS: ${error.message}`));
    server.on('secureConnection', (socket) => {
      const name = nameOf(socket, identity);
      if (name === undefined) {
        outcome.failed('TLS: neither a key nor a good certificate with one common name');
        return;
      }
      this.#secured(socket);
      outcome.secured(access(name));
    });
    server.emit('connection', this.#raw);
  }

  #secured(socket: TLSSocket): void {
    this.#secure = new FastSocket(socket, {
      clock: this.#clock,
      onData: (chunk) => this.#receiver.onData(chunk),
      onClose: () => this.#closed(),
    });
    this.#secure.onDrain(() => this.#receiver.onDrain());
  }

  get queuedBytes(): number {
    return this.#secure?.queuedBytes ?? this.#raw.writableLength;
  }

  write(bytes: Uint8Array, sent?: () => void): void {
    if (this.#secure !== undefined) this.#secure.write(bytes, sent);
    else if (this.#raw.writable) this.#raw.write(bytes);
  }

  pause(): void {
    this.#secure?.pause();
  }

  resume(): void {
    this.#secure?.resume();
  }

  end(): void {
    if (this.#secure !== undefined) this.#secure.end();
    else this.#raw.end();
  }

  destroy(): void {
    this.#secure?.destroy();
    this.#raw.destroy();
  }

  #closed(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#raw.destroy();
    this.#receiver.onClose();
  }
}

/** `named` with each identity that a client names and that has a key. */
function serverFor(
  { keys, certificates }: Pick<NbdCredentials, 'keys' | 'certificates'>,
  named: (name: string) => void,
): Server {
  const keyFor = (_socket: TLSSocket, name: string): Uint8Array | null => {
    const key = keys?.get(name);
    if (key !== undefined) named(name);
    return key ?? null;
  };
  // With keys beside certificates, node:tls would reject those who come with a key: then `nameOf` alone judges.
  const proof = { ...certificates, requestCert: true, rejectUnauthorized: keys === undefined };
  return new Server({
    ciphers: CIPHERS,
    minVersion: 'TLSv1.2',
    ...(certificates === undefined ? {} : proof),
    ...(keys === undefined ? {} : { pskCallback: keyFor }),
  });
}

/** Throws 'usage' where certificate, key and authority do not fit together. */
export function checkCredentials(credentials: NbdCredentials): void {
  try {
    serverFor(credentials, () => undefined);
  } catch (error) {
    throw new OperatingError('usage', `the certificates for TLS do not work: ${messageOf(error)}`, {
      remedy:
        'server-key.pem has to be the key of server-cert.pem; docs/NBD.md says how to make both',
      cause: error,
    });
  }
}

/**
 * Who came, if that is proved. By a certificate that node:tls found good, or else by the key of the identity that was
 * named: naming one is no proof, for a handshake may go on without it.
 */
function nameOf(socket: TLSSocket, identity: string | undefined): string | undefined {
  const { subject } = socket.getPeerCertificate();
  if (subject === undefined) return hasProvenKey(socket) ? identity : undefined;
  const name: unknown = socket.authorized ? subject.CN : undefined;
  return typeof name === 'string' && name !== '' ? name : undefined;
}

/** TLS 1.3 calls a key a session that goes on; there are no others, for each client has a server of its own. */
function hasProvenKey(socket: TLSSocket): boolean {
  if (socket.getProtocol() === 'TLSv1.3') return socket.isSessionReused();
  return socket.getCipher().name.includes('-PSK-');
}
