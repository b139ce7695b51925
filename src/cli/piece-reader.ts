// Reads pieces of a hold over connections that it keeps. What `node:http` makes of a piece is three copies of it, in parts
// that stay until the garbage is looked for; here each connection has one buffer for what comes, and the bytes of an answer
// go to where they stay at once. It knows as much of HTTP as a sheep says: a status, a length, a body.

import net from 'node:net';
import { KIB, MIB } from '../core/units.ts';
import { ANSWER_TIMEOUT_MS, failureIn, type Target, unreachable } from './client.ts';
import { CommandError } from './failure.ts';

/** What is taken from a socket at once. */
const RECEIVE_BYTES = 256 * KIB;
/** Of an answer: its status and headers. */
const MAX_HEAD_BYTES = 16 * KIB;
/** Of an answer: a piece, or the words of a refusal. */
const MAX_BODY_BYTES = MIB;
const END_OF_HEAD = '\r\n\r\n';

export class PieceReader {
  readonly #target: Target;
  readonly #timeoutMs: number;
  /** Connections that nobody waits on: as many as were ever asked at once. */
  readonly #idle: Line[] = [];
  #isEnded = false;

  constructor(target: Target, timeoutMs = ANSWER_TIMEOUT_MS) {
    this.#target = target;
    this.#timeoutMs = timeoutMs;
  }

  /** Bytes of whoever asked. @throws CommandError as the node refuses it, 'unreachable', 'timeout' */
  async get(route: string): Promise<Uint8Array> {
    const line = this.#line();
    const { status, body } = await line.ask(route);
    if (!this.#isEnded && line.isOpen) this.#idle.push(line);
    else line.end();
    if (status >= 400) throw failureIn(status, body);
    return body;
  }

  end(): void {
    this.#isEnded = true;
    for (const line of this.#idle.splice(0)) line.end();
  }

  #line(): Line {
    for (;;) {
      const line = this.#idle.pop();
      if (line === undefined) return new Line(this.#target, this.#timeoutMs);
      if (line.isOpen) return line;
    }
  }
}

interface Answer {
  readonly status: number;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** A connection: one question at a time. */
class Line {
  readonly #target: Target;
  readonly #socket: net.Socket;
  #asked: PromiseWithResolvers<Answer> | undefined;
  #head = '';
  #answer: Answer | undefined;
  #have = 0;
  #isLast = false;

  constructor(target: Target, timeoutMs: number) {
    this.#target = target;
    const buffer = Buffer.allocUnsafe(RECEIVE_BYTES);
    const callback = (count: number): boolean => {
      this.#take(buffer.subarray(0, count));
      return true;
    };
    const options = 'socketPath' in target ? { path: target.socketPath } : target;
    this.#socket = net.connect({ ...options, onread: { buffer, callback } });
    this.#socket.setTimeout(timeoutMs, () => {
      const late = { name: 'TimeoutError', message: 'no answer' };
      if (this.#asked !== undefined) this.#fail(unreachable(target, late));
    });
    this.#socket.on('error', (error) => this.#fail(unreachable(target, error)));
    this.#socket.on('close', () => {
      const message = 'the connection was closed';
      this.#fail(
        unreachable(target, Object.assign(new RangeError(message), { code: 'ECONNRESET' })),
      );
    });
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed && this.#socket.readyState !== 'closed' && !this.#isLast;
  }

  ask(route: string): Promise<Answer> {
    this.#asked = Promise.withResolvers<Answer>();
    const host = 'socketPath' in this.#target ? 'localhost' : this.#target.host;
    this.#socket.write(`GET ${route} HTTP/1.1\r\nHost: ${host}${END_OF_HEAD}`);
    return this.#asked.promise;
  }

  end(): void {
    this.#socket.destroy();
  }

  /** Of one answer after the other; nothing comes that was not asked for. */
  #take(bytes: Buffer): void {
    let from = 0;
    if (this.#answer === undefined) {
      const known = this.#head.length;
      this.#head += bytes.toString('latin1', 0, MAX_HEAD_BYTES);
      const end = this.#head.indexOf(END_OF_HEAD);
      if (end < 0 && this.#head.length < MAX_HEAD_BYTES) return;
      this.#answer = end < 0 ? undefined : this.#answerOf(this.#head.slice(0, end));
      if (this.#answer === undefined || this.#asked === undefined) {
        this.#refuse();
        return;
      }
      from = end + END_OF_HEAD.length - known;
      this.#head = '';
      this.#have = 0;
    }
    const { body } = this.#answer;
    const isTooLong = bytes.length - from > body.length - this.#have;
    this.#have += bytes.copy(body, this.#have, from);
    if (isTooLong) this.#refuse();
    else if (this.#have === body.length) this.#done(this.#answer);
  }

  /** Undefined: not what a sheep says. */
  #answerOf(head: string): Answer | undefined {
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1]);
    const length = Number(/\r\ncontent-length: *(\d{1,9}) *(\r\n|$)/i.exec(head)?.[1]);
    this.#isLast = /\r\nconnection: *close/i.test(head);
    if (!(status >= 200 && length <= MAX_BODY_BYTES)) return undefined;
    return { status, body: new Uint8Array(Buffer.allocUnsafeSlow(length).buffer) };
  }

  #done(answer: Answer): void {
    const asked = this.#asked;
    this.#asked = undefined;
    this.#answer = undefined;
    if (this.#isLast) this.#socket.destroy();
    asked?.resolve(answer);
  }

  #refuse(): void {
    this.#fail(
      new CommandError('internal', 'the answer is not that of a sheep', 'look at the address'),
    );
  }

  #fail(error: CommandError): void {
    const asked = this.#asked;
    this.#asked = undefined;
    this.#socket.destroy();
    asked?.reject(error);
  }
}
