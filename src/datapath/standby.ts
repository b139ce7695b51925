// A session beside a live holder: its reads go to the holder, which serves them like its own guest's (3.2). The holder
// is asked by volume and place; generation and cfg are the holder's business. Its writes wait for the holder to hand the
// volume over, or to leave (handover-ask.ts).

import { OperatingError } from '../core/errors.ts';
import { MAX_PAYLOAD_BYTES, OBJECT_BYTES } from '../core/units.ts';
import type { Clock, TimerHandle } from '../ports/ports.ts';
import { FLAG, type Frame, OP, replyTo, STATUS } from '../wire/frame.ts';
import { type Parts, requestFrame, type SessionOf } from './context.ts';
import type { OpenVolume } from './open-volume.ts';
import { lostSectors } from './read-replica.ts';

/** The holder may have to wait for its own writes first. */
export const STANDBY_DEADLINE_MS = 5000;
/** `handover_timeout` (3.2): a write waits so long beside a live holder, then EPERM; further ones for as long at once. */
export const HANDOVER_TIMEOUT_MS = 30_000;

/** Bytes of one object of the volume. */
export interface StandbySlice {
  readonly index: number;
  readonly offset: number;
  readonly length: number;
}

/**
 * Asks the holder once.
 * @param done the bytes, or why no copy has them; undefined = judge the lock by the view known then, and ask again
 */
export function readFromHolder(
  parts: Parts,
  open: OpenVolume,
  slice: StandbySlice,
  done: (found: Uint8Array | OperatingError | undefined) => void,
): void {
  const { holder } = open;
  const frame = requestFrame(parts.views.current(), OP.READ);
  frame.flags |= FLAG.STANDBY;
  frame.volume = open.volume.id;
  frame.index = slice.index;
  frame.offset = slice.offset;
  frame.count = slice.length;
  parts.ask(holder, frame, STANDBY_DEADLINE_MS, (reply) => {
    if (reply?.status === STATUS.OK && reply.payload.length === slice.length) {
      return done(reply.payload);
    }
    if (reply?.status === STATUS.NOT_HOLDER) {
      parts.pull(reply.mapIndex, holder);
    }
    // The holder asked every copy: asking it again would make it ask them all again.
    done(reply?.status === STATUS.SUSPECT ? lostSectors() : undefined);
  });
}

/**
 * Asks the holder once to sync as for its own guest (3.2).
 * @param done false = judge the lock by the view known then, and ask again
 */
export function flushAtHolder(
  parts: Parts,
  open: OpenVolume,
  done: (isDone: boolean) => void,
): void {
  const { holder } = open;
  const frame = requestFrame(parts.views.current(), OP.SYNC);
  frame.flags |= FLAG.STANDBY;
  frame.volume = open.volume.id;
  parts.ask(holder, frame, STANDBY_DEADLINE_MS, (reply) => {
    if (reply?.status === STATUS.NOT_HOLDER) parts.pull(reply.mapIndex, holder);
    done(reply?.status === STATUS.OK);
  });
}

/** At the holder: serves a STANDBY read or flush through its own session. */
export function serveStandby(
  parts: Parts,
  sessionOf: SessionOf,
  frame: Frame,
  reply: (frame: Frame) => void,
): void {
  const answer = (status: 0 | 8 | 10 | 11 | 12 | 16): Frame => {
    const made = replyTo(frame, status);
    made.mapIndex = parts.views.current().index;
    return made;
  };
  const session = sessionOf(frame.volume);
  if (session === undefined || !session.isHolder) {
    reply(answer(STATUS.NOT_HOLDER));
    return;
  }
  if (frame.op === OP.SYNC) {
    session.flushBeside((error) => {
      if (error === undefined) return reply(answer(STATUS.OK));
      reply(answer(session.isHolder ? STATUS.IO : STATUS.NOT_HOLDER));
    });
    return;
  }
  if (frame.offset + frame.count > OBJECT_BYTES || frame.count > MAX_PAYLOAD_BYTES) {
    reply(answer(STATUS.BAD));
    return;
  }
  const bytes = new Uint8Array(frame.count);
  session.readBeside(frame.index * OBJECT_BYTES + frame.offset, frame.count, bytes, 0, (error) => {
    if (error instanceof OperatingError && error.code === 'corrupt')
      return reply(answer(STATUS.SUSPECT));
    if (error !== undefined) return reply(answer(session.isHolder ? STATUS.IO : STATUS.NOT_HOLDER));
    const made = answer(STATUS.OK);
    made.payload = bytes;
    reply(made);
  });
}

interface Waiting {
  readonly timer: TimerHandle;
  readonly judge: () => void;
}

/** Requests of a standby that want the lock, in order. Bounded by the session's requests in flight. */
export class StandbyWrites {
  readonly #clock: Clock;
  readonly #waiting = new Set<Waiting>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  /** Calls `judge` once: when the lock has changed, or at the deadline. */
  wait(deadline: number, judge: () => void): void {
    const ms = Math.max(0, deadline - this.#clock.now());
    const timer = this.#clock.setTimer(ms, () => {
      this.#waiting.delete(waiting);
      judge();
    });
    const waiting: Waiting = { timer, judge };
    this.#waiting.add(waiting);
  }

  /** The lock has changed: all judge again, and may wait again. */
  wake(): void {
    const all = [...this.#waiting];
    this.#waiting.clear();
    for (const { timer, judge } of all) {
      this.#clock.clearTimer(timer);
      judge();
    }
  }
}
