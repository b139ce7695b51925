// Every byte that the store keeps on its disk: paths, sizes, numbers. All integers are little-endian; a checksum is the
// CRC-32 (IEEE) of the bytes it names. docs/FORMATS.md repeats this page. A reader refuses a higher format version.
//
// superblock (512 bytes, replaced as a whole: superblock.new, sync, rename, folder sync). Without one a directory belongs
// to nobody; a journal beside it says that it was lost, but for superblock.wiped: a wipe that was cut short.
//     0 u32 magic "SHPD"        4 u32 format version      8 u32 node id (0 = none)    12 u32 incarnation
//    16 u32 clean stop (1/0)   20 u32 cluster id known    24 16 bytes cluster id      40 8 bytes store generation
//    48 u32 length of peer key 52 peer key (UTF-8, at most 256 bytes)                508 u32 sum of 0-507
//
// journal (8 KiB of head, then the ring; zero-written at format, never grows)
//   head slots of 512 bytes at 0 and at 4096, both written by a checkpoint, one after the other, each with a sequence of
//   its own; the valid one with the highest sequence counts
//     0 u32 magic "SJHD"        4 u32 format version      8 8 bytes journal id        16 u48 slot sequence
//    22 u48 bytes of the ring  28 u48 checkpoint          34 u48 batch sequence there 40 u48 end known as synced
//    46 u32 index generation   50 u48 bytes of the index 508 u32 sum of 0-507
//   A position counts bytes since format and never restarts; its place in the ring is position mod ring bytes. Replay
//   begins at the checkpoint, where the batch with the noted sequence starts (or the tail is).
//   batch, aligned to 512 bytes, never across the end of the ring (then it starts at the next multiple of the ring):
//     0 u32 magic "SJB2"        4 u32 records             8 8 bytes journal id        16 u48 sequence
//    22 u48 own position       28 u48 end of the batch before it                      34 u32 bytes of the batch
//    38 u32 sum of the record headers                     42 u48 end known as synced when it was written (R4)
//    48 zeroes                 60 u32 sum of 0-59         64 record headers, then their bodies in the same order, then
//   zeroes, which have no sum.
//   The batch ends with a copy of the record headers and, in its last 64 bytes, a copy of bytes 0-63: what a batch is
//   about is known as long as one of the two is readable. An attest record is a batch without records.
//   record header, 92 bytes:
//     0 u32 bytes of its body   4 u8 kind: 1 write, 2 zero, 3 replace, 4 drop, 5 extent, 6 copy
//     5 u8 flags: 1 the row is `zero` afterwards, 2 all sums of the object are void before this record      6 u16 0
//     8 u32 generation         12 u32 index               16 u32 family               20 u32 partition key
//    24 u32 prev token         28 u48 prev count          34 u32 token                38 u48 count
//    44 u32 cfg                48 u48 closed              54 u32 open regions 0-31    58 u32 open regions 32-63
//    62 u32 own regions 0-31   66 u32 own regions 32-63   70 u32 offset               74 u32 count of bytes
//    78 8 bytes staged id (kind 3); u32 copied regions 0-31, u32 32-63 (kind 6)       86 u16 0
//    88 u32 sum of its body
//   body: u32 sum per sector (kinds 1 and 5), data (kind 1). The data of an extent lies in its object, synced before.
//   Kind 6 copies whole regions from the objects of other generations at the same index, before the record behind it in
//   its batch changes a part of them. Its offset and count are the range from the first to the last of them; its body:
//   per generation u32 generation, u32 regions 0-31, u32 regions 32-63, u32 bytes of the object that show: no sector from
//   there on is copied. A region of the header that no readable body names is damaged.
//   Journal format 2, still read, has no kind 6.
//   Journal format 1, still read: magic "SJBT", no kind 5, nothing twice. A batch names its 28 as synced, and has 34 u32
//   bytes and 38 u32 sum of its contents from 64 on. These are records, each a header of 88 bytes as above, in which 0 is
//   u32 bytes of header and body, and its body right behind it.
//
// index.GGGGGGGG (G = generation of the file, hex). The journal head names the file and how many bytes of it count.
//     0 u32 magic "SIDX"        4 u32 format version      8 u32 generation            12 u32 sum of 0-11
//    16 batches: 0 u32 magic "SIBT", 4 u32 rows, 8 u32 sum of 0-7 XOR sum of the rows, 12 rows of 64 bytes:
//     0 u32 generation          4 u32 index               8 u32 family                12 u32 partition key
//    16 u32 token              20 u48 count              26 u8 kind: 0 data, 1 zero, 2 dropped   27 u8 0
//    28 u32 own 0-31           32 u32 own 32-63          36 u48 closed                42 u32 open 0-31
//    46 u32 open 32-63         50 u48 sequence of the sums slot that must be there
//    56 u16 sectors with a sum + 1, 0 = not counted       58 6 bytes 0
//
// objects/HH/GGGGGGGGIIIIIIII (HH = hash of the id, G generation, I index, all hex), sparse
//     0 slot A (8 KiB), 8192 slot B: sums, written in turn; the valid one with the highest sequence counts
//    16384 data: 4 MiB
//   slot: 0 u32 magic "SOBJ"    4 u32 format version      8 u32 generation            12 u32 index
//    16 u48 slot sequence      22 u32 token              26 u48 count                 32 u32 own 0-31
//    36 u32 own 32-63          60 u32 sum of 0-59 XOR sum of the sums                 64 1024 sums (u32 per sector)
//   Token, count and own regions are notes for a person: the row (index and journal) decides.
//   Sector S of the object is the 4096 bytes at 16384 + 4096 * S, S from 0 to 1023; its sum is the u32 at 64 + 4 * S of the
//   slot. 0: no data, never written or zeroed since; it reads as zeroes, whatever the file has there. Else it is
//     CRC-32 (IEEE) of the 4096 bytes XOR mix(G, I, S), and where that is 0, it is stored as 1.
//   The same sums stand in the journal and travel with the data. mix and HH, in unsigned 32 bits (a product is taken
//   modulo 2^32, >> shifts zeroes in):
//     a = (G * 0x9e3779b1) XOR (I * 0x85ebca77)
//     b = (a XOR (a >> 15) XOR S) * 0xc2b2ae3d
//     c = (b XOR (b >> 13) XOR I) * 0x27d4eb2f
//     mix = c XOR (c >> 16)
//     HH = the upper 8 bits of (a XOR (a >> 15)) * 0xc2b2ae3d
//   Example: a sector of zeroes as sector 3 of generation 1, index 2 has the sum e44fe58f; its object is
//   objects/01/0000000100000002.
//   Sums that zeroes do not pass stand for sectors that were lost. What the journal has from its checkpoint on may not be
//   in the objects yet: a script that checks a directory checks the objects of a node that was stopped in order.
//
// incoming/GGGGGGGGIIIIIIII.SSSSSSSSSSSSSSSS (S = staged id): a copy in the making, same format as an object.

