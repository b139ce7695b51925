// Replicas at rest: every object of every partition is, on all of I(p), one version with the same bytes (I1, I2), I(p)
// is what the ring wants, and nobody else keeps a copy (I5's end: surplus copies are purged).

import type { ObjectId } from '../../src/core/ids.ts';
import { objectName, partitionKey } from '../../src/core/ids.ts';
import { MAX_PAYLOAD_BYTES, OBJECT_BYTES } from '../../src/core/units.ts';
import type { ClusterView } from '../../src/core/view.ts';
import type { ObjectStore, Row } from '../../src/storage/store-types.ts';

/** A node whose store is looked into. */
export interface ReplicaUnderTest {
  readonly name: string;
  readonly node: number;
  readonly store: ObjectStore;
}

/** Reads one piece of an object from a store's disk, verified. Rejects when it is damaged. */
export type ReadPiece = (
  replica: ReplicaUnderTest,
  oid: ObjectId,
  offset: number,
) => Promise<{ readonly sums: Uint8Array; readonly data: Uint8Array }>;

/** `I(p) = T(p)`, nobody joins, and only members of I(p) hold rows of p. */
export function checkPlaces(
  view: ClusterView,
  replicas: readonly ReplicaUnderTest[],
): string | undefined {
  for (const policy of view.policies.values()) {
    for (let p = 0; p < view.partitions; p += 1) {
      const { inSync, joining, targets, cfg } = view.partition(policy.id, p);
      const wanted = [...targets].sort((a, b) => a - b).join(',');
      if (inSync.join(',') !== wanted || joining.length > 0) {
        return `partition ${policy.id}/${p} cfg ${cfg}: in sync ${inSync.join(',')}, joining ${joining.join(',')}, the ring wants ${wanted}`;
      }
      for (const { name, node, store } of replicas) {
        const held = store.rowsOf(partitionKey(policy.id, p)).length;
        if (held > 0 && !inSync.some((member) => member === node)) {
          return `${name} keeps ${held} surplus copies of partition ${policy.id}/${p}`;
        }
      }
    }
  }
  return undefined;
}

/** Every object is the same on all members of its in-sync set that are given. */
export async function checkContent(
  view: ClusterView,
  replicas: readonly ReplicaUnderTest[],
  read: ReadPiece,
): Promise<string | undefined> {
  for (const policy of view.policies.values()) {
    for (let p = 0; p < view.partitions; p += 1) {
      const { inSync } = view.partition(policy.id, p);
      const members = replicas.filter((replica) => inSync.some((node) => node === replica.node));
      const wrong = await comparePartition(view, partitionKey(policy.id, p), members, read);
      if (wrong !== undefined) return wrong;
    }
  }
  return undefined;
}

async function comparePartition(
  view: ClusterView,
  key: number,
  members: readonly ReplicaUnderTest[],
  read: ReadPiece,
): Promise<string | undefined> {
  const first = members[0];
  if (first === undefined) return undefined;
  const objects = new Map<string, Row>();
  for (const { store } of members)
    for (const row of store.rowsOf(key)) objects.set(objectName(row), row);
  for (const [name, row] of objects) {
    // Of a deleted layer each drops what shows nowhere when it likes (S6).
    if (view.generations.get(row.generation)?.state === 'deleted') continue;
    const rows = members.map(({ store }) => store.row(row.generation, row.index));
    const texts = rows.map((each) => (each === undefined ? 'no row' : textOf(each)));
    const odd = texts.findIndex((text) => text !== texts[0]);
    if (odd > 0) {
      return `I2: object ${name}: ${first.name} has ${texts[0]}, ${members[odd]?.name} has ${texts[odd]}`;
    }
    if (rows[0]?.kind !== 'data') continue;
    const wrong = await compareBytes(name, row, members, read);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

async function compareBytes(
  name: string,
  oid: ObjectId,
  members: readonly ReplicaUnderTest[],
  read: ReadPiece,
): Promise<string | undefined> {
  for (let offset = 0; offset < OBJECT_BYTES; offset += MAX_PAYLOAD_BYTES) {
    let expected: { readonly sums: Uint8Array; readonly data: Uint8Array } | undefined;
    for (const member of members) {
      const piece = await read(member, oid, offset);
      expected ??= piece;
      const isSame =
        Buffer.compare(piece.sums, expected.sums) === 0 &&
        Buffer.compare(piece.data, expected.data) === 0;
      if (!isSame)
        return `I2: object ${name}: bytes from ${offset} differ on ${members[0]?.name} and ${member.name}`;
    }
  }
  return undefined;
}

function textOf(row: Row): string {
  return `version ${row.verToken}.${row.verCount} ${row.kind} own ${row.ownHigh}:${row.ownLow} of family ${row.family}`;
}
