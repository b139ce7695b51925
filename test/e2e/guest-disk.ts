// QEMU's own block layer without a machine: qemu-io on a volume with the words that `dog vdi attach` prints, one synced
// write after the other, and how long the longest took. What a guest's disk sees, without the boot.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { type Attachment, qemuArguments } from '../../src/cli/attach-text.ts';

const BLOCK_BYTES = 4096;
/** Records go round in so many blocks. */
const SLOTS = 256;

export interface Answered {
  /** ms since the start of the writer. */
  readonly at: number;
  readonly ms: number;
}

/** Writes until it is stopped. Record `n` fills block `n % SLOTS` with the byte `n % 251`. */
export class GuestDisk {
  readonly answered: Answered[] = [];
  /** What QEMU said of requests that failed. */
  readonly errors: string[] = [];
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #startedAt = performance.now();
  readonly #ended: Promise<void>;
  #askedAt = 0;
  #isStopping = false;

  /** @param words instead of the ones printed, as `reconnect-delay=5` */
  constructor(attachment: Attachment, words: readonly string[] = []) {
    const image = imageOptions(attachment, words);
    const args = ['-n', '--image-opts', image];
    this.#child = spawn('qemu-io', args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#ended = new Promise((resolve) => this.#child.once('exit', () => resolve()));
    this.#child.stdin.on('error', () => undefined);
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#hear(line));
    createInterface({ input: this.#child.stderr }).on('line', (line) => this.errors.push(line));
    this.#ask();
  }

  /** Milliseconds of the slowest record, counting the one that is under way. */
  get longestMs(): number {
    const open = this.#isStopping ? 0 : performance.now() - this.#askedAt;
    return Math.max(open, ...this.answered.map(({ ms }) => ms));
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#child.stdin.end('quit\n');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5000);
    await this.#ended;
    clearTimeout(timer);
  }

  #ask(): void {
    if (this.#isStopping) return;
    const next = this.answered.length + 1;
    const at = (next % SLOTS) * BLOCK_BYTES;
    this.#askedAt = performance.now();
    this.#child.stdin.write(`write -f -P ${next % 251} ${at} ${BLOCK_BYTES}\n`);
  }

  #hear(line: string): void {
    if (/failed|error/i.test(line)) this.errors.push(line);
    const isEnd = /^\S.*ops; |failed/.test(line.replace(/^(qemu-io> )+/, ''));
    if (!isEnd) return;
    const now = performance.now();
    this.answered.push({ at: now - this.#startedAt, ms: now - this.#askedAt });
    this.#ask();
  }
}

/** The words of `-blockdev`, without what is for a machine, in the form that qemu-img and qemu-io take. */
export function imageOptions(attachment: Attachment, words: readonly string[] = []): string {
  const all = qemuArguments(attachment);
  const block = all[all.indexOf('-blockdev') + 1] ?? '';
  const instead = new Set(words.map((word) => word.split('=')[0]));
  const kept = block.split(/(?<!,),(?!,)/).filter((word) => !instead.has(word.split('=')[0]));
  return [...kept, ...words].join(',');
}
