// The Trace port of one process: events and warnings become part of the run's hash and record, counters do not.

import type { Trace, TraceFields } from '../src/ports/ports.ts';
import type { SimProcess } from './sim-process.ts';
import type { World } from './world.ts';

function textOf(fields: TraceFields): string {
  let text = '';
  for (const key of Object.keys(fields))
    text += `${text === '' ? '' : ' '}${key}=${String(fields[key])}`;
  return text;
}

export class SimTrace implements Trace {
  /** Counters by name. Kept over restarts of the node by its owner. */
  readonly counters: Map<string, number>;
  readonly #world: World;
  readonly #process: SimProcess;
  readonly #onEvent: (name: string, fields: TraceFields) => void;

  constructor(
    world: World,
    process: SimProcess,
    counters: Map<string, number>,
    onEvent: (name: string, fields: TraceFields) => void,
  ) {
    this.#world = world;
    this.#process = process;
    this.counters = counters;
    this.#onEvent = onEvent;
  }

  event(name: string, fields: TraceFields = {}): void {
    if (!this.#process.isAlive) return;
    this.#world.note(this.#process.name, name, textOf(fields));
    this.#onEvent(name, fields);
  }

  warn(name: string, fields: TraceFields = {}): void {
    this.event(`warn ${name}`, fields);
  }

  count(name: string, by = 1): void {
    if (!this.#process.isAlive) return;
    this.counters.set(name, (this.counters.get(name) ?? 0) + by);
  }
}
