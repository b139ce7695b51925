// The command line of `npm run bench`: flags, and environment variables for those that had a name there before there were
// flags.

import fs from 'node:fs';
import { parseArgs } from 'node:util';

export interface BenchOptions {
  readonly seconds: number;
  readonly passes: number;
  readonly sizeMib: number;
  readonly tests: RegExp;
  readonly hasTls: boolean;
  /** Seconds of quiet before memory at rest is read; 0 = not read. */
  readonly restSeconds: number;
  readonly json: string | undefined;
  readonly compare: string | undefined;
}

export const HELP = `npm run bench -- [options]: the matrix against fresh clusters (three nodes with three copies, four with two), and in the
same run, test by test, qemu-nbd and nbdkit's file plugin (one process, one file, no copy). Needs fio and qemu-nbd; without
nbdkit its column is left out. Hosts are noisy: what counts is the ratio, and CPU per operation.

  --tests RE        only tests whose name matches (environment: TESTS)
  --seconds N       of each test (6; RUNTIME)
  --passes N        over the matrix, interleaved; medians count (1; PASSES)
  --size MIB        of each volume (1024; SIZE)
  --tls             a second cluster with --data-tls always: each test there, too, as columns of their own
  --rest SECONDS    of quiet before memory at rest is read (60; 0 = leave it out)
  --json FILE       all figures of all passes (JSON)
  --compare FILE    the --json of an earlier run: how the ratio to qemu-nbd and the CPU per operation have changed; exit 1
                    when one of them is worse than the bound that is printed
  --help            this text

The folder of the system for temporary files takes the data (environment: DIR). Everything started is ended, everything
written removed.

examples
  npm run bench -- --passes 3 --seconds 4 --json /tmp/now.json
  npm run bench -- --tests 'randwrite qd64' --compare /tmp/now.json
`;

/** Undefined: help was asked for. Throws what is to be shown. */
export function benchOptions(
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
): BenchOptions | undefined {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      tests: { type: 'string', default: env['TESTS'] ?? '' },
      seconds: { type: 'string', default: env['RUNTIME'] ?? '6' },
      passes: { type: 'string', default: env['PASSES'] ?? '1' },
      size: { type: 'string', default: env['SIZE'] ?? '1024' },
      tls: { type: 'boolean', default: false },
      rest: { type: 'string', default: '60' },
      json: { type: 'string' },
      compare: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  const { compare, json = env['JSON'] } = values;
  if (compare !== undefined && !fs.existsSync(compare)) {
    throw new RangeError(`--compare: there is no ${compare}`);
  }
  return {
    tests: new RegExp(values.tests),
    seconds: numberOf('--seconds', values.seconds, 1),
    passes: numberOf('--passes', values.passes, 1),
    sizeMib: numberOf('--size', values.size, 16),
    hasTls: values.tls,
    restSeconds: numberOf('--rest', values.rest, 0),
    json,
    compare,
  };
}

export function numberOf(flag: string, text: string, least: number): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least) {
    throw new RangeError(`${flag} is a whole number of at least ${least}, not "${text}"`);
  }
  return value;
}
