// What operators decide of recovery, in the log's settings: whether it runs, how fast, in how many streams, and on which
// members it is held. Names, bounds and defaults; pure.

import { OperatingError } from './errors.ts';
import type { NodeId } from './ids.ts';
import { GIB, MIB } from './units.ts';
import type { ClusterView } from './view.ts';
import { parseBytes } from './volume.ts';

/** Copies that a node fetches, and hands out, at once (4.8). */
export const DEFAULT_STREAMS = 2;
export const MAX_STREAMS = 16;
/** Bytes per second and node; a slower recovery would not end. */
export const MIN_RECOVERY_RATE = MIB;
export const MAX_RECOVERY_RATE = 64 * GIB;

export const RECOVERY_ENABLED_KEY = 'recovery/enabled';
const RATE_KEY = 'recovery/rate';
const INCOMING_KEY = 'recovery/incoming';
const OUTGOING_KEY = 'recovery/outgoing';
const HELD_PREFIX = 'recovery/held/';

/** What `dog cluster set` may name, and the key in the log. */
export const RECOVERY_SETTINGS: ReadonlyMap<string, string> = new Map([
  ['recovery-rate', RATE_KEY],
  ['recovery-incoming', INCOMING_KEY],
  ['recovery-outgoing', OUTGOING_KEY],
]);

/** Copies under way on one node. */
export interface StreamLimits {
  readonly incoming: number;
  readonly outgoing: number;
}

/** False while an operator has paused recovery everywhere. */
export function isRecoveryEnabled(view: ClusterView): boolean {
  return view.settings.get(RECOVERY_ENABLED_KEY) !== 'no';
}

/** True while this member neither gets copies nor gives copies away: paused everywhere, or started with it paused. */
export function isRecoveryHeld(view: ClusterView, node: NodeId): boolean {
  return !isRecoveryEnabled(view) || view.settings.has(heldKey(node));
}

/** The setting that holds recovery on one member: `sheep --no-recovery` sets it, `recover enable` clears all. */
export function heldKey(node: NodeId): string {
  return `${HELD_PREFIX}${node}`;
}

/** Members on which recovery is held by themselves, and keys of former ones. */
export function heldKeys(view: ClusterView): readonly string[] {
  return [...view.settings.keys()].filter((key) => key.startsWith(HELD_PREFIX));
}

/** Where recovery is held, as a text: equal while nothing of it changes. */
export function pauseOf(view: ClusterView): string {
  return [isRecoveryEnabled(view), ...heldKeys(view)].join();
}

/** Bytes per second and node that an operator has set; undefined: as fast as guests allow. */
export function manualRate(view: ClusterView): number | undefined {
  const text = view.settings.get(RATE_KEY);
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Copies that a node fetches and hands out at once. */
export function streamLimits(view: ClusterView): StreamLimits {
  const of = (key: string): number => {
    const text = view.settings.get(key);
    return text !== undefined && /^\d{1,2}$/.test(text) ? Number(text) : DEFAULT_STREAMS;
  };
  return { incoming: of(INCOMING_KEY), outgoing: of(OUTGOING_KEY) };
}

/**
 * The value of a setting in the log, of what a person wrote.
 * @throws OperatingError 'usage'
 */
export function recoveryValue(name: string, text: string): string {
  if (name !== 'recovery-rate') {
    const streams = /^\d{1,2}$/.test(text) ? Number(text) : 0;
    if (streams >= 1 && streams <= MAX_STREAMS) return String(streams);
    throw new OperatingError('usage', `${text} is not a number from 1 to ${MAX_STREAMS}`);
  }
  if (text === 'auto') return text;
  const rate = parseBytes(text);
  if (rate >= MIN_RECOVERY_RATE && rate <= MAX_RECOVERY_RATE) return String(rate);
  throw new OperatingError('usage', `${text} is not from 1MiB to 64GiB per second`, {
    remedy: 'or write auto: as fast as guests allow',
  });
}
