// What one backup of a cluster has: its volumes, each by the lists of its pieces. It is written last: a backup without one
// never was. Pure.

import { OperatingError } from '../core/errors.ts';
import { hashOf, isHash, LIST_PIECES, PIECE_BYTES, type PieceHash } from './piece-codec.ts';

export const MANIFEST_VERSION = 1;
/** Of one manifest: some hundred bytes per volume, and 100 per 4 GiB of it. */
export const MAX_MANIFEST_BYTES = 64 * 1024 * 1024;

/** The pieces from `first` on, LIST_PIECES at most. */
export interface ListPart {
  readonly first: number;
  readonly hash: PieceHash;
}

export interface BackedVolume {
  readonly name: string;
  readonly tag: string;
  readonly generation: number;
  readonly sizeBytes: number;
  /** In order; where all is zeroes there is none. */
  readonly parts: readonly ListPart[];
  /** Pieces that it has. */
  readonly pieces: number;
  /** Bytes that this backup had to write for it. */
  readonly newBytes: number;
}

export interface Manifest {
  readonly format: number;
  readonly number: number;
  readonly cluster: string;
  readonly madeAt: string;
  readonly volumes: readonly BackedVolume[];
}

/** One line of JSON, and one with its SHA-256. */
export function encodeManifest(manifest: Manifest): Uint8Array {
  const line = JSON.stringify(manifest);
  return Buffer.from(`${line}\n${hashOf(Buffer.from(line))}\n`);
}

/** @throws OperatingError 'corrupt', 'newer-format' */
export function decodeManifest(bytes: Uint8Array, file: string): Manifest {
  const [line = '', sum] = Buffer.from(bytes).toString().split('\n');
  if (hashOf(Buffer.from(line)) !== sum) throw badManifest(file);
  const found = JSON.parse(line) as Manifest;
  if (found.format !== MANIFEST_VERSION) {
    throw new OperatingError('newer-format', `${file} has format ${found.format}`, {
      remedy: 'use a newer dog',
    });
  }
  if (Array.isArray(found.volumes) && found.volumes.every(isVolume)) return found;
  throw badManifest(file);
}

function isVolume({ name, sizeBytes, parts }: BackedVolume): boolean {
  const most = Math.ceil(sizeBytes / PIECE_BYTES);
  const areInside = (one: ListPart) =>
    isHash(one.hash) && one.first % LIST_PIECES === 0 && one.first >= 0 && one.first < most;
  return typeof name === 'string' && Array.isArray(parts) && parts.every(areInside);
}

function badManifest(file: string): OperatingError {
  return new OperatingError('corrupt', `${file} fails its sum`, {
    remedy: 'use an earlier backup (--at); remove that file to forget this one',
  });
}
