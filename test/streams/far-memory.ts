// A volume in memory that is reached in pieces, and generations of one: each knows which layer shows in a region.

import type { GenerationId } from '../../src/core/ids.ts';
import { MIB, REGION_BYTES } from '../../src/core/units.ts';
import type { Extent, Piece } from '../../src/streams/pieces.ts';
import type { FarExtent, FarVolume } from '../../src/streams/volume-copy.ts';

export class FarMemory implements FarVolume {
  readonly bytes: Uint8Array;
  /** Per region the layer that shows; 0 = nobody's. */
  readonly layers: number[];
  readonly pieceBytes: number;
  readonly zeroBytes = 4 * MIB;
  /** Bytes that were read. */
  readBytes = 0;
  /** Set: every read or write at this byte fails with it. */
  failure: { readonly at: number; readonly error: Error } | undefined;

  constructor(sizeBytes: number, pieceBytes = MIB, layers?: readonly number[]) {
    this.bytes = new Uint8Array(sizeBytes);
    this.pieceBytes = pieceBytes;
    this.layers = [...(layers ?? new Array(Math.ceil(sizeBytes / REGION_BYTES)).fill(0))];
  }

  get sizeBytes(): number {
    return this.bytes.length;
  }

  /** As a guest would, in this layer: regions become its own. */
  put(offset: number, bytes: Uint8Array, layer: number): void {
    this.bytes.set(bytes, offset);
    const last = Math.ceil((offset + bytes.length) / REGION_BYTES);
    for (let at = Math.floor(offset / REGION_BYTES); at < last; at += 1) this.layers[at] = layer;
  }

  /** The same contents, where further writes are another layer's. */
  below(): FarMemory {
    const child = new FarMemory(this.sizeBytes, this.pieceBytes, this.layers);
    child.bytes.set(this.bytes);
    return child;
  }

  async read({ offset, length }: Extent): Promise<Uint8Array> {
    this.#mayFail(offset, length);
    this.readBytes += length;
    return this.bytes.slice(offset, offset + length);
  }

  async write({ offset, bytes }: Piece): Promise<void> {
    this.#mayFail(offset, bytes.length);
    this.bytes.set(bytes, offset);
  }

  async zero({ offset, length }: Extent): Promise<void> {
    this.bytes.fill(0, offset, offset + length);
  }

  async extents({ offset, length }: Extent): Promise<readonly FarExtent[]> {
    const runs: FarExtent[] = [];
    for (let at = offset; at < offset + length; ) {
      const to = Math.min(offset + length, at - (at % REGION_BYTES) + REGION_BYTES);
      const layer = (this.layers[Math.floor(at / REGION_BYTES)] ?? 0) as GenerationId | 0;
      runs.push({ length: to - at, isAllocated: layer !== 0, layer });
      at = to;
    }
    return runs;
  }

  #mayFail(offset: number, length: number): void {
    const { failure } = this;
    if (failure !== undefined && failure.at >= offset && failure.at < offset + length) {
      throw failure.error;
    }
  }
}
