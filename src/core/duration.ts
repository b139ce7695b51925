// Times as people write them: `30s`, `10m`, `2h`, `7d`, `250ms`; and back, for people.

import { OperatingError } from './errors.ts';
import { MINUTE_MS, SECOND_MS } from './units.ts';

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: SECOND_MS,
  m: MINUTE_MS,
  h: 60 * MINUTE_MS,
  d: 24 * 60 * MINUTE_MS,
};

/** @throws OperatingError 'usage' for anything but a whole number and a unit */
export function parseDuration(text: string): number {
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  const ms = Number(match?.[1]) * (UNITS_MS[match?.[2] ?? ''] ?? Number.NaN);
  if (Number.isSafeInteger(ms)) return ms;
  throw new OperatingError('usage', `"${text}" is no time`, {
    remedy: 'write a whole number and a unit: 30s, 10m, 2h, 7d',
  });
}

/** `9 min 30 s`, `2 h`, `3 d 4 h`: the two largest units. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / SECOND_MS));
  const parts: readonly (readonly [number, string])[] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return '0 s';
  const shown = parts.slice(first, first + 2).filter(([count]) => count > 0);
  return shown.map(([count, unit]) => `${count} ${unit}`).join(' ');
}
