// What a node says of itself at GET /metrics and in its log, for measurements that judge more than speed.

import fs from 'node:fs';
import http from 'node:http';
import { MIB } from '../src/core/units.ts';
import type { BenchNode } from './nodes.ts';

const TIMEOUT_MS = 30_000;

export interface NodeFigures {
  readonly heapMib: number;
  readonly rssMib: number;
  /** The event loop's longest delay since it was asked last. */
  readonly maxLagMs: number;
  readonly cpuSeconds: number;
  readonly epoch: number;
}

export async function figuresOf(node: BenchNode): Promise<NodeFigures> {
  const text = await metricsText(node);
  const value = (name: string): number => {
    const found = new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1];
    if (found === undefined) throw new RangeError(`node ${node.number} has no metric ${name}`);
    return Number(found);
  };
  return {
    heapMib: value('nodejs_heap_size_used_bytes') / MIB,
    rssMib: value('process_resident_memory_bytes') / MIB,
    maxLagMs: value('nodejs_eventloop_lag_max_seconds') * 1000,
    cpuSeconds: value('process_cpu_seconds_total'),
    epoch: value('sheep_epoch'),
  };
}

function metricsText(node: BenchNode): Promise<string> {
  const socketPath = node.api.slice('unix:'.length);
  return new Promise((resolve, reject) => {
    const request = http.get({ socketPath, path: '/metrics', timeout: TIMEOUT_MS }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      response.on('end', () => resolve(text));
    });
    request.on('timeout', () => request.destroy(new RangeError('no answer from /metrics')));
    request.on('error', reject);
  });
}

/** Lines of the node's log about one of these events, behind the first `from` bytes. */
export function eventsOf({ log }: BenchNode, names: readonly string[], from: number): string[] {
  const text = fs.readFileSync(log).subarray(from).toString();
  return text
    .split('\n')
    .filter((line) => names.some((name) => line.includes(`"event":"${name}"`)));
}

export function logBytesOf({ log }: BenchNode): number {
  return fs.statSync(log).size;
}
