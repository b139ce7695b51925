// What a volume may be: names, sizes, and how a person writes a size. Used by the command line, the API and, as the
// last word, by the state machine; so each rule gives a sentence, and the throwing forms add the cure.

import { OperatingError } from './errors.ts';
import { alignUp, GIB, KIB, MIB, OBJECT_BYTES, TIB } from './units.ts';
import type { AttachMode, Durability } from './view.ts';

/** Longest name in bytes (UTF-8). */
export const MAX_NAME_BYTES = 255;
/** Sizes are multiples of this: the guest's smallest block. */
export const SIZE_STEP_BYTES = 512;
/** Most objects of a volume in this format: 4 TiB of 4 MiB objects. */
export const MAX_VOLUME_OBJECTS = 2 ** 20;
export const MAX_VOLUME_BYTES = MAX_VOLUME_OBJECTS * OBJECT_BYTES;
/** Most volumes of a cluster. */
export const MAX_VOLUMES = 65536;

/**
 * Shortest and longest time that a guest's request may be told to wait (0: for ever). Below a second every pause that the
 * cluster takes to call a node down would be an I/O error.
 */
export const MIN_IO_TIMEOUT_MS = 1000;
export const MAX_IO_TIMEOUT_MS = 24 * 60 * 60 * 1000;

/** What a confirmed write of a volume is: synced, or received (R5). */
export const MODES: readonly Durability[] = ['durable', 'writeback'];

/** Who may attach a volume beside a live holder (3.2). */
export const ATTACH_MODES: readonly AttachMode[] = ['handover', 'exclusive', 'shared-read'];

const NAME_REMEDY =
  'Use 1 to 255 bytes of printable characters, without space and without @ : / \\';
const SIZE_REMEDY = 'Write a size such as 512M, 10G or 1T (powers of 1024), or plain bytes';
const UNITS: Readonly<Record<string, number>> = { '': 1, B: 1, K: KIB, M: MIB, G: GIB, T: TIB };
/** First and last code points. Written out: tables of Unicode differ between versions of Node, the state may not (A4). */
const WHITE_SPACE: readonly (readonly [number, number])[] = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0x85, 0x85],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
];
/** Control characters, invisible ones, changes of direction, halves of surrogate pairs, no characters. */
const UNPRINTABLE: readonly (readonly [number, number])[] = [
  [0x00, 0x1f],
  [0x7f, 0x9f],
  [0xad, 0xad],
  [0x200b, 0x200f],
  [0x202a, 0x202e],
  [0x2060, 0x206f],
  [0xd800, 0xdfff],
  [0xfeff, 0xfeff],
  [0xfff0, 0xffff],
];

/** Why this is no name of a volume; undefined when it is one. */
export function nameProblem(name: string): string | undefined {
  if (name.length === 0) return 'a volume name may not be empty';
  // A string of n units has at least n bytes: looked at first, so that a huge one costs nothing.
  if (name.length > MAX_NAME_BYTES || byteLength(name) > MAX_NAME_BYTES) {
    return `a volume name has at most ${MAX_NAME_BYTES} bytes`;
  }
  if (name === '.' || name === '..') return `"${name}" is no name: it means a directory`;
  if (name.startsWith('-')) return 'a volume name may not start with "-": it looks like an option';
  for (const character of name) {
    const code = character.codePointAt(0) as number;
    if (isIn(WHITE_SPACE, code)) return 'a volume name may have no white space';
    if (isIn(UNPRINTABLE, code)) return 'a volume name may have printable characters only';
    if ('@:/\\'.includes(character)) return `a volume name may not have "${character}"`;
  }
  return undefined;
}

function isIn(ranges: readonly (readonly [number, number])[], code: number): boolean {
  return ranges.some(([first, last]) => code >= first && code <= last);
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** Why this is no size of a volume; undefined when it is one. Says what an odd size would be rounded to. */
export function sizeProblem(sizeBytes: number): string | undefined {
  if (sizeBytes <= 0) return 'a volume has more than 0 bytes';
  // First: what is far too large is no exact number any more.
  if (sizeBytes > MAX_VOLUME_BYTES) return `a volume has at most 4 TiB (${MAX_VOLUME_BYTES} bytes)`;
  if (!Number.isSafeInteger(sizeBytes)) return 'a size is a whole number of bytes';
  if (sizeBytes % SIZE_STEP_BYTES === 0) return undefined;
  const rounded = alignUp(sizeBytes, SIZE_STEP_BYTES);
  return `${sizeBytes} bytes is not a multiple of ${SIZE_STEP_BYTES}; the next one is ${rounded}`;
}

/** @throws OperatingError 'usage', with the cure */
export function checkName(name: string): void {
  const problem = nameProblem(name);
  if (problem !== undefined) throw new OperatingError('usage', problem, { remedy: NAME_REMEDY });
}

/** @throws OperatingError 'usage', with the cure */
export function checkSize(sizeBytes: number): void {
  const problem = sizeProblem(sizeBytes);
  if (problem === undefined) return;
  const isOdd = sizeBytes > 0 && sizeBytes <= MAX_VOLUME_BYTES && Number.isSafeInteger(sizeBytes);
  const remedy = isOdd ? `Give ${alignUp(sizeBytes, SIZE_STEP_BYTES)}` : SIZE_REMEDY;
  throw new OperatingError('usage', problem, { remedy });
}

/**
 * The bytes that a person means by '64M', '10G', '1.5T', '4096', '1GiB'. Powers of 1024, upper or lower case.
 * @throws OperatingError 'usage' for what is no size, or no size of a volume
 */
export function parseSize(text: string): number {
  const sizeBytes = parseBytes(text);
  checkSize(sizeBytes);
  return sizeBytes;
}

/**
 * The same for what is no volume: any number of bytes.
 * @throws OperatingError 'usage' for what is no size
 */
export function parseBytes(text: string): number {
  const match = /^(-?\d{1,16}(?:\.\d{1,6})?)\s?([KMGTB]?)(?:iB|B)?$/i.exec(text.trim());
  if (match === null) {
    throw new OperatingError('usage', `"${text}" is no size`, { remedy: SIZE_REMEDY });
  }
  const unit = UNITS[(match[2] as string).toUpperCase()] as number;
  return Number(match[1]) * unit;
}

/** Why nothing takes the data of this volume away. */
export function protectedText({ name }: { readonly name: string }): string {
  return `"${name}" is protected`;
}
