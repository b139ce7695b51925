// Rumours of the map log: at once after a silence, then once per MAP_NEWS_EVERY_MS, and none is left out.

import test from 'ava';
import { MAP_NEWS_EVERY_MS, MapNews } from '../../src/agreement/map-news.ts';
import type { MapIndex } from '../../src/core/ids.ts';
import type { LogEntry } from '../../src/core/log-entry.ts';
import { FakeClock } from '../datapath/fake-clock.ts';
import { NO_ORIGIN } from '../fixtures.ts';

function newsDesk({ base = 0 } = {}) {
  const clock = new FakeClock();
  const told: string[] = [];
  const entries = (first: number, last: number): LogEntry[] =>
    Array.from({ length: last - first + 1 }, (_, i) => {
      const index = (first + i) as MapIndex;
      return { index, term: 1, origin: NO_ORIGIN, body: { type: 'noop' } };
    });
  const news = new MapNews({
    clock,
    entries,
    termAt: (index) => (index < base ? undefined : 1),
    publish: ({ commit, entries: sent }) =>
      told.push(`${sent[0]?.index}-${sent.at(-1)?.index} of ${commit}`),
  });
  return { clock, told, news };
}

test('map news: after a silence an entry is told at once', (t) => {
  const { clock, told, news } = newsDesk();
  news.note(1, 3);
  t.deepEqual(told, ['1-3 of 3']);
  clock.run(MAP_NEWS_EVERY_MS);
  t.is(told.length, 1);
  news.note(4, 4);
  t.deepEqual(told, ['1-3 of 3', '4-4 of 4']);
});

test('map news: a burst is one rumour per pause, and every entry is in one of them', (t) => {
  const { clock, told, news } = newsDesk();
  for (let index = 1; index <= 100; index += 1) {
    news.note(index, index);
    clock.run(1);
  }
  clock.run(MAP_NEWS_EVERY_MS);
  t.true(told.length <= 7, told.join());
  let next = 1;
  for (const rumour of told) {
    const [first, last] = rumour.split(/-| of /).map(Number);
    t.is(first, next);
    next = (last ?? 0) + 1;
  }
  t.is(next, 101);
});

test('map news: nothing is told after the stop', (t) => {
  const { clock, told, news } = newsDesk();
  news.note(1, 1);
  news.note(2, 2);
  news.stop();
  clock.run(10 * MAP_NEWS_EVERY_MS);
  t.is(told.length, 1);
});

test('map news: what follows an entry that is compacted away is not told, only how far the log goes (section 6)', (t) => {
  const { told, news } = newsDesk({ base: 3 });
  news.note(3, 5);
  t.deepEqual(told, ['undefined-undefined of 5']);
});
