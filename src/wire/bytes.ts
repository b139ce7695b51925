// Bounds-checked writing and reading of little-endian bytes. Reading throws OperatingError('bad-frame') and nothing
// else: the bytes come from peers and disks. Writing asserts: the values come from our own code.
// BigInt and endianness stay in this folder.

import { allocUnsafe } from 'uint8arrays/alloc';
import { OperatingError } from '../core/errors.ts';
import { invariant } from '../core/invariant.ts';
import { MIB } from '../core/units.ts';

/** Largest value of a u48 field, plus one. */
export const U48_END = 2 ** 48;
const U32_END = 2 ** 32;
/** Most bytes one Writer holds unless told; the largest message is 1 MiB, so this only catches our own mistakes. */
const MAX_WRITER_BYTES = 4 * MIB;
const FIRST_WRITER_BYTES = 128;

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The error of all decoders: the sender is wrong or lies, the bytes are refused as a whole. */
export function badFrame(reason: string): OperatingError {
  return new OperatingError('bad-frame', `malformed bytes: ${reason}`);
}

/** Writes a u16 (LE); the caller has checked range and place. */
export function putU16(target: Uint8Array, at: number, value: number): void {
  target[at] = value & 255;
  target[at + 1] = (value >>> 8) & 255;
}

/** Writes a u32 (LE); the caller has checked range and place. */
export function putU32(target: Uint8Array, at: number, value: number): void {
  target[at] = value & 255;
  target[at + 1] = (value >>> 8) & 255;
  target[at + 2] = (value >>> 16) & 255;
  target[at + 3] = (value >>> 24) & 255;
}

/** Writes a u48 (LE); the caller has checked range and place. */
export function putU48(target: Uint8Array, at: number, value: number): void {
  putU32(target, at, value % U32_END);
  putU16(target, at + 4, Math.floor(value / U32_END));
}

/** Reads a u16 (LE); the caller has checked the place. */
export function getU16(source: Uint8Array, at: number): number {
  return (source[at] as number) | ((source[at + 1] as number) << 8);
}

/** Reads a u32 (LE); the caller has checked the place. */
export function getU32(source: Uint8Array, at: number): number {
  return (getU16(source, at) | (getU16(source, at + 2) << 16)) >>> 0;
}

/** Reads a u48 (LE); the caller has checked the place. */
export function getU48(source: Uint8Array, at: number): number {
  return getU32(source, at) + getU16(source, at + 4) * U32_END;
}

/** True for an integer in 0 .. end-1. */
export function isUnsigned(value: number, end: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < end;
}

/** The words are made only when it does not: these checks run for each number of each message. */
function checkHolds(value: number, end: number): void {
  if (!isUnsigned(value, end)) invariant(false, `${value} is no whole number from 0 to ${end - 1}`);
}

function checkFits(count: number, maxBytes: number): void {
  if (count > maxBytes) invariant(false, `${count} bytes fit into ${maxBytes}`);
}

/** A growing buffer; `finish` hands over exactly what was written. */
export class Writer {
  readonly #maxBytes: number;
  #bytes = allocUnsafe(FIRST_WRITER_BYTES);
  #length = 0;

  constructor(maxBytes: number = MAX_WRITER_BYTES) {
    this.#maxBytes = maxBytes;
  }

  u8(value: number): void {
    checkHolds(value, 256);
    const at = this.#reserve(1);
    this.#bytes[at] = value;
  }

  u16(value: number): void {
    checkHolds(value, 65536);
    const at = this.#reserve(2);
    putU16(this.#bytes, at, value);
  }

  u32(value: number): void {
    checkHolds(value, U32_END);
    const at = this.#reserve(4);
    putU32(this.#bytes, at, value);
  }

  u48(value: number): void {
    checkHolds(value, U48_END);
    const at = this.#reserve(6);
    putU48(this.#bytes, at, value);
  }

  /** Raw bytes, without a length. */
  raw(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** Length (u32) and bytes. */
  bytes(bytes: Uint8Array, maxBytes: number): void {
    checkFits(bytes.length, maxBytes);
    this.u32(bytes.length);
    this.raw(bytes);
  }

  /** Length in bytes (u32) and UTF-8. Mostly ASCII, whose encoder costs more than the loop. */
  text(text: string, maxBytes: number): void {
    const start = this.#length;
    const at = this.#reserve(4 + text.length);
    for (let i = 0; i < text.length; i += 1) {
      const code = text.charCodeAt(i);
      if (code > 127) {
        this.#length = start;
        invariant(text.isWellFormed(), 'text is well-formed Unicode');
        this.bytes(utf8Encoder.encode(text), maxBytes);
        return;
      }
      this.#bytes[at + 4 + i] = code;
    }
    checkFits(text.length, maxBytes);
    putU32(this.#bytes, at, text.length);
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(count: number): number {
    const at = this.#length;
    const wanted = at + count;
    invariant(wanted <= this.#maxBytes, 'a message is smaller than the writer');
    if (wanted > this.#bytes.length) {
      const grown = allocUnsafe(Math.max(wanted, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
    }
    this.#length = wanted;
    return at;
  }
}

/** Reads front to back; every method throws 'bad-frame' when the bytes end too early. */
export class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    const at = this.#take(1);
    return this.#bytes[at] as number;
  }

  u16(): number {
    return getU16(this.#bytes, this.#take(2));
  }

  u32(): number {
    return getU32(this.#bytes, this.#take(4));
  }

  u48(): number {
    return getU48(this.#bytes, this.#take(6));
  }

  /** Exactly `count` bytes, a view of the input. */
  raw(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }

  /** A view of the input: copy it when the input is reused. */
  bytes(maxBytes: number): Uint8Array {
    const length = this.u32();
    if (length > maxBytes) throw badFrame(`${length} bytes where ${maxBytes} are allowed`);
    return this.raw(length);
  }

  text(maxBytes: number): string {
    const bytes = this.bytes(maxBytes);
    try {
      return utf8Decoder.decode(bytes);
    } catch (cause) {
      throw new OperatingError('bad-frame', 'malformed bytes: text is not UTF-8', { cause });
    }
  }

  /** Refuses trailing bytes. */
  end(): void {
    if (this.remaining !== 0) throw badFrame(`${this.remaining} bytes too many`);
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.#bytes.length - at) throw badFrame('too short');
    this.#at = at + count;
    return at;
  }
}
