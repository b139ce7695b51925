// Bytes of what this node saw of others' disks (C1.9), file `sightings` in the data directory: two slots of 32 KiB, written
// in turn, each with one sync; the whole one with the higher sequence counts. Integers are little-endian. It is a second
// pair of eyes: when both slots are damaged it begins anew, and nothing else depends on it.
//   slot: 0 u32 magic "SSEE"     4 u32 format version     8 u48 slot sequence        14 u16 records
//        16 records of 24 bytes: 0 u32 node id, 4 u32 incarnation, 8 u48 store generation, 14 u48 journal sequence, 20 u32 0
//        then u32 sum of all before it

import { crc32 } from '../core/checksum.ts';
import type { OperatingError } from '../core/errors.ts';
import type { Incarnation, NodeId } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { Sighting } from '../core/sightings.ts';
import { KIB } from '../core/units.ts';
import type { Disk, Trace } from '../ports/ports.ts';
import { getU32, getU48, putU32, putU48 } from '../wire/bytes.ts';
import { asOperatingError } from './disk-errors.ts';

export const SIGHTINGS_PATH = 'sightings';
const MAGIC = 0x45455353;
const FORMAT = 1;
const SLOT_BYTES = 32 * KIB;
const HEAD_BYTES = 16;
const RECORD_BYTES = 24;
const SUM_BYTES = 4;
/** Records of one slot: above the members of a cluster. */
export const MAX_SIGHTINGS = 1360;

interface Slot {
  readonly sequence: number;
  readonly seen: readonly Sighting[];
}

/** The file of one node. One write at a time; what comes meanwhile waits for the next one. */
export class SightingsFile {
  readonly #disk: Disk;
  readonly #trace: Trace;
  #sequence = 0;
  #isWriting = false;

  constructor(disk: Disk, trace: Trace) {
    this.#disk = disk;
    this.#trace = trace;
  }

  get isWriting(): boolean {
    return this.#isWriting;
  }

  /** What was seen before; nothing where there is no file that can be believed. */
  load(): readonly Sighting[] {
    try {
      const file = this.#disk.open(SIGHTINGS_PATH, { create: false });
      if (file === undefined) return [];
      const bytes = new Uint8Array(2 * SLOT_BYTES);
      file.readSync(bytes, 0, bytes.length, 0);
      file.close();
      const slots = [0, SLOT_BYTES].map((at) => decode(bytes.subarray(at, at + SLOT_BYTES)));
      const [first, second] = slots;
      const newest = (first?.sequence ?? 0) >= (second?.sequence ?? 0) ? first : second;
      this.#sequence = newest?.sequence ?? 0;
      if (newest === undefined) this.#trace.warn('sightings.damaged', { file: SIGHTINGS_PATH });
      return newest?.seen ?? [];
    } catch (error) {
      this.#trace.warn('sightings.damaged', { file: asOperatingError(error).message });
      return [];
    }
  }

  /** Durable when done. */
  save(
    seen: readonly Sighting[],
    done: (error: OperatingError | undefined) => void = () => {},
  ): void {
    invariant(!this.#isWriting, 'sightings are written one after the other');
    this.#isWriting = true;
    this.#sequence += 1;
    const ended = (error: Error | undefined): void => {
      this.#isWriting = false;
      done(error === undefined ? undefined : asOperatingError(error));
    };
    try {
      const existing = this.#disk.open(SIGHTINGS_PATH, { create: false });
      const isNew = existing === undefined;
      const file = existing ?? this.#disk.open(SIGHTINGS_PATH, { create: true });
      invariant(file !== undefined, 'create gives a file');
      file.writeSync(
        encode({ sequence: this.#sequence, seen: seen.slice(0, MAX_SIGHTINGS) }),
        (this.#sequence % 2) * SLOT_BYTES,
      );
      file.sync((error) => {
        file.close();
        if (error === undefined && isNew) this.#disk.syncFolder('', ended);
        else ended(error);
      });
    } catch (error) {
      ended(asOperatingError(error));
    }
  }
}

function encode({ sequence, seen }: Slot): Uint8Array {
  const end = HEAD_BYTES + seen.length * RECORD_BYTES;
  const bytes = new Uint8Array(end + SUM_BYTES);
  putU32(bytes, 0, MAGIC);
  putU32(bytes, 4, FORMAT);
  putU48(bytes, 8, sequence);
  bytes[14] = seen.length & 0xff;
  bytes[15] = seen.length >> 8;
  seen.forEach(({ node, incarnation, storeGeneration, journalSeq }, i) => {
    const at = HEAD_BYTES + i * RECORD_BYTES;
    putU32(bytes, at, node);
    putU32(bytes, at + 4, incarnation);
    putU48(bytes, at + 8, storeGeneration);
    putU48(bytes, at + 14, journalSeq);
  });
  putU32(bytes, end, crc32(bytes, 0, end));
  return bytes;
}

function decode(slot: Uint8Array): Slot | undefined {
  if (getU32(slot, 0) !== MAGIC || getU32(slot, 4) !== FORMAT) return undefined;
  const count = (slot[14] ?? 0) + (slot[15] ?? 0) * 256;
  const end = HEAD_BYTES + count * RECORD_BYTES;
  if (count > MAX_SIGHTINGS || getU32(slot, end) !== crc32(slot, 0, end)) return undefined;
  const seen = Array.from({ length: count }, (_, i): Sighting => {
    const at = HEAD_BYTES + i * RECORD_BYTES;
    return {
      node: getU32(slot, at) as NodeId,
      incarnation: getU32(slot, at + 4) as Incarnation,
      storeGeneration: getU48(slot, at + 8),
      journalSeq: getU48(slot, at + 14),
    };
  });
  return { sequence: getU48(slot, 8), seen };
}
