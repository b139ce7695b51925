// Observers: a peer's suspicion and its end, and which peers have an actor.

import test from 'ava';
import { membershipMachine } from '../../src/actors/membership.ts';
import { ALERT_REPEAT_MS } from '../../src/actors/peer.ts';
import { startMachine } from './hand-clock.ts';

function watching(...nodes: number[]) {
  const reports: string[] = [];
  let subjects = nodes.map((node) => ({ node, incarnation: 1 }));
  const machine = startMachine(membershipMachine, {
    subjects: () => subjects,
    report: (word: { subject: number; incarnation: number; down: boolean; refused: boolean }) => {
      const kind = word.refused ? 'refused' : word.down ? 'down' : 'back';
      reports.push(`n${word.subject}.${word.incarnation} ${kind}`);
    },
  });
  return {
    ...machine,
    reports,
    take: () => reports.splice(0),
    view: async (next: { node: number; incarnation: number }[]) => {
      subjects = next;
      await machine.send({ type: 'view.changed', epoch: 1 });
    },
  };
}

test('peer: a suspicion is told at once and again until the edge is back', async (t) => {
  const { send, pass, take } = watching(2);
  await send({ type: 'edge.lost', node: 2 });
  await pass(2 * ALERT_REPEAT_MS);
  t.deepEqual(take(), ['n2.1 down', 'n2.1 down', 'n2.1 down']);
  await send({ type: 'edge.regained', node: 2 });
  await pass(10 * ALERT_REPEAT_MS);
  t.deepEqual(take(), ['n2.1 back', 'n2.1 back'], 'twice: the first one may be lost');
});

test('peer: lost again while its return is being told, it is suspected again', async (t) => {
  const { send, pass, take } = watching(2);
  await send({ type: 'edge.lost', node: 2 });
  await send({ type: 'edge.regained', node: 2 });
  await send({ type: 'edge.lost', node: 2 });
  await pass(ALERT_REPEAT_MS);
  t.deepEqual(take(), ['n2.1 down', 'n2.1 back', 'n2.1 down', 'n2.1 down']);
});

test('peer: a refused dial makes a suspicion certain, until the edge is back', async (t) => {
  const { send, take } = watching(2);
  await send({ type: 'edge.lost', node: 2 });
  await send({ type: 'peer.refused', node: 2 });
  await send({ type: 'edge.regained', node: 2 });
  await send({ type: 'edge.lost', node: 2 });
  t.deepEqual(take(), ['n2.1 down', 'n2.1 refused', 'n2.1 back', 'n2.1 down']);
});

test('membership: who is no subject any more is reported no more', async (t) => {
  const { send, pass, take, view } = watching(2, 3);
  await send({ type: 'edge.lost', node: 2 });
  take();
  await view([{ node: 3, incarnation: 1 }]);
  await pass(5 * ALERT_REPEAT_MS);
  await send({ type: 'edge.lost', node: 2 });
  t.deepEqual(take(), []);
  await send({ type: 'edge.lost', node: 3 });
  t.deepEqual(take(), ['n3.1 down']);
});

test('membership: a new life starts without the suspicion of the former one', async (t) => {
  const { send, pass, take, view } = watching(2);
  await send({ type: 'edge.lost', node: 2 });
  take();
  await view([{ node: 2, incarnation: 2 }]);
  await pass(5 * ALERT_REPEAT_MS);
  t.deepEqual(take(), []);
  await send({ type: 'edge.lost', node: 2 });
  t.deepEqual(take(), ['n2.2 down']);
});

test('membership: a view that changes nothing for a subject leaves its suspicion alone', async (t) => {
  const { send, pass, take, view } = watching(2);
  await send({ type: 'edge.lost', node: 2 });
  await view([
    { node: 2, incarnation: 1 },
    { node: 3, incarnation: 1 },
  ]);
  await pass(ALERT_REPEAT_MS);
  t.deepEqual(take(), ['n2.1 down', 'n2.1 down']);
});
