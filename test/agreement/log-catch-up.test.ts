// A node that starts asks several members how far they are and one for the log: eight copies of a long log are no help.

import test from 'ava';
import { catchUpLog, MAX_CATCH_UP_SOURCES } from '../../src/agreement/log-catch-up.ts';
import { OperatingError } from '../../src/core/errors.ts';
import type { MapIndex, PeerKey } from '../../src/core/ids.ts';
import type { ReplyBody } from '../../src/wire/messages.ts';
import { SeededRandom } from '../datapath/fake-clock.ts';

const members = (count: number) => Array.from({ length: count }, (_, i) => `m${i}` as PeerKey);
const entries = (commit: number): ReplyBody => ({
  type: 'entries',
  entries: [],
  commit: commit as MapIndex,
});

function world(count: number, answer: (peer: PeerKey) => Promise<ReplyBody>) {
  const asked: PeerKey[] = [];
  const reached: [number, PeerKey][] = [];
  const run = (seed = 1) =>
    catchUpLog({
      sources: members(count),
      random: new SeededRandom(seed),
      ask: async (peer, body) => {
        asked.push(peer);
        mustBeSmall(body.type === 'pull' && body.maxBytes === 0);
        return answer(peer);
      },
      reach: async (index, source) => {
        reached.push([index, source]);
      },
    });
  return { asked, reached, run };
}

/** The question must be the small one. */
function mustBeSmall(isSmall: boolean): void {
  if (!isSmall) throw new RangeError('the whole log was asked for');
}

test('several are asked, each only how far it is', async (t) => {
  const { asked, reached, run } = world(30, async () => entries(700));
  t.true(await run());
  t.is(asked.length, MAX_CATCH_UP_SOURCES);
  t.is(new Set(asked).size, MAX_CATCH_UP_SOURCES);
  t.true(reached.every(([index]) => index === 700));
});

test('one that answers is enough: nobody waits for the dead', async (t) => {
  const { reached, run } = world(5, async (peer) => {
    if (peer === 'm3') return entries(9);
    if (peer === 'm4') return new Promise<never>(() => {});
    throw new OperatingError('unreachable', 'gone');
  });
  t.true(await run());
  t.deepEqual(reached, [[9, 'm3' as PeerKey]]);
});

test('nobody answers: it says so; a refusal is no answer', async (t) => {
  const silent = world(3, async () => Promise.reject(new OperatingError('timeout', 'silent')));
  t.false(await silent.run());
  const refusing = world(3, async () => ({ type: 'refusal', code: 'busy', text: 'busy' }));
  t.false(await refusing.run());
  t.deepEqual(refusing.reached, []);
});

test('a node that is alone has nothing to catch up; a bug does not pass for silence', async (t) => {
  t.true(await world(0, async () => entries(1)).run());
  const broken = world(2, async () => Promise.reject(new RangeError('bug')));
  await t.throwsAsync(broken.run(), { instanceOf: RangeError });
});

test('others are asked each time', async (t) => {
  const { asked, run } = world(100, async () => entries(1));
  for (let seed = 1; seed <= 5; seed += 1) await run(seed);
  t.true(new Set(asked).size > MAX_CATCH_UP_SOURCES);
});
