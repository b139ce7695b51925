// Every option of one node, with default, unit and bounds. Parsed once, frozen; a key or value that does not fit is
// refused with the nearest cure. The limits that are not meant for daily life stand beside the code they bound.

import type { AgreementTuning } from './agreement/agreement.ts';
import { OperatingError } from './core/errors.ts';
import { MAX_WEIGHT } from './core/limits.ts';
import { DEFAULT_SPACE_RULE, OVERWRITE_SHARE } from './core/space.ts';
import { GIB, MIB } from './core/units.ts';

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
  /** TLS on data channels: between hosts only, always, or never. */
  readonly dataTls: DataTls;
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
  dataTls: 'auto',
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
  check(
    ['auto', 'always', 'never'].includes(config.dataTls),
    'data-tls',
    'is auto, always or never',
  );
  return config;
}

function check(isFine: boolean, option: string, rule: string): void {
  if (!isFine) throw new OperatingError('usage', `--${option} ${rule}`);
}