import { crc32 } from '../core/checksum.ts';
import { KIB, MIB, SECTORS_PER_OBJECT } from '../core/units.ts';

/** Version of superblock, index and object files. Raised by any change of them. */
export const DISK_FORMAT_VERSION = 1;
/** Version of the journal. A journal of an earlier one goes on in this one: a batch says by its magic which it is. */
export const JOURNAL_FORMAT_VERSION = 3;

export const SUPERBLOCK_PATH = 'superblock';
/** Its name while a directory is wiped, so that a crash in between is not taken for a lost superblock. */
export const WIPED_SUPERBLOCK_PATH = 'superblock.wiped';
export const JOURNAL_PATH = 'journal';
export const OBJECTS_FOLDER = 'objects';
export const INCOMING_FOLDER = 'incoming';
export const INDEX_PREFIX = 'index.';

export const SUPERBLOCK_MAGIC = 0x44504853;
export const HEAD_MAGIC = 0x44484a53;
export const BATCH_MAGIC = 0x32424a53;
/** Batches of journal format 1. */
export const BATCH_MAGIC_1 = 0x54424a53;
export const INDEX_MAGIC = 0x58444953;
export const INDEX_BATCH_MAGIC = 0x54424953;
export const SLOT_MAGIC = 0x4a424f53;

