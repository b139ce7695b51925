// The store alone, on the real disk: first writes of a volume through the journal and past it, durable 4 KiB writes with
// 64 in flight, overwrites, cached and checked 4 KiB reads; beside it fio on a plain file of the same file system. Prints
// one line per figure: rate, CPU per operation, percentiles. Aims: 30k durable writes/s, 6 us CPU per cached read.
// Run: node bench/micro/store.ts [folder] [seconds] [rounds]. What it makes in the folder is removed.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { sumsOf } from '../../src/core/checksum.ts';
import type { FamilyId, FencingToken, GenerationId } from '../../src/core/ids.ts';
import { KIB, MIB, OBJECT_BYTES, SECOND_MS } from '../../src/core/units.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import type { Clock, Random, TimerHandle } from '../../src/ports/ports.ts';
import type { LocalObjectStore } from '../../src/storage/local-store.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import type { ObjectStore } from '../../src/storage/store-types.ts';
import { fioLines } from './fio-file.ts';

const OBJECTS = 64;
const GENERATION = 1 as GenerationId;
const parent = process.argv[2] ?? os.tmpdir();
const seconds = Number(process.argv[3] ?? 5);
const rounds = Number(process.argv[4] ?? 1);
const folder = fs.mkdtempSync(path.join(parent, 'sheep-bench-'));

const clock: Clock = {
  date: () => 0,
  now: () => performance.now(),
  setTimer: (ms, fn) => setTimeout(fn, ms) as unknown as TimerHandle,
  clearTimer: (handle) => clearTimeout(handle as unknown as NodeJS.Timeout),
  soon: (fn) => void setImmediate(fn),
};
const random: Random = {
  u32: () => Math.floor(Math.random() * 2 ** 32),
  bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  fork: () => random,
};
const trace = { event: () => undefined, warn: () => undefined, count: () => undefined };

const counts = new Array<number>(OBJECTS).fill(0);

function writeOnce(
  store: ObjectStore,
  place: { readonly index: number; readonly offset: number },
  data: Uint8Array,
  done: () => void,
): void {
  const { index, offset } = place;
  const count = counts[index] as number;
  counts[index] = count + 1;
  const token = 1 as FencingToken;
  store.write(
    {
      generation: GENERATION,
      index,
      family: 1 as FamilyId,
      partition: index,
      prev: { token: count === 0 ? (0 as FencingToken) : token, count },
      next: { token, count: count + 1 },
      cfg: 1,
      closed: count,
      offset,
      count: data.length,
    },
    data,
    sumsOf(GENERATION, index, offset, data),
    (error) => {
      if (error !== undefined) throw error;
      done();
    },
  );
}

/** Keeps `depth` writes in flight for a while. */
async function writes(
  store: ObjectStore,
  name: string,
  bytes: number,
  depth: number,
): Promise<void> {
  const data = random.bytes(KIB);
  const block = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += KIB) block.set(data, at);
  const slots = OBJECT_BYTES / bytes;
  const startMs = clock.now();
  const cpu = process.cpuUsage();
  const latencies: number[] = [];
  await new Promise<void>((resolve) => {
    let running = depth;
    const next = (): void => {
      if (clock.now() - startMs > seconds * SECOND_MS) {
        running -= 1;
        if (running === 0) resolve();
        return;
      }
      const index = Math.floor(Math.random() * OBJECTS);
      const offset = Math.floor(Math.random() * slots) * bytes;
      const from = clock.now();
      writeOnce(store, { index, offset }, block, () => {
        latencies.push(clock.now() - from);
        next();
      });
    };
    for (let i = 0; i < depth; i += 1) next();
  });
  report(name, bytes, latencies, startMs, cpu);
}

/** Every object once, in order, as a new volume is filled; the time counts until all of it is saved in place. */
async function fill(bytes: number, way: string, extentBytes: number): Promise<void> {
  const data = new Uint8Array(bytes);
  const block = random.bytes(KIB);
  for (let at = 0; at < bytes; at += KIB) data.set(block, at);
  const inner = path.join(folder, `fill-${bytes}-${way}`);
  const store = await opened(inner, extentBytes);
  counts.fill(0);
  const startMs = clock.now();
  const cpu = process.cpuUsage();
  const latencies: number[] = [];
  const perObject = OBJECT_BYTES / bytes;
  let place = 0;
  const lane = async (): Promise<void> => {
    while (place < OBJECTS * perObject) {
      const at = place;
      place += 1;
      const from = clock.now();
      const where = { index: Math.floor(at / perObject), offset: (at % perObject) * bytes };
      await new Promise<void>((resolve) => writeOnce(store, where, data, resolve));
      latencies.push(clock.now() - from);
    }
  };
  await Promise.all([lane(), lane(), lane(), lane()]);
  const confirmedMs = clock.now() - startMs;
  await new Promise<void>((resolve) => store.checkpoint(() => resolve()));
  const confirmed = Math.round((OBJECTS * 4 * SECOND_MS) / confirmedMs);
  const name = `${bytes / KIB} KiB first writes, 4 in flight, ${way} (${confirmed} MiB/s until confirmed)`;
  report(name, bytes, latencies, startMs, cpu);
  await new Promise<void>((resolve) => store.stop(() => resolve()));
  fs.rmSync(inner, { recursive: true, force: true });
}

