// Who has an alert to send asks the voters first (C1.3), and must not wait for the one that died.

import test from 'ava';
import { doAnswer } from '../../src/agreement/contact.ts';

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
