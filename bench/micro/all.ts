// All micro-benchmarks, shortly, one after the other: npm run bench:micro [seconds each, default 2].

import { spawnSync } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';

const seconds = process.argv[2] ?? '2';
const RUNS: readonly (readonly [string, readonly string[]])[] = [
  ['nbd.ts', [seconds]],
  ['transport.ts', [seconds]],
  ['journal.ts', [os.tmpdir(), seconds]],
  ['store.ts', [os.tmpdir(), seconds]],
  ['state.ts', ['300', '4096']],
];

for (const [file, args] of RUNS) {
  process.stdout.write(`\n${file} ${args.join(' ')}\n`);
  const script = path.join(import.meta.dirname, file);
  const { status } = spawnSync(process.execPath, [script, ...args], { stdio: 'inherit' });
  if (status !== 0) process.exitCode = 1;
}
