// Method: one store on the real disk, killed with -9 at 200 random moments, a part of them while it opens and replays;
// the ring is the smallest there is, so that it goes round and checkpoints run all the time. After each start every block
// holds, as a whole and with sums that fit, what was confirmed last or something asked for after that, and nothing else.
// (The page cache survives kill -9; lost sectors are the simulator's business: test/storage/every-step.test.ts.)

import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test from 'ava';
import { SimRandom } from '../../sim/sim-random.ts';
import { BLOCKS } from './crash-200-writer.ts';

const KILLS = 200;
/** Share of the kills that strike while the store opens; the others strike while it writes. */
const EARLY_SHARE = 0.25;
const MAX_EARLY_MS = 60;
const MAX_WRITING_MS = 120;
/** Processes that are loaded and wait: a start of Node takes longer than a life here. */
const WARM = 2;
const MAX_OPEN_MS = 60_000;
const TAGS_PER_LIFE = 10_000_000;

/** What each block may hold: what was confirmed or found last, then everything that was asked for after it. */
class Expectation {
  readonly #allowed: number[][] = Array.from({ length: BLOCKS }, () => [0]);
  confirmed = 0;

  asked(block: number, tag: number): void {
    this.#allowed[block]?.push(tag);
  }

  isConfirmed(block: number): void {
    // One write of a block is under way at a time: the last one asked for.
    this.#allowed[block]?.splice(0, (this.#allowed[block]?.length ?? 1) - 1);
    this.confirmed += 1;
  }

  /** Takes what was found as the new truth; the first wrong block as a sentence. */
  judge(found: readonly number[]): string | undefined {
    for (let block = 0; block < BLOCKS; block += 1) {
      const allowed = this.#allowed[block] ?? [];
      const tag = found[block] as number;
      if (!allowed.includes(tag)) return `block ${block} holds ${tag}, allowed: ${allowed.join()}`;
      this.#allowed[block] = [tag];
    }
    return undefined;
  }
}

/** One life of the store, and what it said. */
class Life {
  readonly #child: ChildProcess;
  #text = '';
  #errors = '';
  #found: readonly number[] | undefined;
  readonly #lines: string[] = [];
  #wake: () => void = () => undefined;
  readonly #ended: Promise<number | null>;

  constructor(folder: string) {
    const script = path.resolve('test/e2e/crash-200-writer.ts');
    this.#child = spawn(process.execPath, [script, folder], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, NODE_COMPILE_CACHE: `${folder}-code` },
    });
    this.#child.stdout?.on('data', (bytes: Buffer) => this.#take(bytes.toString('latin1')));
    this.#child.stderr?.on('data', (bytes: Buffer) => {
      this.#errors += bytes.toString();
    });
    this.#child.stdin?.on('error', () => undefined);
    this.#ended = new Promise((resolve) => this.#child.on('close', (code) => resolve(code)));
  }

  /** Lets it begin. */
  go(firstTag: number): void {
    this.#child.stdin?.write(`${firstTag}\n`);
  }

  /** Resolves when it says that it opened, or when it ended. */
  async opened(): Promise<void> {
    const isOpen = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    if (this.#found === undefined) await Promise.race([isOpen, this.#ended]);
  }

  /** kill -9, then everything that it said. An end of its own is a failure. */
  async kill(): Promise<{
    readonly found: readonly number[] | undefined;
    readonly lines: string[];
  }> {
    this.#child.kill('SIGKILL');
    const code = await this.#ended;
    if (code !== null) throw new TypeError(`the store ended by itself (${code}): ${this.#errors}`);
    return { found: this.#found, lines: this.#lines };
  }

  #take(text: string): void {
    const lines = (this.#text + text).split('\n');
    this.#text = lines.pop() ?? '';
    for (const line of lines) {
      if (line.startsWith('o ')) {
        this.#found = line.slice(2).split(',').map(Number);
        this.#wake();
      } else if (line !== 'w') this.#lines.push(line);
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** One life from its start to its death at a random moment; a wrong block as a sentence. */
async function liveAndDie(
  life: Life,
  firstTag: number,
  random: SimRandom,
  expected: Expectation,
): Promise<string | undefined> {
  const isEarly = random.chance(EARLY_SHARE);
  const moment = random.unit() * (isEarly ? MAX_EARLY_MS : MAX_WRITING_MS);
  life.go(firstTag);
  if (!isEarly) await Promise.race([life.opened(), pause(MAX_OPEN_MS)]);
  await pause(moment);
  const { found, lines } = await life.kill();
  if (found === undefined && !isEarly) return `not open within ${MAX_OPEN_MS} ms`;
  const wrong = found === undefined ? undefined : expected.judge(found);
  for (const line of lines) {
    const [what, block, tag] = line.split(' ');
    if (what === 'i') expected.asked(Number(block), Number(tag));
    else expected.isConfirmed(Number(block));
  }
  return wrong;
}

test.serial(`store: what was confirmed survives ${KILLS} kills at random moments`, async (t) => {
  t.timeout(10 * 60_000);
  const seed = Number(process.env['SHEEP_SEED'] ?? Date.now() % 1_000_000);
  t.log(`SHEEP_SEED=${seed}`);
  const random = new SimRandom(`crash-200 ${seed}`);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-crash-'));
  const expected = new Expectation();
  const warm: Life[] = [];
  const startedMs = performance.now();
  try {
    for (let kill = 0; kill <= KILLS; kill += 1) {
      while (warm.length <= WARM) warm.push(new Life(folder));
      const life = warm.shift() as Life;
      const wrong = await liveAndDie(life, 1 + kill * TAGS_PER_LIFE, random, expected);
      t.is(wrong, undefined, `after ${kill} kills, seed ${seed}`);
      if (wrong !== undefined) return;
    }
  } finally {
    await Promise.allSettled(warm.map((life) => life.kill()));
    for (const made of [folder, `${folder}-code`])
      fs.rmSync(made, { recursive: true, force: true });
  }
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  t.log(`${expected.confirmed} confirmed writes and trims, ${seconds} s`);
  t.true(expected.confirmed > 10 * KILLS, `${expected.confirmed} confirmed`);
});
