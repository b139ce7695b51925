// What a peer actor says of a neighbour that is lost and comes back, again and again: the prober tells it changes only
// (test/agreement/prober.test.ts), so nothing comes twice.

import test from 'ava';
import { createActor, setup } from 'xstate';
import { ALERT_REPEAT_MS, type PeerEvent, peerMachine } from '../../src/actors/peer.ts';
import type { Incarnation, NodeId } from '../../src/core/ids.ts';
import { FakeClock } from '../datapath/fake-clock.ts';
import { settle, under } from './hand-clock.ts';

/** A peer below a parent that hears what it says. */
function watchedPeer() {
  const clock = new FakeClock();
  const words: string[] = [];
  const parent = setup({ actors: { peer: peerMachine } }).createMachine({
    invoke: {
      src: 'peer',
      id: 'peer',
      input: { node: 2 as NodeId, incarnation: 1 as Incarnation },
    },
    on: {
      'peer.suspected': {
        actions: ({ event }) => words.push(event['refused'] === true ? 'refused' : 'down'),
      },
      'peer.cleared': { actions: () => words.push('back') },
    },
  });
  const root = createActor(parent, under(clock)).start();
  const child = () => root.getSnapshot().children['peer'];
  return {
    take: () => words.splice(0),
    state: () => child()?.getSnapshot().value,
    tell: async (type: PeerEvent['type']) => {
      child()?.send({ type });
      await settle();
    },
    pass: async (ms: number) => {
      clock.run(ms);
      await settle();
    },
  };
}

test('peer: a suspicion is told again each second, and a refused dial does not put that off for long', async (t) => {
  const { tell, take, state, pass } = watchedPeer();
  await tell('edge.lost');
  t.deepEqual(take(), ['down']);
  await pass(ALERT_REPEAT_MS);
  t.deepEqual(take(), ['down']);
  await tell('peer.refused');
  t.deepEqual(take(), ['refused']);
  await pass(ALERT_REPEAT_MS);
  t.deepEqual(take(), ['refused'], 'it stays what it was found to be');
  t.is(state(), 'suspect');
});

test('peer: whose return is being told may be lost again, or refuse a dial', async (t) => {
  const again = watchedPeer();
  await again.tell('edge.lost');
  await again.tell('edge.regained');
  t.is(again.state(), 'cleared');
  t.deepEqual(again.take(), ['down', 'back']);
  await again.tell('edge.lost');
  t.is(again.state(), 'suspect');
  t.deepEqual(again.take(), ['down']);
  await again.tell('edge.regained');
  await again.tell('peer.refused');
  t.is(again.state(), 'suspect');
  t.deepEqual(again.take(), ['back', 'refused']);
});
