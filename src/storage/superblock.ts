// Who a disk is: cluster, node, incarnation, and whether its last process stopped in order. Small, replaced as a whole
// (temporary file, sync, rename, folder sync), so a crash leaves the old or the new one. Opening it raises the
// incarnation and removes the clean-stop record in one synced step, before anything else happens (C4.3).
// Bytes: layout.ts. It knows nothing of objects or the journal.

import { OperatingError } from '../core/errors.ts';
import type { ClusterId, Incarnation, NodeId, PeerKey } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import { REPLACE_OR_RESTORE } from '../core/remedies.ts';
import type { Disk, Random } from '../ports/ports.ts';
import {
  BLOCK_BYTES,
  DISK_FORMAT_VERSION,
  isSealed,
  JOURNAL_PATH,
  SUPERBLOCK_MAGIC,
  SUPERBLOCK_PATH,
  sealBlock,
  viewOfBytes,
  WIPED_SUPERBLOCK_PATH,
} from './layout.ts';

const NEW_PATH = `${SUPERBLOCK_PATH}.new`;
const CLUSTER_ID_AT = 24;
const STORE_GENERATION_AT = 40;
const PEER_KEY_AT = 52;
/** Longest peer key that fits, in bytes of UTF-8. */
export const MAX_PEER_KEY_BYTES = 256;

interface Fields {
  readonly clusterId: ClusterId | undefined;
  readonly node: NodeId | undefined;
  readonly peerKey: PeerKey | undefined;
  readonly storeGeneration: number;
  readonly incarnation: Incarnation;
  readonly cleanStop: boolean;
}

/** The identity of one disk, as of now. Changes are durable before their promise resolves. */
export class Superblock {
  readonly #disk: Disk;
  #fields: Fields;
  #tail: Promise<void> = Promise.resolve();
  /** True when the process before this one stopped in order (C4.3). */
  readonly wasClean: boolean;
  /** True when this start made the superblock: the disk was empty. */
  readonly isFresh: boolean;

  constructor(disk: Disk, fields: Fields, start: { wasClean: boolean; isFresh: boolean }) {
    this.#disk = disk;
    this.#fields = fields;
    this.wasClean = start.wasClean;
    this.isFresh = start.isFresh;
  }

  get clusterId(): ClusterId | undefined {
    return this.#fields.clusterId;
  }

  get node(): NodeId | undefined {
    return this.#fields.node;
  }

  get peerKey(): PeerKey | undefined {
    return this.#fields.peerKey;
  }

  /** u48, minted when the disk was formatted: a wiped disk is another store. */
  get storeGeneration(): number {
    return this.#fields.storeGeneration;
  }

  get incarnation(): Incarnation {
    return this.#fields.incarnation;
  }

  /**
   * Binds the disk to a cluster, a node, a key; fields left out stay.
   * @throws OperatingError 'wrong-cluster' when the disk belongs to another cluster or node
   */
  adopt(identity: {
    readonly clusterId?: ClusterId;
    readonly node?: NodeId;
    readonly peerKey?: PeerKey;
  }): Promise<void> {
    return this.#change((fields) => {
      refuseStranger('cluster', fields.clusterId, identity.clusterId);
      refuseStranger('node', fields.node, identity.node);
      refuseStranger('key', fields.peerKey, identity.peerKey);
      return { ...fields, ...identity };
    });
  }

  /** A new life of this process without a restart (C4.2). Resolves with the new incarnation. */
  async raiseIncarnation(): Promise<Incarnation> {
    await this.#change((fields) => ({
      ...fields,
      incarnation: (fields.incarnation + 1) as Incarnation,
    }));
    return this.incarnation;
  }

  /** Writes the clean-stop record. Called once, after the last sync of everything else. */
  markClean(): Promise<void> {
    return this.#change((fields) => ({ ...fields, cleanStop: true }));
  }

  /** One change after the other; a failed one leaves the fields as they were. */
  #change(alter: (fields: Fields) => Fields): Promise<void> {
    const step = this.#tail.then(async () => {
      const next = alter(this.#fields);
      await store(this.#disk, next);
      this.#fields = next;
    });
    this.#tail = step.catch(() => undefined);
    return step;
  }
}

/**
 * Opens the superblock, or makes one on an empty disk, and begins a new incarnation.
 * @throws OperatingError 'newer-format', or 'corrupt' when it is damaged or lost: both name the file and the cure
 */
export async function openSuperblock(disk: Disk, random: Random): Promise<Superblock> {
  const found = load(disk);
  if (found === undefined) refuseLost(disk);
  const fields: Fields = found ?? {
    clusterId: undefined,
    node: undefined,
    peerKey: undefined,
    storeGeneration: (random.u32() & 0xffff) * 0x100000000 + random.u32(),
    incarnation: 0 as Incarnation,
    cleanStop: false,
  };
  const started = {
    ...fields,
    incarnation: (fields.incarnation + 1) as Incarnation,
    cleanStop: false,
  };
  await store(disk, started);
  return new Superblock(disk, started, {
    wasClean: found?.cleanStop ?? false,
    isFresh: found === undefined,
  });
}

