// Every option in every state of the handshake, every command with every flag, and garbage. Method: no order that a client
// may choose, and no bytes, may make the connection throw, answer twice or not at all, or keep a session.

import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { OperatingError } from '../../src/core/errors.ts';
import { MIB } from '../../src/core/units.ts';
import { ALL_ALLOWED } from '../../src/nbd/access.ts';
import type { TlsDoor } from '../../src/nbd/byte-channel.ts';
import { COMMAND, ERRNO } from '../../src/nbd/nbd-codec.ts';
import {
  encodeInfoRequest,
  encodeMetaRequest,
  encodeOption,
  INFO,
  OPTION,
  REPLY,
} from '../../src/nbd/option-codec.ts';
import { MAX_CONNECTION_REQUESTS } from '../../src/nbd/transmission.ts';
import { joined, type Rig, request, rigOf, structuredReplies } from './duplex.ts';
import { MemoryVolume } from './memory-volume.ts';

const NOTHING = new Uint8Array(0);
const SIZE = MIB;
const name = (text: string) => new TextEncoder().encode(text);
const structured = encodeOption(OPTION.structuredReply, NOTHING);
const startTls = encodeOption(OPTION.startTls, NOTHING);
const contexts = encodeOption(
  OPTION.setMetaContext,
  encodeMetaRequest('disk', ['base:allocation']),
);

const DOORS: Readonly<Record<'opens' | 'waits' | 'fails' | 'broken', TlsDoor>> = {
  opens: { prepare: () => (outcome) => outcome.secured(ALL_ALLOWED('guest')) },
  waits: { prepare: () => () => undefined },
  fails: { prepare: () => (outcome) => outcome.failed('no key') },
  broken: {
    prepare: () => {
      throw new OperatingError('io', 'no keys');
    },
  },
};

interface State {
  readonly what: string;
  readonly tls?: TlsDoor;
  readonly enter?: (rig: Rig) => void;
  readonly isLate?: boolean;
}

const STATES: readonly State[] = [
  { what: 'fresh' },
  { what: 'structured', enter: (rig) => rig.send(structured) },
  { what: 'context chosen', enter: (rig) => rig.send(structured, contexts) },
  { what: 'before TLS', tls: DOORS.opens },
  { what: 'within TLS', tls: DOORS.opens, enter: (rig) => rig.send(startTls) },
  { what: 'TLS twice', tls: DOORS.opens, enter: (rig) => [1, 2].map(() => rig.send(startTls)) },
  { what: 'TLS begun', tls: DOORS.waits, enter: (rig) => rig.send(startTls) },
  { what: 'TLS failed', tls: DOORS.fails, enter: (rig) => rig.send(startTls) },
  { what: 'keys broken', tls: DOORS.broken, enter: (rig) => rig.send(startTls) },
  { what: 'shutting down', enter: (rig) => rig.connection.shutDown() },
  { what: 'within an option', enter: (rig) => rig.send(structured.subarray(0, 9)) },
  { what: 'a name is looked up', isLate: true, enter: (rig) => rig.send(go('late')) },
  { what: 'attached', enter: (rig) => rig.send(go('disk')) },
];

const go = (of: string) => encodeOption(OPTION.go, encodeInfoRequest(of, [INFO.blockSize, 99]));

const OPTIONS: readonly number[] = [...Object.values(OPTION), 0, 4, 11, 12, 77, 0xffffffff];
const DATA: readonly Uint8Array[] = [
  ...[NOTHING, Uint8Array.of(0), new Uint8Array(4), new Uint8Array(300).fill(255)],
  ...[name('disk'), name('nobody'), new Uint8Array(4097).fill(65), new Uint8Array(16_385)],
  ...[
    encodeInfoRequest('disk', []),
    encodeInfoRequest('', [0, 1, 2, 3]),
    encodeInfoRequest('x', []),
  ],
  ...[encodeMetaRequest('disk', []), encodeMetaRequest('disk', ['base:allocation', 'a:b'])],
  ...[Uint8Array.of(0, 0, 0, 4, 0xff, 0xfe, 0xfd, 0xfc, 0, 0), new Uint8Array(16_384)],
];
const ENDLESS: ReadonlySet<number> = new Set([REPLY.server, REPLY.info, REPLY.metaContext]);

