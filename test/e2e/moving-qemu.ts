// A QEMU that can be migrated: a machine without an operating system and one disk, attached with the words that `dog vdi
// attach` prints. What its guest would write the monitor writes (qemu-io, through the disk's own device), so a test says
// when; the migration is QEMU's own, over a unix socket.

import { type ChildProcess, spawn } from 'node:child_process';
import type net from 'node:net';
import path from 'node:path';
import { qemuArguments } from '../../src/cli/attach-text.ts';
import { tryConnect } from '../try-connect.ts';
import { until } from './cluster.ts';

const START_MS = 30_000;
const REPLY_MS = 60_000;
const MOVE_MS = 60_000;
const POLL_MS = 20;
const MEMORY_MIB = '32';
/** So that the monitor can name the disk's device. */
const DEVICE = 'moved';

interface Reply {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

export class MovingQemu {
  readonly #dir: string;
  readonly #name: string;
  readonly #child: ChildProcess;
  #monitor: net.Socket | undefined;
  #said = '';
  #received = '';
  #waiting: ((reply: Reply) => void) | undefined;

  private constructor(dir: string, name: string, nbd: string, volume: string, flags: string[]) {
    this.#dir = dir;
    this.#name = name;
    const door = { kind: 'unix', path: nbd } as const;
    const disk = qemuArguments({ name: volume, door, proof: { dir: '', user: '' } });
    const args = [
      ...['-machine', 'q35,accel=tcg', '-m', MEMORY_MIB, '-nodefaults', '-display', 'none'],
      ...['-qmp', `unix:${this.#path('qmp')},server=on,wait=off`],
      ...disk.with(-1, `${disk.at(-1)},id=${DEVICE}`),
      ...flags,
    ];
    this.#child = spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#said += text;
      });
    }
  }

  /** Starts one on a node's socket; `incoming` waits for a migration. */
  static async start(
    dir: string,
    name: string,
    at: { readonly nbd: string; readonly volume: string },
    isIncoming = false,
  ): Promise<MovingQemu> {
    const flags = isIncoming ? ['-incoming', 'defer'] : [];
    const qemu = new MovingQemu(dir, name, at.nbd, at.volume, flags);
    await qemu.#connect();
    if (isIncoming) await qemu.#ask('migrate-incoming', { uri: `unix:${qemu.#path('incoming')}` });
    return qemu;
  }

  #path(what: string): string {
    return path.join(this.#dir, `${this.#name}.${what}`);
  }

  async #connect(): Promise<void> {
    let found: net.Socket | undefined;
    const isThere = async () => {
      found = await tryConnect(this.#path('qmp'));
      return found !== undefined;
    };
    await until(`${this.#name} has a monitor: ${this.#said}`, isThere, START_MS, POLL_MS);
    const monitor = found as unknown as net.Socket;
    monitor.on('error', () => undefined);
    monitor.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    this.#monitor = monitor;
    await this.#ask('qmp_capabilities');
  }

  #take(text: string): void {
    this.#received += text;
    for (;;) {
      const end = this.#received.indexOf('\n');
      if (end < 0) return;
      const said = JSON.parse(this.#received.slice(0, end)) as Reply;
      this.#received = this.#received.slice(end + 1);
      if (said.return === undefined && said.error === undefined) continue;
      this.#waiting?.(said);
    }
  }

  async #ask(execute: string, words: Record<string, unknown> = {}): Promise<unknown> {
    const reply = await new Promise<Reply>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${this.#name}: no answer to ${execute}: ${this.#said}`)),
        REPLY_MS,
      );
      this.#waiting = (said) => {
        clearTimeout(timer);
        resolve(said);
      };
      this.#monitor?.write(`${JSON.stringify({ execute, arguments: words })}\n`);
    });
    if (reply.error !== undefined) throw new Error(`${execute}: ${reply.error.desc}`);
    return reply.return;
  }

  /** What qemu-io says of one command on the disk: one line. */
  async #io(command: string): Promise<string> {
    const from = this.#said.length;
    const line = `qemu-io -d /machine/peripheral/${DEVICE}/virtio-backend "${command}"`;
    const said = (await this.#ask('human-monitor-command', { 'command-line': line })) as string;
    // Its words come by the monitor or by the process's own output, as the version has it.
    const words = () => `${said}${this.#said.slice(from)}`.trim();
    await until(`an answer to ${command}`, async () => words() !== '', REPLY_MS, POLL_MS);
    return words();
  }

  /** Writes one block of this byte; the error's words if it failed. */
  async write(offset: number, byte: number): Promise<string | undefined> {
    const said = await this.#io(`write -P ${byte} ${offset} 4k`);
    return said.startsWith('wrote 4096/4096') ? undefined : said;
  }

  /** Whether the block holds this byte and nothing else. */
  async holds(offset: number, byte: number): Promise<boolean> {
    const said = await this.#io(`read -P ${byte} ${offset} 4k`);
    return said.startsWith('read 4096/4096') && !said.includes('failed');
  }

  /** Moves to `to`; QEMU's own figures of it. */
  async move(to: MovingQemu): Promise<{ readonly totalMs: number; readonly downMs: number }> {
    await this.#ask('migrate', { uri: `unix:${to.#path('incoming')}` });
    let info: Record<string, unknown> = {};
    const isOver = async () => {
      info = (await this.#ask('query-migrate')) as Record<string, unknown>;
      if (info['status'] === 'failed') throw new Error(`the migration failed: ${to.#said}`);
      return info['status'] === 'completed';
    };
    await until('the migration is over', isOver, MOVE_MS, POLL_MS);
    return { totalMs: Number(info['total-time']), downMs: Number(info['downtime']) };
  }

  /** Runs: the disk is this one's from here on. */
  async isRunning(): Promise<boolean> {
    return ((await this.#ask('query-status')) as { running: boolean }).running;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    this.#child.kill('SIGKILL');
    await gone;
    this.#monitor?.destroy();
  }
}
