// What is left on the disks of a dev cluster that no layer owns any more (C-gc): every file of an object belongs to a
// generation that the tree of the map has.

import fs from 'node:fs';
import path from 'node:path';
import { type Ask, ask, parseTarget } from '../../src/cli/client.ts';
import type { LayerData } from '../../src/core/volume-shapes.ts';
import type { Cluster } from './cluster.ts';

const GENERATION_DIGITS = 8;

/** One request of the admin API to node `n`: the document's data. */
export async function asked<Data>(
  cluster: Cluster,
  n: number,
  route: string,
  how: Ask = {},
): Promise<Data> {
  return (await ask<Data>(parseTarget(cluster.node(n).api), route, how)).data;
}

/** All layers of all families. */
export function treeOf(cluster: Cluster, n = 1): Promise<readonly LayerData[]> {
  return asked<readonly LayerData[]>(cluster, n, '/v1/tree');
}

/** Files of objects on a node's disk, by generation. */
export function filesOf(cluster: Cluster, n: number): ReadonlyMap<number, readonly string[]> {
  const folder = path.join(cluster.node(n).dir, 'objects');
  const found = new Map<number, string[]>();
  for (const one of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!one.isFile()) continue;
    const generation = Number.parseInt(one.name.slice(0, GENERATION_DIGITS), 16);
    const files = found.get(generation) ?? [];
    files.push(path.join(one.parentPath, one.name));
    found.set(generation, files);
  }
  return found;
}

/** Files that nobody owns, by node and generation; empty: none. */
export async function orphans(cluster: Cluster): Promise<readonly string[]> {
  const owned = new Set((await treeOf(cluster)).map(({ generation }) => generation));
  return cluster.nodes.flatMap(({ name }, at) =>
    [...filesOf(cluster, at + 1)]
      .filter(([generation]) => !owned.has(generation))
      .map(([generation, files]) => `${name}: ${files.length} files of layer ${generation}`),
  );
}

/** Bytes that objects take on all nodes' disks. */
export function diskBytes(cluster: Cluster): number {
  const sizes = cluster.nodes.flatMap((_, at) =>
    [...filesOf(cluster, at + 1).values()].flat().map((file) => fs.statSync(file).blocks * 512),
  );
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}
