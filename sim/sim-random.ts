// Random numbers of a run: xoshiro128** streams, each seeded by the text of its label path. A stream's numbers depend
// on its own path and draws only, so leaving out one fault does not shift all others (SIMULATOR.md, section 4).

import { invariant } from '../src/core/invariant.ts';
import type { Random } from '../src/ports/ports.ts';

const TWO_32 = 4294967296;

/** FNV-1a with a final mix; 32 bits of a text. */
export function hashText(text: string, seed = 0x811c9dc5): number {
  let hash = seed;
  for (let i = 0; i < text.length; i += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** 32 bits of a number and of what came before. */
export function mixNumber(hash: number, value: number): number {
  const mixed = Math.imul(hash ^ value ^ (hash >>> 15), 0x85ebca6b);
  return (mixed ^ (mixed >>> 13)) >>> 0;
}

/** A stream of random numbers. Beside the port's methods it has those that the stage needs. */
export class SimRandom implements Random {
  readonly #path: string;
  readonly #forks = new Map<string, number>();
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(path: string) {
    this.#path = path;
    this.#a = hashText(path, 1);
    this.#b = hashText(path, 2);
    this.#c = hashText(path, 3);
    this.#d = hashText(path, 4) | 1;
  }

  u32(): number {
    const times5 = Math.imul(this.#b, 5);
    const result = Math.imul((times5 << 7) | (times5 >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  bytes(length: number): Uint8Array {
    invariant(length >= 0 && length <= 1024, 'at most 1024 random bytes at once');
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i += 1) bytes[i] = this.u32() >>> 24;
    return bytes;
  }

  /** The nth fork of one label is a stream of its own. */
  fork(label: string): SimRandom {
    const nth = this.#forks.get(label) ?? 0;
    this.#forks.set(label, nth + 1);
    return new SimRandom(`${this.#path}/${label}#${nth}`);
  }

  /** Uniform in [0, 1). */
  unit(): number {
    return this.u32() / TWO_32;
  }

  /** Uniform integer, both ends included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.unit() * (high - low + 1));
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.unit() < probability;
  }

  /** Exponential with this mean, cut at 20 means. */
  exponential(mean: number): number {
    return Math.min(-Math.log(1 - this.unit()) * mean, mean * 20);
  }

  /** One of a list that is not empty. */
  pick<T>(items: readonly T[]): T {
    invariant(items.length > 0, 'a list to pick from is not empty');
    return items[Math.floor(this.unit() * items.length)] as T;
  }
}
