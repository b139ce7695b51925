// Asking the holder of a volume to let its writes end before the head is frozen (S4), from any node: HOLD on the wire. What
// it answers is what the entry compares: token and head. A volume that nobody holds needs no asking: what was half written
// is settled by whoever reads it first (S3). A holder that is called down may live, and acknowledge what is then in a
// snapshot that was answered before: refused, unless an operator took the lock from it and the copies know that.

import { OperatingError } from '../core/errors.ts';
import type { FencingToken, GenerationId, MapIndex, VolumeId } from '../core/ids.ts';
import { isHolderDead, isSuperseded } from '../core/lock.ts';
import type { Volume } from '../core/view.ts';
import { type Frame, OP, STATUS, type Status } from '../wire/frame.ts';
import { isUp, type Parts, requestFrame, type SessionOf } from './context.ts';
import { awaitBarrier } from './fence-barrier.ts';
import { FREEZE_DRAIN_MS } from './freeze-desk.ts';
import { answerTo, type Reply } from './peer-answer.ts';

/** The holder's bound, and the way there and back. */
export const HOLD_DEADLINE_MS = FREEZE_DRAIN_MS + 2000;

/** A volume as it must still be when its head is frozen. */
export interface HeldVolume {
  readonly volume: VolumeId;
  readonly token: FencingToken;
  readonly head: GenerationId;
}

/** `done` once: held, or why not. Who got it commits soon: the holder's guest waits. */
export function holdVolume(
  parts: Parts,
  id: VolumeId,
  done: (error: OperatingError | undefined, held: HeldVolume | undefined) => void,
): void {
  const view = parts.views.current();
  const volume = view.volumes.get(id);
  if (volume === undefined) {
    done(new OperatingError('missing', 'there is no such volume'), undefined);
    return;
  }
  const { lock, head } = volume;
  const held = { volume: id, token: lock.token, head };
  if (lock.state === 'free') {
    done(undefined, held);
    return;
  }
  if (isSuperseded(lock)) {
    awaitBarrier(parts, volume, (isThere) => {
      if (isThere) done(undefined, held);
      else done(unfenced(volume), undefined);
    });
    return;
  }
  if (isHolderDead(view, lock)) {
    // Up in another life: that process has ended.
    if (isUp(view, lock.node)) done(undefined, held);
    else done(holderIsDown(volume), undefined);
    return;
  }
  askHolder(parts, volume, done);
}

function askHolder(
  parts: Parts,
  volume: Volume,
  done: (error: OperatingError | undefined, held: HeldVolume | undefined) => void,
): void {
  const view = parts.views.current();
  const { id, lock } = volume;
  const frame = requestFrame(view, OP.HOLD);
  frame.volume = id;
  frame.token = lock.token;
  parts.ask(lock.node, frame, HOLD_DEADLINE_MS, (reply) => {
    if (reply !== undefined && reply.status !== STATUS.OK) {
      parts.pull(reply.mapIndex as MapIndex, lock.node);
    }
    if (reply?.status === STATUS.OK) {
      done(undefined, { volume: id, token: lock.token, head: reply.generation });
    } else done(refusalOf(volume, reply), undefined);
  });
}

function holderIsDown({ name, lock }: Volume): OperatingError {
  const text = `n${lock.node}, which has ${name}, is down, and its guest may still write: nothing was changed`;
  return new OperatingError('unreachable', text, {
    advice: 'retry',
    remedy: `start it, or, if no guest of it runs any more: dog vdi lock unlock ${name}`,
  });
}

function unfenced({ name }: Volume): OperatingError {
  const text = `not all copies of ${name} know that it was unlocked: nothing was changed`;
  return new OperatingError('unreachable', text, {
    advice: 'retry',
    remedy: 'try again; dog cluster check shows what is not reached',
  });
}

function refusalOf({ name, lock }: Volume, reply: Frame | undefined): OperatingError {
  if (reply?.status === STATUS.BUSY) {
    const text = `writes of ${name} did not end within ${FREEZE_DRAIN_MS / 1000} s: nothing was changed`;
    return new OperatingError('busy', text, {
      advice: 'retry',
      remedy: 'try again when its guest writes less, or when its copies answer',
    });
  }
  if (reply?.status === STATUS.NOT_HOLDER) {
    const text = `n${lock.node} has ${name} no more, and the map does not know yet: nothing was changed`;
    return new OperatingError('changed', text, { advice: 'retry', remedy: 'try again' });
  }
  const text = `n${lock.node}, which has ${name}, did not answer: nothing was changed`;
  return new OperatingError('unreachable', text, { advice: 'retry', remedy: 'try again' });
}

/** At the holder: one request, one answer, after the drain. */
export function serveHold(parts: Parts, sessionOf: SessionOf, frame: Frame, reply: Reply): void {
  const answer = (status: Status, head?: GenerationId): void => {
    const made = answerTo(parts, frame, status);
    if (head !== undefined) made.generation = head;
    reply(made);
  };
  const session = sessionOf(frame.volume);
  if (session === undefined) {
    answer(STATUS.NOT_HOLDER);
    return;
  }
  session.hold(frame.token, (head) => {
    if (head === undefined) answer(STATUS.BUSY);
    else answer(STATUS.OK, head);
  });
}
