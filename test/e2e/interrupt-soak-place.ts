// Where an operation is interrupted: a dev cluster with an image `gold` that has two snapshots, streams and a directory of
// backups of it, and what a round may ask of all that. What is refused because the world is not ready yet is asked again.

import fs from 'node:fs';
import path from 'node:path';
import type { VolumeDetail } from '../../src/core/admin-shapes.ts';
import { MIB } from '../../src/core/units.ts';
import type { LayerData } from '../../src/core/volume-shapes.ts';
import { run, type ToolResult } from '../nbd/tools.ts';
import { type Cluster, until } from './cluster.ts';
import { asked, treeOf } from './leftovers.ts';
import { NbdClient } from './nbd-client.ts';

const DOG = path.join(import.meta.dirname, '..', '..', 'bin', 'dog');
export const GOLD = 'gold';
export const SIZE = 16 * MIB;
const BLOCK = 256 * 1024;
/** What is refused for now (a lock of somebody who died, no quorum, no answer) is done in this time. */
export const AGAIN_MS = 60_000;
const POLL_MS = 200;
/** No node answers; busy or held. */
const FOR_NOW = [2, 6];

export interface Images {
  /** What gold@a is. */
  readonly a: Buffer;
  /** What gold@b, and gold itself, are. */
  readonly b: Buffer;
}

export class Place {
  readonly cluster: Cluster;
  readonly images: Images;
  /** Of this round: the volume that it is about, and a folder of its own. */
  readonly name: string;
  readonly dir: string;

  constructor(cluster: Cluster, images: Images, name: string) {
    this.cluster = cluster;
    this.images = images;
    this.name = name;
    this.dir = path.join(cluster.dir, name);
    fs.mkdirSync(this.dir, { recursive: true });
  }

  shared(file: string): string {
    return path.join(this.cluster.dir, file);
  }

  /** A command that asks node `n`. */
  dogAt(n: number, ...args: readonly string[]): Promise<ToolResult> {
    return run(DOG, args, { env: { SHEEPDOG_API: this.cluster.node(n).api } });
  }

  /** Asked again while it is refused for now. Rejects for any other exit code than these. */
  async dog(args: readonly string[], codes: readonly number[] = [0]): Promise<string> {
    let told: ToolResult | undefined;
    const isAnswered = async (): Promise<boolean> => {
      told = await this.cluster.dog(...args);
      const { code } = told;
      return codes.includes(code ?? -1) || !FOR_NOW.includes(code ?? -1);
    };
    await until(`dog ${args.join(' ')}`, isAnswered, AGAIN_MS, POLL_MS).catch((error) => {
      throw new RangeError(`${error} ${told?.stderr}`);
    });
    if (codes.includes(told?.code ?? -1)) return told?.stdout ?? '';
    throw new RangeError(`dog ${args.join(' ')}: ${told?.code} ${told?.stderr}`);
  }

  async post(route: string, body: unknown): Promise<void> {
    const isDone = async (): Promise<boolean> => {
      await asked(this.cluster, 1, route, { method: 'POST', body });
      return true;
    };
    await until(`POST ${route}`, isDone, AGAIN_MS, POLL_MS);
  }

  /** A thin volume that shows a snapshot of gold. */
  async clone(name = this.name, from = `${GOLD}@a`): Promise<void> {
    await this.post('/v1/clones', { from, to: name });
  }

  async snapshot(tag: string, ...volumes: readonly string[]): Promise<void> {
    await this.post('/v1/snapshots', { volumes, tag });
  }

  /** Undefined: there is none. */
  async volume(name = this.name): Promise<VolumeDetail | undefined> {
    const all = await asked<readonly { readonly name: string }[]>(this.cluster, 1, '/v1/volumes');
    if (!all.some((one) => one.name === name)) return undefined;
    return asked<VolumeDetail>(this.cluster, 1, `/v1/volumes/${name}`);
  }

  /** Layers of this round that have names. */
  async layers(): Promise<readonly LayerData[]> {
    const isOurs = new RegExp(`^${this.name}([.@]|$)`);
    return (await treeOf(this.cluster)).filter(({ name }) => isOurs.test(name));
  }

  /** Writes into a volume, as a guest that goes again. */
  async scribble(image: Buffer, fill: number, name = this.name): Promise<Buffer> {
    const written = Buffer.from(image);
    const guest = await NbdClient.connect(this.cluster.node(2).nbd.unix, name);
    for (let at = BLOCK; at < image.length; at += 3 * MIB) {
      written.fill(fill, at, at + BLOCK);
      await guest.write(at, written.subarray(at, at + BLOCK));
    }
    await guest.close();
    await this.free(name);
    return written;
  }

  async free(name = this.name): Promise<void> {
    const isFree = async (): Promise<boolean> => (await this.volume(name))?.holder === null;
    await until(`${name} is free`, isFree, AGAIN_MS, POLL_MS);
  }

  /** All bytes, by a guest of node 3; the first error is told if none of several tries goes well. */
  async image(name = this.name): Promise<Buffer> {
    let image: Buffer = Buffer.alloc(0);
    const isRead = async (): Promise<boolean> => {
      image = await imageOf(this.cluster.node(3).nbd.unix, name);
      return true;
    };
    await until(`${name} is read`, isRead, AGAIN_MS, POLL_MS);
    return image;
  }

  /** Everything that the round made goes; asked again while somebody who died holds it. */
  async clear(): Promise<void> {
    for (const { name, kind } of await this.layers()) {
      if (kind === 'volume') await this.dog(['vdi', 'delete', name, '--now'], [0, 5]);
    }
    for (const { name } of await this.layers()) await this.dog(['vdi', 'delete', name], [0, 5]);
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

export async function imageOf(socket: string, name: string): Promise<Buffer> {
  const client = await NbdClient.connect(socket, name);
  const parts: Buffer[] = [];
  for (let at = 0; at < client.sizeBytes; at += MIB) {
    parts.push(Buffer.from(await client.read(at, Math.min(MIB, client.sizeBytes - at))));
  }
  await client.close();
  return Buffer.concat(parts);
}

/** The image, its snapshots, and what was backed up of them. */
export async function goldIn(cluster: Cluster): Promise<Images> {
  const place = new Place(cluster, { a: Buffer.alloc(0), b: Buffer.alloc(0) }, GOLD);
  const empty = Buffer.alloc(SIZE);
  const a = await place.scribble(pattern(empty), 1);
  await writeAll(place, a);
  await place.snapshot('a', GOLD);
  const b = await place.scribble(a, 2);
  await place.snapshot('b', GOLD);
  await place.dog(['vdi', 'backup', `${GOLD}@a`, '-o', place.shared('full')]);
  await place.dog(['vdi', 'backup', `${GOLD}@b`, '--from', 'a', '-o', place.shared('diff')]);
  await place.dog(['cluster', 'backup', place.shared('vault'), GOLD]);
  return { a, b };
}

/** Every second MiB holds bytes that do not pack, and say where they are. */
function pattern(image: Buffer): Buffer {
  let state = 1;
  for (let at = 0; at < image.length; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    if (Math.floor(at / MIB) % 2 === 0) image.writeUInt32LE(state, at);
  }
  return image;
}

async function writeAll(place: Place, image: Buffer): Promise<void> {
  const guest = await NbdClient.connect(place.cluster.node(1).nbd.unix, GOLD);
  for (let at = 0; at < image.length; at += 2 * MIB) {
    await guest.write(at, image.subarray(at, at + MIB));
  }
  await guest.close();
  await place.free(GOLD);
}
