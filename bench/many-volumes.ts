// Many guests on one node: 64 volumes, 256 connections, a mixed load that reads back what it wrote, connections that come
// and go, and every few seconds the memory and the descriptors of all nodes. Three nodes, three copies, a dev cluster.
//
//   npm run soak:volumes                three minutes; exit 1 when a node grew, kept descriptors, or data was wrong
//
// Environment: MINUTES (3), VOLUMES (64), CONNECTIONS of all (256, as many as a node takes), RATE requests per second of all
// (1000), SEED (1), JSON a file for all samples. Ends only what it started and removes what it wrote.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { ask, parseTarget } from '../src/cli/client.ts';
import { KIB, MIB } from '../src/core/units.ts';
import { NbdClient } from '../test/e2e/nbd-client.ts';

const DOG = path.join(import.meta.dirname, '..', 'bin', 'dog');
const { env } = process;
const minutes = Number(env['MINUTES'] ?? 3);
const volumeCount = Number(env['VOLUMES'] ?? 64);
const connectionCount = Number(env['CONNECTIONS'] ?? 256);
const rate = Number(env['RATE'] ?? 1000);
const SAMPLE_MS = 5000;
const VOLUME_BYTES = 64 * MIB;
/** Of one connection, behind each other from the start of its volume. */
const BLOCKS = 16;
const BLOCK_BYTES = 64 * KIB;
/** In 64ths of all requests: the rest reads. */
const WRITES = 20;
const FLUSHES = 2;
const RETURNS = 1;
/** Largest growth of a node from the second quarter of the run to the last one. */
const MAX_GROWTH = 1.15;
const MAX_TRIES = 20;
const TRY_PAUSE_MS = 50;
/** Links between nodes and journal files come and go by so many. */
const LOOSE_DESCRIPTORS = 8;

interface NodeLine {
  readonly name: string;
  readonly pid: number;
  readonly api: string;
  readonly nbd: { readonly unix: string };
}

interface Sample {
  readonly second: number;
  readonly requests: number;
  /** Of each node. */
  readonly mib: readonly number[];
  readonly descriptors: readonly number[];
}

/** One client: one request at a time, and all that it wrote is remembered by a number. */
class Guest {
  readonly #socket: string;
  readonly #volume: string;
  readonly #base: number;
  readonly #numbers = new Uint32Array(BLOCKS);
  readonly #random: () => number;
  #client: NbdClient | undefined;
  #sequence = 0;
  requests = 0;
  returns = 0;
  refusals = 0;
  readonly problems: string[] = [];

  constructor(at: { socket: string; volume: string; base: number; random: () => number }) {
    this.#socket = at.socket;
    this.#volume = at.volume;
    this.#base = at.base;
    this.#random = at.random;
  }

  async run(pauseMs: number, isOver: () => boolean): Promise<void> {
    await pause(this.#random() * pauseMs);
    while (!isOver() && this.problems.length === 0) {
      const since = performance.now();
      try {
        await this.#one();
      } catch (error) {
        this.problems.push(`${this.#volume}: ${String(error)}`);
      }
      this.requests += 1;
      await pause(since + pauseMs - performance.now());
    }
  }

  async leave(): Promise<void> {
    await this.#client?.close();
    this.#client = undefined;
  }

  async #one(): Promise<void> {
    this.#client ??= await this.#attach();
    const client = this.#client;
    const block = Math.floor(this.#random() * BLOCKS);
    const offset = this.#base + block * BLOCK_BYTES;
    const what = Math.floor(this.#random() * 64);
    if (what < WRITES) {
      this.#sequence += 1;
      await client.write(offset, this.#content(block, this.#sequence));
      this.#numbers[block] = this.#sequence;
    } else if (what < WRITES + FLUSHES) {
      await client.flush();
    } else if (what < WRITES + FLUSHES + RETURNS) {
      await this.leave();
      this.returns += 1;
    } else {
      const number = this.#numbers[block] ?? 0;
      const bytes = this.#lengthOf(number);
      const found = await client.read(offset, bytes);
      if (!found.equals(this.#content(block, number))) {
        this.problems.push(`${this.#volume}: block ${block} is not write ${number}`);
      }
    }
  }

  /** A node counts a client until its last request is over: who comes back at the bound may be refused once. */
  async #attach(): Promise<NbdClient> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await NbdClient.connect(this.#socket, this.#volume);
      } catch (error) {
        if (tries >= MAX_TRIES) throw error;
        this.refusals += 1;
        await pause(TRY_PAUSE_MS);
      }
    }
  }

  /** Different lengths, so that large and small ones are mixed. */
  #lengthOf(number: number): number {
    return number % 8 === 7 ? BLOCK_BYTES : 4 * KIB;
  }

