// What one run of a program took: CPU time of all its threads, and the most memory that it ever had. It says so by itself at
// its end.

import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** Run inside the process at its exit; `VmHWM` is its own, `ru_maxrss` may be its parent's. */
const AT_EXIT = `
import fs from 'node:fs';
process.on('exit', () => {
  const { user, system } = process.cpuUsage();
  const kib = /VmHWM:\\s+(\\d+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1];
  fs.writeFileSync(process.env.USAGE_FILE, JSON.stringify({ cpuMs: (user + system) / 1000, peakBytes: kib * 1024 }));
});`;

export interface Usage {
  readonly code: number | null;
  readonly stderr: string;
  readonly seconds: number;
  readonly cpuMs: number;
  /** Most memory of this process (VmHWM). */
  readonly peakBytes: number;
}

/** Runs a program of node to its end; what it says on stdout is thrown away. */
export async function usageOf(
  program: string,
  args: readonly string[],
  how: {
    readonly env?: NodeJS.ProcessEnv;
    readonly begun?: (child: ChildProcess) => void;
  } = {},
): Promise<Usage> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-usage-'));
  const file = path.join(dir, 'usage');
  const hook = `--import data:text/javascript,${encodeURIComponent(AT_EXIT)}`;
  const env = { ...process.env, ...how.env, NODE_OPTIONS: hook, USAGE_FILE: file };
  try {
    const since = performance.now();
    const child = spawn(program, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
    how.begun?.(child);
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject).once('close', resolve);
    });
    const seconds = (performance.now() - since) / 1000;
    const { cpuMs, peakBytes } = JSON.parse(fs.readFileSync(file, 'utf8'));
    return { code, stderr, seconds, cpuMs, peakBytes };
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}
