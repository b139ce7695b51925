// What `dog dev up` prints when all is ready: how a guest gets the volume.

import path from 'node:path';
import type { DevSupervisor, WantedVolume } from './dev-supervisor.ts';
import { formatBytes } from './output.ts';

export function attachText(supervisor: DevSupervisor, volume: WantedVolume | undefined): string {
  const [first, second] = supervisor.nodes;
  const count = supervisor.nodes.length;
  const nodes = count === 1 ? '1 node' : `${count} nodes`;
  const head = `Ready: ${nodes} under ${supervisor.dir}.`;
  const dog = `bin/dog --dir ${supervisor.dir}`;
  const tail = `\nLook around:\n  ${dog} cluster info\n  ${dog} vdi list\n\nCtrl-C ends it; the data stays.\n`;
  if (first === undefined || volume === undefined) {
    return `${head}\n\nMake a volume:\n  ${dog} vdi create demo 1G\n${tail}`;
  }
  const socket = path.join(first.dir, 'nbd.sock');
  const other = path.join((second ?? first).dir, 'nbd.sock');
  return `${head} Volume ${volume.name}, ${formatBytes(volume.sizeBytes)}, through any of them.

Attach a guest:
  qemu-system-x86_64 -machine q35,accel=kvm:tcg -m 1G \\
    -blockdev driver=nbd,node-name=disk0,server.type=unix,server.path=${socket},export=${volume.name},reconnect-delay=30,discard=unmap \\
    -device virtio-blk-pci,drive=disk0

Copy an image into it, read it through another node:
  qemu-img convert -n -O raw IMAGE 'nbd+unix:///${volume.name}?socket=${socket}'
  nbdcopy 'nbd+unix:///${volume.name}?socket=${other}' copy.raw
  qemu-img info nbd://127.0.0.1:${first.plan.nbdPort}/${volume.name}
${tail}`;
}
