// The operations of `dog` that have several parts, or answer before all of their work is done: how each is prepared, what is
// to be seen before and after it, and what is there, by names, when it was asked for again and is over.

import fs from 'node:fs';
import path from 'node:path';
import { bytesOf } from '../../src/cli/backup-file.ts';
import { MIB } from '../../src/core/units.ts';
import type { Extent, Piece } from '../../src/streams/pieces.ts';
import { openStream, restoreInto } from '../../src/streams/restore.ts';
import { until } from './cluster.ts';
import { AGAIN_MS, GOLD, type Place, SIZE } from './interrupt-soak-place.ts';
import { asked, filesOf, treeOf } from './leftovers.ts';

/** `before`: it did not happen; `after`: it did. Anything else is what is wrong. */
export type Standing = 'before' | 'after' | string;

export interface Operation {
  readonly title: string;
  prepare(at: Place): Promise<void>;
  args(at: Place): readonly string[];
  look(at: Place): Promise<Standing>;
  /** Asked for again it may say, by its exit code, that it happened already. 0 unless given. */
  readonly againCodes?: readonly number[];
  /** How it is asked for again, where that is said in another way. */
  again?(at: Place): Promise<readonly string[]>;
  /** Names that are there at the end: `-` is the volume of the round. */
  readonly names: readonly string[];
  /** What has to come true in the background, and what else has to be right at its end. */
  end?(at: Place): Promise<void>;
}

const NOT_AGAIN = [0, 3, 5];
const NOTHING = async (): Promise<void> => undefined;

/** A volume that shows gold@a, with something of its own. */
async function ownVolume(at: Place): Promise<void> {
  await at.clone();
  await at.scribble(at.images.a, 7);
}

async function isThere(at: Place): Promise<boolean> {
  return (await at.volume()) !== undefined;
}

/** What makes a volume. */
async function lookForNew(at: Place, image: Buffer): Promise<Standing> {
  if (!(await isThere(at))) return 'before';
  return (await at.image()).equals(image) ? 'after' : 'it has its name and not its contents';
}

async function lookForGone(at: Place): Promise<Standing> {
  return (await isThere(at)) ? 'before' : 'after';
}

async function trashed(at: Place): Promise<boolean> {
  const rows = await asked<readonly { readonly name: string }[]>(at.cluster, 1, '/v1/trash');
  return rows.some(({ name }) => name === at.name);
}

/** It does not move any more. */
async function atRest(at: Place): Promise<void> {
  const isAtRest = async (): Promise<boolean> => (await at.volume())?.move === null;
  await until(`${at.name} is copied`, isAtRest, 2 * AGAIN_MS);
}

function wrong(text: string): never {
  throw new RangeError(text);
}

const deepClone: Operation = {
  title: 'clone --deep',
  prepare: NOTHING,
  args: ({ name }) => ['vdi', 'clone', `${GOLD}@a`, name, '--deep'],
  look: (at) => lookForNew(at, at.images.a),
  againCodes: NOT_AGAIN,
  names: ['-'],
  async end(at) {
    await atRest(at);
    const gold = await at.volume(GOLD);
    if ((await at.volume())?.family === gold?.family) wrong('it is copied and still of the family');
  },
};

const liveClone: Operation = {
  title: 'clone of a volume',
  prepare: NOTHING,
  args: ({ name }) => ['vdi', 'clone', GOLD, name],
  look: (at) => lookForNew(at, at.images.b),
  againCodes: NOT_AGAIN,
  names: ['-'],
};

const rollback: Operation = {
  title: 'rollback',
  async prepare(at) {
    await at.clone();
    await at.snapshot('s', at.name);
    await at.scribble(at.images.a, 8);
  },
  args: ({ name }) => ['vdi', 'rollback', `${name}@s`, '-f'],
  async look(at) {
    const image = await at.image();
    if (image.equals(at.images.a)) return 'after';
    return image[256 * 1024] === 8 ? 'before' : 'it is neither what it was nor the snapshot';
  },
  names: ['-', '-@s'],
};

const shrink: Operation = {
  title: 'resize --force',
  prepare: ownVolume,
  args: ({ name }) => ['vdi', 'resize', name, '8M', '--force'],
  look: async (at) => ((await at.volume())?.sizeBytes === SIZE ? 'before' : 'after'),
  names: ['-'],
  async end(at) {
    await at.dog(['vdi', 'resize', at.name, String(SIZE)]);
    const image = await at.image();
    if (image.subarray(8 * MIB).some((byte) => byte !== 0)) wrong('what was cut came back');
    if (image[256 * 1024] !== 7) wrong('what was not cut is gone');
  },
};

const deletion: Operation = {
  title: 'delete',
  prepare: ownVolume,
  args: ({ name }) => ['vdi', 'delete', name],
  look: lookForGone,
  againCodes: NOT_AGAIN,
  names: [],
};