/** Gives every object its bytes, so that what is measured next are overwrites. */
async function filled(store: ObjectStore): Promise<void> {
  const data = new Uint8Array(MIB).fill(7);
  for (let at = 0; at < OBJECTS * 4; at += 1) {
    const where = { index: Math.floor(at / 4), offset: (at % 4) * MIB };
    await new Promise<void>((resolve) => writeOnce(store, where, data, resolve));
  }
}

async function reads(store: ObjectStore): Promise<void> {
  const target = new Uint8Array(4 * KIB);
  for (let index = 0; index < OBJECTS; index += 1) {
    await new Promise<void>((resolve) => {
      store.read(GENERATION, index, 0, 4 * KIB, target, 0, () => resolve());
    });
  }
  const startMs = clock.now();
  const cpu = process.cpuUsage();
  const latencies: number[] = [];
  while (clock.now() - startMs < seconds * SECOND_MS) {
    const from = clock.now();
    for (let i = 0; i < 100; i += 1) {
      const index = Math.floor(Math.random() * OBJECTS);
      const offset = Math.floor(Math.random() * 1024) * 4 * KIB;
      const outcome = store.readSync(GENERATION, index, offset, 4 * KIB, target, 0);
      if (outcome !== 'ok') throw new TypeError(`a cached read was ${outcome}`);
    }
    const each = (clock.now() - from) / 100;
    for (let i = 0; i < 100; i += 1) latencies.push(each);
  }
  report('4 KiB cached reads, checked', 4 * KIB, latencies, startMs, cpu);
}

function report(
  name: string,
  bytes: number,
  latencies: number[],
  startMs: number,
  cpu: NodeJS.CpuUsage,
): void {
  const elapsedMs = clock.now() - startMs;
  const used = process.cpuUsage(cpu);
  latencies.sort((a, b) => a - b);
  const at = (share: number): string =>
    (latencies[Math.floor((latencies.length - 1) * share)] ?? 0).toFixed(3);
  const rate = Math.round((latencies.length / elapsedMs) * SECOND_MS);
  const mib = Math.round((rate * bytes) / MIB);
  const cpuUs = ((used.user + used.system) / latencies.length).toFixed(1);
  const line = `${name}: ${rate}/s, ${mib} MiB/s, ${cpuUs} us CPU each, ms p50 ${at(0.5)} p99 ${at(0.99)} max ${at(1)}`;
  process.stdout.write(`${line}\n`);
}

function opened(inner: string, extentBytes?: number): Promise<LocalObjectStore> {
  fs.mkdirSync(inner, { recursive: true });
  return openObjectStore({
    disk: openFileDisk(inner),
    clock,
    random,
    trace,
    journalBytes: 256 * MIB,
    ...(extentBytes === undefined ? {} : { extentBytes }),
    onFatal: (error) => {
      throw error;
    },
  });
}

try {
  for (let round = 0; round < rounds; round += 1) {
    for (const bytes of [64 * KIB, 256 * KIB, 512 * KIB, MIB]) {
      await fill(bytes, 'journal', Number.POSITIVE_INFINITY);
      await fill(bytes, 'past it', bytes);
    }
    const inner = path.join(folder, 'store');
    const store = await opened(inner, Number.POSITIVE_INFINITY);
    counts.fill(0);
    await filled(store);
    await writes(store, '4 KiB durable writes, 64 in flight', 4 * KIB, 64);
    await writes(store, '4 KiB durable writes, 1 in flight', 4 * KIB, 1);
    await writes(store, '1 MiB overwrites, 4 in flight', MIB, 4);
    await reads(store);
    await new Promise<void>((resolve) => store.stop(() => resolve()));
    fs.rmSync(inner, { recursive: true, force: true });
    for (const line of fioLines(folder, seconds)) process.stdout.write(`${line}\n`);
  }
} finally {
  fs.rmSync(folder, { recursive: true, force: true });
}
