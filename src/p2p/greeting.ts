// What a control connection from outside must begin with, checked before libp2p reads a byte of it. Its reader takes a
// length that never ends one byte at a time without giving the event loop back: 4 MiB of 0xff, or of noise, would stop
// the node for seconds, long enough to be called down.

import type { MultiaddrConnection, StreamMessageEvent } from '@libp2p/interface';

const line = (text: string): Buffer => Buffer.concat([Buffer.of(text.length), Buffer.from(text)]);

/** All that our dialers say before they wait for an answer: one way to encrypt is offered, the only one we have. */
export const GREETING: Buffer = Buffer.concat([line('/multistream/1.0.0\n'), line('/noise\n')]);

/** Whether the connection begins with the greeting; nothing is taken from it. False once it closed before. */
export function beginsWithGreeting(connection: MultiaddrConnection): Promise<boolean> {
  return new Promise((resolve) => {
    let seen: Uint8Array = new Uint8Array(0);
    const settle = (isGreeting: boolean): void => {
      connection.removeEventListener('message', onMessage);
      connection.removeEventListener('close', onClose);
      resolve(isGreeting);
    };
    const onMessage = ({ data }: StreamMessageEvent): void => {
      seen = Buffer.concat([seen, data.subarray()]);
      const length = Math.min(seen.length, GREETING.length);
      if (GREETING.compare(seen, 0, length, 0, length) !== 0) {
        settle(false);
      } else if (length === GREETING.length) {
        settle(true);
        connection.unshift(seen);
      }
    };
    const onClose = (): void => settle(false);
    connection.addEventListener('message', onMessage);
    connection.addEventListener('close', onClose);
  });
}
