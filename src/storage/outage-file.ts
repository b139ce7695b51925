// Bytes of what a node keeps of the changes that absent members miss (PROTOCOL 4.7), file `outages` in the data directory,
// replaced as a whole (outages.new, sync, rename, folder sync). Integers are little-endian.
//
// header, 64 bytes
//     0 u32 magic "SOUT"        4 u32 format version       8 8 bytes journal id        16 u48 journal position
//    22 u48 map index          28 u32 bytes of contents   32 u32 maps                 36 u32 sum of the contents
//    40 zeroes                 60 u32 sum of 0-59
// contents, per map: u32 partition key, u32 node, u32 since (cfg), u32 objects; then per object: u32 generation, u32 index,
//   u32 regions 0-31, u32 regions 32-63
// A map has every change of the node's copies since the member left, up to the journal position; what the journal has from
// its checkpoint on is added at a start. So the file counts only where the checkpoint is not behind its position, in the
// journal that it names: any other one lacks changes, is not read, and whole objects are compared. No file: no maps.

import { crc32 } from '../core/checksum.ts';
import type { ConfigVersion, GenerationId, NodeId } from '../core/ids.ts';
import { MAX_DIRTY_OBJECTS } from '../core/outage.ts';
import { MIB } from '../core/units.ts';
import { getU48, setU48, viewOfBytes } from './layout.ts';
import type { KeptOutage, KeptOutages, MissedObject } from './store-types.ts';

export const OUTAGES_PATH = 'outages';
export const OUTAGES_NEW_PATH = 'outages.new';
/** A reader takes a file of a higher one for none. */
export const OUTAGES_FORMAT = 1;
/** A larger one is not kept: then whole objects are compared after a restart. */
export const MAX_OUTAGES_BYTES = 16 * MIB;

const MAGIC = 0x54554f53;
const HEADER_BYTES = 64;
const HEADER_SUM_AT = 60;
const MAP_BYTES = 16;
const OBJECT_BYTES_EACH = 16;

/** Which changes the file covers. */
export interface OutagesPlace {
  readonly journalId: Uint8Array;
  readonly position: number;
}

/** A file as it was read: complete and undamaged, but perhaps of another time. */
export interface ReadOutages extends OutagesPlace {
  readonly kept: { readonly mapIndex: number; readonly maps: readonly ReadOutage[] };
}

/** A map as it was read, to be added to. */
interface ReadOutage extends KeptOutage {
  readonly objects: Map<string, MissedObject>;
}

/** Undefined: more than a file may have. */
export function encodeOutages(place: OutagesPlace, kept: KeptOutages): Uint8Array | undefined {
  let contents = 0;
  for (const { objects } of kept.maps) contents += MAP_BYTES + objects.size * OBJECT_BYTES_EACH;
  if (HEADER_BYTES + contents > MAX_OUTAGES_BYTES) return undefined;
  const bytes = new Uint8Array(HEADER_BYTES + contents);
  const view = viewOfBytes(bytes);
  let at = HEADER_BYTES;
  const put = (a: number, b: number, c: number, d: number): void => {
    view.setUint32(at, a, true);
    view.setUint32(at + 4, b, true);
    view.setUint32(at + 8, c, true);
    view.setUint32(at + 12, d, true);
    at += 16;
  };
  for (const { partition, node, since, objects } of kept.maps) {
    put(partition, node, since, objects.size);
    for (const { generation, index, low, high } of objects.values())
      put(generation, index, low, high);
  }
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, OUTAGES_FORMAT, true);
  bytes.set(place.journalId, 8);
  setU48(view, 16, place.position);
  setU48(view, 22, kept.mapIndex);
  view.setUint32(28, contents, true);
  view.setUint32(32, kept.maps.length, true);
  view.setUint32(36, crc32(bytes, HEADER_BYTES, bytes.length), true);
  view.setUint32(HEADER_SUM_AT, crc32(bytes, 0, HEADER_SUM_AT), true);
  return bytes;
}

/** Undefined: damaged, or of a later format. */
export function decodeOutages(bytes: Uint8Array): ReadOutages | undefined {
  const view = viewOfBytes(bytes);
  if (bytes.length < HEADER_BYTES || view.getUint32(0, true) !== MAGIC) return undefined;
  if (view.getUint32(HEADER_SUM_AT, true) !== crc32(bytes, 0, HEADER_SUM_AT)) return undefined;
  if (view.getUint32(4, true) > OUTAGES_FORMAT) return undefined;
  const end = HEADER_BYTES + view.getUint32(28, true);
  if (end > bytes.length || view.getUint32(36, true) !== crc32(bytes, HEADER_BYTES, end)) {
    return undefined;
  }
  const maps = decodeMaps(view, view.getUint32(32, true), end);
  if (maps === undefined) return undefined;
  return {
    journalId: bytes.slice(8, 16),
    position: getU48(view, 16),
    kept: { mapIndex: getU48(view, 22), maps },
  };
}

function decodeMaps(view: DataView, count: number, end: number): ReadOutage[] | undefined {
  const maps: ReadOutage[] = [];
  let at = HEADER_BYTES;
  let total = 0;
  while (maps.length < count) {
    if (at + MAP_BYTES > end) return undefined;
    const size = view.getUint32(at + 12, true);
    total += size;
    if (total > MAX_DIRTY_OBJECTS || at + MAP_BYTES + size * OBJECT_BYTES_EACH > end)
      return undefined;
    const objects = new Map<string, MissedObject>();
    maps.push({
      partition: view.getUint32(at, true),
      node: view.getUint32(at + 4, true) as NodeId,
      since: view.getUint32(at + 8, true) as ConfigVersion,
      objects,
    });
    at += MAP_BYTES;
    for (const last = at + size * OBJECT_BYTES_EACH; at < last; at += OBJECT_BYTES_EACH) {
      const generation = view.getUint32(at, true) as GenerationId;
      const index = view.getUint32(at + 4, true);
      const low = view.getUint32(at + 8, true);
      const high = view.getUint32(at + 12, true);
      objects.set(missedKey(generation, index), { generation, index, low, high });
    }
  }
  return at === end ? maps : undefined;
}

/** Key of an object in a map. */
export function missedKey(generation: number, index: number): string {
  return `${generation}/${index}`;
}