function refuseStranger(what: string, own: unknown, other: unknown): void {
  if (own === undefined || other === undefined || own === other) return;
  throw new OperatingError('wrong-cluster', `this disk belongs to ${what} ${own}, not ${other}`, {
    remedy: 'start with the data directory of this node, or with an empty one',
  });
}

/** What a member kept must not be wiped by the next join because one small file is gone. */
function refuseLost(disk: Disk): void {
  const isThere = (path: string): boolean => {
    const file = disk.open(path, { create: false });
    file?.close();
    return file !== undefined;
  };
  if (!isThere(JOURNAL_PATH) || isThere(WIPED_SUPERBLOCK_PATH)) return;
  throw new OperatingError(
    'corrupt',
    `${SUPERBLOCK_PATH} is missing, but ${JOURNAL_PATH} is there`,
    { remedy: `put the file back; else ${REPLACE_OR_RESTORE}` },
  );
}

function load(disk: Disk): Fields | undefined {
  const file = disk.open(SUPERBLOCK_PATH, { create: false });
  if (file === undefined) return undefined;
  const block = new Uint8Array(BLOCK_BYTES);
  try {
    file.readSync(block, 0, BLOCK_BYTES, 0);
  } finally {
    file.close();
  }
  return decode(block);
}

function decode(block: Uint8Array): Fields {
  const view = viewOfBytes(block);
  const keyBytes = view.getUint32(48, true);
  const isOurs = view.getUint32(0, true) === SUPERBLOCK_MAGIC && isSealed(block);
  if (!isOurs || keyBytes > MAX_PEER_KEY_BYTES) {
    throw new OperatingError('corrupt', `${SUPERBLOCK_PATH} is damaged or not of Sheepdog`, {
      remedy: REPLACE_OR_RESTORE,
    });
  }
  const version = view.getUint32(4, true);
  if (version > DISK_FORMAT_VERSION) {
    throw new OperatingError(
      'newer-format',
      `${SUPERBLOCK_PATH} has format ${version}, this program knows ${DISK_FORMAT_VERSION}`,
      { remedy: 'start a newer version of Sheepdog on this data directory' },
    );
  }
  const node = view.getUint32(8, true);
  const isBound = view.getUint32(20, true) === 1;
  const id = block.subarray(CLUSTER_ID_AT, CLUSTER_ID_AT + 16);
  const key = new TextDecoder().decode(block.subarray(PEER_KEY_AT, PEER_KEY_AT + keyBytes));
  return {
    clusterId: isBound ? (toHex(id) as ClusterId) : undefined,
    node: node === 0 ? undefined : (node as NodeId),
    peerKey: keyBytes === 0 ? undefined : (key as PeerKey),
    storeGeneration:
      view.getUint32(STORE_GENERATION_AT, true) +
      view.getUint32(STORE_GENERATION_AT + 4, true) * 0x100000000,
    incarnation: view.getUint32(12, true) as Incarnation,
    cleanStop: view.getUint32(16, true) === 1,
  };
}

function encode(fields: Fields): Uint8Array {
  const block = new Uint8Array(BLOCK_BYTES);
  const view = viewOfBytes(block);
  view.setUint32(0, SUPERBLOCK_MAGIC, true);
  view.setUint32(4, DISK_FORMAT_VERSION, true);
  view.setUint32(8, fields.node ?? 0, true);
  view.setUint32(12, fields.incarnation, true);
  view.setUint32(16, fields.cleanStop ? 1 : 0, true);
  if (fields.clusterId !== undefined) {
    invariant(/^[0-9a-f]{32}$/.test(fields.clusterId), 'a cluster id is 32 hex digits');
    view.setUint32(20, 1, true);
    block.set(fromHex(fields.clusterId), CLUSTER_ID_AT);
  }
  view.setUint32(STORE_GENERATION_AT, fields.storeGeneration % 0x100000000, true);
  view.setUint32(STORE_GENERATION_AT + 4, Math.floor(fields.storeGeneration / 0x100000000), true);
  const key = new TextEncoder().encode(fields.peerKey ?? '');
  invariant(key.length <= MAX_PEER_KEY_BYTES, 'a peer key fits');
  view.setUint32(48, key.length, true);
  block.set(key, PEER_KEY_AT);
  sealBlock(block);
  return block;
}

async function store(disk: Disk, fields: Fields): Promise<void> {
  const file = disk.open(NEW_PATH, { create: true });
  invariant(file !== undefined, 'create gives a file');
  try {
    file.writeSync(encode(fields), 0);
    await new Promise<void>((resolve, reject) => {
      file.sync((error) => (error === undefined ? resolve() : reject(error)));
    });
  } finally {
    file.close();
  }
  disk.rename(NEW_PATH, SUPERBLOCK_PATH);
  await new Promise<void>((resolve, reject) => {
    disk.syncFolder('', (error) => (error === undefined ? resolve() : reject(error)));
  });
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function fromHex(text: string): Uint8Array {
  return Uint8Array.from({ length: text.length / 2 }, (_, i) =>
    Number.parseInt(text.slice(2 * i, 2 * i + 2), 16),
  );
}
