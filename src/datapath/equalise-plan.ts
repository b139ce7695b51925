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

/** What one member has of each object, by index; undefined = nothing. */
export type Table = Map<number, RowImage | undefined>;

export interface EqualisePlan {
  readonly lists: ReadonlyMap<NodeId, readonly EqualiseItem[]>;
  /** Count of the version that wins, by index. */
  readonly winners: ReadonlyMap<number, number>;
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
export function planEqualise(sealed: SealedPartition, open: readonly number[]): EqualisePlan {
  const lists = new Map<NodeId, EqualiseItem[]>();
  const winners = new Map<number, number>();
  for (const index of open) {
    const { inSync, joining } = sealed.config;
    const voters = votersOf(sealed.config);
    const winner = longestPrefix(voters.map((node) => versionOn(sealed, node, index)));
    const has = (node: NodeId): boolean => isSameVersion(versionOn(sealed, node, index), winner);
    const source = inSync.find(has);
    if (source === undefined) throw new OperatingError('diverged', 'nobody has the winner');
    const item = itemOf(sealed, index, source, winner);
    for (const node of [...inSync.filter((member) => !has(member)), ...joining]) {
      const list = lists.get(node) ?? [];
      list.push(item);
      lists.set(node, list);
    }
    winners.set(index, winner.count);
  }
  return { lists, winners };
}

function itemOf(
  { volume, p, tables }: SealedPartition,
  index: number,
  source: NodeId,
  version: Version,
): EqualiseItem {
  const row = tables.get(source)?.get(index);
  return {
    generation: volume.head,
    index,
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

function versionOn({ tables }: SealedPartition, node: NodeId, index: number): Version {
  const row = tables.get(node)?.get(index);
  return { token: (row?.verToken ?? 0) as Version['token'], count: row?.verCount ?? 0 };
}
