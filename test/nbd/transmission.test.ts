import test from 'ava';
import fc from 'fast-check';
import { OperatingError } from '../../src/core/errors.ts';
import { lendMemory } from '../../src/core/lent-memory.ts';
import { MIB } from '../../src/core/units.ts';
import type { Done } from '../../src/datapath/volume-session.ts';
import { LINGER_MS } from '../../src/nbd/connection.ts';
import { MAX_EXPORT_REQUESTS } from '../../src/nbd/exports.ts';
import {
  COMMAND_FLAG,
  ERRNO,
  MAX_REQUEST_BYTES,
  SIMPLE_REPLY_BYTES,
} from '../../src/nbd/nbd-codec.ts';
import { MAX_PREFETCH_BYTES } from '../../src/nbd/prefetch.ts';
import {
  MAX_CONNECTION_BYTES,
  MAX_CONNECTION_REQUESTS,
  MAX_SKIPPED_BYTES,
} from '../../src/nbd/transmission.ts';
import {
  attachedRig,
  joined,
  type Rig,
  request,
  simpleReplies,
  structuredReplies,
} from './duplex.ts';
import { MemoryVolume } from './memory-volume.ts';

const SIZE = 4 * MIB;
const NOTHING = new Uint8Array(0);
const disk = (sizeBytes = SIZE) => new MemoryVolume('disk', sizeBytes);
const simple = (rig: Rig, dataBytes = 0) => simpleReplies(rig.channel.take(), () => dataBytes);
const structured = (rig: Rig) => structuredReplies(rig.channel.take());

test('what was written is read, with simple and with structured replies', (t) => {
  for (const kind of ['simple', 'structured'] as const) {
    const rig = attachedRig(disk(), kind);
    const data = Uint8Array.from({ length: 5000 }, (_, i) => i % 251);
    rig.send(request('write', { cookieLow: 1, offset: 1001, length: 5000 }), data);
    t.deepEqual(simple(rig), [
      { type: 0, isLast: true, cookie: 1, errno: 0, text: '', data: NOTHING, offset: 0 },
    ]);
    rig.send(request('read', { cookieLow: 2, offset: 1001, length: 5000 }));
    const [read] = kind === 'simple' ? simple(rig, 5000) : structured(rig);
    t.is(read?.cookie, 2);
    t.deepEqual(read?.data, data);
    if (kind === 'structured') t.is(read?.offset, 1001);
  }
});

// Method: the same requests cut at every chunk size, with completions at once or later.
test('the cut of chunks does not matter', (t) => {
  const payload = Uint8Array.from({ length: 700 }, (_, i) => i);
  const stream = joined(
    request('write', { cookieLow: 1, offset: 10, length: 700 }),
    payload,
    request('read', { cookieLow: 2, offset: 0, length: 10 }),
    request('write', { cookieLow: 3, offset: SIZE, length: 100 }),
    payload.subarray(0, 100),
    request('flush', { cookieLow: 4 }),
  );
  for (let size = 1; size <= 60; size += 1) {
    const volume = disk();
    const rig = attachedRig(volume, 'structured');
    for (let at = 0; at < stream.length; at += size) rig.send(stream.subarray(at, at + size));
    const replies = structured(rig);
    t.deepEqual(
      replies.map((one) => [one.cookie, one.errno]).sort(),
      [
        [1, 0],
        [2, 0],
        [3, ERRNO.ENOSPC],
        [4, 0],
      ],
      `chunks of ${size}`,
    );
    t.deepEqual(volume.bytes.subarray(10, 710), payload);
  }
});

test('replies leave in the order of completion, those of one tick in one write', (t) => {
  const volume = disk();
  volume.delayed = true;
  const rig = attachedRig(volume, 'simple');
  rig.send(...[1, 2, 3].map((cookieLow) => request('flush', { cookieLow })));
  t.is(simple(rig).length, 0);
  const before = rig.channel.writes;
  for (const i of [2, 0, 1]) volume.waiting[i]?.finish();
  rig.clock.settle();
  t.deepEqual(
    simple(rig).map((one) => one.cookie),
    [3, 1, 2],
  );
  t.is(rig.channel.writes - before, 1);
});

