// A small NBD client of our own, for tests that must know exactly what was acknowledged: simple replies, promises, many
// requests in flight. When the socket dies every open request rejects; what was acknowledged before stays acknowledged.

import { once } from 'node:events';
import net from 'node:net';
import {
  COMMAND,
  encodeRequest,
  readU16,
  readU32,
  SIMPLE_REPLY_BYTES,
} from '../../src/nbd/nbd-codec.ts';
import { encodeInfoRequest, encodeOption, OPTION, REPLY } from '../../src/nbd/option-codec.ts';

const GREETING_BYTES = 18;
const OPTION_REPLY_BYTES = 20;

/** What a request that did not go well says. `errno` 0: the connection is gone. */
export class NbdFailure extends Error {
  readonly errno: number;

  constructor(errno: number, message: string) {
    super(message);
    this.errno = errno;
  }
}

interface Open {
  readonly readBytes: number;
  readonly resolve: (data: Buffer) => void;
  readonly reject: (error: NbdFailure) => void;
}

export class NbdClient {
  readonly #socket: net.Socket;
  #received: Buffer = Buffer.alloc(0);
  #onBytes: (() => void) | undefined;
  readonly #open = new Map<number, Open>();
  #cookie = 0;
  #isAttached = false;
  #isGone = false;
  sizeBytes = 0;

  /** Attaches `name` on a unix socket. Rejects with NbdFailure. Requests have the cookies after `cookie`. */
  static async connect(socket: string, name: string, cookie = 0): Promise<NbdClient> {
    const client = new NbdClient(net.connect(socket));
    client.#cookie = cookie;
    await client.#attach(name);
    return client;
  }

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
      if (this.#isAttached) this.#takeReplies();
      else this.#onBytes?.();
    });
    socket.on('error', () => undefined); // 'close' follows
    socket.on('close', () => {
      this.#isGone = true;
      for (const open of this.#open.values()) open.reject(new NbdFailure(0, 'connection lost'));
      this.#open.clear();
      this.#onBytes?.();
    });
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    return await this.#request(COMMAND.read, { offset, length });
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    await this.#request(COMMAND.write, { offset, length: data.length }, data);
  }

  async flush(): Promise<void> {
    await this.#request(COMMAND.flush, { offset: 0, length: 0 });
  }

  /** What `ask` asks for leaves in one piece. */
  together<T>(ask: () => T): T {
    this.#socket.cork();
    try {
      return ask();
    } finally {
      this.#socket.uncork();
    }
  }

  /** The socket is lost, as by the death of the guest. */
  cut(): void {
    this.#socket.destroy();
  }

  /** Says goodbye and waits for the server to close. */
  async close(): Promise<void> {
    if (this.#isGone) return;
    const closed = once(this.#socket, 'close');
    this.#send(COMMAND.disc, { offset: 0, length: 0 }, 0);
    await closed;
  }

  async #attach(name: string): Promise<void> {
    await this.#take(GREETING_BYTES);
    this.#socket.write(Uint8Array.of(0, 0, 0, 3));
    this.#socket.write(encodeOption(OPTION.go, encodeInfoRequest(name, [])));
    for (;;) {
      const head = await this.#take(OPTION_REPLY_BYTES);
      const data = await this.#take(readU32(head, 16));
      const reply = readU32(head, 12);
      if (reply === REPLY.ack) break;
      if (reply !== REPLY.info) throw new NbdFailure(reply, data.toString());
      if (readU16(data, 0) === 0) this.sizeBytes = Number(data.readBigUInt64BE(2));
    }
    this.#isAttached = true;
  }

  /** Bytes of the handshake. */
  async #take(bytes: number): Promise<Buffer> {
    while (this.#received.length < bytes) {
      if (this.#isGone) throw new NbdFailure(0, 'connection lost in the handshake');
      await new Promise<void>((resolve) => {
        this.#onBytes = resolve;
      });
    }
    const taken = this.#received.subarray(0, bytes);
    this.#received = this.#received.subarray(bytes);
    return taken;
  }

  #send(type: number, range: { offset: number; length: number }, cookieLow: number): void {
    const header = encodeRequest({ flags: 0, type, cookieHigh: 0, cookieLow, ...range });
    this.#socket.write(header);
  }

  #request(
    type: number,
    range: { offset: number; length: number },
    data?: Uint8Array,
  ): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#isGone) {
        reject(new NbdFailure(0, 'connection lost'));
        return;
      }
      this.#cookie += 1;
      const readBytes = type === COMMAND.read ? range.length : 0;
      this.#open.set(this.#cookie, { readBytes, resolve, reject });
      this.#send(type, range, this.#cookie);
      if (data !== undefined) this.#socket.write(data);
    });
  }

  #takeReplies(): void {
    while (this.#received.length >= SIMPLE_REPLY_BYTES) {
      const errno = readU32(this.#received, 4);
      const cookie = readU32(this.#received, 12);
      const open = this.#open.get(cookie);
      if (open === undefined) throw new NbdFailure(0, `a reply to nothing: ${cookie}`);
      const end = SIMPLE_REPLY_BYTES + (errno === 0 ? open.readBytes : 0);
      if (this.#received.length < end) return;
      const data = this.#received.subarray(SIMPLE_REPLY_BYTES, end);
      this.#received = this.#received.subarray(end);
      this.#open.delete(cookie);
      if (errno === 0) open.resolve(data);
      else open.reject(new NbdFailure(errno, `error ${errno}`));
    }
  }
}
