// A real Linux guest under QEMU on a volume of a cluster, by the guest scripts, which lie beside the project in our own
// checkouts. Building it fetches a kernel once per cluster.

import fs from 'node:fs';
import path from 'node:path';
import { declareUnless, run, type ToolResult, toolOrSkip } from '../nbd/tools.ts';
import type { Cluster } from './cluster.ts';

const SCRIPTS = path.join(import.meta.dirname, '..', '..', '..', 'shared', 'guest');
const BUILD_TIMEOUT_MS = 180_000;
/** Beyond what the guest's own time limit is. */
const SLACK_MS = 30_000;

const isThere = fs.existsSync(path.join(SCRIPTS, 'boot.sh'));
/** Declares a test with a guest. Absent scripts are no fault of the machine, so this skip is expected in CI, too. */
export const declareWithGuest = isThere
  ? toolOrSkip('qemu-system-x86_64', 'busybox', 'cpio', 'nbdcopy')
  : declareUnless(`no guest scripts in ${SCRIPTS}`, 'expected');

export interface BootOptions {
  readonly node: number;
  readonly volume: string;
  readonly timeoutMs: number;
  /** Job and what it takes, and further words of boot.sh. */
  readonly words: readonly string[];
}

export interface Guest {
  /** One life of the guest, to its verdict: code 0 is PASS. */
  boot(options: BootOptions): Promise<ToolResult>;
  /** What a job `ledger` was told is written, against the volume as another node shows it. */
  checkLedger(log: string, uri: string): Promise<ToolResult>;
}

/** Builds the guest in the cluster's directory. */
export async function guestOf(cluster: Cluster): Promise<Guest> {
  const guest = path.join(cluster.dir, 'guest');
  const script = (name: string) => path.join(SCRIPTS, name);
  const built = await run('bash', [script('make-initramfs.sh'), '--out', guest], {
    timeoutMs: BUILD_TIMEOUT_MS,
  });
  if (built.code !== 0) throw new Error(`the guest can not be built: ${built.stderr}`);
  return {
    boot: ({ node, volume, timeoutMs, words }) => {
      const disk = `unix:${cluster.node(node).nbd.unix}:${volume}`;
      const limit = ['--timeout', String(Math.ceil(timeoutMs / 1000))];
      const args = [script('boot.sh'), '--guest', guest, '--disk', disk, ...limit, ...words];
      return run('bash', args, { timeoutMs: timeoutMs + SLACK_MS });
    },
    checkLedger: (log, uri) => run('bash', [script('check-ledger.sh'), '--log', log, '--uri', uri]),
  };
}
