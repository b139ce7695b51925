// What is written while snapshots are taken: a tagged writer that comes back by another node when its own is killed, and
// three volumes of which the second is written when the first has it, and the third when the second has it. Both know, at
// any instant, what a snapshot must have at least and may have at most.

import { NbdClient, NbdFailure } from './nbd-client.ts';
import { problemOf, TaggedWriter, type WriterOptions } from './tagged-writer.ts';

const TAG_STRIDE_BYTES = 512;
const SLOT_BYTES = 4096;
const BACK_MS = 200;

/** Writes until it is stopped, through whichever of the gateways lets it. */
export class LastingWriter {
  readonly writer: TaggedWriter;
  readonly #options: WriterOptions;
  readonly #gateways: () => readonly string[];
  #isStopping = false;
  #running: Promise<void> | undefined;
  /** How often it had to come back. */
  returns = 0;

  constructor(options: Omit<WriterOptions, 'socket'>, gateways: () => readonly string[]) {
    this.#options = { ...options, socket: gateways()[0] ?? '' };
    this.#gateways = gateways;
    this.writer = new TaggedWriter(this.#options);
  }

  start(): void {
    this.#running = this.#last();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.writer.stop();
    await this.#running;
  }

  /** What each sector has at least, and the newest write of each block. */
  bounds(): Bounds {
    return { settled: this.writer.settled, issued: this.writer.issued.slice() };
  }

  /** What a snapshot shows that this history does not allow. */
  async problemsOf(socket: string, name: string, bounds: Bounds): Promise<readonly string[]> {
    const { blocks, blockBytes } = this.#options;
    const sectors = blockBytes / TAG_STRIDE_BYTES;
    const problems: string[] = [];
    const client = await NbdClient.connect(socket, name);
    for (let block = 0; block < blocks; block += 1) {
      const data = await client.read(block * blockBytes, blockBytes);
      const settled = bounds.settled.slice(block * sectors, (block + 1) * sectors);
      const wrong = problemOf(data, { block, settled, issued: bounds.issued[block] ?? 0 });
      if (wrong !== '') problems.push(`${name}, block ${block}: ${wrong}`);
    }
    await client.close();
    return problems;
  }

  async #last(): Promise<void> {
    for (let tries = 0; !this.#isStopping; tries += 1) {
      const all = this.#gateways();
      try {
        await this.writer.start(all[tries % all.length]);
        await this.writer.ended();
        if (!this.#isStopping) this.returns += 1;
      } catch (error) {
        if (!(error instanceof NbdFailure)) throw error;
        await new Promise((resolve) => setTimeout(resolve, BACK_MS));
      }
    }
  }
}

export interface Bounds {
  readonly settled: Uint32Array;
  readonly issued: Uint32Array;
}

/** By volume and slot: the number acknowledged last, or issued last. */
export type ChainNumbers = readonly Uint32Array[];

/** Volumes of which each is written when the one before has acknowledged the same number in the same slot. */
export class DependentWriter {
  readonly volumes: readonly string[];
  readonly acknowledged: ChainNumbers;
  readonly issued: ChainNumbers;
  readonly #slots: number;
  readonly #gateways: () => readonly string[];
  #isStopping = false;
  #running: Promise<void> | undefined;
  count = 0;
  returns = 0;

  constructor(volumes: readonly string[], slots: number, gateways: () => readonly string[]) {
    this.volumes = volumes;
    this.#slots = slots;
    this.#gateways = gateways;
    this.acknowledged = volumes.map(() => new Uint32Array(slots));
    this.issued = volumes.map(() => new Uint32Array(slots));
  }

  start(): void {
    this.#running = this.#last();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
  }

  bounds(): { readonly acknowledged: ChainNumbers; readonly issued: ChainNumbers } {
    const copy = (all: ChainNumbers) => all.map((one) => one.slice());
    return { acknowledged: copy(this.acknowledged), issued: copy(this.issued) };
  }

  /** What a snapshot of the group shows, by volume and slot. */
  async numbersIn(socket: string, tag: string): Promise<ChainNumbers> {
    const found: Uint32Array[] = [];
    for (const volume of this.volumes) {
      const client = await NbdClient.connect(socket, `${volume}@${tag}`);
      const numbers = new Uint32Array(this.#slots);
      for (let slot = 0; slot < this.#slots; slot += 1) {
        numbers[slot] = (await client.read(slot * SLOT_BYTES, SLOT_BYTES)).readUInt32LE(0);
      }
      await client.close();
      found.push(numbers);
    }
    return found;
  }

  async #last(): Promise<void> {
    for (let tries = 0; !this.#isStopping; tries += 1) {
      const all = this.#gateways();
      const clients: NbdClient[] = [];
      try {
        for (const volume of this.volumes) {
          clients.push(await NbdClient.connect(all[tries % all.length] ?? '', volume));
        }
        while (!this.#isStopping) await this.#chain(clients);
        for (const client of clients) await client.close();
      } catch (error) {
        if (!(error instanceof NbdFailure)) throw error;
        this.returns += 1;
        for (const client of clients) client.cut();
        await new Promise((resolve) => setTimeout(resolve, BACK_MS));
      }
    }
  }

  /** One number goes down the chain: never to a volume before the one above has it. */
  async #chain(clients: readonly NbdClient[]): Promise<void> {
    this.count += 1;
    const slot = this.count % this.#slots;
    const data = Buffer.alloc(SLOT_BYTES);
    data.writeUInt32LE(this.count, 0);
    for (const [at, client] of clients.entries()) {
      const [issued, acknowledged] = [this.issued[at], this.acknowledged[at]];
      if (issued !== undefined) issued[slot] = this.count;
      await client.write(slot * SLOT_BYTES, data);
      if (acknowledged !== undefined) acknowledged[slot] = this.count;
    }
  }
}

/**
 * What a snapshot of a chain's volumes must not show: a number in a volume that the one above it lacks, less than was
 * acknowledged when it was asked for, more than was issued when it was answered. Pure.
 */
export function chainProblems(
  shown: ChainNumbers,
  acknowledged: ChainNumbers,
  issued: ChainNumbers,
): readonly string[] {
  const problems: string[] = [];
  for (const [at, numbers] of shown.entries()) {
    for (const [slot, number] of numbers.entries()) {
      const [least, most] = [acknowledged[at]?.[slot] ?? 0, issued[at]?.[slot] ?? 0];
      if (number < least || number > most) {
        problems.push(`volume ${at}, slot ${slot}: ${number}, not from ${least} to ${most}`);
      }
      const above = at === 0 ? number : (shown[at - 1]?.[slot] ?? 0);
      if (number > above) problems.push(`volume ${at}, slot ${slot}: ${number} before ${above}`);
    }
  }
  return problems;
}
