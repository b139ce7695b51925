// One try to heal a damaged copy: the version and the config that it holds to, the members that it may ask, and what
// became of it. It is void once the row, the config or the seals of the partition are others.

import { OperatingError } from '../core/errors.ts';
import { partitionOfKey } from '../core/ids.ts';
import type { PartitionConfig } from '../core/view.ts';
import type { Suspect } from '../storage/suspects.ts';
import { isUp, type Parts } from './context.ts';
import type { FetchOrder } from './fetch-range.ts';
import { isMember } from './judge.ts';
import type { CopyFence, ObjectGates } from './object-gate.ts';
import { versionOfRow } from './peer-answer.ts';

/** What became of a try. */
export interface Repaired {
  /** Undefined: all that could be done is done. Else it is tried again. */
  readonly error: OperatingError | undefined;
  /** Sectors that are right again; a whole object counts those that have data. */
  readonly sectors: number;
  readonly isWhole: boolean;
  /** Sectors that fail on every copy. */
  readonly lost: readonly number[];
}

export interface RepairShared {
  readonly gates: ObjectGates;
  readonly fence: CopyFence;
}

export type RepairDone = (result: Repaired) => void;

/** A try under way, at one version under one config. */
export interface Attempt extends FetchOrder {
  readonly suspect: Suspect;
  readonly config: PartitionConfig;
}

export const IDLE: Repaired = { error: undefined, sectors: 0, isWhole: false, lost: [] };

/** The copy as it is now, and who may give what it lacks; an error when it is not wanted, or nobody is there. */
export function attemptOf(
  parts: Parts,
  fence: CopyFence,
  suspect: Suspect,
): Attempt | OperatingError {
  const { views, self, store } = parts;
  const { generation, index, partition } = suspect;
  const { policy, p } = partitionOfKey(partition);
  const view = views.current();
  if (view.volumeOfGeneration(generation) === undefined) {
    return new OperatingError('gone', 'the volume was deleted');
  }
  const config = view.partition(policy, p);
  const row = store.row(generation, index);
  if (!isMember(config, self) || row === undefined) {
    return new OperatingError('not-member', 'this copy is not wanted any more');
  }
  const others = config.inSync.filter((node) => node !== self && !config.doubtful.includes(node));
  const sources = others.filter((node) => isUp(view, node));
  if (others.length > 0 && sources.length === 0) return noSource();
  const version = versionOfRow(row);
  const seals = fence.sealsOf(partition);
  const isValid = (): boolean => {
    const own = versionOfRow(store.row(generation, index));
    const isSame = own.token === version.token && own.count === version.count;
    const now = views.current().partition(policy, p);
    return isSame && now.cfg === config.cfg && fence.sealsOf(partition) === seals;
  };
  const { cfg } = config;
  return { suspect, config, generation, index, p, cfg, version, sources, isValid };
}

/** It was overtaken: the next look may find it otherwise. */
export function retry(what: string): OperatingError {
  return new OperatingError('changed', what, { advice: 'retry' });
}

export function noSource(): OperatingError {
  return new OperatingError('unreachable', 'no other copy in sync answers', { advice: 'retry' });
}
