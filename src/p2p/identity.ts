// A node's key: made once, kept on its disk, proven in every noise handshake. The peer id (PeerKey) is its public half;
// the log binds it to a NodeId (D: a wiped disk is a new node).

import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { messageOf, OperatingError } from '../core/errors.ts';
import type { PeerKey } from '../core/ids.ts';
import type { Disk, DiskFile } from '../ports/ports.ts';

export const KEY_FILE = 'identity.key';
const NEW_KEY_FILE = 'identity.key.new';
/** An ed25519 key takes 68 bytes. */
const MAX_KEY_BYTES = 1024;

export interface Identity {
  /** The private key as libp2p's protobuf. */
  readonly privateKey: Uint8Array;
  readonly peerKey: PeerKey;
}

/**
 * The key of this data directory; a new one, synced before it is used, when there is none.
 * @throws OperatingError 'corrupt' when the file is damaged, 'io' when the disk fails
 */
export async function loadOrCreateKey(disk: Disk): Promise<Identity> {
  const file = disk.open(KEY_FILE, { create: false });
  if (file !== undefined) return readKey(file);
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

function readKey(file: DiskFile): Identity {
  const privateKey = new Uint8Array(Math.min(file.sizeSync(), MAX_KEY_BYTES));
  file.readSync(privateKey, 0, privateKey.length, 0);
  file.close();
  try {
    const peerId = peerIdFromPrivateKey(privateKeyFromProtobuf(privateKey));
    return { privateKey, peerKey: peerId.toString() as PeerKey };
  } catch (cause) {
    throw new OperatingError('corrupt', `${KEY_FILE} is damaged: ${messageOf(cause)}`, {
      remedy: 'restore the file from a backup, or wipe the data directory and join as a new node',
      cause,
    });
  }
}

function asPromise(start: (done: (error: Error | undefined) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error === undefined ? resolve() : reject(error)));
  });
}
