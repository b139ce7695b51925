// Orders guest requests on byte ranges of one object: writers exclude each other and readers, readers share. So a read
// never returns bytes of a write in flight (which could still vanish), and an edge sector is read, changed and written
// by one request at a time. First come, first served; what does not overlap never waits.

/** A range that is held or waited for. Opaque to callers. */
export interface RangeTicket {
  readonly offset: number;
  readonly end: number;
  readonly isExclusive: boolean;
  isGranted: boolean;
  readonly fn: () => void;
  /** Told instead of `fn` when the wait is ended. */
  readonly onCancel: (() => void) | undefined;
}

export class RangeLock {
  /** In order of arrival, granted or not. Bounded by the session's requests. */
  readonly #tickets: RangeTicket[] = [];
  #waiting = 0;

  get isIdle(): boolean {
    return this.#tickets.length === 0;
  }

  /** True when a read of the range may go at once: no writer holds or awaits a byte of it. */
  isReadable(offset: number, count: number): boolean {
    for (const ticket of this.#tickets) {
      if (ticket.isExclusive && ticket.offset < offset + count && offset < ticket.end) return false;
    }
    return true;
  }

  /** Calls `fn` when the range is held: now, or after those before it released theirs. Release exactly once. */
  acquire(
    range: { readonly offset: number; readonly count: number; readonly isExclusive: boolean },
    fn: (ticket: RangeTicket) => void,
    onCancel?: () => void,
  ): void {
    const { offset, count, isExclusive } = range;
    const ticket: RangeTicket = {
      offset,
      end: offset + count,
      isExclusive,
      isGranted: false,
      fn: () => fn(ticket),
      onCancel,
    };
    this.#tickets.push(ticket);
    if (this.#isBlocked(this.#tickets.length - 1)) {
      this.#waiting += 1;
      return;
    }
    ticket.isGranted = true;
    ticket.fn();
  }

  release(ticket: RangeTicket): void {
    const at = this.#tickets.indexOf(ticket);
    if (at < 0) return;
    this.#tickets.splice(at, 1);
    this.#grantFrom(at);
  }

  /** Ends the wait of all who can be told so; who holds a range keeps it. */
  cancelWaiting(): void {
    const cancelled = this.#tickets.filter((one) => !one.isGranted && one.onCancel !== undefined);
    if (cancelled.length === 0) return;
    for (const one of cancelled) this.#tickets.splice(this.#tickets.indexOf(one), 1);
    this.#waiting -= cancelled.length;
    for (const one of cancelled) one.onCancel?.();
    this.#grantFrom(0);
  }

  #grantFrom(at: number): void {
    if (this.#waiting === 0) return;
    const granted: RangeTicket[] = [];
    for (let i = at; i < this.#tickets.length; i += 1) {
      const next = this.#tickets[i] as RangeTicket;
      if (next.isGranted || this.#isBlocked(i)) continue;
      next.isGranted = true;
      granted.push(next);
    }
    this.#waiting -= granted.length;
    for (const next of granted) next.fn();
  }

  #isBlocked(at: number): boolean {
    const ticket = this.#tickets[at] as RangeTicket;
    for (let i = 0; i < at; i += 1) {
      const before = this.#tickets[i] as RangeTicket;
      if (!before.isExclusive && !ticket.isExclusive) continue;
      if (before.offset < ticket.end && ticket.offset < before.end) return true;
    }
    return false;
  }
}
