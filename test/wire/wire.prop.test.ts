// Properties of all codecs: what is encoded decodes to the same; anything else is 'bad-frame' or a value, never another
// error, and never more memory than the input's size asks for (lists grow as they are read).

import test from 'ava';
import fc from 'fast-check';
import { OperatingError } from '../../src/core/errors.ts';
import type { EntryBody, LogEntry } from '../../src/core/log-entry.ts';
import type { RaftMessage } from '../../src/core/raft/state.ts';
import { decodeEntry, encodeEntry } from '../../src/wire/entry-codec.ts';
import {
  decodeFrame,
  emptyFrame,
  encodeHeaders,
  FLAG,
  type Frame,
  FrameAssembler,
  frameBytes,
  MAX_FRAME_LENGTH,
  OP,
  replyTo,
  STATUS,
  sectorsTouched,
} from '../../src/wire/frame.ts';
import {
  type ControlMessage,
  decodeAlertRumour,
  decodeControl,
  decodeJoinReply,
  decodeJoinRequest,
  decodeMapDelta,
  decodeStats,
  encodeAlertRumour,
  encodeControl,
  encodeJoinReply,
  encodeJoinRequest,
  encodeMapDelta,
  encodeStats,
} from '../../src/wire/messages.ts';
import * as payloads from '../../src/wire/payloads.ts';

const seed = 20260701;
const runs = { seed, numRuns: 200 };

const u8 = fc.nat(255);
const u16 = fc.nat(65535);
const u32 = fc.nat(2 ** 32 - 1);
const u48 = fc.nat(2 ** 48 - 1);
const text = fc.string({ maxLength: 40, unit: 'grapheme' });
const payload = fc.uint8Array({ maxLength: 64 });
const volumeCas = { volume: fc.nat(), token: fc.nat(), head: fc.nat() };
const flag = fc.boolean();
const nodes = fc.array(u32, { maxLength: 7 });
const list = <T>(element: fc.Arbitrary<T>) => fc.array(element, { maxLength: 20 });
const cas = list(fc.record({ policy: u16, p: u16, cfg: u32 }));
const promotions = list(
  fc.record({ policy: u16, p: u16, cfg: u32, source: u32, sourceApplied: u48 }),
);
const lock = {
  volume: u32,
  token: u32,
  node: u32,
  incarnation: u32,
  session: u32,
  dateMs: u48,
  from: text,
};

/** One case of a union. */
const tagged = (type: string, fields: Record<string, fc.Arbitrary<unknown>>) =>
  fc.record({ type: fc.constant(type), ...fields } as Record<string, fc.Arbitrary<unknown>>);

