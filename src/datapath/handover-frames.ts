// HANDOVER on the wire (3.2, 3.3). Token 0: "give the lock back if nobody but a copier uses it" (S8). With a token: flag
// STANDBY says "a client of mine connected beside you", without it a write waits and the lock is asked for. The payload
// names the asking session. An answer BUSY carries the reason as one byte; OK to an ask means drained, for good.

import { HANDOVER_REASONS, type HandoverReason } from '../core/guest-traffic.ts';
import type { Asker } from '../core/handover.ts';
import type { FencingToken, NodeId, SessionId } from '../core/ids.ts';
import { FLAG, type Frame, OP, replyTo, STATUS, type Status } from '../wire/frame.ts';
import { type Parts, requestFrame, type SessionOf } from './context.ts';
import type { OpenVolume } from './open-volume.ts';

const SESSION_BYTES = 4;

/** An ask, or with `isNotice` only the news that a client is there. */
export function handoverFrame(
  parts: Pick<Parts, 'views'>,
  open: Pick<OpenVolume, 'volume' | 'sessionId'>,
  token: FencingToken,
  isNotice: boolean,
): Frame {
  const frame = requestFrame(parts.views.current(), OP.HANDOVER);
  if (isNotice) frame.flags |= FLAG.STANDBY;
  frame.volume = open.volume.id;
  frame.token = token;
  frame.payload = new Uint8Array(SESSION_BYTES);
  new DataView(frame.payload.buffer).setUint32(0, open.sessionId, true);
  return frame;
}

/** Why not, as the holder says; undefined where it says nothing that this version knows. */
export function reasonIn(reply: Frame): HandoverReason | undefined {
  return HANDOVER_REASONS[reply.payload[0] ?? 0];
}

/** At the holder: one request, one answer. */
export function serveHandover(
  parts: Parts,
  sessionOf: SessionOf,
  from: NodeId,
  frame: Frame,
  reply: (frame: Frame) => void,
): void {
  const answer = (status: Status, reason: HandoverReason = ''): void => {
    const made = replyTo(frame, status);
    made.mapIndex = parts.views.current().index;
    const place = HANDOVER_REASONS.indexOf(reason);
    if (place > 0) made.payload = Uint8Array.of(place);
    reply(made);
  };
  const session = sessionOf(frame.volume);
  const asker = askerIn(from, frame);
  if (session === undefined) answer(STATUS.NOT_HOLDER);
  else if (frame.token === 0) answer(session.letGo() ? STATUS.OK : STATUS.BUSY);
  else if (asker === undefined) answer(STATUS.BAD);
  else if ((frame.flags & FLAG.STANDBY) !== 0) {
    session.noteBeside(asker);
    answer(STATUS.OK);
  } else {
    session.handOver(asker, (said) => {
      if (said === 'drained') answer(STATUS.OK);
      else if (said === 'not-holder') answer(STATUS.NOT_HOLDER);
      else answer(STATUS.BUSY, said);
    });
  }
}

function askerIn(node: NodeId, { payload, token }: Frame): Asker | undefined {
  if (payload.length !== SESSION_BYTES) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset);
  return { node, session: view.getUint32(0, true) as SessionId, token };
}
