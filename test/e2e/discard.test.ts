// Method: a volume is filled and parts of every object are discarded by QEMU; the file systems of all nodes get the space
// back, by blocks that the files hold; what was not discarded stays, what was reads as zeroes.

import fs from 'node:fs';
import path from 'node:path';
import { MIB } from '../../src/core/units.ts';
import { succeed, toolOrSkip } from '../nbd/tools.ts';
import { until } from './cluster.ts';
import { withCluster } from './with-cluster.ts';

const OBJECTS = 8;
const VOLUME_BYTES = 4 * OBJECTS * MIB;
/** Sums beside the data, and what the file system adds. */
const SLACK_BYTES = OBJECTS * 64 * 1024;
const SPACE_RETURNS_MS = 60_000;

/** Bytes on disk of all object files of a node. */
function allocated(dir: string): number {
  const objects = path.join(dir, 'objects');
  let blocks = 0;
  for (const name of fs.readdirSync(objects, { recursive: true })) {
    const stat = fs.statSync(path.join(objects, String(name)), { throwIfNoEntry: false });
    if (stat?.isFile()) blocks += stat.blocks;
  }
  return blocks * 512;
}

toolOrSkip('qemu-io')(
  'discarded parts of objects give their space back on every node',
  withCluster({ nodes: 3, copies: 3, volume: 'disk:32MiB' }, async (t, cluster) => {
    const uri = cluster.uri(1);
    const io = (steps: readonly string[]) =>
      succeed(t, 'qemu-io', ['-f', 'raw', ...steps.flatMap((step) => ['-c', step]), uri]);
    const each = Array.from({ length: OBJECTS }, (_, i) => 4 * i);
    await io(each.map((at) => `write -P 0x5a ${at}M 4M`));
    const dirs = cluster.nodes.map(({ dir }) => dir);
    t.true(dirs.every((dir) => allocated(dir) >= VOLUME_BYTES));

    await io(each.map((at) => `discard ${at + 1}M 2M`));
    const kept = VOLUME_BYTES / 2;
    await until(
      'the space is back',
      async () => dirs.every((dir) => allocated(dir) <= kept + SLACK_BYTES),
      SPACE_RETURNS_MS,
    );
    t.true(dirs.every((dir) => allocated(dir) >= kept));
    const reads = each.flatMap((at) => [
      `read -P 0x5a ${at}M 1M`,
      `read -P 0 ${at + 1}M 2M`,
      `read -P 0x5a ${at + 3}M 1M`,
    ]);
    const { stdout } = await io(reads);
    t.notRegex(stdout, /Pattern verification failed/);
    await io(['discard 0 32M']);
    await until(
      'objects without data lose their files',
      async () => dirs.every((dir) => allocated(dir) === 0),
      SPACE_RETURNS_MS,
    );
  }),
);
