// A volume in memory behind the VolumeSession interface, for tests and measurements of the NBD front: it really stores
// bytes. `delayed` mode keeps completions until the test releases them, in any order.

import { addRun, type ShownRun } from '../../src/core/changed-regions.ts';
import type { OperatingError } from '../../src/core/errors.ts';
import { OperatingError as Failure } from '../../src/core/errors.ts';
import type { GenerationId, VolumeId } from '../../src/core/ids.ts';
import { REGION_BYTES, SECTOR_BYTES } from '../../src/core/units.ts';
import type { AllocationDone, Done, VolumeSession } from '../../src/datapath/volume-session.ts';
import type { ExportSource } from '../../src/nbd/exports.ts';

/** A request whose completion the test decides. */
export interface Waiting {
  readonly kind: 'read' | 'write' | 'zeroes' | 'trim' | 'flush' | 'allocation';
  readonly offset: number;
  readonly finish: (error?: OperatingError) => void;
}

export class MemoryVolume implements VolumeSession {
  readonly volume: { id: VolumeId; name: string; sizeBytes: number };
  readonly bytes: Uint8Array;
  /** true: requests wait in `waiting`; tryRead says no. */
  delayed = false;
  /** Set: every request fails with it. */
  failure: OperatingError | undefined;
  readonly waiting: Waiting[] = [];
  readonly log: string[] = [];
  /** Its own layer, and by region how far down the layer is that shows. */
  generation = 1;
  readonly layers = new Map<number, number>();
  /** Commands that must be durable before their answer. */
  forced = 0;
  connections = 0;
  inFlight = 0;
  peakInFlight = 0;

  constructor(name: string, sizeBytes: number) {
    this.volume = { id: 1 as VolumeId, name, sizeBytes };
    this.bytes = new Uint8Array(sizeBytes);
  }

  connect(): void {
    this.connections += 1;
  }

  disconnect(): Promise<void> {
    this.connections -= 1;
    return Promise.resolve();
  }

  tryRead(offset: number, length: number, target: Uint8Array, at: number): boolean {
    if (this.delayed || this.failure !== undefined) return false;
    target.set(this.bytes.subarray(offset, offset + length), at);
    return true;
  }

  read(offset: number, length: number, target: Uint8Array, at: number, done: Done): void {
    this.#run('read', offset, done, () => {
      target.set(this.bytes.subarray(offset, offset + length), at);
    });
  }

  write(offset: number, data: Uint8Array, done: Done, isForced = false): void {
    this.forced += isForced ? 1 : 0;
    this.#run('write', offset, done, () => this.bytes.set(data, offset));
  }

  writeZeroes(offset: number, length: number, done: Done, isForced = false): void {
    this.forced += isForced ? 1 : 0;
    this.#run('zeroes', offset, done, () => {
      this.bytes.fill(0, offset, offset + length);
    });
  }

  /** Whole sectors only, as the gateway does. */
  trim(offset: number, length: number, done: Done, isForced = false): void {
    this.forced += isForced ? 1 : 0;
    const from = Math.ceil(offset / SECTOR_BYTES) * SECTOR_BYTES;
    const end = offset + length;
    const to = end === this.bytes.length ? end : end - (end % SECTOR_BYTES);
    this.#run('trim', offset, done, () => {
      if (to > from) this.bytes.fill(0, from, to);
    });
  }

  /** Regions with a byte that is not zero are allocated; by `layers` those of this number that are not the volume's own. */
  allocation(offset: number, length: number, done: AllocationDone): void {
    const end = offset + length;
    const extents: ShownRun[] = [];
    const look = (error?: OperatingError): void => done(error, error === undefined ? extents : []);
    this.#run('allocation', offset, look, () => {
      for (let at = offset; at < end; ) {
        const from = at - (at % REGION_BYTES);
        const to = Math.min(end, from + REGION_BYTES);
        const region = this.bytes.subarray(from, from + REGION_BYTES);
        const isAllocated = region.some((byte) => byte !== 0);
        addRun(extents, { length: to - at, isAllocated, ...this.#layerOf(from, isAllocated) });
        at = to;
      }
    });
  }

  #layerOf(from: number, isAllocated: boolean): Pick<ShownRun, 'layer' | 'depth'> {
    const depth = this.layers.get(from / REGION_BYTES) ?? (isAllocated ? 1 : 0);
    return depth === 0
      ? { layer: 0, depth }
      : { layer: (this.generation + 1 - depth) as GenerationId, depth };
  }

  flush(done: Done): void {
    this.#run('flush', 0, done, () => {});
  }

  #run(kind: Waiting['kind'], offset: number, done: Done, work: () => void): void {
    this.log.push(kind);
    this.inFlight += 1;
    this.peakInFlight = Math.max(this.peakInFlight, this.inFlight);
    const finish = (error?: OperatingError) => {
      this.inFlight -= 1;
      const failed = error ?? this.failure;
      if (failed === undefined) work();
      done(failed);
    };
    if (this.delayed) this.waiting.push({ kind, offset, finish });
    else finish();
  }
}

/** Exports of volumes in memory; those with an `@` in their names are snapshots. */
export function memorySource(volumes: readonly MemoryVolume[]): ExportSource {
  const find = (name: string) => volumes.find((one) => one.volume.name === name);
  const named = (isSnapshot: boolean) =>
    volumes.map((one) => one.volume).filter(({ name }) => name.includes('@') === isSnapshot);
  return {
    volumes: () => named(false),
    snapshots: () => named(true),
    volume: (name) => find(name)?.volume,
    open: (name) => {
      const found = find(name);
      if (found === undefined) throw new Failure('missing', `no volume ${name}`);
      return found;
    },
  };
}
