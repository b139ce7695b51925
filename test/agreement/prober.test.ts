// Edges: lost after some pings, back after one, certain when a dial is refused; a late observer knows that it is one.

import test from 'ava';
import { LAG_ROUNDS, MAX_LAG_MS, PING_EVERY_MS, Prober } from '../../src/agreement/prober.ts';
import type { NodeId } from '../../src/core/ids.ts';
import type { PeerClients } from '../../src/p2p/rpc-client.ts';
import { type Frame, replyTo, STATUS } from '../../src/wire/frame.ts';
import { FakeClock } from '../datapath/fake-clock.ts';

const peer = 2 as NodeId;

/** A clock whose owner can be held up: time passes and no timer runs. */
class StallingClock extends FakeClock {
  #stalledMs = 0;

  override now(): number {
    return super.now() + this.#stalledMs;
  }

  stall(ms: number): void {
    this.#stalledMs += ms;
  }
}

function world() {
  const clock = new StallingClock();
  const edges: string[] = [];
  const state = { isDead: false, isOverdue: false, holdsBack: false, pongs: 0, pings: 0 };
  const held: (() => void)[] = [];
  const kept = new Set<NodeId>();
  const peers = {
    keepOpen: (node: NodeId) => kept.add(node),
    release: (node: NodeId) => kept.delete(node),
    isOverdue: () => state.isOverdue,
    request: (
      _node: NodeId,
      frame: Frame,
      _ms: number,
      done: (reply: Frame | undefined) => void,
    ) => {
      state.pings += 1;
      const reply = state.isDead ? undefined : replyTo(frame, STATUS.OK);
      if (state.holdsBack) held.push(() => done(reply));
      else done(reply);
    },
  } as unknown as PeerClients;
  const prober = new Prober({
    clock,
    peers,
    clusterSize: () => 3,
    onPong: () => {
      state.pongs += 1;
    },
    onEdge: (type, node) => edges.push(`${type} n${node}`),
  });
  prober.start();
  prober.observe([peer]);
  const pings = (count: number) => clock.run(count * PING_EVERY_MS);
  return { clock, prober, edges, state, held, kept, pings };
}

test('prober: an edge is lost once by some lost pings, and back once by answers (C1.2, C1.8)', (t) => {
  const { edges, state, pings } = world();
  pings(10);
  t.deepEqual(edges, []);
  t.is(state.pongs, 10);
  state.isDead = true;
  pings(1);
  t.deepEqual(edges, [], 'one lost ping is none');
  pings(9);
  t.deepEqual(edges, ['edge.lost n2']);
  state.isDead = false;
  pings(10);
  t.deepEqual(edges, ['edge.lost n2', 'edge.regained n2']);
});

test('prober: a refused dial is told at once, and taken back by an answer', (t) => {
  const { edges, prober, pings } = world();
  prober.refused(peer);
  t.deepEqual(edges, ['peer.refused n2']);
  pings(2);
  t.deepEqual(edges, ['peer.refused n2', 'edge.regained n2']);
  prober.refused(9 as NodeId);
  t.is(edges.length, 2, 'whom nobody observes is no edge');
});

test('prober: a new life starts with a clean window, late answers of the old one do not count', (t) => {
  const { edges, state, held, prober, pings } = world();
  state.isDead = true;
  state.holdsBack = true;
  pings(3);
  prober.forget(peer);
  state.holdsBack = false;
  state.isDead = false;
  for (const answer of held.splice(0)) answer();
  pings(3);
  t.deepEqual(edges, []);
});

test('prober: who is observed no more is not pinged, nor judged by what was under way', (t) => {
  const { edges, state, held, prober, pings } = world();
  state.isDead = true;
  state.holdsBack = true;
  pings(5);
  const { pings: before } = state;
  prober.observe([]);
  for (const answer of held.splice(0)) answer();
  pings(5);
  t.is(state.pings, before);
  t.deepEqual(edges, []);
});

test('prober: a late observer distrusts itself for a while (C1.3)', (t) => {
  const { clock, prober, pings } = world();
  pings(3);
  t.false(prober.isDistrustful());
  clock.stall(PING_EVERY_MS + MAX_LAG_MS + 1);
  pings(1);
  t.true(prober.isDistrustful());
  t.true(prober.worstLagMs > MAX_LAG_MS);
  pings(3);
  t.true(prober.isDistrustful(), 'while the lag is within the window that judges an edge');
  pings(2);
  t.false(prober.isDistrustful());
  t.true(prober.worstLagMs > MAX_LAG_MS, 'a pong tells of the last ten rounds');
  pings(LAG_ROUNDS);
  t.is(prober.worstLagMs, 0);
});

test('prober: who answers pings while a request hangs counts as lost (C1.7)', (t) => {
  const { edges, state, pings } = world();
  state.isOverdue = true;
  pings(2);
  t.deepEqual(edges, ['edge.lost n2']);
  state.isOverdue = false;
  pings(5);
  t.deepEqual(edges, ['edge.lost n2', 'edge.regained n2']);
});

test('prober: what a leader wants to know for itself is pinged, and told to nobody (C1.5)', (t) => {
  const { edges, state, prober, kept, pings } = world();
  const other = 7 as NodeId;
  prober.probe([other]);
  pings(5);
  t.false(prober.isLost(other));
  state.isDead = true;
  pings(3);
  t.true(prober.isLost(other));
  t.deepEqual(edges, ['edge.lost n2']);
  prober.probe([]);
  t.false(prober.isLost(other));
  t.deepEqual([...kept], [peer], 'its channel is kept no more');
});

test('prober: nothing is pinged after it stopped', (t) => {
  const { state, prober, pings } = world();
  pings(1);
  prober.stop();
  pings(10);
  t.is(state.pings, 1);
});

test('prober: it tells changes only: lost, regained, lost; an edge that begins anew is not lost (actors/peer.ts has no other arrows)', (t) => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const { edges, state, prober, pings } = world();
    let dice = seed;
    const draw = (sides: number): number => {
      dice = (Math.imul(dice, 1664525) + 1013904223) >>> 0;
      return (dice >>> 8) % sides;
    };
    let isLost = false;
    for (let step = 0; step < 60; step += 1) {
      const act = draw(10);
      if (act === 0) prober.refused(peer);
      else if (act === 1) prober.forget(peer);
      else if (act === 2) prober.observe([]);
      state.isDead = draw(2) === 0;
      state.isOverdue = draw(8) === 0;
      if (act === 1 || act === 2) isLost = false;
      if (act === 2) prober.observe([peer]);
      pings(1);
      for (const told of edges.splice(0)) {
        const [type] = told.split(' ');
        if (type === 'edge.lost') t.false(isLost, `seed ${seed} step ${step}: lost twice`);
        if (type === 'edge.regained') t.true(isLost, `seed ${seed} step ${step}: back twice`);
        isLost = type !== 'edge.regained';
      }
    }
  }
});
