// Settings of the whole cluster that membership reads: how long down lasts before out, how long a dead voter keeps its
// place, who is in maintenance, whom a forced recovery gave up. Text in the log's settings; here are their names,
// bounds and defaults.

import { parseDuration } from './duration.ts';
import { OperatingError } from './errors.ts';
import type { NodeId } from './ids.ts';
import { MINUTE_MS, SECOND_MS } from './units.ts';
import type { ClusterView } from './view.ts';

/** Down for so long is out (1.4). */
export const OUT_AFTER_MS = 10 * MINUTE_MS;
/** A voter that is down for so long is replaced, if a majority lives (1.3). */
export const REPLACE_VOTER_AFTER_MS = 10 * MINUTE_MS;
/** Shorter times would make a reboot an exodus. Tests may. */
export const MIN_DELAY_MS = SECOND_MS;
export const MAX_DELAY_MS = 7 * 24 * 60 * MINUTE_MS;
/** Longest maintenance. */
export const MAX_MAINTENANCE_MS = 30 * 24 * 60 * MINUTE_MS;

export const OUT_AFTER_KEY = 'membership/out-after';
export const REPLACE_VOTER_AFTER_KEY = 'membership/replace-voter-after';
const MAINTENANCE_PREFIX = 'maintenance/';
const GIVEN_UP_PREFIX = 'forced/n';

/** What `dog cluster set` may name, and the key in the log. */
export const DELAY_SETTINGS: ReadonlyMap<string, string> = new Map([
  ['out-after', OUT_AFTER_KEY],
  ['replace-voter-after', REPLACE_VOTER_AFTER_KEY],
]);

/** Infinity: never. */
export function outAfterMs(view: ClusterView): number {
  return delayOf(view, OUT_AFTER_KEY, OUT_AFTER_MS);
}

/** Infinity: never. */
export function replaceVoterAfterMs(view: ClusterView): number {
  return delayOf(view, REPLACE_VOTER_AFTER_KEY, REPLACE_VOTER_AFTER_MS);
}

function delayOf(view: ClusterView, key: string, standard: number): number {
  const text = view.settings.get(key);
  if (text === 'never') return Number.POSITIVE_INFINITY;
  return text !== undefined && /^\d{1,12}$/.test(text) ? Number(text) : standard;
}

/**
 * The value of a delay in the log, of what a person wrote: a time, or `never`.
 * @throws OperatingError 'usage'
 */
export function delayValue(text: string): string {
  if (text === 'never') return text;
  const ms = parseDuration(text);
  if (ms >= MIN_DELAY_MS && ms <= MAX_DELAY_MS) return String(ms);
  throw new OperatingError('usage', `${text} is not from 1s to 7d`, { remedy: 'or write never' });
}

/** The key of the setting that keeps a node from being called out. */
export function maintenanceKey(node: NodeId): string {
  return `${MAINTENANCE_PREFIX}${node}`;
}

/** Until when, ms since 1970, this node's being down is expected; undefined: it is not. */
export function maintenanceUntil(view: ClusterView, node: NodeId): number | undefined {
  const text = view.settings.get(maintenanceKey(node));
  return text === undefined || !/^\d{1,15}$/.test(text) ? undefined : Number(text);
}

/** The key of the setting that says that a forced recovery went on without this voter; its value is the life it knew. */
export function givenUpKey(node: NodeId): string {
  return `${GIVEN_UP_PREFIX}${node}`;
}

/**
 * A forced recovery went on without it (section 6), and it has not begun another life in this history since: its disk may
 * know another one.
 */
export function isGivenUp(view: ClusterView, node: NodeId): boolean {
  const member = view.members.get(node);
  return member !== undefined && view.settings.get(givenUpKey(node)) === `${member.incarnation}`;
}

/** Settings about one node that say nothing any more: a maintenance that is over, or what is of no member. */
export function endedSettings(view: ClusterView, dateMs: number): string[] {
  const ended: string[] = [];
  for (const key of view.settings.keys()) {
    if (key.startsWith(GIVEN_UP_PREFIX)) {
      if (!isGivenUp(view, Number(key.slice(GIVEN_UP_PREFIX.length)) as NodeId)) ended.push(key);
      continue;
    }
    if (!key.startsWith(MAINTENANCE_PREFIX)) continue;
    const node = Number(key.slice(MAINTENANCE_PREFIX.length)) as NodeId;
    const until = maintenanceUntil(view, node);
    if (until === undefined || until <= dateMs || !view.members.has(node)) ended.push(key);
  }
  return ended;
}
