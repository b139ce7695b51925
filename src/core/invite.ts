// Invites as the log keeps them: a setting `invite/ID` whose value is the hash of the secret, when it ends, whether one
// node may use it or many. A value of 64 hex digits alone is an older version's: it never ends and serves many.

/** Key prefix of the settings that hold invites; the oldest goes when there are too many. */
export const INVITE_PREFIX = 'invite/';
/** Longest life of an invite: a year. */
export const MAX_INVITE_MS = 366 * 24 * 3600 * 1000;

export interface Invite {
  /** sha256 of the secret, hex. */
  readonly hash: string;
  /** ms since 1970; 0 = never. */
  readonly expiresMs: number;
  readonly isSingleUse: boolean;
  /** ms since 1970; 0 = not known. */
  readonly madeMs: number;
}

/** The value of the setting. */
export function inviteValue(invite: Invite): string {
  const { hash, expiresMs, isSingleUse, madeMs } = invite;
  return `${hash} ${expiresMs} ${isSingleUse ? 1 : 0} ${madeMs}`;
}

/** Undefined for anything that is no invite. */
export function parseInvite(value: string | undefined): Invite | undefined {
  const match = /^([0-9a-f]{64})(?: (\d{1,15}) ([01]) (\d{1,15}))?$/.exec(value ?? '');
  if (match === null) return undefined;
  const [, hash = '', expires = '0', single = '0', made = '0'] = match;
  const isSingleUse = single === '1';
  return { hash, expiresMs: Number(expires), isSingleUse, madeMs: Number(made) };
}

/** Why this secret does not open the door now; undefined when it does. */
export function inviteBar(
  invite: Invite | undefined,
  request: { readonly secretHash: string; readonly dateMs: number },
): string | undefined {
  if (invite === undefined || invite.hash !== request.secretHash) {
    return 'the token is not known here: it was used up, revoked, or never made';
  }
  const isOver = invite.expiresMs !== 0 && request.dateMs >= invite.expiresMs;
  return isOver ? 'the token has expired' : undefined;
}
