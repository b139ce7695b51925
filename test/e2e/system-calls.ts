// What processes ask of the kernel, as strace saw it: attached to all their threads, with the moments at which each call
// began and ended. A call's moments lie outside of it on both sides: what ended here before something began there did so in
// truth. It judges nothing.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';

/** Bytes of a buffer that are kept: more than a batch of small writes has. */
const SHOWN_BYTES = 100_000;
const ATTACH_TIMEOUT_MS = 30_000;
const CALLS = ['pwrite64', 'pwritev', 'pwritev2', 'fdatasync', 'fsync', 'write', 'writev'];
const LINE =
  /^(?<start>\d+\.\d+) (?<name>\w+)\((?<fd>\d+)<(?<path>[^>]*)>(?<rest>.*)\) += (?<result>-?\d+).* <(?<took>\d+\.\d+)>$/;

export interface SystemCall {
  readonly name: string;
  /** What the descriptor stands for: a path, or `socket:[NUMBER]`. */
  readonly path: string;
  /** What was written, one `hex` text per buffer, cut at SHOWN_BYTES. */
  readonly buffers: readonly string[];
  readonly result: number;
  /** Nanoseconds of the host's date. */
  readonly start: bigint;
  readonly end: bigint;
}

/** Why nothing can be traced here; empty when it can. */
export function whyNoTrace(): string {
  const tried = spawnSync('strace', ['-qq', '-e', 'trace=none', 'true'], { encoding: 'utf8' });
  if (tried.error !== undefined) return 'strace is missing: apt-get install strace';
  return tried.status === 0 ? '' : `strace may not trace here: ${tried.stderr.trim()}`;
}

export class Tracer {
  readonly #child: ChildProcess;
  readonly #prefix: string;

  /** Resolves when all threads of the process are traced. `prefix`: of the files that it makes. */
  static async attach(pid: number, prefix: string): Promise<Tracer> {
    const tracer = new Tracer(pid, prefix);
    await tracer.#isAttached(pid);
    return tracer;
  }

  private constructor(pid: number, prefix: string) {
    this.#prefix = prefix;
    const stamps = ['--absolute-timestamps=format:unix,precision:ns', '--syscall-times=ns'];
    const what = ['-e', `trace=${CALLS.join()}`, '-e', 'signal=none', '-y', '-xx'];
    const args = ['-ff', ...stamps, ...what, '-s', String(SHOWN_BYTES), '-o', prefix];
    this.#child = spawn('strace', [...args, '-p', String(pid)], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  }

  /** Lets go of the process and reads what was seen, in no order. */
  async stop(): Promise<readonly SystemCall[]> {
    const { exitCode, signalCode } = this.#child;
    if (exitCode === null && signalCode === null) {
      const gone = once(this.#child, 'exit');
      this.#child.kill('SIGINT');
      await gone;
    }
    const folder = path.dirname(this.#prefix);
    const files = fs
      .readdirSync(folder)
      .filter((name) => name.startsWith(`${path.basename(this.#prefix)}.`));
    return files.flatMap((name) => {
      const lines = fs.readFileSync(path.join(folder, name), 'latin1').split('\n');
      return lines.flatMap(callOf);
    });
  }

  #isAttached(pid: number): Promise<void> {
    return new Promise((resolve, reject) => {
      let text = '';
      const fail = (why: string): void => reject(new Error(`strace of ${pid} ${why}: ${text}`));
      const timer = setTimeout(() => fail('did not attach'), ATTACH_TIMEOUT_MS);
      this.#child.once('exit', () => fail('ended'));
      this.#child.stderr?.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
        if (!text.includes(' attached')) return;
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

/** The call of one line; none when the line tells of something else, or of a call that had not ended. */
function callOf(line: string): SystemCall[] {
  const parts = LINE.exec(line)?.groups;
  if (parts === undefined) return [];
  const { start = '', took = '', name = '', path: escaped = '', rest = '', result } = parts;
  const began = nanoseconds(start);
  const buffers = [...rest.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map(([, hex = '']) => {
    return hex.replaceAll('\\x', '');
  });
  const end = began + nanoseconds(took);
  return [{ name, path: plain(escaped), buffers, result: Number(result), start: began, end }];
}

/** With -xx paths are escaped, too. */
function plain(escaped: string): string {
  return escaped.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

function nanoseconds(seconds: string): bigint {
  const [whole = '0', part = ''] = seconds.split('.');
  return BigInt(whole) * 1_000_000_000n + BigInt(part.padEnd(9, '0').slice(0, 9));
}