  #content(block: number, number: number): Buffer {
    const bytes = Buffer.alloc(this.#lengthOf(number));
    if (number === 0) return bytes;
    bytes.fill(`${this.#volume} ${this.#base} ${block} ${number};`);
    return bytes;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}

function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

async function startCluster(dir: string): Promise<{ child: ChildProcess; nodes: NodeLine[] }> {
  const args = ['dev', 'up', '--dir', dir, '--nodes', '3', '--copies', '3', '--json'];
  const child = spawn(DOG, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit').then(([code]) =>
    Promise.reject(new RangeError(`dog dev up ended with ${code}`)),
  );
  ended.catch(() => undefined);
  const line = once(createInterface({ input: child.stdout }), 'line') as Promise<[string]>;
  const [text] = await Promise.race([line, ended]);
  return { child, nodes: (JSON.parse(text) as { nodes: NodeLine[] }).nodes };
}

function sampleOf(nodes: readonly NodeLine[], second: number, requests: number): Sample {
  const mib = nodes.map(({ pid }) => {
    const [, kib] = /VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Number(kib) / 1024;
  });
  const descriptors = nodes.map(({ pid }) => fs.readdirSync(`/proc/${pid}/fd`).length);
  return { second, requests, mib, descriptors };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/** What grew; empty: nothing. */
function judge(
  nodes: readonly NodeLine[],
  samples: readonly Sample[],
  before: Sample,
  after: Sample,
): string[] {
  const quarter = Math.floor(samples.length / 4);
  return nodes.flatMap(({ name }, n) => {
    const of = (field: 'mib' | 'descriptors', part: number) =>
      median(samples.slice(part * quarter, (part + 1) * quarter).map((one) => one[field][n] ?? 0));
    const [early, late] = [of('mib', 1), of('mib', 3)];
    const [few, many] = [of('descriptors', 1), of('descriptors', 3)];
    const [first, last] = [before.descriptors[n] ?? 0, after.descriptors[n] ?? 0];
    // Files of objects stay open, up to a bound; connections do not.
    const expected = few - (n === 0 ? connectionCount : 0);
    process.stdout.write(
      `| ${name} | ${before.mib[n]?.toFixed(0)} | ${early.toFixed(0)} | ${late.toFixed(0)} | ${after.mib[n]?.toFixed(0)} ` +
        `| ${first} | ${few} | ${many} | ${last} |\n`,
    );
    return [
      ...(late > early * MAX_GROWTH ? [`${name} grew from ${early} to ${late} MiB`] : []),
      ...(many > few + LOOSE_DESCRIPTORS ? [`${name}: ${few} descriptors, then ${many}`] : []),
      ...(last > expected + LOOSE_DESCRIPTORS ? [`${name} keeps ${last} descriptors`] : []),
    ];
  });
}

async function load(nodes: readonly NodeLine[]): Promise<string[]> {
  const [gateway] = nodes;
  if (gateway === undefined) throw new RangeError('there is no node');
  const target = parseTarget(gateway.api);
  for (let n = 1; n <= volumeCount; n += 1) {
    const body = { name: `v${n}`, sizeBytes: VOLUME_BYTES };
    await ask(target, '/v1/volumes', { method: 'POST', body });
  }
  const before = sampleOf(nodes, 0, 0);
  const guests = Array.from({ length: connectionCount }, (_, n) => {
    const base = Math.floor(n / volumeCount) * BLOCKS * BLOCK_BYTES;
    const random = randomOf(Number(env['SEED'] ?? 1) * 1000 + n);
    const socket = gateway.nbd.unix.replace(/^unix:/, '');
    return new Guest({ socket, volume: `v${(n % volumeCount) + 1}`, base, random });
  });
  const startedAt = performance.now();
  const isOver = () => performance.now() - startedAt > minutes * 60_000;
  const running = guests.map((guest) => guest.run((connectionCount * 1000) / rate, isOver));
  const samples: Sample[] = [];
  const done = () => guests.reduce((sum, { requests }) => sum + requests, 0);
  while (!isOver()) {
    await pause(SAMPLE_MS);
    samples.push(sampleOf(nodes, (performance.now() - startedAt) / 1000, done()));
  }
  await Promise.all(running);
  const returns = guests.reduce((sum, one) => sum + one.returns, 0);
  const refusals = guests.reduce((sum, one) => sum + one.refusals, 0);
  await Promise.all(guests.map((guest) => guest.leave()));
  await pause(SAMPLE_MS);
  const after = sampleOf(nodes, (performance.now() - startedAt) / 1000, done());
  const seconds = samples.at(-1)?.second ?? 1;
  process.stdout.write(
    `${volumeCount} volumes, ${connectionCount} connections, ${seconds.toFixed(0)} s: ${done()} requests, ` +
      `${(done() / seconds).toFixed(0)} a second, ${returns} connections came back, ` +
      `${refusals} of them at the second try or later\n\n` +
      '| node | MiB before | second quarter | last quarter | after | descriptors before | second quarter | last quarter | after |\n' +
      '|---|---|---|---|---|---|---|---|---|\n',
  );
  const grown = judge(nodes, samples, before, after);
  if (env['JSON'] !== undefined) fs.writeFileSync(env['JSON'], JSON.stringify(samples));
  return [...guests.flatMap(({ problems }) => problems), ...grown];
}

async function main(): Promise<void> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-volumes-'));
  const { child, nodes } = await startCluster(dir);
  try {
    const problems = await load(nodes);
    for (const problem of problems) process.stdout.write(`WRONG: ${problem}\n`);
    process.exitCode = problems.length === 0 ? 0 : 1;
  } finally {
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    await gone;
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

await main();
