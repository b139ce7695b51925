import test from 'ava';
import fc from 'fast-check';
import { OperatingError } from '../../src/core/errors.ts';
import { parseRights } from '../../src/nbd/access.ts';
import type { TlsOutcome } from '../../src/nbd/byte-channel.ts';
import { HANDSHAKE_GRACE_MS, HANDSHAKE_MS } from '../../src/nbd/connection.ts';
import { MAX_LISTED_SNAPSHOTS } from '../../src/nbd/exports.ts';
import {
  MAX_HANDSHAKE_QUEUE_BYTES,
  MAX_OPTIONS,
  OPTIONS_PER_LISTED_EXPORT,
} from '../../src/nbd/handshake.ts';
import { readU16, readU32, TRANSMISSION_FLAGS } from '../../src/nbd/nbd-codec.ts';
import {
  encodeInfoRequest,
  encodeMetaRequest,
  encodeOption,
  INFO,
  OPTION,
  REPLY,
} from '../../src/nbd/option-codec.ts';
import { MAX_HELD_BYTES } from '../../src/nbd/option-reader.ts';
import { joined, type Rig, request, rigOf, simpleReplies } from './duplex.ts';
import { MemoryVolume } from './memory-volume.ts';

const NOTHING = new Uint8Array(0);
const text = (data: Uint8Array) => new TextDecoder().decode(data);
const disk = () => new MemoryVolume('disk', 1024 * 1024);
const go = (name: string, infos: number[] = []) =>
  encodeOption(OPTION.go, encodeInfoRequest(name, infos));

test('GO tells size, flags and what was asked for, then attaches', (t) => {
  const volume = disk();
  const rig = rigOf([volume]);
  rig.send(go('disk', [INFO.name, INFO.description, INFO.blockSize]));
  const replies = rig.options();
  t.deepEqual(
    replies.map((one) => one.reply),
    [REPLY.info, REPLY.info, REPLY.info, REPLY.info, REPLY.ack],
  );
  const info = replies[0]?.data ?? NOTHING;
  t.is(readU16(info, 0), INFO.export);
  t.is(readU32(info, 6), volume.volume.sizeBytes);
  t.is(readU16(info, 10), TRANSMISSION_FLAGS);
  t.is(text(replies[1]?.data.subarray(2) ?? NOTHING), 'disk');
  const sizes = replies[3]?.data ?? NOTHING;
  t.deepEqual([readU32(sizes, 2), readU32(sizes, 6), readU32(sizes, 10)], [1, 4096, 33554432]);
  t.is(volume.connections, 1);
  t.is(rig.clock.timerCount, 0, 'no time-out in transmission');
});

test('INFO gives the same answer and attaches nothing', (t) => {
  const volume = disk();
  const rig = rigOf([volume]);
  rig.send(encodeOption(OPTION.info, encodeInfoRequest('disk', [])));
  t.deepEqual(
    rig.options().map((one) => one.reply),
    [REPLY.info, REPLY.ack],
  );
  t.is(volume.connections, 0);
});

test('an unknown name is refused with a text that says where names are, and the client may go on', (t) => {
  const rig = rigOf([disk()]);
  rig.send(go('other\u0007'));
  const [refused] = rig.options();
  t.is(refused?.reply, REPLY.errUnknown);
  t.is(text(refused?.data ?? NOTHING), 'no volume "other?"; see dog vdi list');
  rig.send(go('disk'));
  t.is(rig.options().at(-1)?.reply, REPLY.ack);
});

/** A node that has not heard yet of what others made: `resolve` tells it. */
function hearsLate(clientFlags = 3) {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const volumes: MemoryVolume[] = [];
  const asked: string[] = [];
  const rig = rigOf(volumes, clientFlags, (name) => {
    asked.push(name);
    return promise;
  });
  const settled = () => new Promise((done) => setImmediate(done));
  const hear = async (volume?: MemoryVolume) => {
    if (volume !== undefined) volumes.push(volume);
    resolve();
    await settled();
  };
  const fail = async (error: OperatingError) => {
    reject(error);
    await settled();
  };
  return { rig, asked, hear, fail };
}

