// Learns what the session does not remember of objects: from this node's own replica when it is in sync, else from a
// member of I (R7). The partition is touched, so all of I agrees on what is acknowledged, and nothing of these objects is
// in flight.

import type { Version } from '../core/ids.ts';
import { readersOf } from '../core/partition.ts';
import type { Row } from '../storage/store-types.ts';
import { OP, STATUS } from '../wire/frame.ts';
import { decodeRows, encodeObjectNames } from '../wire/payloads.ts';
import { configOf, isUp, type Parts, requestFrame } from './context.ts';
import type { PathCell } from './path-cell.ts';
import type { ObjectPipe } from './version-pipe.ts';

export const LOOKUP_DEADLINE_MS = 2000;
/** Pause before the next member is asked. */
export const LOOKUP_RETRY_MS = 50;

/** What is told of an object. One that was never written has no row. */
export type FoundRow = Pick<Row, 'index' | 'verToken' | 'verCount' | 'kind' | 'ownLow' | 'ownHigh'>;

/** Calls `then` once `pipe` knows its version, or when the session is lost: look which. */
export function lookUpVersion(
  parts: Parts,
  open: PathCell,
  pipe: ObjectPipe,
  then: () => void,
): void {
  lookUpRows(parts, open, { p: pipe.p, indexes: [pipe.index] }, (rows) => {
    if (rows !== undefined) pipe.learn(versionOf(rows[0]));
    then();
  });
}

/** The rows of objects of one partition; undefined when the session is lost. */
export function lookUpRows(
  parts: Parts,
  open: PathCell,
  asked: { readonly p: number; readonly indexes: readonly number[] },
  then: (rows: readonly FoundRow[] | undefined) => void,
  tries = 0,
): void {
  if (!open.isHeld) {
    then(undefined);
    return;
  }
  const view = parts.views.current();
  const config = configOf(view, open.volume, asked.p);
  const readers = readersOf(config, open.volume.durability);
  const { head } = open.volume;
  if (readers.includes(parts.self)) {
    const own = asked.indexes.map((index) => parts.store.row(head, index));
    then(own.filter((row) => row !== undefined));
    return;
  }
  const up = readers.filter((node) => isUp(view, node));
  const members = up.length > 0 ? up : readers;
  const node = members[tries % members.length];
  const again = (): void => {
    parts.clock.setTimer(LOOKUP_RETRY_MS, () => lookUpRows(parts, open, asked, then, tries + 1));
  };
  if (node === undefined) {
    again();
    return;
  }
  const frame = requestFrame(view, OP.VERSIONS);
  frame.volume = open.volume.id;
  frame.token = open.token;
  if (open.token === 0) frame.generation = head;
  frame.partition = asked.p;
  frame.cfg = config.cfg;
  frame.payload = encodeObjectNames(asked.indexes.map((index) => ({ generation: head, index })));
  parts.ask(node, frame, LOOKUP_DEADLINE_MS, (reply) => {
    if (reply?.status === STATUS.FENCED) open.fenced();
    const isBehind = reply?.status === STATUS.STALE || reply?.status === STATUS.GONE;
    if (reply !== undefined && isBehind) parts.pull(reply.mapIndex, node);
    if (reply?.status !== STATUS.OK) return open.isHeld ? again() : then(undefined);
    then(decodeRows(reply.payload));
  });
}

function versionOf(row: { verToken: number; verCount: number } | undefined): Version {
  return { token: (row?.verToken ?? 0) as Version['token'], count: row?.verCount ?? 0 };
}
