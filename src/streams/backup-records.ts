// Writing and reading the records of a backup stream. A writer may go on where another one ended. A reader looks at each
// record as it comes: sums, order, that none is missing or of another stream, and that the end says the same as what came.

import { crc32 } from '../core/checksum.ts';
import { invariant } from '../core/invariant.ts';
import {
  chained,
  cutShort,
  damaged,
  decodeEnd,
  decodeHeader,
  decodeRuns,
  encodeEnd,
  encodeHeader,
  encodeRuns,
  HEADER_BYTES,
  type RecordHeader,
  type RecordKind,
  type Run,
  runBytes,
  tableBytes,
} from './backup-format.ts';
import { type BackupHead, decodeHead, encodeHead } from './backup-head.ts';
import { decoded, encoded, sumOver } from './coding.ts';
import { freed } from './freed.ts';

/** How far a stream is. */
export interface StreamState {
  readonly stream: number;
  readonly records: number;
  readonly contentBytes: number;
  readonly zeroBytes: number;
  readonly chain: number;
  /** Of the volume: what comes next lies at or behind it. */
  readonly offset: number;
}

/** A record that passed its sums. */
export interface StreamRecord {
  readonly header: RecordHeader;
  /** Memory of its own, of whoever has the record: it is freed by that one. */
  readonly body: Uint8Array;
  /** Of its first byte in the stream. */
  readonly position: number;
}

/** Of a record in the stream. */
export function recordBytes({ body }: StreamRecord): number {
  return HEADER_BYTES + body.length;
}

const NO_BYTES = new Uint8Array(0);

function freshState(stream: number): StreamState {
  return { stream, records: 0, contentBytes: 0, zeroBytes: 0, chain: 0, offset: 0 };
}

/** The state behind this record. */
function advanced(
  state: StreamState,
  header: RecordHeader,
  encodedHeader: Uint8Array,
  zeroBytes: number,
): StreamState {
  const isRange = header.kind === 'data' || header.kind === 'zero';
  return {
    stream: state.stream,
    records: state.records + 1,
    contentBytes: state.contentBytes + (header.kind === 'data' ? header.contentBytes : 0),
    zeroBytes: state.zeroBytes + zeroBytes,
    chain: chained(state.chain, encodedHeader),
    offset: isRange ? header.offset + header.length : state.offset,
  };
}

/** Makes the records, in order; each call gives the bytes that come next: parts of what was handed in, where that is so. */
export class RecordWriter {
  #state: StreamState;

  /** @param state of what is written already; or the number of a new stream */
  constructor(state: StreamState | number) {
    this.#state = typeof state === 'number' ? freshState(state) : state;
  }

  get state(): StreamState {
    return this.#state;
  }

  head(head: BackupHead): Uint8Array[] {
    return this.#record('head', { offset: 0, length: 0 }, [], encodeHead(head));
  }

  /** @param content of the runs that are not zeroes, one behind the other */
  data(offset: number, length: number, runs: readonly Run[], content: Uint8Array): Uint8Array[] {
    return this.#record('data', { offset, length }, runs, content);
  }

  zero(offset: number, length: number): Uint8Array[] {
    return this.#record('zero', { offset, length }, [], NO_BYTES);
  }

