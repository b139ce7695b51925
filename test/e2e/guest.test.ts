// Method: a real Linux guest under QEMU makes a file system on the volume, checks it and reads it back (job `fs` of the
// guest scripts, which lie beside the project in our own checkouts). The guest is built in the cluster's directory.

import fs from 'node:fs';
import path from 'node:path';
import { declareUnless, succeed, toolOrSkip } from '../nbd/tools.ts';
import { withCluster } from './with-cluster.ts';

const SCRIPTS = path.join(import.meta.dirname, '..', '..', '..', 'shared', 'guest');
const BUILD_TIMEOUT_MS = 180_000;
const BOOT_TIMEOUT_MS = 240_000;

const isThere = fs.existsSync(path.join(SCRIPTS, 'boot.sh'));
/** Absent scripts are no fault of the machine, so this skip is expected in CI, too. */
const declare = isThere
  ? toolOrSkip('qemu-system-x86_64', 'busybox', 'cpio')
  : declareUnless(`no guest scripts in ${SCRIPTS}`, 'expected');

declare(
  'a guest makes a file system on the volume and finds its files again',
  withCluster({ nodes: 3, copies: 3, volume: 'disk:256MiB' }, async (t, cluster) => {
    const guest = path.join(cluster.dir, 'guest');
    const timeoutMs = BUILD_TIMEOUT_MS;
    await succeed(t, 'bash', [path.join(SCRIPTS, 'make-initramfs.sh'), '--out', guest], {
      timeoutMs,
    });
    const disk = (n: number) => `unix:${cluster.node(n).nbd.unix}:disk`;
    const boot = [path.join(SCRIPTS, 'boot.sh'), '--guest', guest];
    const limit = { timeoutMs: BOOT_TIMEOUT_MS };
    await succeed(t, 'bash', [...boot, '--disk', disk(1), '--job', 'fs'], limit);
    await succeed(t, 'bash', [...boot, '--disk', disk(2), '--job', 'verify'], limit);
  }),
);
