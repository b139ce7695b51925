// Limits of a volume's rates on the command line: --iops and --bandwidth of `dog vdi create` and `dog vdi alter`, and how
// they are shown.

import { InvalidArgumentError, Option } from 'commander';
import { parseBytes } from '../core/volume.ts';
import { type RateKind, rateProblem } from '../core/volume-rates.ts';
import type { VolumeRatesData } from '../core/volume-shapes.ts';
import { formatBytes } from './output.ts';

/** As commander has them; 0 = no limit. */
export interface RateOptions {
  readonly iops?: number;
  readonly bandwidth?: number;
}

const NONE = 'none';

export function iopsOption(): Option {
  return new Option(
    '--iops <number>',
    'requests that may pass in a second, reads and writes together, or none; also while a guest has it',
  ).argParser((text) => {
    if (text === NONE) return 0;
    return checked('iops', /^\d+$/.test(text) ? Number(text) : Number.NaN);
  });
}

export function bandwidthOption(): Option {
  return new Option(
    '--bandwidth <size>',
    'bytes that may pass in a second (50M, 1GiB/s), reads and writes together, or none; also while a guest has it',
  ).argParser((text) => {
    if (text === NONE) return 0;
    return checked('bandwidth', Math.round(parseBytes(text.replace(/\/s$/, ''))));
  });
}

function checked(kind: RateKind, perSecond: number): number {
  const problem =
    perSecond === 0 ? 'to take the limit away say none' : rateProblem(kind, perSecond);
  if (problem !== undefined) throw new InvalidArgumentError(`${problem}.`);
  return perSecond;
}

/** For a request's body. */
export function ratesBody({ iops, bandwidth }: RateOptions): Partial<VolumeRatesData> {
  return {
    ...(iops === undefined ? {} : { iops }),
    ...(bandwidth === undefined ? {} : { bytesPerSecond: bandwidth }),
  };
}

/** `500 requests and 50 MiB per second`; empty without limits. */
export function ratesText({ iops, bytesPerSecond }: VolumeRatesData): string {
  const parts = [
    ...(iops === 0 ? [] : [`${iops} ${iops === 1 ? 'request' : 'requests'}`]),
    ...(bytesPerSecond === 0 ? [] : [formatBytes(bytesPerSecond)]),
  ];
  return parts.length === 0 ? '' : `${parts.join(' and ')} per second`;
}