test('an unknown name is looked up before it is refused (C2.3); what follows waits', async (t) => {
  const { rig, asked, hear } = hearsLate();
  const volume = disk();
  rig.send(go('disk'), request('trim', { cookieLow: 5, length: 4096 }));
  t.is(rig.options().length, 0);
  rig.send(request('flush', { cookieLow: 6 }));
  await hear(volume);
  t.deepEqual(asked, ['disk']);
  t.is(volume.connections, 1);
  t.deepEqual(volume.log, ['trim', 'flush']);
});

test('EXPORT_NAME looks up, too', async (t) => {
  const { rig, hear } = hearsLate();
  const volume = disk();
  rig.send(encodeOption(OPTION.exportName, new TextEncoder().encode('disk')));
  await hear(volume);
  t.is(volume.connections, 1);
});

test('a look-up that finds nothing says missing; one that nobody answers says why', async (t) => {
  const found = hearsLate();
  found.rig.send(go('disk'), go('other'));
  await found.hear();
  t.deepEqual(
    found.rig.options().map((one) => one.reply),
    [REPLY.errUnknown, REPLY.errUnknown],
  );
  t.deepEqual(found.asked, ['disk', 'other']);
  const cut = hearsLate();
  cut.rig.send(go('disk'));
  await cut.fail(new OperatingError('no-quorum', 'no majority answers'));
  const [refused] = cut.rig.options();
  t.is(refused?.reply, REPLY.errPolicy);
  t.is(text(refused?.data ?? NOTHING), 'no majority answers');
});

test('whoever left while a name was looked up is not attached; who talks too much meanwhile is closed', async (t) => {
  const left = hearsLate();
  left.rig.send(go('disk'));
  left.rig.connection.onClose();
  const volume = disk();
  await left.hear(volume);
  t.is(volume.connections, 0);
  const loud = hearsLate();
  loud.rig.send(go('disk'));
  loud.rig.send(new Uint8Array(MAX_HELD_BYTES + 1));
  const other = disk();
  await loud.hear(other);
  t.is(other.connections, 0);
  t.true(loud.rig.channel.isEnded);
});

test('the empty name is the only volume, and unknown when there are none or several', (t) => {
  const one = rigOf([disk()]);
  one.send(go(''));
  t.is(one.options().at(-1)?.reply, REPLY.ack);
  for (const volumes of [[], [disk(), new MemoryVolume('two', 4096)]]) {
    const rig = rigOf(volumes);
    rig.send(go(''));
    const [refused] = rig.options();
    t.is(refused?.reply, REPLY.errUnknown);
    t.regex(text(refused?.data ?? NOTHING), /name the one you mean; see dog vdi list/);
  }
});

test('LIST names all volumes in order', (t) => {
  const rig = rigOf([new MemoryVolume('b', 4096), new MemoryVolume('a', 4096)]);
  rig.send(encodeOption(OPTION.list, NOTHING));
  const replies = rig.options();
  t.deepEqual(
    replies.map((one) => one.reply),
    [REPLY.server, REPLY.server, REPLY.ack],
  );
  t.deepEqual(
    replies.slice(0, 2).map((one) => text(one.data.subarray(4))),
    ['a', 'b'],
  );
  rig.send(encodeOption(OPTION.list, Uint8Array.of(1)));
  t.is(rig.options()[0]?.reply, REPLY.errInvalid);
});

/** What LIST says: names with what stands behind them. */
function listOf(rig: Rig): { name: string; details: string }[] {
  rig.send(encodeOption(OPTION.list, NOTHING));
  const entries = rig.options().filter((one) => one.reply === REPLY.server);
  return entries.map(({ data }) => {
    const end = 4 + readU32(data, 0);
    return { name: text(data.subarray(4, end)), details: text(data.subarray(end)) };
  });
}

