// Learns the version of an object that the session does not remember: from this node's own replica when it is in sync,
// else from a member of I (R7). The partition is touched, so all of I agrees on what is acknowledged, and nothing of
// this object is in flight.

import type { Version } from '../core/ids.ts';
import { readersOf } from '../core/partition.ts';
import { OP, STATUS } from '../wire/frame.ts';
import { decodeRows, encodeObjectNames } from '../wire/payloads.ts';
import { configOf, isUp, type Parts, requestFrame } from './context.ts';
import type { OpenVolume } from './open-volume.ts';
import type { ObjectPipe } from './version-pipe.ts';

export const LOOKUP_DEADLINE_MS = 2000;
/** Pause before the next member is asked. */
export const LOOKUP_RETRY_MS = 50;

/** Calls `then` once `pipe` knows its version, or when the session is lost: look which. */
export function lookUpVersion(
  parts: Parts,
  open: OpenVolume,
  pipe: ObjectPipe,
  then: () => void,
  tries = 0,
): void {
  if (!open.isHeld) {
    then();
    return;
  }
  const view = parts.views.current();
  const config = configOf(view, open.volume, pipe.p);
  const readers = readersOf(config, open.volume.durability);
  if (readers.includes(parts.self)) {
    const row = parts.store.row(open.volume.head, pipe.index);
    pipe.learn(versionOf(row));
    then();
    return;
  }
  const up = readers.filter((node) => isUp(view, node));
  const members = up.length > 0 ? up : readers;
  const node = members[tries % members.length];
  const again = (): void => {
    parts.clock.setTimer(LOOKUP_RETRY_MS, () => lookUpVersion(parts, open, pipe, then, tries + 1));
  };
  if (node === undefined) {
    again();
    return;
  }
  const frame = requestFrame(view, OP.VERSIONS);
  frame.volume = open.volume.id;
  frame.token = open.token;
  frame.partition = pipe.p;
  frame.cfg = config.cfg;
  frame.payload = encodeObjectNames([{ generation: open.volume.head, index: pipe.index }]);
  parts.ask(node, frame, LOOKUP_DEADLINE_MS, (reply) => {
    if (reply?.status === STATUS.FENCED) open.lost('a replica knows a newer token of this volume');
    if (reply?.status === STATUS.STALE) parts.pull(reply.mapIndex, node);
    if (reply?.status !== STATUS.OK) return open.isHeld ? again() : then();
    pipe.learn(versionOf(decodeRows(reply.payload)[0]));
    then();
  });
}

function versionOf(row: { verToken: number; verCount: number } | undefined): Version {
  return { token: (row?.verToken ?? 0) as Version['token'], count: row?.verCount ?? 0 };
}