export const BLOCK_BYTES = 512;
/** Where the two head slots lie, and where the ring begins. */
export const HEAD_SLOT_SPACING = 4 * KIB;
export const RING_OFFSET = 2 * HEAD_SLOT_SPACING;
export const BATCH_HEADER_BYTES = 64;
export const RECORD_HEADER_BYTES = 92;
/** Record headers of journal format 1. */
export const RECORD_HEADER_BYTES_1 = 88;
export const STAGED_ID_BYTES = 8;
/** One source of a copy record. */
export const COPY_SOURCE_BYTES = 16;

export const INDEX_HEADER_BYTES = 16;
export const INDEX_BATCH_HEADER_BYTES = 12;
export const INDEX_ROW_BYTES = 64;

export const SLOT_BYTES = 8 * KIB;
export const SLOT_HEADER_BYTES = 64;
export const DATA_OFFSET = 2 * SLOT_BYTES;
export const SUMS_PAGE_BYTES = SECTORS_PER_OBJECT * 4;

export const MIN_JOURNAL_BYTES = 8 * MIB;
export const MAX_JOURNAL_BYTES = 4096 * MIB;

/** 8 hex digits of a u32. */
export function hex32(value: number): string {
  return value.toString(16).padStart(8, '0');
}

/** The folders that objects are spread over, so that none grows without bound. */
export const OBJECT_FOLDERS: readonly string[] = Array.from(
  { length: 256 },
  (_, i) => `${OBJECTS_FOLDER}/${i.toString(16).padStart(2, '0')}`,
);

/** Folder of an object. */
export function objectFolder(generation: number, index: number): string {
  let h = Math.imul(generation, 0x9e3779b1) ^ Math.imul(index, 0x85ebca77);
  h = Math.imul(h ^ (h >>> 15), 0xc2b2ae3d);
  return OBJECT_FOLDERS[(h >>> 24) & 0xff] as string;
}

/** File of an object. */
export function objectPath(generation: number, index: number): string {
  return `${objectFolder(generation, index)}/${hex32(generation)}${hex32(index)}`;
}

/** File of a copy in the making. `stagedId` is 8 bytes that no other staging of this disk ever had. */
export function stagedPath(generation: number, index: number, stagedId: Uint8Array): string {
  const id = Array.from(stagedId, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${INCOMING_FOLDER}/${hex32(generation)}${hex32(index)}.${id}`;
}

/** File of the index with this generation. */
export function indexPath(generation: number): string {
  return INDEX_PREFIX + hex32(generation);
}

/** Writes a u48. */
export function setU48(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 0x100000000, true);
  view.setUint16(at + 4, Math.floor(value / 0x100000000), true);
}

/** Reads a u48. */
export function getU48(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint16(at + 4, true) * 0x100000000;
}

/** A DataView over the same bytes. */
export function viewOfBytes(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Stores the sum of the 508 bytes before it at the end of a block of 512. */
export function sealBlock(block: Uint8Array): void {
  viewOfBytes(block).setUint32(BLOCK_BYTES - 4, crc32(block, 0, BLOCK_BYTES - 4), true);
}

/** True when a block of 512 bytes has its sum. */
export function isSealed(block: Uint8Array): boolean {
  if (block.length !== BLOCK_BYTES) return false;
  const sum = viewOfBytes(block).getUint32(BLOCK_BYTES - 4, true);
  return crc32(block, 0, BLOCK_BYTES - 4) === sum;
}