const body = fc.oneof(
  ...Object.entries({
    noop: {},
    format: {
      clusterId: text,
      name: text,
      partitions: u32,
      copies: u8,
      minCopies: u8,
      strict: flag,
      objectBytes: u32,
      hashVersion: u16,
    },
    policyCreate: { copies: u8, minCopies: u8, strict: flag },
    setting: { key: text, value: text },
    audit: { atIndex: u48, stateHash: text },
    nodeJoin: {
      peerKey: text,
      addresses: fc.array(text, { maxLength: 16 }),
      zone: text,
      weight: u32,
    },
    nodeUp: {
      node: u32,
      incarnation: u32,
      addresses: fc.array(text, { maxLength: 16 }),
      storeGeneration: u32,
      journalSeq: u48,
      continues: u32,
      cleanStop: flag,
    },
    nodesDown: { nodes: list(fc.record({ node: u32, incarnation: u32 })), baseEpoch: u48 },
    nodeFailed: { node: u32, incarnation: u32, reason: text },
    nodeSpace: { node: u32, incarnation: u32, level: fc.constantFrom('ok', 'nearfull', 'full') },
    nodeAdmit: {
      peerKey: text,
      addresses: fc.array(text, { maxLength: 16 }),
      zone: text,
      weight: u32,
      isWitness: flag,
      inviteId: text,
      secretHash: text,
      dateMs: u48,
    },
    nodeOut: { node: u32, incarnation: u32, reason: fc.constantFrom('auto', 'operator') },
    nodeIn: { node: u32, incarnation: u32, reason: fc.constantFrom('auto', 'operator') },
    nodeLeave: { node: u32 },
    nodeGone: { node: u32 },
    nodeLost: { node: u32, by: text },
    nodeWeight: { node: u32, weight: u32, zone: text },
    policyChange: { policy: u16, copies: u8, minCopies: u8, strict: flag },
    votersForced: { old: nodes, next: nodes, by: text },
    votersJoint: { old: nodes, next: nodes },
    votersFinal: { old: nodes, next: nodes },
    isrShrink: { partitions: cas, node: u32, reason: text },
    isrJoin: { partitions: cas, node: u32, incarnation: u32 },
    isrAbort: { partitions: cas, node: u32 },
    isrPromote: { partitions: promotions, node: u32, incarnation: u32 },
    isrRelease: { partitions: cas, node: u32 },
    isrSettle: { partitions: cas, node: u32, incarnation: u32 },
    volumeOptions: { volume: u32, ioTimeoutMs: u32 },
    volumeRate: { volume: u32, kind: fc.constantFrom('iops', 'bandwidth'), perSecond: u48 },
    isrDoubt: { partitions: cas },
    acceptLoss: { partitions: cas, node: u32, incarnation: u32, by: text },
    isrShrinkUnsure: { partitions: cas, node: u32, reason: text },
    purge: { partitions: cas, node: u32 },
    volumeCreate: {
      name: text,
      policy: u16,
      sizeBytes: u48,
      durability: fc.constantFrom('durable', 'writeback'),
      attachMode: fc.constantFrom('handover', 'exclusive', 'shared-read'),
    },
    volumeDelete: { volume: u32, token: u32 },
    moveStart: { volume: u32, token: u32, policy: u16, former: u32 },
    moveCancel: { volume: u32, token: u32 },
    volumeMove: { volume: u32, token: u32, head: u32 },
    volumeAttach: {
      volume: u32,
      token: u32,
      attachMode: fc.constantFrom('handover', 'exclusive', 'shared-read'),
    },
    lockBreak: { volume: u32, token: u32, by: text },
    volumeRename: { volume: u32, former: text, name: text },
    volumeProtect: { volume: u32, isProtected: flag },
    volumeDurability: {
      volume: u32,
      token: u32,
      durability: fc.constantFrom('durable', 'writeback'),
    },
    attributeSet: { volume: u32, key: text, value: payload, isNew: flag },
    attributeRemove: { volume: u32, key: text },
    snapshot: { volumes: list(fc.record(volumeCas)), tag: text, dateMs: u48 },
    volumeClone: {
      from: fc.record(volumeCas),
      name: text,
      durability: fc.constantFrom('durable', 'writeback'),
      attachMode: fc.constantFrom('handover', 'exclusive', 'shared-read'),
      isDeep: flag,
      dateMs: u48,
    },
    rollback: { volume: u32, token: u32, generation: u32 },
    volumeTrash: { volume: u32, token: u32, keepMs: u48, dateMs: u48 },
    trashRestore: { volume: u32, name: text },
    trashPurge: { volume: u32, by: fc.constantFrom('time', 'operator') },
    aged: { fromMs: u48, byMs: u48 },
    snapshotDelete: { generation: u32 },
    snapshotProtect: { generation: u32, isProtected: flag },
    generationReclaimed: { generation: u32 },
    volumeGrow: { volume: u32, sizeBytes: u48 },
    volumeShrink: { volume: u32, token: u32, sizeBytes: u48 },
    handoverPrepare: { volume: u32, token: u32, toNode: u32 },
    handoverComplete: lock,
    handoverCancel: { volume: u32, token: u32 },
    holdEnd: { volume: u32, token: u32 },
    lockAcquire: lock,
    lockRelease: { volume: u32, token: u32 },
    takeover: { ...lock, reason: text, force: flag },
  }).map(([type, fields]) => tagged(type, fields)),
) as unknown as fc.Arbitrary<EntryBody>;

