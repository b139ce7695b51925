// The root actor: a node announces itself until the map has it, follows its sessions, and stops in order.

import test from 'ava';
import { createActor } from 'xstate';
import { type Transition, watchActors } from '../../src/actors/inspect.ts';
import type { NodeInput } from '../../src/actors/node.ts';
import { ANNOUNCE_PAUSE_MS, nodeMachine } from '../../src/actors/node.ts';
import type { VdiLockInput } from '../../src/actors/vdi-lock.ts';
import type { Epoch, FencingToken, MapIndex, NodeId, SessionId } from '../../src/core/ids.ts';
import { createLogTrace } from '../../src/io/log-trace.ts';
import { FakeClock } from '../datapath/fake-clock.ts';
import { controlled, settle, under } from './hand-clock.ts';

const session = 5 as SessionId;

/** A session that holds its lock; what it is told goes to `log`. */
function lockInput(id: SessionId, log: string[], release: () => Promise<void>): VdiLockInput {
  const grant = { token: 3 as FencingToken, grantedAt: 3 as MapIndex, tookOver: false };
  return {
    id,
    judge: () => ({ kind: 'mine', grant }),
    acquire: async () => {},
    takeOver: async () => {},
    complete: async () => {},
    release: () => {
      log.push('release');
      return release();
    },
    session: {
      granted: () => log.push('granted'),
      standby: () => {},
      idle: () => {},
      lost: () => log.push('lost'),
    },
  };
}

function startNode() {
  const clock = new FakeClock();
  const announce = controlled();
  const close = controlled();
  const release = controlled();
  const log: string[] = [];
  const world = { isDisowned: true };
  const none = async () => {};
  const input: NodeInput = {
    announce: announce.run,
    isDisowned: () => world.isDisowned,
    close: () => {
      log.push('close');
      return close.run();
    },
    onFailed: () => log.push('failed'),
    warn: (what) => log.push(what),
    membership: { subjects: () => [], report: () => {} },
    voter: { votersDue: () => false, areFed: () => false, changeVoters: none, warn: () => {} },
    ring: {
      tally: () => {},
      verdictReady: () => false,
      isSuspicious: () => false,
      proposeDown: none,
      settle: () => {},
      rest: () => {},
      warn: () => {},
    },
    replicator: { changeDue: () => false, proposeChanges: none, warn: () => {} },
    scrub: { workDue: () => false, work: none, warn: () => {} },
    recovery: { workDue: () => false, work: none, warn: () => {} },
    lockOf: (id) => lockInput(id, log, release.run),
    onLockEnded: (id) => log.push(`lock ended ${id}`),
  };
  const unexpected: string[] = [];
  const moved: Transition[] = [];
  const inspect = watchActors({
    unexpected: ({ actor, on }) => unexpected.push(`${actor} ${on}`),
    moved: (transition) => moved.push(transition),
  });
  const actor = createActor(nodeMachine, { ...under(clock), id: 'node', input, inspect }).start();
  return {
    actor,
    announce,
    close,
    release,
    log,
    world,
    unexpected,
    moved,
    view: async () => {
      actor.send({ type: 'view.changed', epoch: 1 as Epoch });
      await settle();
    },
    send: async (type: 'lock.wanted' | 'session.drained') => {
      actor.send({ type, session });
      await settle();
    },
    stop: async () => {
      actor.send({ type: 'stop' });
      await settle();
    },
    pass: async (ms: number) => {
      clock.run(ms);
      await settle();
    },
  };
}

test('node: announces itself again and again until the map has it, with a pause after each failure', async (t) => {
  const { announce, world, pass, log } = startNode();
  await announce.fail();
  await pass(ANNOUNCE_PAUSE_MS - 1);
  t.is(announce.starts, 1);
  await pass(1);
  t.is(announce.starts, 2);
  world.isDisowned = false;
  await announce.finish();
  await pass(60_000);
  t.is(announce.starts, 2);
  t.deepEqual(log, ['node.announce.failed']);
});

