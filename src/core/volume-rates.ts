// The limits of a volume's rates (dog vdi create|alter --iops, --bandwidth): how many requests and how many bytes may pass
// in a second, reads and writes together. 0 = no limit. What they may be; datapath/rate-limit.ts limits.

import { GIB, KIB } from './units.ts';
import type { VolumeRates } from './view.ts';

/** Of a volume without limits. */
export const NO_RATES: VolumeRates = { iops: 0, bytesPerSecond: 0 };

/** Highest limit of requests per second. */
export const MAX_IOPS = 10_000_000;
/** Lowest and highest limit of bytes per second: below a page a second nothing works any more. */
export const MIN_BANDWIDTH = 4 * KIB;
export const MAX_BANDWIDTH = 1024 * GIB;

/** Which of the two. */
export const RATE_KINDS = ['iops', 'bandwidth'] as const;
export type RateKind = (typeof RATE_KINDS)[number];

/** Why this is no limit; undefined when it is one, or none (0). */
export function rateProblem(kind: RateKind, perSecond: number): string | undefined {
  if (perSecond === 0) return undefined;
  if (kind === 'iops') {
    const isFine = isWithin(perSecond, 1, MAX_IOPS);
    return isFine ? undefined : `a limit of requests is none, or from 1 to ${MAX_IOPS} per second`;
  }
  if (isWithin(perSecond, MIN_BANDWIDTH, MAX_BANDWIDTH)) return undefined;
  return 'a bandwidth is none, or from 4 KiB to 1 TiB per second';
}

/** The same with one of them changed. */
export function withRate(rates: VolumeRates, kind: RateKind, perSecond: number): VolumeRates {
  return kind === 'iops' ? { ...rates, iops: perSecond } : { ...rates, bytesPerSecond: perSecond };
}

function isWithin(value: number, low: number, high: number): boolean {
  return Number.isInteger(value) && value >= low && value <= high;
}