const origin = fc.record({ node: u32, incarnation: u32, counter: u48 });
const entry = fc.record({
  index: u48,
  term: u48,
  origin,
  body,
}) as unknown as fc.Arbitrary<LogEntry>;
const lastEntry = { term: u48, lastIndex: u48, lastTerm: u48 };
const granted = { term: u48, granted: flag };
const raft = fc.oneof(
  ...Object.entries({
    preVote: lastEntry,
    vote: lastEntry,
    preVoteReply: granted,
    voteReply: granted,
    append: { term: u48, prevIndex: u48, prevTerm: u48, entries: list(entry), commit: u48 },
    appendReply: {
      term: u48,
      ok: flag,
      prevIndex: u48,
      matchIndex: u48,
      conflictIndex: u48,
      conflictTerm: u48,
    },
  }).map(([type, fields]) => tagged(type, fields)),
) as unknown as fc.Arbitrary<RaftMessage>;

const typed = <T extends Record<string, fc.Arbitrary<unknown>>>(type: string, fields: T) =>
  fc.record({ type: fc.constant(type), ...fields });
const request = fc.oneof(
  typed('propose', { origin, body }),
  typed('pull', { from: u48, maxBytes: u32 }),
  typed('contact', {}),
);
const reply = fc.oneof(
  typed('proposed', { index: u48 }),
  typed('entries', { entries: list(entry), commit: u48 }),
  typed('contact', { term: u48 }),
  typed('notLeader', { leader: u32 }),
  typed('refusal', { code: fc.constantFrom('busy', 'unsupported', 'usage'), text }),
);
const alert = {
  observer: u32,
  subject: u32,
  subjectIncarnation: u32,
  down: flag,
  refused: flag,
  epoch: u48,
};
const control = fc.oneof(
  fc.record({ kind: fc.constant('raft'), message: raft }),
  fc.record({ kind: fc.constant('alert'), ...alert }),
  fc.record({ kind: fc.constant('digest'), applied: u48, auditIndex: u48, auditHash: text }),
  fc.record({ kind: fc.constant('request'), id: u32, body: request }),
  fc.record({ kind: fc.constant('reply'), id: u32, body: reply }),
) as unknown as fc.Arbitrary<ControlMessage>;

const regions = { ownLow: u32, ownHigh: u32, closed: u48, openLow: u32, openHigh: u32 };
const place = { generation: u32, index: u32, family: u32, partition: u32 };
const kind = fc.constantFrom('data', 'zero');
const member = fc.record({ peer: text, addresses: fc.array(text, { maxLength: 16 }) });

