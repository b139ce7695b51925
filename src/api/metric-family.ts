// One metric with its values, as this node has them now. The library writes the format; names begin with `sheep_`.

import { Counter, Gauge, type Metric } from 'prom-client';

const PREFIX = 'sheep_';

export interface Family {
  /** Without the prefix. */
  readonly name: string;
  readonly help: string;
  /** It only grows while the process lives. */
  readonly isCounter?: boolean;
  /** All with the same labels. */
  readonly values: readonly {
    readonly labels?: Readonly<Record<string, string>>;
    readonly value: number;
  }[];
}

export function familyOf({ name, help, isCounter, values }: Family): Metric {
  const labelNames = Object.keys(values[0]?.labels ?? {});
  const options = { name: PREFIX + name, help, labelNames, registers: [] };
  if (isCounter === true) {
    const counter = new Counter(options);
    for (const { labels = {}, value } of values) counter.inc(labels, value);
    return counter;
  }
  const gauge = new Gauge(options);
  for (const { labels = {}, value } of values) gauge.set(labels, value);
  return gauge;
}
