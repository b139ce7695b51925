// Which requests are in order: commands, flags, lengths and the volume's end, as the protocol wants them answered. Pure.

import { SECTOR_BYTES } from '../core/units.ts';
import {
  COMMAND,
  COMMAND_FLAG,
  ERRNO,
  MAX_REQUEST_BYTES,
  type RequestHeader,
} from './nbd-codec.ts';

/** Why a request is refused: the number for the guest, the text for people (structured replies carry it). */
export interface Refusal {
  readonly errno: number;
  readonly text: string;
}

export const SHUTTING_DOWN: Refusal = {
  errno: ERRNO.ESHUTDOWN,
  text: 'this node is shutting down',
};

const NOT_FAST: Refusal = {
  errno: ERRNO.ENOTSUP,
  text: `only whole sectors of ${SECTOR_BYTES} bytes are zeroed quickly`,
};

export interface RequestRules {
  readonly sizeBytes: number;
  readonly isStructured: boolean;
  /** A metadata context was agreed on: BLOCK_STATUS is served. */
  readonly hasContexts: boolean;
}

/** Why a request is refused before anything is done; undefined when it is in order. DISC is not asked about. */
export function judgeRequest(request: RequestHeader, rules: RequestRules): Refusal | undefined {
  const { type, flags, length, offset } = request;
  const allowed = flagsOf(type, rules);
  if (allowed === undefined) return invalid(`command ${type} is not served`);
  if ((flags & ~allowed) !== 0) return invalid(`flags ${flags} are not allowed on command ${type}`);
  if (type === COMMAND.flush) {
    const isPlain = offset === 0 && length === 0;
    return isPlain ? undefined : invalid('FLUSH takes no offset and no length');
  }
  if (length === 0) return invalid('a length of 0');
  const hasData = type === COMMAND.read || type === COMMAND.write;
  if (hasData && length > MAX_REQUEST_BYTES) {
    return invalid(`a request carries ${MAX_REQUEST_BYTES} bytes at most`);
  }
  if (offset + length <= rules.sizeBytes) {
    return isSlowFastZero(request) ? NOT_FAST : undefined;
  }
  const text = `beyond the volume's end at ${rules.sizeBytes} bytes`;
  const isFull = type === COMMAND.write || type === COMMAND.writeZeroes;
  return isFull ? { errno: ERRNO.ENOSPC, text } : invalid(text);
}

/** Flags that a command may carry; undefined for a command that is not served. FUA is legal on all. */
function flagsOf(type: number, rules: RequestRules): number | undefined {
  switch (type) {
    case COMMAND.read:
      return COMMAND_FLAG.fua | (rules.isStructured ? COMMAND_FLAG.df : 0);
    case COMMAND.writeZeroes:
      return COMMAND_FLAG.fua | COMMAND_FLAG.noHole | COMMAND_FLAG.fastZero;
    case COMMAND.blockStatus:
      return rules.hasContexts ? COMMAND_FLAG.fua | COMMAND_FLAG.reqOne : undefined;
    case COMMAND.write:
    case COMMAND.trim:
    case COMMAND.cache:
    case COMMAND.flush:
      return COMMAND_FLAG.fua;
    default:
      return undefined;
  }
}

/** Whole sectors are zeroed without writing a byte; edges are read and written. */
function isSlowFastZero({ type, flags, offset, length }: RequestHeader): boolean {
  if (type !== COMMAND.writeZeroes || (flags & COMMAND_FLAG.fastZero) === 0) return false;
  return offset % SECTOR_BYTES !== 0 || length % SECTOR_BYTES !== 0;
}

function invalid(text: string): Refusal {
  return { errno: ERRNO.EINVAL, text };
}
