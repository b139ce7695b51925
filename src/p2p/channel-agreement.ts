// The two messages on `/sheep/channel/1`, over noise, that key a data channel (FORMATS.md, "Opening a data channel").

import type { PeerKey } from '../core/ids.ts';
import type { Random } from '../ports/ports.ts';
import { badFrame } from '../wire/bytes.ts';
import { bytes, choice, decode, encode, struct, u16, versioned } from '../wire/codec.ts';
import {
  CHANNEL_ID_BYTES,
  type ChannelAgreement,
  channelKey,
  type DataTls,
  modeOf,
  NONCE_BYTES,
  newChannelId,
} from './data-channel.ts';

const AGREEMENT_VERSION = 1;
/** Both messages are far smaller. */
export const MAX_AGREEMENT_BYTES = 1024;

const ask = versioned(
  AGREEMENT_VERSION,
  struct({ nonce: bytes(NONCE_BYTES), tls: choice(['auto', 'always', 'never']) }),
);
const answer = versioned(
  AGREEMENT_VERSION,
  struct({
    nonce: bytes(NONCE_BYTES),
    channelId: bytes(CHANNEL_ID_BYTES),
    port: u16,
    mode: choice(['tls', 'plain']),
  }),
);

/** The dialler's message, and the nonce to keep. */
export function askChannel(
  random: Random,
  tls: DataTls,
): { nonce: Uint8Array; message: Uint8Array } {
  const nonce = random.bytes(NONCE_BYTES);
  return { nonce, message: encode(ask, { nonce, tls }) };
}

/** The listener's side: what to expect on the data port, and the message to answer with. Throws 'bad-frame'. */
export function answerChannel(
  request: Uint8Array,
  options: {
    readonly random: Random;
    readonly self: PeerKey;
    readonly peer: PeerKey;
    readonly tls: DataTls;
    readonly isLoopback: boolean;
    readonly port: number;
  },
): { agreement: ChannelAgreement; message: Uint8Array } {
  const asked = decode(ask, request);
  if (asked.nonce.length !== NONCE_BYTES) throw badFrame('length of a nonce');
  const nonce = options.random.bytes(NONCE_BYTES);
  const channelId = newChannelId(options.random);
  const mode = modeOf(options.tls, asked.tls, options.isLoopback);
  const key = channelKey({
    diallerNonce: asked.nonce,
    listenerNonce: nonce,
    dialler: options.peer,
    listener: options.self,
    channelId,
  });
  const message = encode(answer, { nonce, channelId, port: options.port, mode });
  return { agreement: { peer: options.peer, channelId, key, mode }, message };
}

/** The dialler's side: what the answer says. Throws 'bad-frame', also for plain where we insist on TLS. */
export function readAnswer(
  reply: Uint8Array,
  options: {
    readonly nonce: Uint8Array;
    readonly self: PeerKey;
    readonly peer: PeerKey;
    readonly tls: DataTls;
  },
): { agreement: ChannelAgreement; port: number } {
  const { nonce, channelId, port, mode } = decode(answer, reply);
  if (nonce.length !== NONCE_BYTES || channelId.length !== CHANNEL_ID_BYTES) {
    throw badFrame('length of a nonce or channel id');
  }
  if (options.tls === 'always' && mode !== 'tls') throw badFrame('plain where TLS is asked for');
  const key = channelKey({
    diallerNonce: options.nonce,
    listenerNonce: nonce,
    dialler: options.self,
    listener: options.peer,
    channelId,
  });
  return { agreement: { peer: options.peer, channelId: channelId.slice(), key, mode }, port };
}