// Each codec with its values; the types are those of the codecs, the arbitraries only approximate them.
const codecs: readonly [
  string,
  fc.Arbitrary<unknown>,
  (value: never) => Uint8Array,
  (bytes: Uint8Array) => unknown,
][] = [
  ['entry', entry, encodeEntry, decodeEntry],
  ['control', control, encodeControl, decodeControl],
  [
    'join request',
    fc.record({
      clusterId: text,
      inviteId: text,
      secret: text,
      addresses: fc.array(text, { maxLength: 16 }),
      zone: text,
      weight: u32,
      isWitness: flag,
      oldest: u16,
      newest: u16,
    }),
    encodeJoinRequest,
    decodeJoinRequest,
  ],
  [
    'join reply',
    fc.oneof(
      typed('joined', { node: u32, clusterId: text, members: list(member) }),
      typed('refused', { code: fc.constantFrom('wrong-cluster', 'refused'), text }),
    ),
    encodeJoinReply,
    decodeJoinReply,
  ],
  [
    'map delta',
    fc.record({ commit: u48, entries: list(entry), prevTerm: u48 }),
    encodeMapDelta,
    decodeMapDelta,
  ],
  ['alert rumour', fc.record({ ...alert, counter: u48 }), encodeAlertRumour, decodeAlertRumour],
  [
    'stats',
    fc.record({ node: u32, incarnation: u32, counter: u48, freeBytes: u48, load: u16 }),
    encodeStats,
    decodeStats,
  ],
  [
    'partition cfgs',
    list(fc.record({ p: u16, policy: u16, cfg: u32 })),
    payloads.encodePartitionCfgs,
    payloads.decodePartitionCfgs,
  ],
  [
    'rows',
    list(fc.record({ ...place, verToken: u32, verCount: u48, kind, ...regions })),
    payloads.encodeRows,
    payloads.decodeRows,
  ],
  [
    'object names',
    list(fc.record({ generation: u32, index: u32 })),
    payloads.encodeObjectNames,
    payloads.decodeObjectNames,
  ],
  [
    'equalise',
    list(
      fc.record({
        ...place,
        version: fc.record({ token: u32, count: u48 }),
        source: u32,
        kind,
        ...regions,
      }),
    ),
    payloads.encodeEqualise,
    payloads.decodeEqualise,
  ],
  [
    'closes',
    list(fc.record({ generation: u32, index: u32, count: u48 })),
    payloads.encodeCloses,
    payloads.decodeCloses,
  ],
  [
    'regions ask',
    fc.record({ low: u32, high: u32 }),
    payloads.encodeRegionsAsk,
    payloads.decodeRegionsAsk,
  ],
  [
    'ping',
    fc.record({
      freeBytes: u48,
      totalBytes: u48,
      appliedIndex: u48,
      lagMs: u16,
      storeGeneration: u32,
      journalSeq: u48,
      incarnation: u32,
    }),
    payloads.encodePingInfo,
    payloads.decodePingInfo,
  ],
  [
    'hello',
    fc.record({ version: u8, clusterId: text, node: u32, incarnation: u32, creditsBytes: u32 }),
    payloads.encodeHello,
    payloads.decodeHello,
  ],
];

/** fc.record makes objects without a prototype; codecs make plain ones. */
const plain = (value: unknown): unknown => structuredClone(value);

function refusesOrReads(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch (error) {
    return error instanceof OperatingError && error.code === 'bad-frame';
  }
}

for (const [name, arbitrary, encode, decode] of codecs) {
  test(`${name}: what is encoded decodes to the same`, (t) => {
    fc.assert(
      fc.property(arbitrary, (value) => {
        t.deepEqual(plain(decode(encode(value as never))), plain(value));
      }),
      runs,
    );
  });

  test(`${name}: mutated, cut and extended bytes are refused or read, nothing else`, (t) => {
    fc.assert(
      fc.property(arbitrary, fc.nat(), u8, fc.nat(), (value, at, byte, cut) => {
        const bytes = encode(value as never).slice();
        bytes[at % bytes.length] = byte;
        const isFine = refusesOrReads(() => decode(bytes));
        const whole = encode(value as never);
        const short = whole.subarray(0, cut % whole.length);
        return isFine && isRefused(() => decode(short)) && isRefused(() => decode(longer(whole)));
      }),
      runs,
    );
    t.pass();
  });

  test(`${name}: random bytes are refused or read, nothing else`, (t) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) =>
        refusesOrReads(() => decode(bytes)),
      ),
      runs,
    );
    t.pass();
  });
}

function isRefused(read: () => unknown): boolean {
  try {
    read();
    return false;
  } catch (error) {
    return error instanceof OperatingError && error.code === 'bad-frame';
  }
}

function longer(bytes: Uint8Array): Uint8Array {
  const more = new Uint8Array(bytes.length + 1);
  more.set(bytes);
  return more;
}