  end(): Uint8Array[] {
    const content = encodeEnd(this.#state);
    return this.#record('end', { offset: 0, length: 0 }, [], content);
  }

  #record(
    kind: RecordKind,
    range: { readonly offset: number; readonly length: number },
    runs: readonly Run[],
    content: Uint8Array,
  ): Uint8Array[] {
    const isRange = kind === 'data' || kind === 'zero';
    invariant(!isRange || range.offset >= this.#state.offset, 'ranges come in order');
    const table = encodeRuns(runs);
    const { coding, bytes } =
      kind === 'data' && content.length > 0
        ? encoded(content)
        : { coding: 'plain' as const, bytes: content };
    const header: RecordHeader = {
      ...{ kind, coding, ...range, runs: runs.length },
      ...{ stream: this.#state.stream, number: this.#state.records },
      ...{ bodyBytes: table.length + bytes.length, contentBytes: content.length },
      ...{ bodySum: sumOver(crc32(table), bytes), contentSum: crc32(content) },
    };
    const head = encodeHeader(header);
    this.#state = advanced(this.#state, header, head, zeroBytesOf(header, runs));
    return [head, table, bytes].filter(({ length }) => length > 0);
  }
}

function zeroBytesOf({ kind, length }: RecordHeader, runs: readonly Run[]): number {
  if (kind === 'zero') return length;
  return runs.reduce((sum, run) => sum + (run.isZero ? runBytes(run, length) : 0), 0);
}

/**
 * Cuts bytes into records and looks at the sum of each; ends with the bytes, whole or cut. Nothing of a chunk is looked at
 * any more when the next one is asked for.
 */
export async function* recordsOf(source: AsyncIterable<Uint8Array>): AsyncGenerator<StreamRecord> {
  let position = 0;
  let header: RecordHeader | undefined;
  let filling = new Filling(HEADER_BYTES);
  for await (const chunk of source) {
    for (let left = chunk; ; ) {
      left = filling.take(left);
      if (!filling.isFull) break;
      if (header === undefined) {
        header = decodeHeader(filling.bytes, position);
        filling = new Filling(header.bodyBytes);
        continue;
      }
      const body = filling.bytes;
      const end = position + HEADER_BYTES + body.length;
      if (crc32(body) !== header.bodySum) throw damaged(position, 'its bytes fail their sum', end);
      yield { header, body, position };
      position = end;
      header = undefined;
      filling = new Filling(HEADER_BYTES);
    }
  }
  if (header !== undefined || filling.have > 0) {
    throw cutShort(position + filling.have + (header === undefined ? 0 : HEADER_BYTES));
  }
}

/** Memory for a header or a body, and how much of it came. */
class Filling {
  readonly bytes: Uint8Array;
  have = 0;

  constructor(count: number) {
    this.bytes = Buffer.allocUnsafe(count);
  }

  get isFull(): boolean {
    return this.have === this.bytes.length;
  }

  /** @returns what is left of the chunk */
  take(chunk: Uint8Array): Uint8Array {
    const part = chunk.subarray(0, this.bytes.length - this.have);
    this.bytes.set(part, this.have);
    this.have += part.length;
    return chunk.subarray(part.length);
  }
}

/** What a data record says. */
export interface Piecework {
  readonly offset: number;
  readonly length: number;
  readonly runs: readonly Run[];
  readonly content: Uint8Array;
}

/** Follows a stream record by record. */
export class StreamCheck {
  #state: StreamState | undefined;
  #head: BackupHead | undefined;
  #isEnded = false;

  get state(): StreamState | undefined {
    return this.#state;
  }

  get head(): BackupHead | undefined {
    return this.#head;
  }

  /** The end record came, and it was right. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** @throws OperatingError 'corrupt' with its position, where this record does not follow those before it */
  take({ header, body, position }: StreamRecord): void {
    const state = this.#state ?? freshState(header.stream);
    if (this.#isEnded) throw damaged(position, 'something stands behind the end');
    if (header.stream !== state.stream) throw damaged(position, 'it is of another stream');
    if (header.number !== state.records) {
      throw damaged(position, `record ${header.number} stands where ${state.records} should`);
    }
    if ((header.kind === 'head') !== (state.records === 0))
      throw damaged(position, 'no head first');
    if (header.kind === 'head') this.#head = decodeHead(body, position);
    if (header.kind === 'end') this.#endWith(state, body, position);
    else this.#checkRange(state, header, position);
    const runs = header.kind === 'data' ? decodeRuns(header, body, position) : [];
    this.#state = advanced(state, header, encodeHeader(header), zeroBytesOf(header, runs));
  }

  #checkRange(state: StreamState, { kind, offset, length }: RecordHeader, position: number): void {
    if (kind === 'head') return;
    if (offset < state.offset) throw damaged(position, 'ranges are not in order');
    if (offset + length > (this.#head?.sizeBytes ?? 0)) {
      throw damaged(position, 'a range ends beyond the volume');
    }
  }

  #endWith(state: StreamState, body: Uint8Array, position: number): void {
    const { records, contentBytes, zeroBytes, chain } = decodeEnd(body, position);
    const isRight =
      records === state.records &&
      contentBytes === state.contentBytes &&
      zeroBytes === state.zeroBytes &&
      chain === state.chain;
    if (!isRight) throw damaged(position, 'the end counts otherwise than what came before it');
    this.#isEnded = true;
  }
}

/**
 * The content of a data record: its body, or what was packed in it, and then the body is freed.
 * @throws OperatingError 'corrupt' with its position
 */
export function contentOf({ header, body, position }: StreamRecord): Piecework {
  const { offset, length, coding, contentBytes, contentSum } = header;
  const runs = decodeRuns(header, body, position);
  const content = decoded({ coding, bytes: body.subarray(tableBytes(header)) }, contentBytes);
  const end = position + HEADER_BYTES + body.length;
  if (content === undefined || crc32(content) !== contentSum) {
    throw damaged(position, 'its content fails its sum', end);
  }
  if (coding !== 'plain') freed(body);
  return { offset, length, runs, content };
}
