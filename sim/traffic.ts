// What goes over the simulated cable, in messages and bytes by kind. Bytes are those of our frames and messages; the
// headers of TCP, noise and yamux are not in it.

import { OP, REPLY_BIT } from '../src/wire/frame.ts';

/** Copies of one rumour that a node gets from a gossipsub mesh of degree 6 to 8 (PROTOCOL 1.6). */
export const GOSSIP_DELIVERIES = 7;

/** Byte of a frame that holds its operation. */
const OP_AT = 8;
const KINDS = ['', 'request', 'reply', 'raft', 'alert', 'digest'];

export interface Sum {
  messages: number;
  bytes: number;
}

/** Sums since the last `reset`. */
export class Traffic {
  readonly sums = new Map<string, Sum>();

  add(kind: string, bytes: number, messages = 1): void {
    let sum = this.sums.get(kind);
    if (sum === undefined) {
      sum = { messages: 0, bytes: 0 };
      this.sums.set(kind, sum);
    }
    sum.messages += messages;
    sum.bytes += bytes * messages;
  }

  addFrame(bytes: Uint8Array): void {
    const op = (bytes[OP_AT] ?? 0) & ~REPLY_BIT;
    const isPing = op === OP.PING;
    this.add(isPing ? 'ping' : 'frame', bytes.length);
  }

  addControl(bytes: Uint8Array): void {
    this.add(KINDS[bytes[1] ?? 0] ?? 'control', bytes.length);
  }

  reset(): void {
    this.sums.clear();
  }

  get total(): Sum {
    const total: Sum = { messages: 0, bytes: 0 };
    for (const { messages, bytes } of this.sums.values()) {
      total.messages += messages;
      total.bytes += bytes;
    }
    return total;
  }
}
