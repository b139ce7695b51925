// A real Linux guest under QEMU on a volume of a cluster, attached with the words that `dog vdi attach` prints. It does one
// job and says a verdict (guest-init.sh); its console is the witness of what it was told is written, whatever happens to it
// afterwards. Emulated, so it needs no KVM and 10 to 20 s for a boot.

import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { qemuArguments } from '../../src/cli/attach-text.ts';
import { run, toolOrSkip } from '../nbd/tools.ts';
import { type Cluster, until } from './cluster.ts';
import { NbdClient } from './nbd-client.ts';

const BUILD = path.join(import.meta.dirname, 'guest-build.sh');
const BUILD_TIMEOUT_MS = 180_000;
const BLOCK_BYTES = 4096;
const MEMORY_MIB = '192';

/** Declares a test with a guest. */
export const declareWithGuest = toolOrSkip('qemu-system-x86_64', 'busybox', 'cpio');

export interface GuestJob {
  readonly job: 'look' | 'fs' | 'verify' | 'raw' | 'ledger' | 'trim' | 'kernel';
  readonly count?: number;
  readonly mib?: number;
  readonly slots?: number;
  /** A word that is in every record. */
  readonly run?: string;
  /** Seconds between two records. */
  readonly rest?: number;
  /** Of the job `kernel`: where its own client connects to on this host, to what, how often. */
  readonly port?: number;
  readonly export?: string;
  readonly connections?: number;
}

export interface Place {
  readonly node: number;
  readonly volume: string;
}

/** Builds the guest under `home`; returns how to start one with what QEMU is told of its disk. */
export async function buildGuest(
  home: string,
): Promise<(disk: readonly string[], job: GuestJob) => Guest> {
  const dir = path.join(home, 'guest');
  fs.mkdirSync(dir, { recursive: true });
  const built = await run('sh', [BUILD, dir], { timeoutMs: BUILD_TIMEOUT_MS });
  if (built.code !== 0) throw new Error(`the guest can not be built: ${built.stderr}`);
  let lives = 0;
  return (disk, job) => {
    lives += 1;
    return new Guest(dir, path.join(dir, `console-${lives}`), disk, job);
  };
}

/** The same in the cluster's directory, with a volume of a node as its disk. */
export async function guestOf(cluster: Cluster): Promise<(at: Place, job: GuestJob) => Guest> {
  const start = await buildGuest(cluster.dir);
  return ({ node, volume }, job) => {
    const door = { kind: 'unix', path: cluster.node(node).nbd.unix } as const;
    return start(qemuArguments({ name: volume, door, proof: { dir: '', user: '' } }), job);
  };
}

/** For the job `kernel`: no disk, but a network in which the host is 10.0.2.2. */
export const NETWORK: readonly string[] = [
  ...['-netdev', 'user,id=net0', '-device', 'virtio-net-pci,netdev=net0,romfile='],
];

/** One life of a guest. */
export class Guest {
  readonly job: GuestJob;
  readonly #console: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #said = '';

  constructor(dir: string, console: string, disk: readonly string[], job: GuestJob) {
    this.job = job;
    this.#console = console;
    const words = Object.entries(job).map(([name, value]) => `guest.${name}=${value}`);
    const args = [
      ...['-machine', 'q35,accel=tcg', '-cpu', 'max', '-m', MEMORY_MIB, '-nodefaults'],
      ...['-display', 'none', '-no-reboot', '-serial', `file:${console}`],
      ...['-kernel', path.join(dir, 'kernel'), '-initrd', path.join(dir, 'initramfs')],
      ...['-append', `console=ttyS0 quiet panic=-1 tsc=unstable ${words.join(' ')}`],
      ...disk,
    ];
    this.#child = spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
    });
    this.#ended = new Promise((resolve) => this.#child.once('exit', () => resolve()));
  }

  get console(): string {
    const text = fs.existsSync(this.#console) ? fs.readFileSync(this.#console, 'latin1') : '';
    return text.replaceAll('\r', '');
  }

  /** The newest record that it was told is written; 0 = none. Only whole lines count: it may die within one. */
  get written(): number {
    return Number([...this.console.matchAll(/^written (\d+)\n/gm)].at(-1)?.[1] ?? 0);
  }

  /** Waits for so many records. */
  async records(count: number, timeoutMs: number): Promise<void> {
    const areThere = async () => {
      if (this.#child.exitCode !== null) throw new RangeError(`it ended: ${this.#tail()}`);
      return this.written >= count;
    };
    await until(`the guest has ${count} records`, areThere, timeoutMs, 50);
  }

  /** `good`, `bad REASON`, or what was seen of one that ended without a verdict or not in time. */
  async verdict(timeoutMs: number): Promise<string> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), timeoutMs);
    await this.#ended;
    clearTimeout(timer);
    return /^VERDICT (.*)$/m.exec(this.console)?.[1] ?? `no verdict: ${this.#tail()}`;
  }

  /** As by the death of its host. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  #tail(): string {
    return `${this.console.slice(-2000)} ${this.#said}`;
  }
}

/**
 * What of a guest's ledger is not on the volume as this socket shows it: each block holds the newest record that was
 * written to it, or the one that was under way when the guest ended. Empty: nothing is lost.
 */
export async function ledgerProblems(
  guest: Guest,
  socket: string,
  volume: string,
): Promise<readonly string[]> {
  const { slots = 256, run: word = 'r1' } = guest.job;
  const { written } = guest;
  const client = await NbdClient.connect(socket, volume);
  const problems: string[] = [];
  if (written === 0) problems.push('the guest has no record');
  for (let slot = 0; slot < Math.min(slots, written + 1); slot += 1) {
    const newest = written - ((written - slot + slots) % slots);
    if (newest < 1) continue;
    const block = await client.read(slot * BLOCK_BYTES, BLOCK_BYTES);
    const isOf = (n: number) => block.equals(recordOf(word, n));
    const mayBeNext = (written + 1) % slots === slot;
    if (isOf(newest) || (mayBeNext && isOf(written + 1))) continue;
    const found = block.subarray(0, 40).toString('latin1').replaceAll('\0', '');
    problems.push(`block ${slot} has "${found}" and not record ${newest}`);
  }
  await client.close();
  return problems;
}

/** As guest-init.sh writes it. */
function recordOf(word: string, n: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  block.write(`record ${word} ${n}\n`);
  return block;
}