test('LIST names snapshots beside their volumes, the newest where there are too many, and says how many it left out', (t) => {
  const few = ['b', 'b@old', 'a', 'b@new'].map((name) => new MemoryVolume(name, 4096));
  const plain = { details: '' };
  t.deepEqual(
    listOf(rigOf(few)),
    ['a', 'b', 'b@new', 'b@old'].map((name) => ({ name, ...plain })),
  );
  const tags = Array.from({ length: MAX_LISTED_SNAPSHOTS + 5 }, (_, i) => `a@${10_000 + i}`);
  const many = listOf(rigOf(['a', ...tags].map((name) => new MemoryVolume(name, 4096))));
  t.is(many.length, 1 + MAX_LISTED_SNAPSHOTS);
  t.deepEqual(many[1], { name: 'a@10005', ...plain });
  t.is(many.at(-1)?.details, '5 older snapshots are not listed; see dog vdi list');
});

test('who may attach a volume sees its snapshots, nobody else does', (t) => {
  const rights = parseRights('guest b', 'rights');
  const tls = { prepare: () => (outcome: TlsOutcome) => outcome.secured(rights('guest')) };
  const volumes = ['a', 'a@one', 'b', 'b@two', 'bb@no'].map((name) => new MemoryVolume(name, 4096));
  const rig = rigOf(volumes, 3, undefined, tls);
  rig.send(encodeOption(OPTION.startTls, NOTHING));
  rig.options();
  t.deepEqual(
    listOf(rig).map(({ name }) => name),
    ['b', 'b@two'],
  );
});

test('who lists many exports may ask for each of them', (t) => {
  const volumes = Array.from({ length: 200 }, (_, i) => new MemoryVolume(`v${i}`, 4096));
  const rig = rigOf(volumes);
  t.is(listOf(rig).length, 200);
  for (const { volume } of volumes) {
    rig.send(encodeOption(OPTION.info, encodeInfoRequest(volume.name, [])));
    rig.send(encodeOption(OPTION.listMetaContext, encodeMetaRequest(volume.name, [])));
  }
  t.false(rig.channel.isEnded);
});

test('options that are not served are refused and skipped', (t) => {
  const rig = rigOf([disk()]);
  for (const option of [4, OPTION.startTls, 11, 77, 0xffffffff]) {
    rig.send(encodeOption(option, new Uint8Array(300)));
    t.is(rig.options()[0]?.reply, REPLY.errUnsup, `option ${option}`);
  }
  rig.send(go('disk'));
  t.is(rig.options().at(-1)?.reply, REPLY.ack);
});

test('an option too long to be kept is skipped: TOO_BIG', (t) => {
  const rig = rigOf([disk()]);
  rig.send(encodeOption(OPTION.go, new Uint8Array(20_000)), go('disk'));
  t.deepEqual(
    rig.options().map((one) => one.reply),
    [REPLY.errTooBig, REPLY.info, REPLY.ack],
  );
});

test('a name above 4096 bytes is TOO_BIG', (t) => {
  const rig = rigOf([disk()]);
  const data = new Uint8Array(4 + 4097 + 2);
  data.set([0, 0, 0x10, 1]);
  rig.send(encodeOption(OPTION.info, data));
  t.is(rig.options()[0]?.reply, REPLY.errTooBig);
});

test('meta contexts come only after structured replies', (t) => {
  const rig = rigOf([disk()]);
  const data = encodeMetaRequest('disk', []);
  rig.send(encodeOption(OPTION.setMetaContext, data));
  t.is(rig.options()[0]?.reply, REPLY.errInvalid);
  rig.send(encodeOption(OPTION.structuredReply, NOTHING));
  rig.send(encodeOption(OPTION.setMetaContext, data));
  t.deepEqual(
    rig.options().map((one) => one.reply),
    [REPLY.ack, REPLY.ack],
  );
  rig.send(encodeOption(OPTION.setMetaContext, encodeMetaRequest('nobody', [])));
  t.is(rig.options()[0]?.reply, REPLY.errUnknown);
});

