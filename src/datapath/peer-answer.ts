// How a replica answers: every reply names its applied index, so that the asker can pull; what it says of versions is
// durable and judged once more when it says it.

import { NO_VERSION, type Version } from '../core/ids.ts';
import type { Row } from '../storage/store-types.ts';
import { type Frame, replyTo, STATUS, type Status } from '../wire/frame.ts';
import type { RowImage } from '../wire/payloads.ts';
import type { Parts } from './context.ts';

export type Reply = (frame: Frame) => void;
/** Judges a request against the view known now. */
export type Judge = () => Status;

/** A reply with the own applied index and, where given, the own version. */
export function answerTo(
  parts: Parts,
  frame: Frame,
  status: Status,
  own: Version = NO_VERSION,
): Frame {
  const made = replyTo(frame, status);
  made.mapIndex = parts.views.current().index;
  made.verToken = own.token;
  made.verCount = own.count;
  return made;
}

/** Answers once all that was accepted before is durable, if the request is still right then. */
export function answerSettled(
  parts: Parts,
  frame: Frame,
  reply: Reply,
  how: { readonly judge: Judge; readonly make: () => Frame },
): void {
  parts.store.settled((error) => {
    const status = error === undefined ? how.judge() : STATUS.IO;
    reply(status === STATUS.OK ? how.make() : answerTo(parts, frame, status));
  });
}

/** The version of a row; none = never written. */
export function versionOfRow(row: Row | undefined): Version {
  if (row === undefined) return NO_VERSION;
  return { token: row.verToken as Version['token'], count: row.verCount };
}

/** The row alone, to be spread into another one: what the store gives may have getters. */
export function imageOf(row: RowImage): RowImage {
  const { generation, index, family, partition, kind } = row;
  const { verToken, verCount, ownLow, ownHigh, closed, openLow, openHigh } = row;
  const masks = { ownLow, ownHigh, openLow, openHigh };
  return { generation, index, family, partition, kind, verToken, verCount, closed, ...masks };
}
