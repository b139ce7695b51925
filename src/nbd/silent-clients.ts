// Ends connections whose host has vanished: no FIN ever comes, and what hangs would keep a volume from the guest's own
// return in mode exclusive. Idle ones are ended by the kernel's probes; those that owe an acknowledgement are looked at,
// while there are any by TCP. A client that lives and does not read is left alone.

import type { Clock, TimerHandle, Trace } from '../ports/ports.ts';
import type { ByteChannel } from './byte-channel.ts';

/** A client that has acknowledged nothing for so long, while something waits for it, is gone. Milliseconds. */
export const MAX_SILENT_MS = 30_000;
/** Between two looks; the second one that finds it silent ends it. Milliseconds. */
export const SILENCE_LOOK_MS = 5_000;

export interface SilenceRule {
  readonly maxSilentMs: number;
  readonly lookMs: number;
}

const RULE: SilenceRule = { maxSilentMs: MAX_SILENT_MS, lookMs: SILENCE_LOOK_MS };

export class SilentClients {
  readonly #clock: Clock;
  readonly #trace: Trace;
  readonly #rule: SilenceRule;
  /** With how many looks in a row found it silent. Bounded by the server's connections. */
  readonly #watched = new Map<ByteChannel, number>();
  #timer: TimerHandle | undefined;

  constructor(clock: Clock, trace: Trace, rule: SilenceRule = RULE) {
    this.#clock = clock;
    this.#trace = trace;
    this.#rule = rule;
  }

  /** From now on; nothing for a channel that can not say. */
  watch(channel: ByteChannel): void {
    if (channel.silentForMs === undefined) return;
    this.#watched.set(channel, 0);
    this.#timer ??= this.#clock.setTimer(this.#rule.lookMs, () => this.#look());
  }

  /** It is closed. */
  forget(channel: ByteChannel): void {
    this.#watched.delete(channel);
    if (this.#watched.size > 0 || this.#timer === undefined) return;
    this.#clock.clearTimer(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    this.#timer = this.#clock.setTimer(this.#rule.lookMs, () => this.#look());
    for (const [channel, looks] of [...this.#watched]) {
      const silentMs = channel.silentForMs?.() ?? 0;
      const isSilent = silentMs >= this.#rule.maxSilentMs;
      this.#watched.set(channel, isSilent ? looks + 1 : 0);
      // One look may come right after this machine itself stood still.
      if (!isSilent || looks === 0) continue;
      this.#trace.warn('nbd.silent', { from: channel.from ?? '', silentMs });
      channel.destroy();
    }
  }
}