test('EXPORT_NAME answers with 124 zeroes unless both sides do without, and closes on an unknown name', (t) => {
  for (const { flags, bytes } of [
    { flags: 3, bytes: 10 },
    { flags: 1, bytes: 134 },
  ]) {
    const rig = rigOf([disk()], flags);
    rig.send(encodeOption(OPTION.exportName, new TextEncoder().encode('disk')));
    t.is(rig.channel.take().length, bytes);
  }
  const rig = rigOf([disk()]);
  rig.send(encodeOption(OPTION.exportName, new TextEncoder().encode('nobody')));
  t.is(rig.channel.take().length, 0);
  t.true(rig.channel.isEnded);
});

test('ABORT is acknowledged, then the connection ends', (t) => {
  const rig = rigOf([disk()]);
  rig.send(encodeOption(OPTION.abort, NOTHING));
  t.is(rig.options()[0]?.reply, REPLY.ack);
  t.true(rig.channel.isEnded);
});

// Method: the same conversation byte by byte and in one chunk. GO and the first request often share one packet.
test('the cut of chunks does not matter, and requests may follow GO at once', (t) => {
  const conversation = joined(go('disk'), request('write', { length: 3 }), Uint8Array.of(1, 2, 3));
  for (const size of [1, 7, conversation.length]) {
    const volume = disk();
    const rig = rigOf([volume]);
    for (let at = 0; at < conversation.length; at += size) {
      rig.send(conversation.subarray(at, at + size));
    }
    t.deepEqual([...volume.bytes.subarray(0, 4)], [1, 2, 3, 0], `chunks of ${size}`);
    const answer = rig.channel.take();
    t.is(simpleReplies(answer.subarray(answer.length - 16), () => 0)[0]?.errno, 0);
  }
});

test('whoever does not finish in time is cut', (t) => {
  const rig = rigOf([disk()]);
  rig.send(encodeOption(OPTION.list, NOTHING));
  rig.clock.advance(HANDSHAKE_MS);
  t.true(rig.channel.isDestroyed);
  rig.connection.onClose();
  t.true(rig.isFinished());
});

test('a client that asks without end, or reads no answer, is closed', (t) => {
  const asker = rigOf([disk()]);
  const most = MAX_OPTIONS + OPTIONS_PER_LISTED_EXPORT;
  for (let i = 0; i < most; i += 1) asker.send(encodeOption(OPTION.list, NOTHING));
  t.false(asker.channel.isEnded);
  asker.send(encodeOption(OPTION.list, NOTHING));
  t.true(asker.channel.isEnded);

  const deaf = rigOf([disk()]);
  deaf.channel.queuedBytes = MAX_HANDSHAKE_QUEUE_BYTES + 1;
  deaf.send(encodeOption(OPTION.list, NOTHING));
  t.true(deaf.channel.isEnded);
});

test('at an orderly end options get ERR_SHUTDOWN, and silence is cut', (t) => {
  const rig = rigOf([disk()]);
  rig.connection.shutDown();
  rig.send(go('disk'));
  t.is(rig.options()[0]?.reply, REPLY.errShutdown);
  rig.clock.advance(HANDSHAKE_GRACE_MS);
  t.true(rig.channel.isDestroyed);
});

test('garbage in place of a handshake ends the connection and nothing else', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 20 }),
      (chunks) => {
        const volume = disk();
        const rig = rigOf([volume]);
        for (const chunk of chunks) rig.send(chunk);
        const total = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
        t.true(total < 16 || rig.channel.isEnded);
        rig.connection.onClose();
        t.true(rig.isFinished());
        t.is(volume.connections, 0);
      },
    ),
  );
});
