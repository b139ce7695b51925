// A fake node whose volumes have bytes: each volume a MemoryVolume that keeps its bytes under whatever name; a snapshot
// shows what it was frozen with. Reads need no lock. A clone begins with the bytes of its snapshot, and a volume that
// becomes a snapshot has its bytes.

import { OperatingError } from '../../src/core/errors.ts';
import type { GenerationId, NodeId, VolumeId } from '../../src/core/ids.ts';
import { readableNamed } from '../../src/core/snapshots.ts';
import type { VolumeSession } from '../../src/datapath/volume-session.ts';
import type { LayerAdmin } from '../../src/node-handle.ts';
import { FakeNode } from '../api/fake-node.ts';
import { clusterOf, entryBodies } from '../fixtures.ts';
import { MemoryVolume } from '../nbd/memory-volume.ts';

export class BackedNode extends FakeNode {
  readonly #byId = new Map<number, MemoryVolume>();
  /** By generation: snapshots are renamed with their volumes. */
  readonly #frozen = new Map<number, MemoryVolume>();
  /** By generation: which one's bytes show there. */
  readonly #shown = new Map<number, number>();
  /** Volumes that were written since their newest snapshot. */
  readonly dirty = new Set<string>();

  constructor() {
    super(clusterOf({ nodes: 2 }), 1);
  }

  override openVolume(name = ''): VolumeSession {
    return this.snapshot(name) ?? this.#layered(name, this.memory(name));
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

  /** `name@tag` */
  snapshot(text: string): MemoryVolume | undefined {
    const view = this.view();
    const found = view === undefined ? undefined : readableNamed(view, text);
    return found === undefined || 'head' in found ? undefined : this.#frozen.get(found.id);
  }

  /** Pieces of a snapshot that were read. */
  readsOf(text: string): number {
    return this.snapshot(text)?.log.filter((one) => one === 'read').length ?? 0;
  }

  /** A snapshot with the bytes of now. */
  async freeze(name: string, tag: string): Promise<MemoryVolume> {
    await super.layers().snapshot([name], tag);
    return this.#keep(name, tag);
  }

  /** Somebody attaches, and leaves. */
  useBriefly(name: string): void {
    const token = this.view()?.volumeByName(name)?.lock.token ?? 0;
    const volume = this.view()?.volumeByName(name)?.id ?? (0 as VolumeId);
    this.cell.apply({ ...entryBodies.lockAcquire({ token, node: 2 as NodeId }), volume });
    this.cell.apply({ ...entryBodies.lockRelease({ token: token + 1 }), volume });
  }

  override layers(): LayerAdmin {
    const real = super.layers();
    return {
      ...real,
      snapshot: async (names, tag) => {
        const made = await real.snapshot(names, tag);
        for (const name of names) this.#keep(name, tag);
        return made;
      },
      clone: async (from, to, how) => {
        const id = await real.clone(from, to, how);
        this.memory(to).bytes.set(this.snapshot(from)?.bytes ?? []);
        return id;
      },
      become: async (name, from, token) => {
        await real.become(name, from, token);
        this.memory(name).bytes.set(this.snapshot(`${from.name}@${from.tag}`)?.bytes ?? []);
      },
    };
  }

  names(): string[] {
    return [...(this.view()?.volumes.values() ?? [])].map(({ name }) => name).sort();
  }

  #generation(id: number): { readonly parent: number } {
    return this.view()?.generations.get(id as GenerationId) ?? { parent: 0 };
  }

  #keep(name: string, tag: string): MemoryVolume {
    const copy = new MemoryVolume(name, this.memory(name).bytes.length);
    copy.bytes.set(this.memory(name).bytes);
    const view = this.view();
    const found = view === undefined ? undefined : readableNamed(view, `${name}@${tag}`);
    if (found === undefined) throw new OperatingError('missing', `there is no ${name}@${tag}`);
    const { parent } = this.#generation(found.id);
    const isOwn = this.dirty.delete(name) || parent === 0;
    const layer = isOwn ? found.id : (this.#shown.get(parent) ?? parent);
    this.#shown.set(found.id, layer);
    const layered = this.#layered(`${name}@${tag}`, copy, layer);
    this.#frozen.set(found.id, layered);
    return layered;
  }

  /** All that is allocated is of one layer: of the newest snapshot, or of the head where it was written since. */
  #layered(name: string, volume: MemoryVolume, frozen?: number): MemoryVolume {
    const plain = MemoryVolume.prototype.allocation.bind(volume);
    volume.allocation = (offset, length, done) => {
      const view = this.view();
      const head = view?.volumeByName(name)?.head ?? 0;
      const above = this.#generation(head).parent;
      const isHeads = this.dirty.has(name) || above === 0;
      const now = isHeads ? head : (this.#shown.get(above) ?? above);
      const layer = (frozen ?? now) as GenerationId;
      plain(offset, length, (error, runs) => {
        done(
          error,
          runs.map((run) => ({ ...run, layer: run.isAllocated ? layer : 0 })),
        );
      });
    };
    return volume;
  }
}
