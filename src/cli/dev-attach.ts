// What `dog dev up` prints when all is ready: how a guest gets the volume, in the words of `dog vdi attach`.

import path from 'node:path';
import { type Attachment, nbdUri, qemuText, shellWord } from './attach-text.ts';
import type { DevSupervisor, WantedVolume } from './dev-supervisor.ts';
import { formatBytes } from './output.ts';

const NO_PROOF = { dir: '', user: '' };

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
  const { name } = volume;
  const here = onSocket(name, path.join(first.dir, 'nbd.sock'));
  const there = onSocket(name, path.join((second ?? first).dir, 'nbd.sock'));
  return `${head} Volume ${name}, ${formatBytes(volume.sizeBytes)}, through any of them.

Attach a guest (for libvirt: ${dog} vdi attach ${shellWord(name)} --libvirt):
  qemu-system-x86_64 -machine q35,accel=kvm:tcg -m 1G \\
${qemuText(here, '    ')}

Copy an image into it, read it through another node:
  qemu-img convert -n -O raw IMAGE '${nbdUri(here)}'
  nbdcopy '${nbdUri(there)}' copy.raw
  qemu-img info nbd://127.0.0.1:${first.plan.nbdPort}/${encodeURIComponent(name)}
${tail}`;
}

function onSocket(name: string, file: string): Attachment {
  return { name, door: { kind: 'unix', path: path.resolve(file) }, proof: NO_PROOF };
}
