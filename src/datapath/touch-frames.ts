// One partition that is being touched, and the frames of first touch (4.5): SEAL, ENSURE, VERSIONS and EQUALISE carry the
// session's token and the cfg of the round; a refusal ends the session, asks for the log, or is only counted.

import { messageOf } from '../core/errors.ts';
import type { MapIndex, NodeId } from '../core/ids.ts';
import type { PartitionConfig } from '../core/view.ts';
import { type Frame, STATUS } from '../wire/frame.ts';
import { decodeRows, type RowImage } from '../wire/payloads.ts';
import { type Parts, requestFrame } from './context.ts';
import type { Table } from './equalise-plan.ts';
import type { PathCell } from './path-cell.ts';

/** A member answers a SEAL, an ENSURE or a VERSIONS within this. */
export const SEAL_DEADLINE_MS = 5000;

/** One partition on its way to being touched. */
export interface Touch {
  readonly p: number;
  config: PartitionConfig;
  /** Answers of an older round are void. */
  round: number;
  failures: number;
  /** `pausing`: waits before a new round. */
  phase: 'sealing' | 'comparing' | 'pausing';
  /** What each sealed member listed. */
  readonly tables: Map<NodeId, Table>;
  readonly waiters: (() => void)[];
  /** Reads: a read-only touch is enough for them, unless their object is open. */
  readonly readers: { readonly index: number; readonly fn: () => void }[];
}

/**
 * Members whose answer is asked for next. Joiners last: a SEAL voids what they are copying (4.6), so that while a member of
 * I stays silent, and is asked again each second, no copy of a large object would ever end.
 */
export function nextToSeal({ config, tables }: Touch): readonly NodeId[] {
  const missing = config.inSync.filter((node) => !tables.has(node));
  return missing.length > 0 ? missing : config.joining.filter((node) => !tables.has(node));
}

/** A frame under the session's token; of one partition, under the cfg that is being touched. */
export function touchFrame(parts: Parts, open: PathCell, op: number, touch?: Touch): Frame {
  const frame = requestFrame(parts.views.current(), op);
  frame.volume = open.volume.id;
  frame.token = open.token;
  // S3: of a frozen generation nobody has the lock; the header names it.
  if (open.token === 0) frame.generation = open.volume.head;
  if (touch !== undefined) {
    frame.partition = touch.p;
    frame.cfg = touch.config.cfg;
  }
  return frame;
}

/** The rows of a good reply; undefined after a refusal, which is dealt with here. */
export function rowsOfReply(
  parts: Parts,
  open: PathCell,
  node: NodeId,
  reply: Frame | undefined,
): readonly RowImage[] | undefined {
  if (reply?.status !== STATUS.OK) {
    touchRefused(parts, open, node, reply);
    return undefined;
  }
  try {
    return decodeRows(reply.payload);
  } catch (error) {
    parts.trace.warn('touch.bad.reply', { node, error: messageOf(error) });
    return undefined;
  }
}

/** A member refused or is silent: what follows from that besides another try. */
export function touchRefused(
  parts: Parts,
  open: PathCell,
  node: NodeId,
  reply: Frame | undefined,
): void {
  if (reply === undefined) return;
  if (reply.status === STATUS.FENCED) {
    open.fenced();
  } else if (reply.status === STATUS.STALE || reply.status === STATUS.NOT_MEMBER) {
    parts.pull(reply.mapIndex as MapIndex, node);
  } else {
    parts.trace.count('touch.retried');
  }
}
