// The line that `dog cluster invite` prints: where to knock, which cluster, and a secret that its members know the hash
// of. Text, so that it can be pasted: "sheep1." and base64url of JSON.

import { OperatingError } from './errors.ts';
import type { ClusterId } from './ids.ts';

export interface JoinToken {
  readonly clusterId: ClusterId;
  /** Full multiaddrs with /p2p/, at most MAX_TOKEN_ADDRESSES. */
  readonly addresses: readonly string[];
  readonly inviteId: string;
  readonly secret: string;
}

export const MAX_TOKEN_ADDRESSES = 16;
export const MAX_TOKEN_BYTES = 8192;
const PREFIX = 'sheep1.';

/** One line without blanks. */
export function encodeToken(token: JoinToken): string {
  const { clusterId, inviteId, secret } = token;
  const addresses = token.addresses.slice(0, MAX_TOKEN_ADDRESSES);
  const json = JSON.stringify({ c: clusterId, a: addresses, i: inviteId, s: secret });
  return PREFIX + Buffer.from(json, 'utf8').toString('base64url');
}

/** @throws OperatingError 'usage' when the line is not a whole token */
export function decodeToken(line: string): JoinToken {
  const text = line.trim();
  if (text.length > MAX_TOKEN_BYTES || !text.startsWith(PREFIX)) throw badToken();
  let value: { c?: unknown; a?: unknown; i?: unknown; s?: unknown };
  try {
    value = JSON.parse(Buffer.from(text.slice(PREFIX.length), 'base64url').toString('utf8'));
  } catch {
    throw badToken();
  }
  const { c, a, i, s } = value ?? {};
  const isWhole =
    typeof c === 'string' &&
    typeof i === 'string' &&
    typeof s === 'string' &&
    Array.isArray(a) &&
    a.length > 0 &&
    a.length <= MAX_TOKEN_ADDRESSES &&
    a.every((address) => typeof address === 'string');
  if (!isWhole) throw badToken();
  return { clusterId: c as ClusterId, addresses: a, inviteId: i, secret: s };
}

function badToken(): OperatingError {
  return new OperatingError('usage', 'this is not a join token, or only a part of one', {
    remedy: 'copy the whole line that `dog cluster invite` prints on a member',
  });
}
