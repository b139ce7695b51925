// Keeps the book of members up to date: soon after the first view, then at most now and then, for members change in
// every epoch of a large cluster, and an old book is as good as a new one as long as one of its members is there.

import type { NodeId } from './core/ids.ts';
import type { ClusterView } from './core/view.ts';
import type { Clock, Disk, TimerHandle, Trace } from './ports/ports.ts';
import { saveMemberBook } from './storage/member-book.ts';

/** After the first view of a process, */
export const BOOK_FIRST_MS = 1000;
/** and between two further books. */
export const BOOK_EVERY_MS = 60_000;

export interface BookContext {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly disk: Disk;
  readonly trace: Trace;
  readonly view: () => ClusterView | undefined;
}

export class BookDuties {
  readonly #context: BookContext;
  #timer: TimerHandle | undefined;
  #isFirst = true;

  constructor(context: BookContext) {
    this.#context = context;
  }

  /** The members changed. */
  noteMembers(): void {
    const { clock } = this.#context;
    this.#timer ??= clock.setTimer(this.#isFirst ? BOOK_FIRST_MS : BOOK_EVERY_MS, () => {
      this.#timer = undefined;
      this.#isFirst = false;
      this.#save();
    });
  }

  stop(): void {
    if (this.#timer !== undefined) this.#context.clock.clearTimer(this.#timer);
    this.#timer = undefined;
  }

  #save(): void {
    const { self, disk, trace, view } = this.#context;
    const now = view();
    if (now === undefined) return;
    const members = [...now.members.values()]
      .filter(({ node }) => node !== self)
      .map(({ peerKey, addresses }) => ({ peer: peerKey, addresses }));
    const book = { type: 'joined', node: self, clusterId: now.clusterId, members } as const;
    saveMemberBook(disk, book).catch(() => trace.count('members.not-saved'));
  }
}
