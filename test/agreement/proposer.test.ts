// A proposal is applied once, answered with its own result, and given up in time, whoever leads and whatever is lost.

import test from 'ava';
import {
  MAX_PROPOSALS_IN_FLIGHT,
  PROPOSE_TIMEOUT_MS,
  PROPOSE_TRY_MS,
  Proposer,
} from '../../src/agreement/proposer.ts';
import type { ProposeOutcome, RaftDriver } from '../../src/agreement/raft-driver.ts';
import { hasCode, OperatingError } from '../../src/core/errors.ts';
import type { Incarnation, MapIndex, NodeId } from '../../src/core/ids.ts';
import type { ApplyResult, EntryOrigin } from '../../src/core/log-entry.ts';
import type { ClusterState } from '../../src/core/state.ts';
import type { ReplyBody } from '../../src/wire/messages.ts';
import { settle } from '../actors/hand-clock.ts';
import { FakeClock } from '../datapath/fake-clock.ts';

const self = 4 as NodeId;
const body = { type: 'noop' } as const;
const ok: ApplyResult = { code: 'ok', value: 0, detail: '' };

/** A node whose log the test is: what was handed in, and what is applied when. */
function world() {
  const clock = new FakeClock();
  const handedIn: EntryOrigin[] = [];
  const asked: number[] = [];
  const pulled: string[] = [];
  const state = {
    role: 'leader',
    leader: undefined as NodeId | undefined,
    life: 1 as Incarnation,
    /** What another node answers; undefined: nothing. */
    answer: (_node: NodeId): ReplyBody | undefined => undefined,
  };
  const driver = {
    get role() {
      return state.role;
    },
    get leader() {
      return state.leader;
    },
    propose: (origin: EntryOrigin): ProposeOutcome => {
      handedIn.push(origin);
      return { index: handedIn.length };
    },
  } as unknown as RaftDriver;
  const proposer = new Proposer({
    self,
    incarnation: () => state.life,
    clock,
    driver,
    voters: () => [1, 2, 3] as NodeId[],
    ask: async (node, request) => {
      asked.push(node);
      const reply = state.answer(node);
      if (reply === undefined) throw new OperatingError('unreachable', `n${node}`);
      if (reply.type === 'proposed' && request.type === 'propose') handedIn.push(request.origin);
      return reply;
    },
    pull: (index, from) => pulled.push(`${index} from n${from}`),
  });
  const apply = async (origin: EntryOrigin, result = ok) => {
    proposer.noteApplied({ index: 1 as MapIndex, term: 1, origin, body }, result);
    await settle();
  };
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 50) {
      clock.run(50);
      await settle();
    }
  };
  return { clock, proposer, handedIn, asked, pulled, state, apply, pass };
}

test('proposer: the answer is what applying the entry on this node did', async (t) => {
  const { proposer, handedIn, apply } = world();
  const answer = proposer.propose(body);
  await settle();
  await apply(handedIn[0] as EntryOrigin, { ...ok, value: 7 });
  t.is((await answer).value, 7);
});

test('proposer: every try has the same counter, so that nothing is applied twice (C2.5)', async (t) => {
  const { proposer, handedIn, pass, apply } = world();
  const answer = proposer.propose(body);
  await pass(3 * PROPOSE_TRY_MS);
  t.true(handedIn.length >= 3);
  t.is(new Set(handedIn.map((origin) => origin.counter)).size, 1);
  await apply(handedIn[0] as EntryOrigin);
  t.is((await answer).code, 'ok');
});

test('proposer: an entry of a former life of this node answers nobody', async (t) => {
  const { proposer, handedIn, apply, state } = world();
  state.life = 2 as Incarnation;
  const answer = proposer.propose(body);
  await settle();
  const origin = handedIn[0] as EntryOrigin;
  await apply({ ...origin, incarnation: 1 as Incarnation }, { ...ok, value: 111 });
  await apply({ ...origin, node: 9 as NodeId }, { ...ok, value: 222 });
  await apply(origin, { ...ok, value: 7 });
  t.is((await answer).value, 7);
});

test('proposer: without an answer it gives up in time, and says that nobody decided', async (t) => {
  const { proposer, pass } = world();
  const answer = t.throwsAsync(proposer.propose(body, 2000));
  await pass(4000);
  t.true(hasCode(await answer, 'no-quorum'));
});

