// Control requests and rumours between nodes in memory.

import test from 'ava';
import { hasCode, OperatingError } from '../../src/core/errors.ts';
import type { Epoch, Incarnation, MapIndex, NodeId, PeerKey } from '../../src/core/ids.ts';
import type { LogEntry } from '../../src/core/log-entry.ts';
import { ControlRpc, MAX_SERVED_PER_PEER } from '../../src/p2p/control-rpc.ts';
import { Gossip, MAX_RUMOURS_PER_SECOND } from '../../src/p2p/gossip.ts';
import { type GossipTopic, MAX_GOSSIP_BYTES, type Network } from '../../src/ports/ports.ts';
import { encodeControl, type ReplyBody } from '../../src/wire/messages.ts';
import { createTestClock } from './memory-network.ts';
import { createTestTrace } from './network-fixtures.ts';

const A = 'a' as PeerKey;
const B = 'b' as PeerKey;

/** Two networks that hand over messages and rumours within the tick. */
function createPair() {
  const clock = createTestClock();
  const trace = createTestTrace();
  const handlers = new Map<PeerKey, (peer: PeerKey, message: Uint8Array) => void>();
  const rumours: { topic: GossipTopic; payload: Uint8Array }[] = [];
  let onGossip: (topic: GossipTopic, payload: Uint8Array) => void = () => undefined;
  const networkOf = (self: PeerKey) =>
    ({
      self,
      send: (peer: PeerKey, message: Uint8Array) => {
        const handler = handlers.get(peer);
        if (handler !== undefined) clock.soon(() => handler(self, message));
        return handler !== undefined;
      },
      onMessage: (fn: (peer: PeerKey, message: Uint8Array) => void) => handlers.set(self, fn),
      publish: (topic: GossipTopic, payload: Uint8Array) => rumours.push({ topic, payload }),
      onGossip: (fn: typeof onGossip) => {
        onGossip = fn;
      },
    }) as unknown as Network;
  const hear = (topic: GossipTopic, payload: Uint8Array) => onGossip(topic, payload);
  return { clock, trace, networkOf, handlers, rumours, hear };
}

function createRpcs() {
  const pair = createPair();
  const { clock, trace } = pair;
  const a = new ControlRpc({ network: pair.networkOf(A), clock, trace });
  const b = new ControlRpc({ network: pair.networkOf(B), clock, trace });
  return { ...pair, a, b };
}

test('a request is answered, a refusal keeps its code, silence is a time-out', async (t) => {
  const { a, b, clock } = createRpcs();
  b.onRequest(async (peer, body) => {
    t.is(peer, A);
    if (body.type === 'contact') return { type: 'contact', term: 5 };
    if (body.type === 'pull') throw new OperatingError('behind', 'not there yet');
    return new Promise(() => undefined);
  });
  const contact = a.request(B, { type: 'contact' }, 1000);
  const pull = a.request(B, { type: 'pull', from: 1 as MapIndex, maxBytes: 10 }, 1000);
  const origin = { node: 1 as NodeId, incarnation: 1 as Incarnation, counter: 1 };
  const late = a.request(B, { type: 'propose', origin, body: { type: 'noop' } }, 1000);
  const failed = t.throwsAsync(late);
  await clock.run();
  t.deepEqual(await contact, { type: 'contact', term: 5 });
  t.deepEqual(await pull, { type: 'refusal', code: 'behind', text: 'not there yet' });
  await clock.advance(1000);
  t.true(hasCode(await failed, 'timeout'));
  const gone = await t.throwsAsync(a.request('c' as PeerKey, { type: 'contact' }, 1000));
  t.true(hasCode(gone, 'unreachable'));
});

test('a reply counts only from the peer that was asked', async (t) => {
  const { a, clock, networkOf, handlers } = createRpcs();
  handlers.set(B, () => undefined);
  const c = new ControlRpc({ network: networkOf('c' as PeerKey), clock, trace: createTestTrace() });
  c.onRequest(async () => ({ type: 'contact', term: 1 }));
  const asked = a.request(B, { type: 'contact' }, 500);
  const failed = t.throwsAsync(asked);
  // The id of the request at B, guessed by C.
  handlers.get(A)?.(
    'c' as PeerKey,
    encodeControl({ kind: 'reply', id: 1, body: { type: 'contact', term: 9 } }),
  );
  await clock.advance(600);
  t.true(hasCode(await failed, 'timeout'));
});

