// Step 2 of a first touch (4.5), pure: from what the sealed members have of the open objects to who must be made equal
// to what. The longest prefix among I wins; joining members are always told, to be cut back (Trap 2) or marked synced
// (Trap 1). Doubtful members do not choose: what they alone have was never acknowledged, and a read-only touch may have
// read past it (I12).

import { OperatingError } from '../core/errors.ts';
import { type NodeId, partitionKey, type Version } from '../core/ids.ts';
import { votersOf } from '../core/read-only.ts';
import { isSameVersion, longestPrefix } from '../core/version.ts';
import type { PartitionConfig, Volume } from '../core/view.ts';
import type { EqualiseItem, RowImage } from '../wire/payloads.ts';
import { objectOfKey, type StackKey } from './stack.ts';

/** What one member has of each object; undefined = nothing. */
export type Table = Map<StackKey, RowImage | undefined>;

export interface EqualisePlan {
  readonly lists: ReadonlyMap<NodeId, readonly EqualiseItem[]>;
  /** Count of the version that wins. */
  readonly winners: ReadonlyMap<StackKey, number>;
}

/** What the plan is made of. */
export interface SealedPartition {
  readonly volume: Volume;
  readonly p: number;
  readonly config: PartitionConfig;
  readonly tables: ReadonlyMap<NodeId, Table>;
}

/**
 * The plan for these objects, of which every member's table has an entry.
 * @throws OperatingError 'diverged': members of I are on different histories; nothing may be equalised (I2)
 */
export function planEqualise(sealed: SealedPartition, open: readonly StackKey[]): EqualisePlan {
  const lists = new Map<NodeId, EqualiseItem[]>();
  const winners = new Map<StackKey, number>();
  // Ancestors first: what is copied from them later must be right.
  for (const key of [...open].sort((a, b) => a - b)) {
    const { inSync, joining } = sealed.config;
    const voters = votersOf(sealed.config);
    const winner = longestPrefix(voters.map((node) => versionOn(sealed, node, key)));
    const has = (node: NodeId): boolean => isSameVersion(versionOn(sealed, node, key), winner);
    const source = inSync.find(has);
    if (source === undefined) throw new OperatingError('diverged', 'nobody has the winner');
    const item = itemOf(sealed, key, source, winner);
    for (const node of [...inSync.filter((member) => !has(member)), ...joining]) {
      const list = lists.get(node) ?? [];
      list.push(item);
      lists.set(node, list);
    }
    winners.set(key, winner.count);
  }
  return { lists, winners };
}

function itemOf(
  { volume, p, tables }: SealedPartition,
  key: StackKey,
  source: NodeId,
  version: Version,
): EqualiseItem {
  const row = tables.get(source)?.get(key);
  return {
    ...objectOfKey(key),
    family: volume.family,
    partition: partitionKey(volume.policy, p),
    version,
    source,
    kind: row?.kind ?? 'zero',
    ownLow: row?.ownLow ?? 0,
    ownHigh: row?.ownHigh ?? 0,
    closed: row?.closed ?? 0,
    openLow: row?.openLow ?? 0,
    openHigh: row?.openHigh ?? 0,
  };
}

function versionOn({ tables }: SealedPartition, node: NodeId, key: StackKey): Version {
  const row = tables.get(node)?.get(key);
  return { token: (row?.verToken ?? 0) as Version['token'], count: row?.verCount ?? 0 };
}