// ---------------------------------------------------------------------------------------------- frames

const frame: fc.Arbitrary<Frame> = fc
  .record({
    op: u8,
    status: u8,
    flags: fc.nat(255).map((flags) => flags & ~FLAG.SUMS),
    requestId: u32,
    generation: u32,
    index: u32,
    offset: fc.nat(2 ** 22),
    count: fc.nat(65536),
    cfg: u32,
    partition: u16,
    mapIndex: u48,
    token: u32,
    verToken: u32,
    verCount: u48,
    closed: u48,
    volume: u32,
    payload: fc.uint8Array({ maxLength: 2000 }),
    withSums: flag,
  })
  .map(({ withSums, ...fields }) => {
    const sums = withSums ? 4 * sectorsTouched(fields.offset, fields.count) : 0;
    const value = { ...emptyFrame(), ...fields, sums: new Uint8Array(sums).fill(7) } as Frame;
    if (sums > 0) value.flags |= FLAG.SUMS;
    if ((value.flags & FLAG.SECOND) !== 0) return value;
    const { op, status, flags, requestId, generation, index, offset, count, payload } = value;
    const base = { op, status, flags, requestId, generation, index, offset, count, payload };
    return { ...emptyFrame(), ...base, sums: value.sums };
  });

function bytesOf(value: Frame): Uint8Array {
  return new Uint8Array(Buffer.concat([encodeHeaders(value), value.payload]));
}

test('frames decode to what was encoded, however the stream is cut', (t) => {
  fc.assert(
    fc.property(
      fc.array(frame, { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 999 }),
      (frames, step) => {
        const stream = new Uint8Array(Buffer.concat(frames.map(bytesOf)));
        t.is(
          stream.length,
          frames.reduce((sum, value) => sum + frameBytes(value), 0),
        );
        const got: Frame[] = [];
        const assembler = new FrameAssembler((whole) => got.push(decodeFrame(whole)));
        for (let at = 0; at < stream.length; at += step) {
          const chunk = stream.slice(at, at + step);
          assembler.feed(chunk);
          chunk.fill(0xee);
        }
        t.deepEqual(got, frames);
      },
    ),
    runs,
  );
});

test('a frame with any byte changed is refused, but in what its own sums vouch for', (t) => {
  fc.assert(
    fc.property(frame, fc.nat(), fc.integer({ min: 1, max: 255 }), (value, place, change) => {
      const bytes = bytesOf(value);
      const at = place % bytes.length;
      bytes[at] = (bytes[at] as number) ^ change;
      const payloadAt = bytes.length - value.payload.length;
      // Payloads of frames without a second header (HELLO, PING) carry no sum; with a table, its sums check the data.
      const isVouched = (value.flags & FLAG.SECOND) !== 0;
      const isTable = value.sums.length > 0;
      if (at >= payloadAt && (!isVouched || isTable)) return true;
      if (!isVouched && isTable && at >= 32) return true;
      return isRefused(() => decodeFrame(bytes));
    }),
    runs,
  );
  t.pass();
});

test('random bytes are no frames, and a long length is refused before memory is taken', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => isRefused(() => decodeFrame(bytes))),
    runs,
  );
  const assembler = new FrameAssembler(() => t.fail('there is no frame'));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, MAX_FRAME_LENGTH + 1, true);
  t.true(isRefused(() => assembler.feed(length)));
});

test('a reply names its request and place, nothing more', (t) => {
  const request = {
    ...emptyFrame(),
    op: OP.READ,
    requestId: 9,
    offset: 4096,
    count: 512,
    closed: 5,
  };
  const answer = replyTo(request, STATUS.STALE);
  t.is(answer.op, OP.READ + 128);
  t.is(answer.status, STATUS.STALE);
  t.deepEqual([answer.requestId, answer.offset, answer.count, answer.closed], [9, 4096, 512, 0]);
});