const snapshotDeletion: Operation = {
  title: 'delete of a snapshot',
  async prepare(at) {
    await ownVolume(at);
    await at.snapshot('s', at.name);
    await at.scribble(at.images.a, 9);
  },
  args: ({ name }) => ['vdi', 'delete', `${name}@s`],
  async look(at) {
    const names = (await at.layers()).map(({ name }) => name);
    return names.includes(`${at.name}@s`) ? 'before' : 'after';
  },
  againCodes: NOT_AGAIN,
  names: ['-'],
  async end(at) {
    if ((await at.image())[256 * 1024] !== 9) wrong('the volume lost what it shows');
  },
};

const toTrash: Operation = {
  title: 'delete --trash',
  prepare: ownVolume,
  args: ({ name }) => ['vdi', 'delete', name, '--trash', '1h'],
  async look(at) {
    const isHere = await isThere(at);
    if (isHere === (await trashed(at))) return 'it is in both places, or in none';
    return isHere ? 'before' : 'after';
  },
  againCodes: NOT_AGAIN,
  names: [],
  async end(at) {
    await at.dog(['vdi', 'trash', 'restore', at.name]);
    if ((await at.image())[256 * 1024] !== 7) wrong('it came back with other contents');
  },
};

const purge: Operation = {
  title: 'trash purge',
  async prepare(at) {
    await ownVolume(at);
    await at.dog(['vdi', 'delete', at.name, '--trash', '1h']);
  },
  args: ({ name }) => ['vdi', 'trash', 'purge', name, '-f'],
  look: async (at) => ((await trashed(at)) ? 'before' : 'after'),
  againCodes: NOT_AGAIN,
  names: [],
};

const fromTrash: Operation = {
  title: 'trash restore',
  prepare: purge.prepare,
  args: ({ name }) => ['vdi', 'trash', 'restore', name],
  async look(at) {
    if (!(await isThere(at))) return (await trashed(at)) ? 'before' : 'it is nowhere';
    return (await at.image())[256 * 1024] === 7 ? 'after' : 'it came back with other contents';
  },
  againCodes: NOT_AGAIN,
  names: ['-'],
};

/** Bytes that the volume has of its own. */
async function ownBytes(at: Place): Promise<number> {
  const route = `/v1/volumes/${at.name}/usage`;
  return (await asked<{ readonly ownBytes: number }>(at.cluster, 1, route)).ownBytes;
}

const preallocation: Operation = {
  title: 'preallocate',
  prepare: ownVolume,
  args: ({ name }) => ['vdi', 'preallocate', name],
  async look(at) {
    const written = Buffer.from(at.images.a);
    for (let offset = 256 * 1024; offset < SIZE; offset += 3 * MIB)
      written.fill(7, offset, offset + 256 * 1024);
    if (!(await at.image()).equals(written)) return 'its contents changed';
    return (await ownBytes(at)) === SIZE ? 'after' : 'before';
  },
  names: ['-'],
};

const preallocated: Operation = {
  title: 'create --preallocate',
  prepare: NOTHING,
  args: ({ name }) => ['vdi', 'create', name, String(SIZE), '--preallocate'],
  look: async (at) => ((await isThere(at)) && (await ownBytes(at)) === SIZE ? 'after' : 'before'),
  async again(at) {
    return (await isThere(at)) ? ['vdi', 'preallocate', at.name] : this.args(at);
  },
  names: ['-'],
};

const restore: Operation = {
  title: 'restore',
  prepare: NOTHING,
  args: (at) => ['vdi', 'restore', at.name, '-i', at.shared('full')],
  look: (at) => lookForNew(at, at.images.a),
  againCodes: NOT_AGAIN,
  names: ['-', '-@a'],
};

const restoreOnto: Operation = {
  title: 'restore --onto',
  async prepare(at) {
    await at.dog(['vdi', 'restore', at.name, '-i', at.shared('full')]);
    await at.free();
  },
  args: (at) => ['vdi', 'restore', at.name, '--onto', '-i', at.shared('diff')],
  async look(at) {
    const image = await at.image();
    if (image.equals(at.images.b)) return 'after';
    return image.equals(at.images.a) ? 'before' : 'it is neither what it was nor what it becomes';
  },
  againCodes: NOT_AGAIN,
  names: ['-', '-@a', '-@b'],
  async end(at) {
    // Whose contents it has is known, too: the next difference would be taken.
    const route = `/v1/volumes/${at.name}/attributes/sheep.backup`;
    const { value } = await asked<{ readonly value: string }>(at.cluster, 1, route);
    const origins = JSON.parse(Buffer.from(value, 'base64').toString()) as unknown[];
    if (origins.length !== 2) wrong(`it knows the origin of ${origins.length} snapshots`);
  },
};

const streamOf = (at: Place): string => path.join(at.dir, 'stream');

/** What a stream makes of a fresh volume. */
async function contentsOf(file: string): Promise<Buffer> {
  const stream = await openStream(bytesOf(file));
  const image = Buffer.alloc(SIZE);
  const volume = {
    ...{ sizeBytes: SIZE, pieceBytes: MIB, zeroBytes: MIB },
    async write({ offset, bytes }: Piece) {
      image.set(bytes, offset);
    },
    async zero({ offset, length }: Extent) {
      image.fill(0, offset, offset + length);
    },
  };
  await restoreInto(volume, stream, { isFresh: true });
  return image;
}

