// Who the other members are and where they listen, file `members` in the data directory, replaced as a whole (members.new,
// sync, rename). The map says it better: the book is for a node whose own map is gone, so that it knows whom to ask
// (C2.6). Damaged or old it costs nothing but that.
//   0 u32 magic "SMBR"     4 u32 format version     8 u32 bytes of contents     12 u32 sum of 0-11 and the contents
//   16 contents: a join reply (docs/FORMATS.md, "Control messages")

import { crc32 } from '../core/checksum.ts';
import { OperatingError } from '../core/errors.ts';
import { invariant } from '../core/invariant.ts';
import type { Disk, PeerAddress, Trace } from '../ports/ports.ts';
import { getU32, putU32 } from '../wire/bytes.ts';
import { decodeJoinReply, encodeJoinReply, type JoinReply } from '../wire/messages.ts';
import { untilSynced } from './raft-log-files.ts';

export const MEMBER_BOOK_PATH = 'members';
const NEW_PATH = `${MEMBER_BOOK_PATH}.new`;
const MAGIC = 0x52424d53;
const FORMAT = 1;
const HEAD_BYTES = 16;
/** A larger file is none of ours: room for 2000 members with 16 addresses each. */
const MAX_BOOK_BYTES = 16 * 1024 * 1024;

/** What is in the book; its node and cluster are this node's. */
export type MemberBook = Extract<JoinReply, { type: 'joined' }>;

/** The members that this directory knew; nobody where there is no book that can be believed. */
export function loadMemberBook(disk: Disk, trace: Trace): readonly PeerAddress[] {
  const file = disk.open(MEMBER_BOOK_PATH, { create: false });
  if (file === undefined) return [];
  try {
    const bytes = new Uint8Array(Math.min(file.sizeSync(), MAX_BOOK_BYTES));
    file.readSync(bytes, 0, bytes.length, 0);
    const length = getU32(bytes, 8);
    const isWhole = getU32(bytes, 0) === MAGIC && HEAD_BYTES + length === bytes.length;
    if (isWhole && getU32(bytes, 4) === FORMAT && getU32(bytes, 12) === sumOf(bytes)) {
      const reply = decodeJoinReply(bytes.subarray(HEAD_BYTES));
      if (reply.type === 'joined') return reply.members;
    }
  } catch (error) {
    // Too short, unreadable, or of another version: the map says it better anyway.
    if (!(error instanceof OperatingError) && !(error instanceof RangeError)) throw error;
  } finally {
    file.close();
  }
  trace.warn('members.damaged', { file: MEMBER_BOOK_PATH });
  return [];
}

/** Durable when it resolves. One at a time. */
export async function saveMemberBook(disk: Disk, book: MemberBook): Promise<void> {
  const contents = encodeJoinReply(book);
  const bytes = new Uint8Array(HEAD_BYTES + contents.length);
  putU32(bytes, 0, MAGIC);
  putU32(bytes, 4, FORMAT);
  putU32(bytes, 8, contents.length);
  bytes.set(contents, HEAD_BYTES);
  putU32(bytes, 12, sumOf(bytes));
  const file = disk.open(NEW_PATH, { create: true });
  invariant(file !== undefined, 'create gives a file');
  try {
    file.truncateSync(0);
    file.writeSync(bytes, 0);
    await untilSynced((done) => file.sync(done));
  } finally {
    file.close();
  }
  disk.rename(NEW_PATH, MEMBER_BOOK_PATH);
  await untilSynced((done) => disk.syncFolder('', done));
}

function sumOf(bytes: Uint8Array): number {
  return (crc32(bytes, 0, 12) ^ crc32(bytes, HEAD_BYTES, bytes.length)) >>> 0;
}