/** The connection after its state was entered; `volume` is its export. */
function rigIn(state: State): { rig: Rig; volume: MemoryVolume } {
  const volume = new MemoryVolume('disk', SIZE);
  const late = state.isLate === true ? () => new Promise<void>(() => undefined) : undefined;
  const rig = rigOf([volume], 3, late, state.tls);
  state.enter?.(rig);
  return { rig, volume };
}

/** The socket is gone; the connection has to end with it. */
async function closed(t: ExecutionContext, rig: Rig, what?: string): Promise<void> {
  rig.connection.onClose();
  // Until the session has been told.
  await new Promise((resolve) => setImmediate(resolve));
  t.true(rig.isFinished(), what);
}

test('every option with any data, in every state, is answered once or ends the connection', async (t) => {
  for (const state of STATES) {
    for (const option of OPTIONS) {
      for (const data of DATA) {
        const { rig, volume } = rigIn(state);
        const wasOpen = !rig.channel.isEnded && !rig.channel.isDestroyed;
        const hears = wasOpen && !/begun|looked|within an|attached/.test(state.what);
        rig.options();
        rig.send(encodeOption(option, data));
        const what = `${state.what}, option ${option}, ${data.length} bytes`;
        if (hears) {
          const isOver = rig.channel.isEnded || rig.channel.isDestroyed;
          const isAttached = volume.connections === 1;
          const last =
            option === OPTION.exportName
              ? []
              : rig.options().filter((one) => !ENDLESS.has(one.reply));
          if (option === OPTION.exportName) t.true(isOver || isAttached, what);
          else t.is(last.length, 1, what);
          t.is(last[0]?.option ?? option, option, what);
        }
        await closed(t, rig, what);
        t.is(volume.connections, 0, what);
        t.is(rig.clock.timerCount, 0, what);
      }
    }
  }
});

test('options in any order: never two sessions, nothing kept, at most one answer each', async (t) => {
  const option = fc.tuple(fc.constantFrom(...OPTIONS), fc.constantFrom(...DATA));
  const door = fc.constantFrom(undefined, ...Object.values(DOORS));
  const run = fc.asyncProperty(
    door,
    fc.array(option, { maxLength: 12 }),
    fc.integer({ min: 1, max: 99 }),
    async (tls, all, cut) => {
      const volume = new MemoryVolume('disk', SIZE);
      const rig = rigOf([volume], 3, undefined, tls);
      const bytes = joined(...all.map(([number, data]) => encodeOption(number, data)));
      for (let at = 0; at < bytes.length; at += cut * 50)
        rig.send(bytes.subarray(at, at + cut * 50));
      t.true(volume.connections <= 1);
      await closed(t, rig);
      t.is(volume.connections, 0);
    },
  );
  await fc.assert(run, { numRuns: 300 });
});

const anyRequest = fc.record({
  type: fc.oneof(
    { weight: 9, arbitrary: fc.integer({ min: 0, max: 9 }) },
    fc.integer({ min: 0, max: 0xffff }),
  ),
  flags: fc.oneof(fc.constantFrom(0, 0, 1, 2, 4, 8, 16), fc.integer({ min: 0, max: 0xffff })),
  offset: fc.oneof(
    fc.constantFrom(0, 4096, SIZE - 1, SIZE, 2 ** 40),
    fc.integer({ min: 0, max: SIZE }),
  ),
  length: fc.oneof(fc.constantFrom(0, 1, 4096, 65_536, SIZE), fc.integer({ min: 0, max: 70_000 })),
});

