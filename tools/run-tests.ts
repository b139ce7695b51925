// Runs everything that judges the project and counts it: types, lint, unit tests, end-to-end tests. The last line is
// `N passed, N failed`, from what really ran. Arguments are test files, to run only those.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { tapLine } from './tap.ts';

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

/** One end-to-end test starts a whole cluster: they run one after the other, and after the unit tests. */
const END_TO_END = 'test/e2e/**/*.test.ts';
/** A store that is killed two hundred times starts no cluster, and minds nobody beside it. */
const STORE_KILLS = 'test/e2e/crash-200.test.ts';
/** Simulated clusters know no real time: they take what the end-to-end tests, which mostly wait, leave of the processors. */
const SIMULATED = ['test/sim-smoke.test.ts', 'test/sim/**/*.test.ts', STORE_KILLS];
const UNIT = ['test/**/*.test.ts', '!test/e2e/**', ...SIMULATED.map((pattern) => `!${pattern}`)];
const UNIT_CONCURRENCY = '2';
const END_TO_END_CONCURRENCY = '1';
const SIMULATED_CONCURRENCY = '1';
/** A runner that says nothing for so long hangs: a test that failed may have left something open. */
const MAX_SILENCE_MS = 600_000;
/** What takes longer says how long, where tests run one by one. */
const SLOW_TEST_MS = 15_000;

const tally: Tally = { passed: 0, failed: 0, skipped: 0 };
const files = process.argv.slice(2);

if (files.length > 0) {
  await runAva('chosen tests', files, END_TO_END_CONCURRENCY);
} else {
  await runCheck('types', 'tsc', ['-p', 'tsconfig.json']);
  await runCheck('format and lint', 'biome', ['check', '--max-diagnostics=50', '.']);
  await runAva('unit tests', UNIT, UNIT_CONCURRENCY);
  await Promise.all([
    runAva('end-to-end tests', [END_TO_END, `!${STORE_KILLS}`], END_TO_END_CONCURRENCY),
    runAva('simulator tests', SIMULATED, SIMULATED_CONCURRENCY, ['nice', '-n', '19']),
  ]);
}
report();

/** A check that passes or fails as one. Its words are shown only when it fails. */
async function runCheck(name: string, command: string, args: readonly string[]): Promise<void> {
  const lines: string[] = [];
  const code = await runLines(command, args, (line) => void lines.push(line));
  if (code === 0) tally.passed += 1;
  else {
    tally.failed += 1;
    print(lines.join('\n'));
  }
  print(`${code === 0 ? 'ok' : 'not ok'} - ${name}`);
}

async function runAva(
  name: string,
  patterns: readonly string[],
  concurrency: string,
  before: readonly string[] = [],
): Promise<void> {
  const own: Tally = { passed: 0, failed: 0, skipped: 0 };
  const startedAt = performance.now();
  let isInFailure = false;
  let lastAt = startedAt;
  const [command, ...args] = [...before, 'ava', '--tap', '--concurrency', concurrency, ...patterns];
  const code = await runLines(command as string, args, (line) => {
    const kind = tapLine(line);
    if (kind !== undefined) isInFailure = kind === 'failed';
    if (kind !== undefined) {
      count(kind, line, own);
      const tookMs = performance.now() - lastAt;
      lastAt += tookMs;
      if (concurrency === '1' && tookMs > SLOW_TEST_MS) print(`#   ${Math.round(tookMs / 1000)} s`);
    } else if (isInFailure || !line.startsWith(' ')) showOther(line);
  });
  tally.passed += own.passed;
  tally.failed += own.failed;
  tally.skipped += own.skipped;
  if (own.passed + own.failed === 0) fail(`${name}: no test ran`);
  else if (code !== 0 && own.failed === 0) fail(`${name}: AVA ended with ${code}`);
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  print(`# ${name}: ${own.passed} passed in ${seconds} s`);
}

function count(kind: 'passed' | 'failed' | 'skipped', line: string, own: Tally): void {
  if (kind === 'skipped' && process.env['CI'] === 'true' && !line.includes('[skipped: ')) {
    own.failed += 1;
    print(`not ok - skipped without a reason: ${line}`);
    return;
  }
  own[kind] += 1;
  print(line);
}

/** TAP's own frame is noise here. */
function showOther(line: string): void {
  if (!/^(TAP version|1\.\.|# (tests|pass|fail|skip))/.test(line) && line !== '') print(line);
}

function fail(text: string): void {
  tally.failed += 1;
  print(`not ok - ${text}`);
}

function report(): void {
  const { passed, failed, skipped } = tally;
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
  if (skipped > 0) print(`# ${skipped} skipped: the reasons stand above`);
  print(`${passed} passed, ${failed} failed`);
}

/** Resolves with the exit code when the program and its output have ended; 1 for a signal. */
async function runLines(
  command: string,
  args: readonly string[],
  onLine: (line: string) => void,
): Promise<number> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  // A group of its own, so that all of it can be ended: a runner's workers would outlive it.
  const end = (): void => {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
  };
  const interrupted = (): void => {
    end();
    process.exit(1);
  };
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  const silence = setTimeout(() => {
    onLine(`${command} said nothing for ${MAX_SILENCE_MS / 1000} s: it is ended`);
    end();
  }, MAX_SILENCE_MS);
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      silence.refresh();
      onLine(line);
    });
  }
  const { promise, resolve } = Promise.withResolvers<number>();
  child.on('error', (error) => {
    onLine(`can not run ${command}: ${error.message}`);
    resolve(1);
  });
  child.on('close', (code) => {
    clearTimeout(silence);
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
    resolve(code ?? 1);
  });
  return promise;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