const backup: Operation = {
  title: 'backup',
  prepare: NOTHING,
  args: (at) => ['vdi', 'backup', `${GOLD}@a`, '-o', streamOf(at)],
  async look(at) {
    if (!fs.existsSync(streamOf(at))) return 'before';
    try {
      return (await contentsOf(streamOf(at))).equals(at.images.a) ? 'after' : 'it is another image';
    } catch {
      return 'before';
    }
  },
  async again(at) {
    if (!fs.existsSync(streamOf(at))) return this.args(at);
    return ['vdi', 'backup', `${GOLD}@a`, '--resume', streamOf(at)];
  },
  names: [],
};

const vaultOf = (at: Place): string => path.join(at.dir, 'vault');

const clusterBackup: Operation = {
  title: 'cluster backup',
  prepare: ownVolume,
  args: (at) => ['cluster', 'backup', vaultOf(at), at.name],
  async look(at) {
    const { code, stdout } = await at.cluster.dog('cluster', 'backup', vaultOf(at), '--list', '-r');
    return code === 0 && stdout !== '' ? 'after' : 'before';
  },
  names: ['-', '-@backup'],
  async end(at) {
    const to = `${at.name}.back`;
    await at.dog(['cluster', 'restore', vaultOf(at), at.name, '--as', to]);
    const image = await at.image(to);
    if (!image.equals(await at.image())) wrong('what comes back is not what was kept');
  },
};

const clusterRestore: Operation = {
  title: 'cluster restore',
  prepare: NOTHING,
  args: (at) => ['cluster', 'restore', at.shared('vault'), GOLD, '--as', at.name],
  look: (at) => lookForNew(at, at.images.b),
  againCodes: NOT_AGAIN,
  names: ['-', '-@backup'],
};

const fewerCopies: Operation = {
  title: 'alter-copy',
  prepare: ownVolume,
  args: ({ name }) => ['vdi', 'alter-copy', name, '-c', '2', '-f'],
  async look(at) {
    const volume = await at.volume();
    return volume?.copies === 2 || volume?.move !== null ? 'after' : 'before';
  },
  names: ['-'],
  async end(at) {
    await atRest(at);
    if ((await at.volume())?.copies !== 2) wrong('it did not move');
    if ((await at.image())[256 * 1024] !== 7) wrong('it moved and has other contents');
  },
};

const group: Operation = {
  title: 'snapshot of a group',
  async prepare(at) {
    await ownVolume(at);
    for (const other of ['x', 'y']) await at.clone(`${at.name}.${other}`);
  },
  args: ({ name }) => ['vdi', 'snapshot', '-g', name, `${name}.x`, `${name}.y`, '-s', 's'],
  async look(at) {
    const made = (await at.layers()).filter(({ name }) => name.endsWith('@s')).length;
    if (made > 0 && made < 3) return `${made} of 3 have the snapshot`;
    if (made === 0) return 'before';
    const image = await at.image(`${at.name}.x@s`);
    return image.equals(at.images.a) ? 'after' : 'the snapshot shows something else';
  },
  againCodes: NOT_AGAIN,
  names: ['-', '-.x', '-.x@s', '-.y', '-.y@s', '-@s'],
};

/** One copy of a file of gold@a has a byte that nobody wrote. */
async function damage(at: Place): Promise<void> {
  const rows = await treeOf(at.cluster);
  const generation = rows.find(({ name }) => name === `${GOLD}@a`)?.generation ?? 0;
  const [file] = filesOf(at.cluster, 3).get(generation) ?? [];
  if (file === undefined) return;
  const bytes = fs.readFileSync(file);
  const place = bytes.findIndex((byte, i) => byte !== 0 && i > bytes.length / 3);
  const handle = fs.openSync(file, 'r+');
  fs.writeSync(handle, Uint8Array.of((bytes[place] ?? 0) ^ 1), 0, 1, place);
  fs.closeSync(handle);
}

const check: Operation = {
  title: 'check',
  prepare: damage,
  args: () => ['vdi', 'check', `${GOLD}@a`],
  async look(at) {
    const { code } = await at.cluster.dog('vdi', 'check', `${GOLD}@a`, '-n');
    return code === 0 ? 'after' : 'before';
  },
  names: [],
  async end(at) {
    if (!(await at.image(`${GOLD}@a`)).equals(at.images.a)) wrong('it was repaired to other bytes');
  },
};

export const OPERATIONS: readonly Operation[] = [
  ...[deepClone, liveClone, rollback, shrink, deletion, snapshotDeletion, toTrash, purge],
  ...[fromTrash, preallocation, preallocated, restore, restoreOnto, backup, clusterBackup],
  ...[clusterRestore, fewerCopies, group, check],
];