test('a read that has to wait, and a long one, are answered as well', (t) => {
  const volume = disk();
  volume.bytes.fill(7);
  const rig = attachedRig(volume, 'structured');
  rig.send(request('read', { cookieLow: 1, length: MIB, flags: COMMAND_FLAG.df }));
  const [long] = structured(rig);
  t.is(long?.data.length, MIB);
  t.true(long?.data.every((byte) => byte === 7));
  volume.delayed = true;
  rig.send(request('read', { cookieLow: 2, offset: 4096, length: 512 }));
  t.is(structured(rig).length, 0);
  volume.waiting[0]?.finish();
  rig.clock.settle();
  const [late] = structured(rig);
  t.is(late?.offset, 4096);
  t.true(late?.data.every((byte) => byte === 7));
});

interface Bad {
  readonly what: string;
  readonly bytes: Uint8Array;
  readonly errno: number;
}

function badRequests(): Bad[] {
  const { EINVAL, ENOSPC } = ERRNO;
  const bad = (what: string, bytes: Uint8Array, errno: number) => ({ what, bytes, errno });
  const write = (offset: number, length: number) =>
    joined(request('write', { offset, length }), new Uint8Array(length));
  return [
    bad('read past the end', request('read', { offset: SIZE - 1, length: 2 }), EINVAL),
    bad('trim past the end', request('trim', { offset: SIZE, length: 1 }), EINVAL),
    bad('write past the end', write(SIZE - 1, 2), ENOSPC),
    bad('zeroes past the end', request('writeZeroes', { offset: 0, length: SIZE + 1 }), ENOSPC),
    bad('offset near 2^64', request('read', { offset: 2 ** 64 - 2 ** 12, length: 1 }), EINVAL),
    bad('read of nothing', request('read', {}), EINVAL),
    bad('write of nothing', request('write', {}), EINVAL),
    bad('trim of nothing', request('trim', {}), EINVAL),
    bad('zeroes of nothing', request('writeZeroes', {}), EINVAL),
    bad('a read above 32 MiB', request('read', { length: MAX_REQUEST_BYTES + 1 }), EINVAL),
    bad('a write above 32 MiB', write(0, MAX_REQUEST_BYTES + 1), EINVAL),
    bad('CACHE past the end', request('cache', { offset: SIZE, length: 1 }), EINVAL),
    bad('status without a context', request('blockStatus', { length: 1 }), EINVAL),
    bad('unknown command', request(1000, { length: 1 }), EINVAL),
    bad('FAST_ZERO of a part', request('writeZeroes', { flags: 16, length: 1 }), ERRNO.ENOTSUP),
    bad('FAST_ZERO of a trim', request('trim', { flags: 16, length: 4096 }), EINVAL),
    bad('unknown flag', request('read', { flags: 0x8000, length: 1 }), EINVAL),
    bad(
      'DF on a write',
      joined(request('write', { flags: 4, length: 1 }), Uint8Array.of(1)),
      EINVAL,
    ),
    bad('flush with a length', request('flush', { length: 1 }), EINVAL),
  ];
}

test('whole sectors are zeroed with FAST_ZERO and with NO_HOLE', (t) => {
  const volume = disk();
  volume.bytes.fill(1);
  const rig = attachedRig(volume, 'simple');
  const flags = COMMAND_FLAG.fastZero | COMMAND_FLAG.noHole | COMMAND_FLAG.fua;
  rig.send(request('writeZeroes', { offset: 4096, length: 8192, flags }));
  t.is(simple(rig)[0]?.errno, 0);
  t.deepEqual([volume.bytes[4095], volume.bytes[4096], volume.bytes[12_288]], [1, 0, 1]);
});

test('CACHE reads the beginning of its range, once, and tells what goes wrong', (t) => {
  const volume = new MemoryVolume('disk', 2 * MAX_PREFETCH_BYTES);
  const rig = attachedRig(volume, 'structured');
  rig.send(request('cache', { cookieLow: 1, offset: 5, length: 600 * 1024 }));
  t.deepEqual(volume.log.splice(0), ['read', 'read', 'read']);
  rig.send(request('cache', { cookieLow: 2, length: 2 * MAX_PREFETCH_BYTES }));
  t.is(volume.log.length, MAX_PREFETCH_BYTES / (256 * 1024));
  volume.failure = new OperatingError('fenced', 'taken over');
  rig.send(request('cache', { cookieLow: 3, length: MIB }));
  t.deepEqual(
    structured(rig).map((one) => one.errno),
    [0, 0, ERRNO.EIO],
  );
});