test('proposer: a burst keeps to the window, and all of it is answered (D9)', async (t) => {
  const { proposer, handedIn, apply } = world();
  const count = 4 * MAX_PROPOSALS_IN_FLIGHT;
  const answers = Array.from({ length: count }, () => proposer.propose(body));
  await settle();
  t.is(handedIn.length, MAX_PROPOSALS_IN_FLIGHT);
  for (let done = 0; done < count; done += 1) {
    const origin = handedIn[done];
    if (origin === undefined) return t.fail(`nobody followed after ${done}`);
    await apply(origin);
  }
  t.is((await Promise.all(answers)).length, count);
});

test('proposer: the end of the oldest one lets as many in as the window then holds', async (t) => {
  const { proposer, handedIn, apply } = world();
  const answers = Array.from({ length: 2 * MAX_PROPOSALS_IN_FLIGHT }, () => proposer.propose(body));
  await settle();
  const [oldest, ...others] = [...handedIn];
  for (const origin of others) await apply(origin);
  t.is(handedIn.length, MAX_PROPOSALS_IN_FLIGHT, 'the window hangs on the oldest one');
  await apply(oldest as EntryOrigin);
  // One wakes the next.
  for (let turns = 0; turns < 4; turns += 1) await settle();
  t.is(handedIn.length, 2 * MAX_PROPOSALS_IN_FLIGHT);
  for (const origin of handedIn.slice(MAX_PROPOSALS_IN_FLIGHT)) await apply(origin);
  await Promise.all(answers);
});

test('proposer: who waits for a place waits no longer than for an answer', async (t) => {
  const { proposer, pass, clock } = world();
  const held = Array.from({ length: MAX_PROPOSALS_IN_FLIGHT }, () =>
    t.throwsAsync(proposer.propose(body, PROPOSE_TIMEOUT_MS)),
  );
  const late = t.throwsAsync(proposer.propose(body, 1000)).then(() => clock.now());
  await pass(2000);
  t.true((await late) <= 1100);
  await pass(2 * PROPOSE_TIMEOUT_MS);
  await Promise.all(held);
});

test('proposer: abandoned proposals leave the window, late results of theirs harm nobody', async (t) => {
  const { proposer, handedIn, pass, apply } = world();
  const lost = Array.from({ length: MAX_PROPOSALS_IN_FLIGHT }, () =>
    t.throwsAsync(proposer.propose(body, 1000)),
  );
  await pass(3000);
  await Promise.all(lost);
  const before = handedIn.length;
  const answer = proposer.propose(body);
  await settle();
  await apply(handedIn[0] as EntryOrigin, { ...ok, value: 111 });
  await apply(handedIn[before] as EntryOrigin, { ...ok, value: 7 });
  t.is((await answer).value, 7);
});

test('proposer: a node that hears no leader asks one voter after the other, then whom it was told', async (t) => {
  const { proposer, asked, pulled, state, pass, apply, handedIn } = world();
  state.role = 'learner';
  state.answer = (node) => {
    if (node === 1) return { type: 'notLeader', leader: 3 as NodeId };
    return node === 3 ? { type: 'proposed', index: 9 as MapIndex } : undefined;
  };
  const answer = proposer.propose(body);
  await pass(500);
  t.is(asked.at(-1), 3);
  t.deepEqual(pulled, ['9 from n3']);
  await apply(handedIn[0] as EntryOrigin);
  t.is((await answer).code, 'ok');
});

test('proposer: a leader that is dead by now is left for the other voters', async (t) => {
  const { proposer, asked, state, pass } = world();
  state.role = 'learner';
  state.answer = (node) => (node === 3 ? undefined : { type: 'notLeader', leader: 3 as NodeId });
  const answer = t.throwsAsync(proposer.propose(body, 2000));
  await pass(3000);
  t.true(new Set(asked).size === 3, `${asked}`);
  await answer;
});

test('proposer: stopping ends what is under way and what waits', async (t) => {
  const { proposer, pass } = world();
  const answers = Array.from({ length: 2 * MAX_PROPOSALS_IN_FLIGHT }, () =>
    t.throwsAsync(proposer.propose(body)),
  );
  await settle();
  proposer.stop();
  await pass(PROPOSE_TRY_MS);
  t.is((await Promise.all(answers)).length, 2 * MAX_PROPOSALS_IN_FLIGHT);
});

test('proposer: what a former life of this process proposed is in doubt after the state jumped (C2.5)', async (t) => {
  const { proposer, pass } = world();
  const answer = t.throwsAsync(proposer.propose(body, 60_000));
  await pass(100);
  const window = { incarnation: 2 as Incarnation, highest: 0, results: new Map() };
  proposer.noteInstalled({ proposals: new Map([[self, window]]) } as unknown as ClusterState);
  await pass(100);
  t.true(hasCode(await answer, 'no-quorum'));
});
