// A DataChannel over one proven socket: frames cut from its bytes, pieces written through (data-channel.ts makes them).

import { hasCode, messageOf } from '../core/errors.ts';
import type { PeerKey } from '../core/ids.ts';
import type { FastSocket } from '../io/fast-socket.ts';
import type { DataChannel, Trace } from '../ports/ports.ts';
import { FrameAssembler } from '../wire/frame.ts';

/** `socket` is set as soon as it exists; bytes of it go to `receive`, its end to `lost`. */
export class SocketChannel implements DataChannel {
  readonly peer: PeerKey;
  socket: FastSocket | undefined;
  readonly #trace: Trace;
  readonly #assembler: FrameAssembler;
  readonly #ended: (channel: SocketChannel) => void;
  #onFrame: ((frame: Uint8Array) => void) | undefined;
  #onClose: (() => void) | undefined;
  #isClosed = false;

  constructor(peer: PeerKey, trace: Trace, ended: (channel: SocketChannel) => void) {
    this.peer = peer;
    this.#trace = trace;
    this.#ended = ended;
    this.#assembler = new FrameAssembler((frame) => {
      if (!this.#isClosed) this.#onFrame?.(frame);
    });
  }

  get isOpen(): boolean {
    return !this.#isClosed;
  }

  send(pieces: readonly Uint8Array[]): void {
    if (this.#isClosed) return;
    for (const piece of pieces) this.socket?.write(piece);
  }

  onFrame(fn: (frame: Uint8Array) => void): void {
    this.#onFrame = fn;
  }

  onClose(fn: () => void): void {
    this.#onClose = fn;
  }

  close(): void {
    this.socket?.destroy();
    this.lost();
  }

  receive(chunk: Uint8Array): void {
    if (this.#isClosed) return;
    try {
      this.#assembler.feed(chunk);
    } catch (error) {
      if (!hasCode(error, 'bad-frame')) throw error;
      this.#trace.warn('channel.bad', { peer: this.peer, reason: messageOf(error) });
      this.close();
    }
  }

  /** The socket is gone. */
  lost(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#ended(this);
    this.#onClose?.();
  }
}