test('requests out of order get their error number, do nothing, and the connection lives on', (t) => {
  const volume = disk();
  for (const kind of ['simple', 'structured'] as const) {
    const rig = attachedRig(volume, kind);
    for (const { what, bytes, errno } of badRequests()) {
      rig.send(bytes);
      const replies = structured(rig);
      t.deepEqual([replies.length, replies[0]?.errno], [1, errno], `${kind}: ${what}`);
      t.is(replies[0]?.text === '', kind === 'simple', 'structured replies say why');
    }
    rig.send(request('flush', {}));
    t.is(structured(rig)[0]?.errno, 0);
  }
  t.deepEqual(volume.log, ['flush', 'flush']);
  t.true(volume.bytes.every((byte) => byte === 0));
});

test('DF needs structured replies', (t) => {
  const rig = attachedRig(disk(), 'simple');
  rig.send(request('read', { flags: COMMAND_FLAG.df, length: 1 }));
  t.is(simple(rig)[0]?.errno, ERRNO.EINVAL);
});

test('FUA is legal on every command, and what writes is forced through', (t) => {
  const volume = disk();
  const rig = attachedRig(volume, 'simple');
  const flags = COMMAND_FLAG.fua;
  rig.send(
    request('write', { flags, length: 1 }),
    Uint8Array.of(9),
    request('trim', { flags, length: 4096 }),
    request('writeZeroes', { flags: flags | COMMAND_FLAG.noHole, length: 4096 }),
    request('flush', { flags }),
    request('read', { cookieLow: 9, flags, length: 1 }),
  );
  const replies = simpleReplies(rig.channel.take(), (cookie) => (cookie === 9 ? 1 : 0));
  t.deepEqual(
    replies.map((one) => one.errno),
    [0, 0, 0, 0, 0],
  );
  t.deepEqual(volume.log, ['write', 'trim', 'zeroes', 'flush']);
  t.is(volume.forced, 3);
  rig.send(request('write', { length: 1 }), Uint8Array.of(9), request('trim', { length: 4096 }));
  t.is(volume.forced, 3);
});

test("a session's error reaches the guest with number, text and remedy", (t) => {
  const volume = disk();
  volume.failure = new OperatingError('held', 'node n2 holds the volume', { remedy: 'stop it' });
  const rig = attachedRig(volume, 'structured');
  rig.send(
    request('read', { length: 4096 }),
    request('read', { length: MIB }),
    request('write', { length: 1 }),
    Uint8Array.of(1),
    request('trim', { flags: COMMAND_FLAG.fua, length: 1 }),
    request('writeZeroes', { length: 1 }),
    request('flush', {}),
  );
  const replies = structured(rig);
  t.is(replies.length, 6);
  for (const one of replies) {
    t.is(one.errno, ERRNO.EPERM);
    t.is(one.text, 'node n2 holds the volume; stop it');
  }
});

test('DISC waits for what is in flight, then ends without a reply', (t) => {
  const volume = disk();
  volume.delayed = true;
  const rig = attachedRig(volume, 'simple');
  rig.send(request('flush', { cookieLow: 5 }), request('disc', {}), request('flush', {}));
  t.false(rig.channel.isEnded);
  t.is(volume.waiting.length, 1, 'nothing after DISC is looked at');
  volume.waiting[0]?.finish();
  rig.clock.settle();
  t.is(simple(rig)[0]?.cookie, 5);
  t.true(rig.channel.isEnded);
});

test('a client that does not close after its end is cut', (t) => {
  const rig = attachedRig(disk(), 'simple');
  rig.send(request('disc', {}));
  t.true(rig.channel.isEnded);
  t.false(rig.channel.isDestroyed);
  rig.clock.advance(LINGER_MS);
  t.true(rig.channel.isDestroyed);
});

