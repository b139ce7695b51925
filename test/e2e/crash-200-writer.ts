// The process that crash-200.test.ts kills: one store on the real disk. It is loaded and waits for a line on stdin, then
// opens the store, tells what every block holds, and writes until it dies. What it is about to do and what was confirmed
// goes down a pipe, each by one write call: the pipe outlives the process.
//
//   o TAG,TAG,...     opened, and what each block holds: 0 zeroes, -1 not one write as a whole, -2 damaged
//   i BLOCK TAG       about to write it (0: about to trim it)
//   a BLOCK           the last one of this block is confirmed

import * as fs from 'node:fs';
import { sumsOf } from '../../src/core/checksum.ts';
import type { FamilyId, FencingToken, GenerationId } from '../../src/core/ids.ts';
import { MIB, SECTOR_BYTES } from '../../src/core/units.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import { createRealClock } from '../../src/io/real-clock.ts';
import { createRealRandom } from '../../src/io/real-random.ts';
import type { LocalObjectStore } from '../../src/storage/local-store.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import type { StoreDone } from '../../src/storage/store-types.ts';

const GENERATION = 1 as GenerationId;
const BLOCKS_PER_OBJECT = 24;
export const BLOCKS = 6 * BLOCKS_PER_OBJECT;
const SECTORS_PER_BLOCK = 8;
const BLOCK_BYTES = SECTORS_PER_BLOCK * SECTOR_BYTES;
const IN_FLIGHT = 12;
const TRIM_SHARE = 0.1;
/** The pipe is full for a moment: the judge reads as fast as it can. */
const MAX_PIPE_TRIES = 1_000_000;
const PIPE_FD = 1;

function say(line: string): void {
  for (let tries = 0; ; tries += 1) {
    try {
      fs.writeSync(PIPE_FD, line);
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== 'EAGAIN' || tries >= MAX_PIPE_TRIES) throw error;
    }
  }
}

/** Every sector of a block says block, sector and tag. */
function blockOf(block: number, tag: number): Uint8Array {
  const words = new Uint32Array(BLOCK_BYTES / 4).fill(tag);
  for (let sector = 0; sector < SECTORS_PER_BLOCK; sector += 1) {
    words[(sector * SECTOR_BYTES) / 4] = block * SECTORS_PER_BLOCK + sector;
  }
  return new Uint8Array(words.buffer);
}

function tagIn(block: number, bytes: Uint8Array): number {
  const tag = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
  const expected = tag === 0 ? new Uint8Array(BLOCK_BYTES) : blockOf(block, tag);
  return Buffer.compare(bytes, expected) === 0 ? tag : -1;
}

class Writer {
  readonly #store: LocalObjectStore;
  readonly #busy = new Set<number>();
  #tag: number;

  constructor(store: LocalObjectStore, firstTag: number) {
    this.#store = store;
    this.#tag = firstTag;
  }

  async tags(): Promise<number[]> {
    const tags: number[] = [];
    for (let block = 0; block < BLOCKS; block += 1) tags.push(await this.#read(block));
    return tags;
  }

  write(): void {
    while (this.#busy.size < IN_FLIGHT) this.#writeOne();
  }

  #writeOne(): void {
    const block = this.#free();
    const isTrim = Math.random() < TRIM_SHARE;
    const tag = isTrim ? 0 : this.#tag++;
    this.#busy.add(block);
    say(`i ${block} ${tag}\n`);
    const done: StoreDone = (error) => {
      if (error !== undefined) throw error;
      say(`a ${block}\n`);
      this.#busy.delete(block);
      this.write();
    };
    const place = this.#place(block);
    if (isTrim) {
      this.#store.zero(place, done);
      return;
    }
    const data = blockOf(block, tag);
    this.#store.write(place, data, sumsOf(GENERATION, place.index, place.offset, data), done);
  }

  #free(): number {
    for (;;) {
      const block = Math.floor(Math.random() * BLOCKS);
      if (!this.#busy.has(block)) return block;
    }
  }

  #read(block: number): Promise<number> {
    const { index, offset } = placeOf(block);
    const bytes = new Uint8Array(BLOCK_BYTES);
    return new Promise((resolve) => {
      this.#store.read(GENERATION, index, offset, BLOCK_BYTES, bytes, 0, (outcome) => {
        resolve(outcome === 'ok' ? tagIn(block, bytes) : -2);
      });
    });
  }

  #place(block: number) {
    const { index, offset } = placeOf(block);
    const row = this.#store.row(GENERATION, index);
    const count = row?.verCount ?? 0;
    return {
      generation: GENERATION,
      index,
      family: 1 as FamilyId,
      partition: index,
      prev: { token: (row?.verToken ?? 0) as FencingToken, count },
      next: { token: 1 as FencingToken, count: count + 1 },
      cfg: 1,
      closed: 0,
      offset,
      count: BLOCK_BYTES,
    };
  }
}

function placeOf(block: number): { readonly index: number; readonly offset: number } {
  const index = Math.floor(block / BLOCKS_PER_OBJECT);
  return { index, offset: (block % BLOCKS_PER_OBJECT) * BLOCK_BYTES };
}

/** Opens, tells, writes: `firstTag` is larger than that of any life before. */
async function live(folder: string, firstTag: number): Promise<void> {
  const store = await openObjectStore({
    disk: openFileDisk(folder),
    clock: createRealClock(),
    random: createRealRandom(),
    trace: { event: () => undefined, warn: () => undefined, count: () => undefined },
    journalBytes: 8 * MIB,
    onFatal: (error) => {
      throw error;
    },
  });
  const writer = new Writer(store, firstTag);
  say(`o ${(await writer.tags()).join()}\n`);
  writer.write();
}

if (import.meta.main) {
  process.stdin.once('data', (line) => {
    const folder = process.argv[2] ?? '';
    void live(folder, Number(line.toString())).catch((error: unknown) => {
      fs.writeSync(2, `${String(error)}\n`);
      process.exit(1);
    });
  });
  say('w\n');
}
