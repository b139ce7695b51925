// While anything moves: what one member of I(p) has as closed, every other one that runs and is sure has, too (I1, I2). So
// nothing is deleted, and nobody is counted, before its replacement has all of it (C-move). Writeback volumes are left
// out: their members may lack what no flush covered until they are called doubtful (R8).

import { objectName, partitionKey } from '../../src/core/ids.ts';
import { isSure } from '../../src/core/partition.ts';
import { isRead } from '../../src/core/reclaim.ts';
import type { ClusterView } from '../../src/core/view.ts';
import type { Row } from '../../src/storage/store-types.ts';
import type { ReplicaUnderTest } from './replicas.ts';

/** @param view the newest. @returns the first member that lacks what another one has as closed, as a sentence */
export function checkClosedCopies(
  view: ClusterView,
  replicas: readonly ReplicaUnderTest[],
): string | undefined {
  for (const policy of view.policies.values()) {
    for (let p = 0; p < view.partitions; p += 1) {
      const config = view.partition(policy.id, p);
      const members = replicas.filter(({ node }) => isSure(config, node as never));
      const wrong = compare(view, members, partitionKey(policy.id, p));
      if (wrong !== undefined) return `partition ${policy.id}/${p}: ${wrong}`;
    }
  }
  return undefined;
}

function compare(
  view: ClusterView,
  members: readonly ReplicaUnderTest[],
  key: number,
): string | undefined {
  const closed = new Map<string, { readonly row: Row; readonly name: string }>();
  for (const { name, store } of members) {
    for (const row of store.rowsOf(key)) {
      const volume = view.volumeOfGeneration(row.generation);
      if (volume === undefined || volume.durability === 'writeback') continue;
      // Of a deleted layer each drops what shows nowhere when it likes (S6).
      if (!isRead(view, row.generation)) continue;
      const known = closed.get(objectName(row));
      if (row.closed > (known?.row.closed ?? 0)) closed.set(objectName(row), { row, name });
    }
  }
  for (const [object, { row, name }] of closed) {
    for (const member of members) {
      const has = member.store.row(row.generation, row.index)?.verCount ?? 0;
      if (has >= row.closed) continue;
      return `I1: ${name} has object ${object} closed up to ${row.closed}, ${member.name} has ${has}`;
    }
  }
  return undefined;
}