test('notes arrive, bad bytes are dropped with a warning', async (t) => {
  const { a, b, clock, trace, handlers } = createRpcs();
  const notes: unknown[] = [];
  b.onNote((peer, note) => notes.push([peer, note]));
  const digest = { applied: 4, auditIndex: 0, auditHash: '' } as {
    applied: MapIndex;
    auditIndex: MapIndex;
    auditHash: string;
  };
  t.true(a.note(B, { kind: 'digest', ...digest }));
  handlers.get(B)?.(A, Uint8Array.of(1, 2, 3));
  handlers.get(B)?.(A, new Uint8Array(0));
  await clock.run();
  t.deepEqual(notes, [[A, { kind: 'digest', ...digest }]]);
  t.is(trace.warnings.length, 2);
});

test('requests that are being answered are bounded per peer', async (t) => {
  const { a, b, clock } = createRpcs();
  const waiting: ((reply: ReplyBody) => void)[] = [];
  b.onRequest(() => new Promise((resolve) => waiting.push(resolve)));
  const replies = Array.from({ length: MAX_SERVED_PER_PEER + 1 }, () =>
    a.request(B, { type: 'contact' }, 60_000),
  );
  await clock.run();
  t.is(waiting.length, MAX_SERVED_PER_PEER);
  t.deepEqual(await replies.at(-1), { type: 'refusal', code: 'busy', text: 'too many requests' });
  for (const resolve of waiting) resolve({ type: 'contact', term: 1 });
  await clock.run();
  await Promise.all(replies);
  const again = a.request(B, { type: 'contact' }, 60_000);
  await clock.run();
  t.is(waiting.length, MAX_SERVED_PER_PEER + 1);
  waiting.at(-1)?.({ type: 'contact', term: 2 });
  await clock.run();
  t.deepEqual(await again, { type: 'contact', term: 2 });
});

function entryOf(index: number, value: string): LogEntry {
  return {
    index: index as MapIndex,
    term: 1,
    origin: { node: 1 as NodeId, incarnation: 1 as Incarnation, counter: index },
    body: { type: 'setting', key: 'k', value },
  };
}

test('rumours fit their bound, arrive typed, and a flood is cut off', (t) => {
  const { clock, trace, networkOf, rumours, hear } = createPair();
  const entries: LogEntry[] = [];
  const others: unknown[] = [];
  const gossip = new Gossip(
    { network: networkOf(A), clock, trace },
    {
      map: (delta) => entries.push(...delta.entries),
      alert: (alert) => others.push(alert),
      stats: (stats) => others.push(stats.freeBytes),
    },
  );
  const all = Array.from({ length: 40 }, (_, at) => entryOf(at + 1, 'x'.repeat(4000)));
  gossip.publishMap({ commit: 40 as MapIndex, entries: all, prevTerm: 1 });
  const alert = {
    observer: 1 as NodeId,
    subject: 2 as NodeId,
    subjectIncarnation: 1 as Incarnation,
    down: true,
    refused: false,
    epoch: 3 as Epoch,
  };
  gossip.publishAlert(alert);
  gossip.publishStats({ node: 1 as NodeId, incarnation: 1 as Incarnation, freeBytes: 8, load: 1 });
  t.true(rumours.every(({ payload }) => payload.length <= MAX_GOSSIP_BYTES));
  for (const { topic, payload } of rumours) hear(topic, payload);
  t.deepEqual(entries, all);
  t.deepEqual(others, [{ ...alert, counter: 1 }, 8]);
  hear('map', Uint8Array.of(200));
  t.is(trace.warnings.length, 1);
  const stats = rumours.at(-1)?.payload as Uint8Array;
  for (let at = 0; at < MAX_RUMOURS_PER_SECOND * 2; at += 1) hear('stats', stats);
  t.true(others.length <= MAX_RUMOURS_PER_SECOND);
});