// Method: a client that puts any numbers into its requests, with completions now or later and in any order. Each cookie has
// to have exactly one last answer, whatever the requests were; the volume must be idle afterwards.
test('every request is answered exactly once, whatever it says', async (t) => {
  const settings = fc.record({
    isStructured: fc.boolean(),
    hasContext: fc.boolean(),
    isDelayed: fc.boolean(),
    fails: fc.boolean(),
    cut: fc.integer({ min: 1, max: 5000 }),
  });
  const run = fc.asyncProperty(
    settings,
    fc.array(anyRequest, { maxLength: 30 }),
    async (how, requests) => {
      const volume = new MemoryVolume('disk', SIZE);
      const rig = rigOf([volume]);
      rig.send(
        ...(how.isStructured ? [structured] : []),
        ...(how.hasContext ? [contexts] : []),
        go('disk'),
      );
      rig.channel.take();
      volume.delayed = how.isDelayed;
      if (how.fails) volume.failure = new OperatingError('io', 'it fails');
      const asked = requests.filter(({ type }) => type !== COMMAND.disc);
      const bytes = joined(...asked.flatMap((one, i) => encoded(one, i)));
      for (let at = 0; at < bytes.length; at += how.cut) {
        rig.send(bytes.subarray(at, at + how.cut));
        t.true(volume.inFlight <= MAX_CONNECTION_REQUESTS);
      }
      for (let round = 0; volume.waiting.length > 0 && round < 100_000; round += 1) {
        volume.waiting.splice((round * 7) % volume.waiting.length, 1)[0]?.finish();
        rig.clock.settle();
      }
      const replies = repliesOf(rig, how.isStructured, asked);
      const last = replies.filter((one) => one.isLast).map((one) => one.cookie);
      t.deepEqual(
        last.sort((a, b) => a - b),
        asked.map((_, i) => i),
      );
      if (how.fails) t.true(replies.every((one) => one.errno !== 0 || one.type === 0));
      await closed(t, rig);
      t.deepEqual([volume.inFlight, volume.connections], [0, 0]);
    },
  );
  await fc.assert(run, { numRuns: 300 });
});

interface AnyRequest {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
}

function encoded(one: AnyRequest, cookieLow: number): Uint8Array[] {
  const head = request(one.type, { ...one, cookieLow });
  return one.type === COMMAND.write ? [head, new Uint8Array(one.length).fill(1)] : [head];
}

/** Simple replies carry the data of good reads only. */
function repliesOf(rig: Rig, isStructured: boolean, asked: readonly AnyRequest[]) {
  const bytes = rig.channel.take();
  if (isStructured) return structuredReplies(bytes);
  const replies: { cookie: number; errno: number; isLast: boolean; type: number }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const [one] = structuredReplies(bytes.subarray(at, at + 16));
    if (one === undefined) throw new Error('half a reply');
    replies.push(one);
    const question = asked[one.cookie];
    const isRead = question?.type === COMMAND.read && one.errno === 0;
    at += 16 + (isRead ? question.length : 0);
  }
  return replies;
}

test('garbage after GO, in any pieces, ends the connection or is refused; nothing is kept', async (t) => {
  const chunk = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.constantFrom(
      request('read', { length: 100 }),
      request('write', { length: 64 }),
      request(9, {}),
    ),
  );
  const run = fc.asyncProperty(
    fc.boolean(),
    fc.array(chunk, { maxLength: 20 }),
    async (isStructured, chunks) => {
      const volume = new MemoryVolume('disk', SIZE);
      const rig = rigOf([volume]);
      rig.send(...(isStructured ? [structured] : []), go('disk'));
      for (const one of chunks) rig.send(one);
      t.true(rig.channel.take().length < 100_000);
      await closed(t, rig);
      t.deepEqual([volume.inFlight, volume.connections], [0, 0]);
    },
  );
  await fc.assert(run, { numRuns: 300 });
});

test('what a session refuses for lack of room, rights or time has its own number', (t) => {
  const volume = new MemoryVolume('disk', SIZE);
  const rig = rigOf([volume]);
  rig.send(structured, go('disk'));
  rig.channel.take();
  for (const [code, errno] of [
    ['no-space', ERRNO.ENOSPC],
    ['held', ERRNO.EPERM],
    ['fenced', ERRNO.EIO],
    ['shutting-down', ERRNO.ESHUTDOWN],
  ] as const) {
    volume.failure = new OperatingError(code, `because of ${code}`);
    for (const type of ['write', 'writeZeroes', 'trim', 'flush', 'cache', 'read'] as const) {
      const length = type === 'flush' ? 0 : 4096;
      rig.send(...encoded({ type: COMMAND[type], flags: 0, offset: 0, length }, 1));
      const [reply] = structuredReplies(rig.channel.take());
      t.deepEqual([reply?.errno, reply?.text], [errno, `because of ${code}`], type);
    }
  }
});
