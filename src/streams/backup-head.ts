// What a backup stream says of itself in its first record: which snapshot it has, and on which one it builds. A generation
// of a cluster never changes once it is frozen, and its number is never given again: the two name contents.

import { OperatingError } from '../core/errors.ts';
import { checkSize } from '../core/volume.ts';
import { damaged, MAX_HEAD_BYTES } from './backup-format.ts';

/** Contents that never change. */
export interface Frozen {
  readonly tag: string;
  readonly generation: number;
}

export interface BackupHead {
  /** Id of the cluster that it was made in. */
  readonly cluster: string;
  readonly volume: string;
  readonly family: number;
  readonly sizeBytes: number;
  /** What the stream has. */
  readonly target: Frozen;
  /** What it builds on; null: nothing. */
  readonly base: Frozen | null;
  /** For people. */
  readonly madeAt: string;
}

export function encodeHead(head: BackupHead): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(head));
}

/** @throws OperatingError 'corrupt' */
export function decodeHead(bytes: Uint8Array, position: number): BackupHead {
  const found = bytes.length > MAX_HEAD_BYTES ? undefined : parsed(bytes);
  if (isHead(found)) return found;
  throw damaged(position, 'its head does not say what the stream is');
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

function isHead(value: unknown): value is BackupHead {
  if (!isRecord(value)) return false;
  const { cluster, volume, family, sizeBytes, target, base, madeAt } = value;
  const areTexts = [cluster, volume, madeAt].every((text) => typeof text === 'string');
  if (!areTexts || !isCount(family) || !isFrozen(target)) return false;
  return isVolumeSize(sizeBytes) && (base === null || isFrozen(base));
}

function isVolumeSize(value: unknown): boolean {
  if (!isCount(value)) return false;
  try {
    checkSize(value);
    return true;
  } catch {
    return false;
  }
}

function isFrozen(value: unknown): value is Frozen {
  return isRecord(value) && typeof value['tag'] === 'string' && isCount(value['generation']);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/** True when both streams have the same contents, record by record. */
export function isSameBackup(one: BackupHead, other: BackupHead): boolean {
  return (
    one.cluster === other.cluster &&
    one.sizeBytes === other.sizeBytes &&
    one.target.generation === other.target.generation &&
    one.base?.generation === other.base?.generation
  );
}

/** What was begun is another backup than what is to go on. */
export function otherBackup(found: BackupHead): OperatingError {
  const { volume, target, base, cluster } = found;
  const from = base === null ? '' : ` from ${base.tag}`;
  const text = `the file is a backup of ${volume}@${target.tag}${from} (generation ${target.generation} of cluster ${cluster})`;
  return new OperatingError('changed', text, {
    remedy: 'name the same snapshots as when it was begun, or another file',
  });
}
