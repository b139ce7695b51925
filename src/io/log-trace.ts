// Trace as JSON lines for operators: one fact per line, with wall time. Counters are kept in memory for the metrics
// page; their names come from our code, so there are few.

import { invariant } from '../core/invariant.ts';
import type { Trace, TraceFields } from '../ports/ports.ts';

/** Different counter names of one process. */
const MAX_COUNTERS = 1000;

export interface LogTraceOptions {
  /** Gets one line with its newline. */
  readonly write: (line: string) => void;
  /** `warn`: only what somebody should look at is written. Counters count all the same. */
  readonly level: 'event' | 'warn';
  /** Milliseconds since 1970; Date.now unless given. */
  readonly wallMs?: () => number;
}

export interface LogTrace extends Trace {
  counters(): ReadonlyMap<string, number>;
}

export function createLogTrace(options: LogTraceOptions): LogTrace {
  const counters = new Map<string, number>();
  const wallMs = options.wallMs ?? Date.now;
  const line = (level: string, name: string, fields: TraceFields | undefined) => {
    const time = new Date(wallMs()).toISOString();
    options.write(`${JSON.stringify({ time, level, event: name, ...fields })}\n`);
  };
  return {
    event: (name, fields) => {
      if (options.level === 'event') line('info', name, fields);
    },
    warn: (name, fields) => line('warn', name, fields),
    count: (name, by = 1) => {
      const known = counters.get(name);
      invariant(known !== undefined || counters.size < MAX_COUNTERS, 'counter names are few');
      counters.set(name, (known ?? 0) + by);
    },
    counters: () => counters,
  };
}
