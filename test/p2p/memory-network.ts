// A clock that the test moves, and data channels in memory between two ends: enough of the ports for the RPC tests.

import { OperatingError } from '../../src/core/errors.ts';
import type { PeerKey } from '../../src/core/ids.ts';
import type { Clock, DataChannel, Network, TimerHandle } from '../../src/ports/ports.ts';

interface Timer {
  readonly at: number;
  readonly fn: () => void;
}

/** `run` drains what is due now, promises included; `advance` moves the time. */
export function createTestClock(): Clock & {
  run(): Promise<void>;
  advance(ms: number): Promise<void>;
} {
  let now = 0;
  let batch: (() => void)[] = [];
  const timers = new Set<Timer>();
  const run = async () => {
    // Promise reactions get their turns between batches; 50 rounds without work end it.
    for (let idle = 0; idle < 50; idle += 1) {
      const functions = batch;
      batch = [];
      if (functions.length > 0) idle = 0;
      for (const fn of functions) fn();
      await Promise.resolve();
    }
  };
  return {
    now: () => now,
    date: () => now,
    setTimer: (ms, fn) => {
      const timer = { at: now + ms, fn };
      timers.add(timer);
      return timer as unknown as TimerHandle;
    },
    clearTimer: (handle) => timers.delete(handle as unknown as Timer),
    soon: (fn) => batch.push(fn),
    run,
    advance: async (ms) => {
      const end = now + ms;
      await run();
      for (;;) {
        const due = [...timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
        if (due === undefined) break;
        timers.delete(due);
        now = Math.max(now, due.at);
        due.fn();
        await run();
      }
      now = end;
    },
  };
}

class MemoryChannel implements DataChannel {
  readonly peer: PeerKey;
  isOpen = true;
  other: MemoryChannel | undefined;
  readonly #clock: Clock;
  #frame: ((frame: Uint8Array) => void) | undefined;
  #close: (() => void) | undefined;

  constructor(peer: PeerKey, clock: Clock) {
    this.peer = peer;
    this.#clock = clock;
  }

  send(pieces: readonly Uint8Array[]): void {
    if (!this.isOpen) return;
    const frame = new Uint8Array(Buffer.concat(pieces));
    const { other } = this;
    this.#clock.soon(() => {
      if (other?.isOpen === true) other.#frame?.(frame);
    });
  }

  onFrame(fn: (frame: Uint8Array) => void): void {
    this.#frame = fn;
  }

  onClose(fn: () => void): void {
    this.#close = fn;
  }

  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#close?.();
    const { other } = this;
    this.#clock.soon(() => other?.close());
  }
}

/** One dialler and one listener. `gate.mode` says what a dial meets. */
export function createMemoryNetwork(clock: Clock, peer: PeerKey) {
  const gate = { mode: 'open' as 'open' | 'refused' | 'unreachable', dials: 0 };
  const served: MemoryChannel[] = [];
  let onChannel: (channel: DataChannel) => void = () => undefined;
  const network = {
    openChannel: async () => {
      gate.dials += 1;
      if (gate.mode !== 'open') throw new OperatingError(gate.mode, 'the test says so');
      const near = new MemoryChannel(peer, clock);
      const far = new MemoryChannel('dialler' as PeerKey, clock);
      near.other = far;
      far.other = near;
      served.push(far);
      onChannel(far);
      return near;
    },
    onChannel: (fn: (channel: DataChannel) => void) => {
      onChannel = fn;
    },
  } as unknown as Network;
  return { network, gate, served };
}
