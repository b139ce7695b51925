// R6: tells replicas which writes all of W has, so that the next first touch need not look at them. What does not ride
// on a later write goes out after 200 ms of silence, one CLOSE per peer and tick. Lazy: a lost one only costs work.

import type { NodeId, ObjectId } from '../core/ids.ts';
import { writeSetOf } from '../core/partition.ts';
import type { TimerHandle } from '../ports/ports.ts';
import { OP, STATUS } from '../wire/frame.ts';
import { type CloseItem, encodeCloses, MAX_CLOSES_PER_FRAME } from '../wire/payloads.ts';
import { configOf, type Parts, requestFrame } from './context.ts';
import type { PathCell } from './path-cell.ts';
import { type StackKey, stackKey } from './stack.ts';

/** Silence after which what is closed is said. */
export const CLOSE_SILENCE_MS = 200;
/** A CLOSE is not waited for longer. */
export const CLOSE_DEADLINE_MS = 1000;
/** Objects whose close is owed at once; above it the oldest are said at once. */
export const MAX_CLOSES_OWED = 8192;

interface Owed {
  readonly oid: ObjectId;
  readonly p: number;
  readonly count: number;
  readonly since: number;
}

export class Closer {
  readonly #parts: Parts;
  readonly #open: PathCell;
  readonly #owed = new Map<StackKey, Owed>();
  #timer: TimerHandle | undefined;

  constructor(parts: Parts, open: PathCell) {
    this.#parts = parts;
    this.#open = open;
  }

  /** True while a close of this object is owed. */
  owes(index: number): boolean {
    return this.#owed.has(stackKey(this.#open.volume.head, index));
  }

  /** All of W has every write of the object up to `count`. */
  note(index: number, p: number, count: number): void {
    this.noteOf({ generation: this.#open.volume.head, index }, p, count);
  }

  /** The same for an object of another generation of the stack, which was made equal. */
  noteOf(oid: ObjectId, p: number, count: number): void {
    const key = stackKey(oid.generation, oid.index);
    this.#owed.delete(key);
    this.#owed.set(key, { oid, p, count, since: this.#parts.clock.now() });
    if (this.#owed.size > MAX_CLOSES_OWED) this.#say(0, () => {});
    this.#arm(CLOSE_SILENCE_MS);
  }

  /** The object is written again: the close rides on that write. */
  forget(index: number): void {
    this.#owed.delete(stackKey(this.#open.volume.head, index));
  }

  /** Says all that is owed now; `done` when it was answered or given up. */
  flush(done: () => void): void {
    this.#say(0, done);
  }

  #arm(ms: number): void {
    if (this.#timer !== undefined) return;
    this.#timer = this.#parts.clock.setTimer(ms, () => {
      this.#timer = undefined;
      this.#say(CLOSE_SILENCE_MS, () => {});
      const oldest = this.#owed.values().next().value;
      if (oldest === undefined) return;
      const age = this.#parts.clock.now() - oldest.since;
      this.#arm(Math.max(1, CLOSE_SILENCE_MS - age));
    });
  }

  #say(olderThanMs: number, done: () => void): void {
    if (!this.#open.isHeld) {
      this.#owed.clear();
      done();
      return;
    }
    const lists = this.#listsOf(olderThanMs);
    let left = 1;
    const one = (): void => {
      left -= 1;
      if (left === 0) done();
    };
    for (const [node, items] of lists) {
      for (let at = 0; at < items.length; at += MAX_CLOSES_PER_FRAME) {
        left += 1;
        this.#send(node, items.slice(at, at + MAX_CLOSES_PER_FRAME), one);
      }
    }
    one();
  }

  #listsOf(olderThanMs: number): Map<NodeId, CloseItem[]> {
    const lists = new Map<NodeId, CloseItem[]>();
    const view = this.#parts.views.current();
    const now = this.#parts.clock.now();
    const { volume } = this.#open;
    for (const [key, owed] of this.#owed) {
      if (now - owed.since < olderThanMs) break;
      this.#owed.delete(key);
      for (const node of writeSetOf(configOf(view, volume, owed.p))) {
        const list = lists.get(node) ?? [];
        list.push({ ...owed.oid, count: owed.count });
        lists.set(node, list);
      }
    }
    return lists;
  }

  #send(node: NodeId, items: readonly CloseItem[], done: () => void): void {
    const frame = requestFrame(this.#parts.views.current(), OP.CLOSE);
    frame.volume = this.#open.volume.id;
    frame.token = this.#open.token;
    if (frame.token === 0) frame.generation = this.#open.volume.head;
    frame.payload = encodeCloses(items);
    this.#parts.ask(node, frame, CLOSE_DEADLINE_MS, (reply) => {
      if (reply?.status !== STATUS.OK) this.#parts.trace.count('close.lost');
      done();
    });
  }
}
