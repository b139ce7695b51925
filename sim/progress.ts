// Says now and then how far a long run is: runs, failures, seeds a second, simulated hours, and how long it may still take.
// Never more often than every few seconds, so that a log of it can be read.

const EVERY_MS = 10_000;
const HOUR_MS = 3_600_000;

export interface Standing {
  readonly runs: number;
  readonly failed: number;
  readonly simulatedMs: number;
}

/** One line, without its end. */
export function sayStanding({ runs, failed, simulatedMs }: Standing, realMs: number): string {
  const perSecond = runs / Math.max(realMs / 1000, 0.001);
  return (
    `${runs} runs, ${failed} failed, ${perSecond.toFixed(1)} seeds/s, ` +
    `${(simulatedMs / HOUR_MS).toFixed(2)} simulated hours in ${(realMs / 1000).toFixed(1)} s ` +
    `(${(simulatedMs / Math.max(realMs, 1)).toFixed(0)} x real time)`
  );
}

export class Progress {
  readonly #print: (line: string) => void;
  readonly #nowMs: () => number;
  /** Infinity = as long as it takes. */
  readonly #count: number;
  readonly #startedMs: number;
  #saidMs: number;

  /** @param count runs that there will be */
  constructor(count: number, print: (line: string) => void, nowMs: () => number) {
    this.#count = count;
    this.#print = print;
    this.#nowMs = nowMs;
    this.#startedMs = nowMs();
    this.#saidMs = this.#startedMs;
  }

  get realMs(): number {
    return this.#nowMs() - this.#startedMs;
  }

  note(standing: Standing): void {
    const nowMs = this.#nowMs();
    if (nowMs - this.#saidMs < EVERY_MS) return;
    this.#saidMs = nowMs;
    const share = standing.runs / this.#count;
    const leftMs = share > 0 ? this.realMs / share - this.realMs : undefined;
    const left = leftMs === undefined ? '' : `, about ${Math.ceil(leftMs / 60_000)} min to go`;
    this.#print(`… ${sayStanding(standing, this.realMs)}${left}`);
  }
}
