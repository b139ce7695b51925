// A guest with a memory: writes numbered blocks with several in flight, remembers what was acknowledged, and later tells
// whether a volume still has it. One write per block is in flight at a time, so each sector must hold the number that was
// acknowledged last or the one issued after it, and nothing else. What was once read as written counts as acknowledged. The
// memory outlives connections: a writer that starts again goes on where it stopped.

import type { ExecutionContext } from 'ava';
import { NbdClient, NbdFailure } from './nbd-client.ts';

const TAG_STRIDE_BYTES = 512;
/** A prime: blocks are visited all over the volume, each as often as any other. */
const SCATTER = 7919;
const READS_IN_FLIGHT = 16;

export interface WriterOptions {
  readonly socket: string;
  readonly volume: string;
  /** Reads back what was just acknowledged, once in so many writes of each lane; never unless given. */
  readonly verifyEvery?: number;
  /** How many blocks are written over and over. */
  readonly blocks: number;
  readonly blockBytes: number;
  readonly inFlight: number;
}

export class TaggedWriter {
  readonly #options: WriterOptions;
  /** By sector of the whole volume: the number acknowledged last, or read since. 0 = none. */
  readonly #settled: Uint32Array;
  /** By block: the number issued last. 0 = none. */
  readonly issued: Uint32Array;
  acknowledgedCount = 0;
  /** Error numbers of writes that were refused; a lost connection is none. */
  readonly errors: number[] = [];
  /** What was read back wrong. */
  readonly problems: string[] = [];
  verifiedCount = 0;
  #sequence = 0;
  #isStopping = false;
  #waiting: { readonly count: number; readonly wake: () => void } | undefined;
  #running: Promise<unknown> | undefined;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#settled = new Uint32Array((options.blocks * options.blockBytes) / TAG_STRIDE_BYTES);
    this.issued = new Uint32Array(options.blocks);
  }

  /** Connects (to another gateway than before, if one is given) and writes until `stop`, or until the connection is lost. */
  async start(socket = this.#options.socket): Promise<void> {
    this.#isStopping = false;
    const client = await NbdClient.connect(socket, this.#options.volume);
    const lanes = Array.from({ length: this.#options.inFlight }, (_, lane) =>
      this.#lane(client, lane),
    );
    this.#running = Promise.all(lanes).then(() => client.close());
  }

  /** What each sector holds at least. */
  get settled(): Uint32Array {
    return this.#settled.slice();
  }

  /** Resolves when the connection is lost, or the writer was stopped. */
  async ended(): Promise<void> {
    await this.#running;
  }

  /** Resolves when this many writes were acknowledged in all, or the writer has ended. */
  async acknowledgements(count: number): Promise<void> {
    if (this.acknowledgedCount >= count) return;
    const reached = new Promise<void>((wake) => {
      this.#waiting = { count, wake };
    });
    await Promise.race([reached, this.#running]);
  }

  /** No new writes; resolves when those in flight are answered or lost. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
  }

  /** A lane owns the blocks whose number leaves its remainder: so no block is written twice at a time. */
  async #lane(client: NbdClient, lane: number): Promise<void> {
    const { blocks, blockBytes, inFlight } = this.#options;
    const stepCount = Math.floor(blocks / inFlight);
    for (let round = 0; !this.#isStopping && !client.isGone; round += 1) {
      const block = ((round * SCATTER) % stepCount) * inFlight + lane;
      this.#sequence += 1;
      const sequence = this.#sequence;
      this.issued[block] = sequence;
      try {
        await client.write(block * blockBytes, taggedBlock(block, sequence, blockBytes));
      } catch (error) {
        if (!(error instanceof NbdFailure)) throw error;
        if (error.errno !== 0) this.errors.push(error.errno);
        return;
      }
      this.#sectorsOf(block).fill(sequence);
      this.acknowledgedCount += 1;
      if (round % (this.#options.verifyEvery ?? Infinity) === 1)
        await this.#readBack(client, block);
      if (this.#waiting !== undefined && this.acknowledgedCount >= this.#waiting.count) {
        this.#waiting.wake();
      }
    }
  }

  async #readBack(client: NbdClient, block: number): Promise<void> {
    try {
      await this.#check(client, block);
    } catch (error) {
      if (!(error instanceof NbdFailure)) throw error;
      if (error.errno !== 0) this.errors.push(error.errno);
    }
  }

  async #check(client: NbdClient, block: number): Promise<void> {
    const { blockBytes } = this.#options;
    const data = await client.read(block * blockBytes, blockBytes);
    const settled = this.#sectorsOf(block);
    const wrong = problemOf(data, { block, settled, issued: this.issued[block] ?? 0 });
    if (wrong !== '') this.problems.push(`block ${block}: ${wrong}`);
    this.verifiedCount += 1;
  }

  #sectorsOf(block: number): Uint32Array {
    const count = this.#options.blockBytes / TAG_STRIDE_BYTES;
    return this.#settled.subarray(block * count, (block + 1) * count);
  }

  /** Reads all blocks through `socket` and asserts that nothing acknowledged is lost. */
  async verify(t: ExecutionContext, socket: string): Promise<void> {
    const checked = await this.readAll(socket);
    for (const problem of this.problems) t.fail(problem);
    t.log(`${checked} blocks checked, ${this.acknowledgedCount} writes acknowledged`);
    t.true(checked > 0);
  }

  /** Reads all blocks through `socket`; what is wrong is in `problems`. Returns how many were written. */
  async readAll(socket: string): Promise<number> {
    const { blocks, volume } = this.#options;
    const client = await NbdClient.connect(socket, volume);
    const written = Array.from({ length: blocks }, (_, block) => block).filter(
      (block) => (this.issued[block] ?? 0) > 0,
    );
    for (let at = 0; at < written.length; at += READS_IN_FLIGHT) {
      await Promise.all(
        written.slice(at, at + READS_IN_FLIGHT).map((block) => this.#check(client, block)),
      );
    }
    await client.close();
    return written.length;
  }
}

/** What write number `sequence` of a block holds. */
export function taggedBlock(block: number, sequence: number, bytes: number): Buffer {
  const data = Buffer.alloc(bytes, sequence % 251);
  for (let at = 0; at < bytes; at += TAG_STRIDE_BYTES) {
    data.writeUInt32LE(block, at);
    data.writeUInt32LE(sequence, at + 4);
  }
  return data;
}

/** What is wrong with a block, empty when nothing is; what an unacknowledged write is seen to have reached is settled so. */
export function problemOf(
  data: Buffer,
  expected: { readonly block: number; readonly settled: Uint32Array; readonly issued: number },
): string {
  const { block, settled, issued } = expected;
  for (const [sector, acknowledged] of settled.entries()) {
    const at = sector * TAG_STRIDE_BYTES;
    const sequence = data.readUInt32LE(at + 4);
    if (sequence === acknowledged && acknowledged === 0) continue; // never written
    // What lies between was issued, and lost its answer with a connection.
    if (sequence < acknowledged || sequence > issued) {
      return `holds ${sequence}; ${acknowledged} was acknowledged, ${issued} issued`;
    }
    if (data.readUInt32LE(at) !== block) return `holds block ${data.readUInt32LE(at)}`;
    const fill = data.subarray(at + 8, at + TAG_STRIDE_BYTES);
    if (!fill.every((byte) => byte === sequence % 251))
      return `write ${sequence} is torn in a sector`;
    settled[sector] = sequence;
  }
  return '';
}
