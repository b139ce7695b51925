// A fake node whose volumes have bytes: each volume a MemoryVolume of its own that keeps its bytes under whatever name; a
// snapshot shows what was frozen by `freeze`.

import { OperatingError } from '../../src/core/errors.ts';
import type { VolumeSession } from '../../src/datapath/volume-session.ts';
import { FakeNode } from '../api/fake-node.ts';
import { clusterOf } from '../fixtures.ts';
import { MemoryVolume } from '../nbd/memory-volume.ts';

export class BackedNode extends FakeNode {
  readonly #byId = new Map<number, MemoryVolume>();
  readonly frozen = new Map<string, MemoryVolume>();

  constructor() {
    super(clusterOf({ nodes: 2 }), 1);
  }

  override openVolume(name = ''): VolumeSession {
    const snapshot = this.frozen.get(name);
    return snapshot ?? this.memory(name);
  }

  memory(name: string): MemoryVolume {
    const volume = this.view()?.volumeByName(name);
    if (volume === undefined) throw new OperatingError('missing', `there is no volume ${name}`);
    const known = this.#byId.get(volume.id);
    if (known !== undefined) return known;
    const made = new MemoryVolume(name, volume.sizeBytes);
    this.#byId.set(volume.id, made);
    return made;
  }

  /** A snapshot with the bytes of now. */
  async freeze(name: string, tag: string): Promise<MemoryVolume> {
    await this.layers().snapshot([name], tag);
    const copy = new MemoryVolume(name, this.memory(name).bytes.length);
    copy.bytes.set(this.memory(name).bytes);
    this.frozen.set(`${name}@${tag}`, copy);
    return copy;
  }

  names(): string[] {
    return [...(this.view()?.volumes.values() ?? [])].map(({ name }) => name).sort();
  }
}