test('the session is released when the socket is gone; the place of the connection when its requests have ended', async (t) => {
  const volume = disk();
  volume.delayed = true;
  const rig = attachedRig(volume, 'simple');
  rig.send(request('write', { length: 2 }), Uint8Array.of(1, 2));
  rig.connection.onClose();
  t.is(volume.connections, 0, 'a request that hangs keeps no lock, and bars nobody');
  await new Promise((resolve) => setImmediate(resolve));
  t.false(rig.isFinished());
  volume.waiting[0]?.finish();
  await new Promise((resolve) => setImmediate(resolve));
  t.true(rig.isFinished());
});

test('an orderly end answers what is in flight, refuses the rest, and closes', (t) => {
  const volume = disk();
  volume.delayed = true;
  const rig = attachedRig(volume, 'structured');
  rig.send(request('flush', { cookieLow: 1 }));
  rig.connection.shutDown();
  rig.send(request('read', { cookieLow: 2, length: 1 }));
  t.is(structured(rig)[0]?.errno, ERRNO.ESHUTDOWN);
  t.false(rig.channel.isEnded);
  volume.waiting[0]?.finish();
  rig.clock.settle();
  t.deepEqual([structured(rig)[0]?.cookie, rig.channel.isEnded], [1, true]);

  const idle = attachedRig(disk(), 'simple');
  idle.connection.shutDown();
  t.true(idle.channel.isEnded);
});

test('requests in flight are bounded: the socket is not read, nothing is lost', (t) => {
  const volume = disk();
  volume.delayed = true;
  const rig = attachedRig(volume, 'simple');
  const count = 5 * MAX_CONNECTION_REQUESTS;
  const all = Array.from({ length: count }, (_, cookieLow) =>
    request('read', { cookieLow, length: 1 }),
  );
  rig.send(...all);
  t.is(volume.inFlight, MAX_CONNECTION_REQUESTS);
  t.true(rig.channel.isPaused);
  rig.send(request('flush', { cookieLow: count })); // the chunk that was on its way
  while (volume.waiting.length > 0) {
    volume.waiting.shift()?.finish();
    rig.clock.settle();
  }
  t.is(volume.peakInFlight, MAX_CONNECTION_REQUESTS);
  t.false(rig.channel.isPaused);
  const cookies = simpleReplies(rig.channel.take(), (cookie) => (cookie === count ? 0 : 1));
  t.deepEqual(
    cookies.map((one) => one.cookie),
    Array.from({ length: count + 1 }, (_, i) => i),
  );
});

test('requests in flight of one session are bounded over all its connections', (t) => {
  const volume = disk();
  const rig = attachedRig(volume, 'simple');
  volume.inFlight = MAX_EXPORT_REQUESTS; // other connections'
  rig.send(request('flush', {}));
  t.deepEqual(volume.log, []);
  t.true(rig.channel.isPaused);
  volume.inFlight = MAX_EXPORT_REQUESTS - 1;
  rig.channel.isStuck = false;
  rig.connection.onDrain();
  rig.clock.settle();
  t.deepEqual(volume.log, ['flush']);
  t.false(rig.channel.isPaused);
});

test('a client that reads no replies is not read either', (t) => {
  const rig = attachedRig(disk(), 'simple');
  rig.channel.isStuck = true;
  const asked = 100;
  for (let i = 0; i < asked; i += 1) rig.send(request('read', { cookieLow: i, length: MIB }));
  t.true(rig.channel.isPaused);
  t.true(rig.channel.queuedBytes <= MAX_CONNECTION_BYTES + MIB + 16);
  for (let round = 0; round < 10; round += 1) {
    rig.channel.queuedBytes = 0;
    rig.connection.onDrain();
    rig.clock.settle();
  }
  t.is(simple(rig, MIB).length, asked);
  t.false(rig.channel.isPaused);
});

test('a reply that the socket has not taken yet is never overwritten by a later one', (t) => {
  const volume = disk();
  const rig = attachedRig(volume, 'simple');
  rig.channel.isStuck = true;
  const count = 200; // more than one shared buffer of replies
  for (let i = 0; i < count; i += 1) {
    volume.bytes.fill(i, 0, 4096);
    rig.send(request('read', { cookieLow: i, length: 4096 }));
  }
  const replies = simple(rig, 4096);
  t.is(replies.length, count);
  for (const { cookie, data } of replies) t.true(data.every((byte) => byte === cookie % 256));
});

