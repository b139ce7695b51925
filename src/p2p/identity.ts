// A node's key: made once, kept on its disk, proven in every noise handshake. The peer id (PeerKey) is its public half;
// the log binds it to a NodeId (D: a wiped disk is a new node).
//
// The file is libp2p's protobuf of an Ed25519 key, 68 bytes: 08 01 12 40, the seed, its public half. All of it follows
// from the seed, so that a damaged one is found without a sum: it would be another node, or one that nobody believes.

import {
  generateKeyPair,
  generateKeyPairFromSeed,
  privateKeyFromProtobuf,
  privateKeyToProtobuf,
} from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { equals } from 'uint8arrays/equals';
import { messageOf, OperatingError } from '../core/errors.ts';
import type { PeerKey } from '../core/ids.ts';
import { REPLACE_OR_RESTORE } from '../core/remedies.ts';
import type { Disk, DiskFile } from '../ports/ports.ts';

export const KEY_FILE = 'identity.key';
const NEW_KEY_FILE = 'identity.key.new';
const KEY_BYTES = 68;
const SEED_BYTES = 32;
/** Written after the key, by every start that found or made one: with it a missing key is a lost one. */
const SUPERBLOCK_FILE = 'superblock';
const LOST_REMEDY = `put the file back; else ${REPLACE_OR_RESTORE}`;

export interface Identity {
  /** The private key as libp2p's protobuf. */
  readonly privateKey: Uint8Array;
  readonly peerKey: PeerKey;
}

/**
 * The key of this data directory; a new one, synced before it is used, when there is none.
 * @throws OperatingError 'corrupt' when the file is damaged, or gone; 'io' when the disk fails
 */
export async function loadOrCreateKey(disk: Disk): Promise<Identity> {
  const file = disk.open(KEY_FILE, { create: false });
  if (file !== undefined) return readKey(file);
  refuseLostKey(disk);
  const key = await generateKeyPair('Ed25519');
  const privateKey = privateKeyToProtobuf(key);
  disk.remove(NEW_KEY_FILE);
  const fresh = disk.open(NEW_KEY_FILE, { create: true });
  if (fresh === undefined) throw new OperatingError('io', `can not create ${NEW_KEY_FILE}`);
  fresh.writeSync(privateKey, 0);
  await asPromise((done) => fresh.sync(done));
  fresh.close();
  disk.rename(NEW_KEY_FILE, KEY_FILE);
  await asPromise((done) => disk.syncFolder('', done));
  return { privateKey, peerKey: peerIdFromPrivateKey(key).toString() as PeerKey };
}

/** A directory that belongs to a node must not become another one. */
function refuseLostKey(disk: Disk): void {
  const superblock = disk.open(SUPERBLOCK_FILE, { create: false });
  if (superblock === undefined) return;
  superblock.close();
  throw new OperatingError('corrupt', `${KEY_FILE} is missing, but ${SUPERBLOCK_FILE} is there`, {
    remedy: LOST_REMEDY,
  });
}

async function readKey(file: DiskFile): Promise<Identity> {
  // One byte more: a longer file is no key.
  const bytes = new Uint8Array(KEY_BYTES + 1);
  const privateKey = bytes.slice(0, file.readSync(bytes, 0, bytes.length, 0));
  file.close();
  try {
    const key = privateKeyFromProtobuf(privateKey);
    const again = await generateKeyPairFromSeed('Ed25519', key.raw.slice(0, SEED_BYTES));
    const isWhole = equals(privateKeyToProtobuf(again), privateKey);
    if (!isWhole) throw new OperatingError('corrupt', 'its halves do not belong together');
    return { privateKey, peerKey: peerIdFromPrivateKey(again).toString() as PeerKey };
  } catch (cause) {
    throw new OperatingError('corrupt', `${KEY_FILE} is damaged: ${messageOf(cause)}`, {
      remedy: LOST_REMEDY,
      cause,
    });
  }
}

function asPromise(start: (done: (error: Error | undefined) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error === undefined ? resolve() : reject(error)));
  });
}
