// Every option of one node, with default, unit and bounds. Parsed once, frozen; a key or value that does not fit is
// refused with the nearest cure. The limits that are not meant for daily life stand beside the code they bound.

import type { AgreementTuning } from './agreement/options.ts';
import { OperatingError } from './core/errors.ts';
import { MAX_WEIGHT } from './core/limits.ts';
import type { ScrubSettings } from './core/scrub.ts';
import { DEFAULT_SPACE_RULE, OVERWRITE_SHARE } from './core/space.ts';
import { GIB, MIB, MINUTE_MS } from './core/units.ts';

const DAY_MS = 24 * 60 * MINUTE_MS;

/** A period that never ends: that scrub runs only when it is asked for. */
export const NEVER_MS = Number.POSITIVE_INFINITY;
export const MIN_SCRUB_PERIOD_MS = MINUTE_MS;
export const MAX_SCRUB_PERIOD_MS = 365 * DAY_MS;
export const MIN_SCRUB_BYTES_PER_SECOND = MIB;
export const MAX_SCRUB_BYTES_PER_SECOND = 16 * GIB;

export type DataTls = 'auto' | 'always' | 'never';

export interface NodeConfig {
  /** What fails together with this node. */
  readonly zone: string;
  /** Share of the ring relative to the other members; 0 = gateway only. */
  readonly weight: number;
  /** Votes, holds no data, serves no guest: its weight is 0. */
  readonly isWitness: boolean;
  /** Size of the preallocated journal ring, in bytes. */
  readonly journalBytes: number;
  /** Share of the data disk in use from which it takes no ring moves. */
  readonly nearfull: number;
  /** The same from which it takes no new data. */
  readonly full: number;
  /** Between two light and two deep scrubs; NEVER_MS = only when asked for. */
  readonly scrubLightMs: number;
  readonly scrubDeepMs: number;
  /** What a scrub reads at most. */
  readonly scrubBytesPerSecond: number;
  /** False: this node starts with recovery held, until `dog cluster recover enable`. */
  readonly isRecoveryEnabled: boolean;
  /** TLS on data channels: between hosts only, always, or never. */
  readonly dataTls: DataTls;
  /** Smallest write that may go past the journal; the store's own bound unless the simulator asks for a small one. */
  readonly extentBytes?: number;
  /** Every change of state of every actor becomes a line of the log. */
  readonly isInspected: boolean;
  /** When the map log is audited and compacted; the simulator has less patience than the defaults. */
  readonly mapLog: AgreementTuning;
}

export const MIN_JOURNAL_BYTES = 8 * MIB;
export const MAX_JOURNAL_BYTES = 4 * GIB;
const MAX_ZONE_BYTES = 64;
/** A disk that is called full with less in use would be a mistake of its author. */
export const MIN_FULL_SHARE = 0.1;
const FULL_BOUNDS = `must be a share from ${MIN_FULL_SHARE} to ${OVERWRITE_SHARE}, such as 0.95`;
const NEARFULL_BOUNDS = `must be a share from ${MIN_FULL_SHARE} to that of --full, such as 0.85`;

const DEFAULTS: NodeConfig = {
  zone: '',
  weight: 1,
  isWitness: false,
  journalBytes: 256 * MIB,
  scrubLightMs: DAY_MS,
  scrubDeepMs: 7 * DAY_MS,
  scrubBytesPerSecond: 32 * MIB,
  isRecoveryEnabled: true,
  dataTls: 'auto',
  isInspected: false,
  mapLog: {},
  ...DEFAULT_SPACE_RULE,
};

/**
 * The defaults with `changes` on top, checked and frozen.
 * @throws OperatingError 'usage' that names the option and what it may be
 */
export function nodeConfig(changes: Partial<NodeConfig> = {}): NodeConfig {
  const config = Object.freeze({ ...DEFAULTS, ...changes });
  check(config.zone.length <= MAX_ZONE_BYTES, 'zone', `is longer than ${MAX_ZONE_BYTES} bytes`);
  check(/^[\w.-]*$/.test(config.zone), 'zone', 'may hold letters, digits, dot, dash, underscore');
  check(
    Number.isInteger(config.weight) && config.weight >= 0 && config.weight <= MAX_WEIGHT,
    'weight',
    `must be a whole number from 0 to ${MAX_WEIGHT}`,
  );
  check(!config.isWitness || config.weight === 0, 'witness', 'holds no data: leave out --weight');
  const { journalBytes } = config;
  check(
    journalBytes >= MIN_JOURNAL_BYTES && journalBytes <= MAX_JOURNAL_BYTES,
    'journal',
    `must be from ${MIN_JOURNAL_BYTES / MIB}MiB to ${MAX_JOURNAL_BYTES / GIB}GiB`,
  );
  const { nearfull, full } = config;
  check(full >= MIN_FULL_SHARE && full <= OVERWRITE_SHARE, 'full', FULL_BOUNDS);
  check(nearfull >= MIN_FULL_SHARE && nearfull <= full, 'nearfull', NEARFULL_BOUNDS);
  check(journalBytes % MIB === 0, 'journal', 'must be a whole number of MiB');
  checkScrub(config);
  check(
    ['auto', 'always', 'never'].includes(config.dataTls),
    'data-tls',
    'is auto, always or never',
  );
  return config;
}

function checkScrub({ scrubLightMs, scrubDeepMs, scrubBytesPerSecond }: NodeConfig): void {
  for (const [option, ms] of [
    ['scrub-light', scrubLightMs],
    ['scrub-deep', scrubDeepMs],
  ] as const) {
    const isFine = ms === NEVER_MS || (ms >= MIN_SCRUB_PERIOD_MS && ms <= MAX_SCRUB_PERIOD_MS);
    check(isFine, option, 'must be from 1m to 365d, or never');
  }
  const rate = scrubBytesPerSecond;
  const isFine = rate >= MIN_SCRUB_BYTES_PER_SECOND && rate <= MAX_SCRUB_BYTES_PER_SECOND;
  check(isFine, 'scrub-rate', 'must be from 1MiB to 16GiB');
}

/** The scrub options as the parts want them. */
export function scrubSettings(config: NodeConfig): ScrubSettings {
  const periods = { lightMs: config.scrubLightMs, deepMs: config.scrubDeepMs };
  return { periods, bytesPerSecond: config.scrubBytesPerSecond };
}

function check(isFine: boolean, option: string, rule: string): void {
  if (!isFine) throw new OperatingError('usage', `--${option} ${rule}`);
}
