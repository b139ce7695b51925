// The bounds of bulk copies: how many at once, who first, how fast; and that a guest's wait passes them all.

import test from 'ava';
import { viewOf } from '../../src/core/cluster-state.ts';
import { START_RATE } from '../../src/core/pace.ts';
import { CALM } from '../../src/core/strain.ts';
import { KIB, MAX_PAYLOAD_BYTES, MIB } from '../../src/core/units.ts';
import {
  AT_ONCE,
  CopyStreams,
  MAX_STREAM_QUEUE,
  PIECE_BESIDE_GUESTS,
  UNHALTS,
} from '../../src/datapath/copy-streams.ts';
import { ViewCell } from '../../src/datapath/view-cell.ts';
import { clusterOf, entryBodies as make } from '../fixtures.ts';
import { FakeClock } from './fake-clock.ts';

function streamsOf(settings: Readonly<Record<string, string>> = {}) {
  const cell = clusterOf({ nodes: 3 });
  for (const [key, value] of Object.entries(settings)) cell.apply({ type: 'setting', key, value });
  const clock = new FakeClock();
  return { clock, streams: new CopyStreams({ clock, views: new ViewCell(viewOf(cell.state)) }) };
}

test('streams: no more than the limit at once; who waits is served by rank, then by arrival', (t) => {
  const { streams } = streamsOf();
  const begun: string[] = [];
  const releases = new Map<string, () => void>();
  const take = (name: string, rank: number) =>
    streams.whenIncoming(rank, (release) => {
      begun.push(name);
      releases.set(name, release);
    });
  for (const [name, rank] of [
    ['a', 4],
    ['b', 4],
    ['move', 4],
    ['bare', 2],
    ['bare2', 2],
    ['below', 1],
  ] as const) {
    t.true(take(name, rank));
  }
  t.deepEqual(begun, ['a', 'b']);
  t.is(streams.underWay.incoming, 2);
  take('guest', AT_ONCE);
  t.deepEqual(begun, ['a', 'b', 'guest'], 'a guest waits for no stream');
  releases.get('a')?.();
  releases.get('a')?.();
  t.deepEqual(begun.slice(3), ['below'], 'a stream is given back once');
  for (const name of ['b', 'below', 'bare', 'bare2']) releases.get(name)?.();
  t.deepEqual(begun.slice(3), ['below', 'bare', 'bare2', 'move']);
});

test('streams: the number is a setting, and what waits is bounded', (t) => {
  const { streams } = streamsOf({ 'recovery/outgoing': '1' });
  let begun = 0;
  const take = () => streams.whenOutgoing(3, () => (begun += 1));
  while (take());
  t.is(begun, 2, 'pieces of one object');
  t.is(streams.underWay.outgoing, 2);
  let refused = 0;
  for (let i = 0; i < 3; i += 1) if (!take()) refused += 1;
  t.is(refused, 3);
  t.true(MAX_STREAM_QUEUE > 0);
  t.true(streams.whenOutgoing(AT_ONCE, () => (begun += 1)));
  t.is(begun, 3);
});

test('streams: beside a guest copies are paced and travel in small pieces; what it waits for is not', (t) => {
  const { streams, clock } = streamsOf();
  t.is(streams.pieceBytes, MAX_PAYLOAD_BYTES);
  t.is(streams.rate, Number.POSITIVE_INFINITY);
  streams.hearGateway(CALM);
  t.is(streams.rate, START_RATE);
  t.is(streams.pieceBytes, PIECE_BESIDE_GUESTS);
  let copied = 0;
  const copy = (rank: number, bytes: number) =>
    streams.whenPaced(rank, bytes, () => {
      copied += bytes;
    });
  copy(AT_ONCE, 64 * MIB);
  t.is(copied, 64 * MIB);
  for (let i = 0; i < 32; i += 1) copy(2, MIB);
  clock.run(500);
  const paced = copied - 64 * MIB;
  t.true(paced > 4 * MIB && paced < 16 * MIB, `${paced / MIB} MiB in half a second`);
  t.is(streams.strainServed, CALM, 'it tells those who copy from here');
  const before = copied;
  copy(UNHALTS, 64 * MIB);
  t.is(copied - before, 64 * MIB, 'nor is what would let guests go on');
});

test('streams: a manual rate holds without guests; holes are given back', (t) => {
  const { streams, clock } = streamsOf({ 'recovery/rate': String(MIB) });
  t.is(streams.rate, MIB);
  const moments: number[] = [];
  const since = clock.now();
  for (let i = 0; i < 8; i += 1) {
    streams.whenPaced(2, MIB, () => moments.push(clock.now() - since));
    streams.unspent(2, MIB - 4 * KIB);
  }
  clock.run(500);
  t.is(moments.length, 8, 'eight objects of one sector each are no megabytes');
});

// A guest's latency is judged by what it is while nothing is copied: a volume that moves is no such time.
test('streams: what guests feel while a volume moves does not become what is usual', (t) => {
  const cell = clusterOf({ nodes: 3 });
  cell.apply(make.volumeCreate());
  cell.apply({ type: 'policyCreate', copies: 1, minCopies: 1, strict: false });
  const clock = new FakeClock();
  const views = new ViewCell(viewOf(cell.state));
  const streams = new CopyStreams({ clock, views });
  const feels = (ms: number): void => {
    for (let i = 0; i < 100; i += 1) {
      streams.noteGuest(ms, 4 * KIB);
      clock.run(20);
    }
  };
  feels(1);
  cell.apply(make.moveStart({ token: 0, policy: 1 }));
  views.set(viewOf(cell.state));
  feels(4);
  feels(4);
  t.true(streams.strainTold > 3 * CALM, `${streams.strainTold}`);
  t.true(streams.rate < START_RATE);
  cell.apply(make.moveCancel({ token: 0 }));
  views.set(viewOf(cell.state));
  feels(4);
  feels(4);
  t.true(streams.strainTold < 2 * CALM, 'it is usual now');
});
