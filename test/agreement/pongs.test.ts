// A pong that tells of a longer log makes its observer pull, but only what no rumour brought.

import test from 'ava';
import { PONG_PULL_AFTER_MS, Pongs } from '../../src/agreement/pongs.ts';
import type { Incarnation, MapIndex, NodeId } from '../../src/core/ids.ts';
import { emptyFrame, type Frame, OP, replyTo, STATUS } from '../../src/wire/frame.ts';
import { encodePingInfo } from '../../src/wire/payloads.ts';
import { FakeClock } from '../datapath/fake-clock.ts';

const from = 2 as NodeId;

function pong(appliedIndex: number): Frame {
  const reply = replyTo({ ...emptyFrame(), op: OP.PING }, STATUS.OK);
  const disk = { storeGeneration: 1, journalSeq: 7, incarnation: 2 as Incarnation };
  const sizes = { freeBytes: 1, totalBytes: 1, lagMs: 0, ...disk };
  reply.payload = encodePingInfo({ ...sizes, appliedIndex: appliedIndex as MapIndex });
  return reply;
}

function world() {
  const clock = new FakeClock();
  const state = { applied: 10 };
  const pulls: number[] = [];
  const warnings: string[] = [];
  const disks: number[][] = [];
  const pongs = new Pongs({
    clock,
    trace: { event: () => {}, warn: (name) => warnings.push(name), count: () => {} },
    applied: () => state.applied,
    pull: (index) => pulls.push(index),
    onDisk: (node, { incarnation, journalSeq }) => disks.push([node, incarnation, journalSeq]),
  });
  return { clock, state, pulls, warnings, disks, pongs };
}

test('pongs: what is still missing after a while is pulled', (t) => {
  const { clock, pulls, pongs } = world();
  pongs.take(from, pong(11));
  pongs.take(from, pong(12));
  t.deepEqual(pulls, [], 'a rumour may be on its way');
  clock.run(PONG_PULL_AFTER_MS);
  pongs.take(from, pong(12));
  t.deepEqual(pulls, [12]);
});

test('pongs: what came by itself is not pulled, nor what nobody has', (t) => {
  const { clock, state, pulls, pongs } = world();
  pongs.take(from, pong(11));
  clock.run(PONG_PULL_AFTER_MS);
  state.applied = 11;
  pongs.take(from, pong(12));
  pongs.take(from, pong(9));
  t.deepEqual(pulls, []);
});

test('pongs: nonsense is named and costs nothing', (t) => {
  const { pulls, warnings, pongs } = world();
  pongs.take(from, { ...pong(11), payload: new Uint8Array(3) });
  t.deepEqual(pulls, []);
  t.deepEqual(warnings, ['ping.bad']);
});

test('pongs: what a subject says of its disk is handed on, also by one that is behind (C1.9)', (t) => {
  const { disks, pongs } = world();
  pongs.take(from, pong(3));
  t.deepEqual(disks, [[2, 2, 7]]);
});