test.serial(
  'the memory of a long reply is lent again once the socket has taken it, not before',
  (t) => {
    const volume = disk();
    const rig = attachedRig(volume, 'simple');
    rig.channel.isStuck = true;
    const read = (cookieLow: number) => {
      volume.bytes.fill(cookieLow, 0, MIB);
      rig.send(request('read', { cookieLow, length: MIB }));
    };
    for (const cookie of [1, 2, 3]) read(cookie);
    t.true(rig.channel.heldBytes >= 3 * MIB, 'three replies wait, each in memory of its own');
    for (const { cookie, data } of simple(rig, MIB)) t.true(data.every((byte) => byte === cookie));
    const lent = [1, 2, 3].map(() => lendMemory(MIB + SIMPLE_REPLY_BYTES));
    const left = lent.map((memory) => memory[MIB / 2] ?? 0).sort();
    t.deepEqual(left, [1, 2, 3], 'all came back');
  },
);

test.serial(
  'the memory of a write is lent again when it was done, not when it was refused',
  (t) => {
    const written: Uint8Array[] = [];
    const outcomes = [new OperatingError('io', 'broken'), undefined];
    const volume = disk();
    volume.write = (_offset: number, data: Uint8Array, done: Done) => {
      written.push(data);
      done(outcomes[written.length - 1]);
    };
    const rig = attachedRig(volume, 'simple');
    for (const cookieLow of [1, 2, 3]) {
      rig.send(request('write', { cookieLow, length: MIB }), new Uint8Array(MIB));
    }
    const [refused, done, next] = written.map(({ buffer }) => buffer);
    t.not(done, refused);
    t.is(next, done);
  },
);

test('a write of an absurd length and garbage end the connection, not the node', (t) => {
  const absurd = attachedRig(disk(), 'simple');
  absurd.send(request('write', { length: MAX_SKIPPED_BYTES + 1 }));
  t.true(absurd.channel.isEnded);

  const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 100 }), { maxLength: 10 });
  fc.assert(
    fc.property(chunks, (garbage) => {
      const volume = disk(4096);
      const rig = attachedRig(volume, 'structured');
      for (const chunk of garbage) rig.send(chunk);
      const total = garbage.reduce((sum, chunk) => sum + chunk.length, 0);
      t.is(rig.channel.isEnded, total >= 28);
      t.deepEqual(volume.log, []);
    }),
  );
});

// Method: random requests, right and wrong, against a plain array as the model; completions in random order. Requests in
// flight together never overlap, for their order is free.
test('any mix of requests leaves the volume as a plain array would be', (t) => {
  const step = fc.record({
    kind: fc.constantFrom('write' as const, 'read' as const, 'writeZeroes' as const),
    slot: fc.nat(15),
    length: fc.integer({ min: 1, max: 4096 }),
    fill: fc.integer({ min: 1, max: 255 }),
    pick: fc.nat(100),
  });
  const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const volume = disk(64 * 1024);
    volume.delayed = true;
    const rig = attachedRig(volume, 'structured');
    const model = new Uint8Array(64 * 1024);
    const expected = new Map<number, Uint8Array>();
    steps.forEach(({ kind, slot, length, fill, pick }, cookieLow) => {
      const offset = slot * 4096;
      const busy = volume.waiting.findIndex((one) => one.offset === offset);
      if (busy >= 0) volume.waiting.splice(busy, 1)[0]?.finish();
      const end = offset + length;
      if (kind === 'read') expected.set(cookieLow, model.slice(offset, end));
      else model.fill(kind === 'write' ? fill : 0, offset, end);
      const data = new Uint8Array(kind === 'write' ? length : 0).fill(fill);
      rig.send(request(kind, { cookieLow, offset, length }), data);
      if (pick % 3 === 0) volume.waiting.splice(pick % volume.waiting.length, 1)[0]?.finish();
    });
    for (const one of volume.waiting.splice(0)) one.finish();
    rig.clock.settle();
    const replies = structured(rig);
    t.is(new Set(replies.map((one) => one.cookie)).size, steps.length);
    for (const reply of replies) t.is(reply.errno, 0);
    for (const [cookie, data] of expected) {
      t.deepEqual(replies.find((one) => one.cookie === cookie)?.data, data);
    }
    t.deepEqual(volume.bytes, model);
  });
  fc.assert(property, { numRuns: 60 });
});