test('node: whoever watches is told each change of state once, with its actor and event', async (t) => {
  const { announce, world, moved, pass } = startNode();
  world.isDisowned = false;
  await announce.finish();
  await pass(60_000);
  const root = moved.filter(({ actor }) => actor === 'node');
  t.deepEqual(root, [
    { actor: 'node', on: 'xstate.init', from: '', to: 'member.announcing' },
    { actor: 'node', on: root[1]?.on ?? '', from: 'member.announcing', to: 'member.up' },
  ]);
  t.regex(root[1]?.on ?? '', /^xstate\.done\.actor/);
  t.true(moved.some(({ actor, to }) => actor === 'voter' && to === 'learner'));
});

test('node: a change of state keeps the name of its line in the log', async (t) => {
  const { moved } = startNode();
  const lines: string[] = [];
  const trace = createLogTrace({ write: (line) => lines.push(line), level: 'event' });
  for (const transition of moved) trace.event('actor.moved', { ...transition });
  t.true(lines.length > 0);
  t.true(lines.every((line) => JSON.parse(line).event === 'actor.moved'));
});

test('node: called down while it lives, it announces itself anew (C4.2)', async (t) => {
  const { announce, world, view } = startNode();
  world.isDisowned = false;
  await announce.finish();
  await view();
  t.is(announce.starts, 1);
  world.isDisowned = true;
  await view();
  t.is(announce.starts, 2);
});

test('node: called down in the moment in which its announcement ends, it announces itself anew', async (t) => {
  const { announce, world, pass } = startNode();
  world.isDisowned = true;
  await announce.finish();
  await pass(0);
  t.is(announce.starts, 2);
});

test('node: a session has one lock actor, however often it wishes', async (t) => {
  const { send, log } = startNode();
  await send('lock.wanted');
  await send('lock.wanted');
  t.deepEqual(log, ['granted']);
});

test('node: a session that drains gives its lock back and is forgotten; later news of it harms nobody', async (t) => {
  const { send, log, release, view, unexpected } = startNode();
  await send('lock.wanted');
  await send('session.drained');
  await release.finish();
  t.deepEqual(log, ['granted', 'release', 'lock ended 5']);
  await send('session.drained');
  await view();
  t.is(log.length, 3);
  t.deepEqual(unexpected, []);
});

test('node: a session that drains while the node stops still gives its lock back', async (t) => {
  const { send, stop, release, close, log, actor } = startNode();
  await send('lock.wanted');
  await stop();
  t.deepEqual(log, ['granted', 'close']);
  await send('session.drained');
  await release.finish();
  t.deepEqual(log, ['granted', 'close', 'release', 'lock ended 5']);
  await close.finish();
  t.is(actor.getSnapshot().status, 'done');
});

test('node: what is told while it stops finds it stopping, and starts nothing', async (t) => {
  const { actor, stop, close, send, unexpected, log } = startNode();
  await stop();
  const node = 2 as NodeId;
  actor.send({ type: 'edge.lost', node });
  actor.send({ type: 'edge.regained', node });
  actor.send({ type: 'peer.refused', node });
  actor.send({ type: 'scrub.changed' });
  await send('lock.wanted');
  t.deepEqual(unexpected, []);
  t.deepEqual(log, ['close']);
  t.is(actor.getSnapshot().value, 'stopping');
  await close.finish();
  t.is(actor.getSnapshot().status, 'done');
});

test('node: stops also when closing failed, and says so', async (t) => {
  const { stop, close, log, actor } = startNode();
  await stop();
  await close.fail();
  t.is(actor.getSnapshot().status, 'done');
  t.deepEqual(log, ['close', 'failed']);
});

test('node: an event without a transition is noticed', (t) => {
  const { actor, unexpected } = startNode();
  actor.send({ type: 'nobody.knows' } as never);
  t.deepEqual(
    unexpected,
    ['node nobody.knows'].map((one) => one.replace('node', actor.id)),
  );
});
