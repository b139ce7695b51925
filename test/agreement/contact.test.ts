// Who has an alert to send asks the voters first (C1.3), and must not wait for the one that died.

import test from 'ava';
import { CONTACT_FRESH_MS, Contact, doAnswer } from '../../src/agreement/contact.ts';
import type { NodeId } from '../../src/core/ids.ts';
import { FakeClock } from '../datapath/fake-clock.ts';

const yes = () => Promise.resolve('here');
const no = () => Promise.reject(new RangeError('unreachable'));
const silent = () => new Promise<never>(() => {});

test('enough answers are enough: nobody waits for a voter that is dead', async (t) => {
  t.true(await doAnswer([silent(), yes()], 1));
  t.true(await doAnswer([yes(), silent(), yes(), silent()], 2));
});

test('too few left is known at once, too', async (t) => {
  t.false(await doAnswer([no(), silent()], 2));
  t.false(await doAnswer([no(), no()], 1));
  t.false(await doAnswer([], 1));
});

test('one failure does not decide while another may answer', async (t) => {
  t.true(await doAnswer([no(), yes()], 1));
});

test('a node that is a majority by itself asks nobody', async (t) => {
  t.true(await doAnswer([], 0));
});

test('many alerts of one moment ask the voters once; a later one asks again', async (t) => {
  const clock = new FakeClock();
  const asked: number[] = [];
  let isThere = true;
  const contact = new Contact({
    self: 9 as NodeId,
    clock,
    voters: () => [1, 2, 3] as NodeId[],
    ask: (voter) => {
      asked.push(voter);
      return isThere ? yes() : no();
    },
  });
  const answers = await Promise.all([1, 2, 3].map(() => contact.isMajorityInReach()));
  t.deepEqual(answers, [true, true, true]);
  t.deepEqual(asked, [1, 2, 3]);
  isThere = false;
  t.true(await contact.isMajorityInReach());
  clock.run(CONTACT_FRESH_MS);
  t.false(await contact.isMajorityInReach());
  t.is(asked.length, 6);
});

test('a voter counts itself', async (t) => {
  const asked: number[] = [];
  const contact = new Contact({
    self: 2 as NodeId,
    clock: new FakeClock(),
    voters: () => [1, 2, 3] as NodeId[],
    ask: (voter) => {
      asked.push(voter);
      return voter === 1 ? yes() : silent();
    },
  });
  t.true(await contact.isMajorityInReach());
  t.deepEqual(asked, [1, 3]);
});
