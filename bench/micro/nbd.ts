// NBD requests parsed and answered per second, from chunks of odd sizes: node bench/micro/nbd.ts [seconds]. Half of them
// read 4 KiB, half write; no socket, and a volume that answers at once. Beside it a naive parser that joins what is left to
// each chunk and makes an object, a copy and a reply buffer for each request.

import type { VolumeId } from '../../src/core/ids.ts';
import { KIB, MIB } from '../../src/core/units.ts';
import type { VolumeSession } from '../../src/datapath/volume-session.ts';
import { createRealClock } from '../../src/io/real-clock.ts';
import type { ByteChannel } from '../../src/nbd/byte-channel.ts';
import { COMMAND, encodeRequest, REQUEST_BYTES } from '../../src/nbd/nbd-codec.ts';
import { Transmission } from '../../src/nbd/transmission.ts';
import { cpuUs, say } from './line.ts';

const BLOCK_BYTES = 4 * KIB;
const SIZE_BYTES = 64 * MIB;
const REQUESTS = 2000;
/** A socket's buffer, a segment, and one that cuts every header somewhere. */
const CHUNKS = [256 * KIB, 1447, 61];
/** Chunks of one turn of the event loop. */
const TURN_CHUNKS = 64;
/** Passes that count for nothing: compiling. */
const WARM_UP_PASSES = 20;
const seconds = Number(process.argv[2] ?? 2);

/** A stream of requests as a guest sends it. */
function stream(): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (let i = 0; i < REQUESTS; i += 1) {
    const type = i % 2 === 0 ? COMMAND.read : COMMAND.write;
    const offset = ((i * 40_503) % (SIZE_BYTES / BLOCK_BYTES)) * BLOCK_BYTES;
    const where = { offset, length: BLOCK_BYTES };
    pieces.push(encodeRequest({ flags: 0, type, cookieHigh: 0, cookieLow: i, ...where }));
    if (type === COMMAND.write) pieces.push(new Uint8Array(BLOCK_BYTES).fill(i));
  }
  return new Uint8Array(Buffer.concat(pieces));
}

/** Takes and gives no bytes: the parser and its replies are what is measured. */
const session = {
  volume: { id: 1 as VolumeId, name: 'bench', sizeBytes: SIZE_BYTES },
  inFlight: 0,
  tryRead: () => true,
  write: (_offset: number, _data: Uint8Array, done: (error?: undefined) => void) => done(),
} as unknown as VolumeSession;

let replyBytes = 0;
const channel: ByteChannel = {
  queuedBytes: 0,
  write: (bytes) => {
    replyBytes += bytes.length;
  },
  pause: () => undefined,
  resume: () => undefined,
  end: () => undefined,
  destroy: () => undefined,
};

function ours(): (chunk: Uint8Array) => void {
  const attachment = {
    session,
    whenRoom: () => undefined,
    requestEnded: () => undefined,
    release: () => Promise.resolve(),
  };
  const transmission = new Transmission(
    { attachment, structuredReplies: false, contexts: [] } as unknown as ConstructorParameters<
      typeof Transmission
    >[0],
    {
      channel,
      clock: createRealClock(),
      onEnd: (reason) => {
        throw new TypeError(`the stream ended: ${reason}`);
      },
    },
  );
  return (chunk) => transmission.onData(chunk);
}

function naive(): (chunk: Uint8Array) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= REQUEST_BYTES) {
      const request = {
        type: rest.readUInt16BE(6),
        cookie: rest.readBigUInt64BE(8),
        offset: rest.readBigUInt64BE(16),
        length: rest.readUInt32BE(24),
      };
      const isWrite = request.type === COMMAND.write;
      const bytes = REQUEST_BYTES + (isWrite ? request.length : 0);
      if (rest.length < bytes) return;
      const data = Buffer.from(rest.subarray(REQUEST_BYTES, bytes));
      rest = rest.subarray(bytes);
      const head = Buffer.alloc(16);
      head.writeUInt32BE(0x67446698, 0);
      head.writeBigUInt64BE(request.cookie, 8);
      channel.write(isWrite ? head : Buffer.concat([head, Buffer.alloc(request.length)]));
      if (data.length > request.length) throw new RangeError('more than asked for');
    }
  };
}

async function measure(
  name: string,
  take: (chunk: Uint8Array) => void,
  cut: number,
): Promise<void> {
  const bytes = stream();
  let operations = 0;
  const pass = async (): Promise<void> => {
    for (let at = 0, chunks = 1; at < bytes.length; at += cut, chunks += 1) {
      take(bytes.subarray(at, Math.min(bytes.length, at + cut)));
      if (chunks % TURN_CHUNKS === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    operations += REQUESTS;
  };
  for (let n = 0; n < WARM_UP_PASSES; n += 1) await pass();
  operations = 0;
  const [before, since] = [process.cpuUsage(), performance.now()];
  while (performance.now() - since < seconds * 1000) await pass();
  say(`${name}, chunks of ${cut} bytes`, {
    operations,
    ms: performance.now() - since,
    cpuUs: cpuUs(before),
  });
}

for (const cut of CHUNKS) {
  await measure('NBD requests', ours(), cut);
  await measure('naive', naive(), cut);
}
if (replyBytes === 0) throw new TypeError('nothing was answered');
