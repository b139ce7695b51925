// Long runs: what is played in which order, what is kept between soaks, what is said meanwhile.

import test from 'ava';
import { parseSeeds, seedsThatFailed } from '../../sim/known-seeds.ts';
import { Progress } from '../../sim/progress.ts';
import { NOTHING } from '../../sim/reach/reached.ts';
import { scenarioNamed } from '../../sim/scenario-list.ts';
import {
  DAY_NEEDS_MS,
  newRecord,
  nextSeed,
  parseRecord,
  sayRecord,
  tableOf,
  totalsOf,
  withRun,
} from '../../sim/soak-record.ts';
import { drawnStory, everything, seedsOf } from '../../sim/what-to-play.ts';

const HOUR_MS = 3_600_000;

test('what failed once comes first, then every story, then drawn clusters', (t) => {
  const known = parseSeeds('# a comment\nswarm 34 # why\n\ntorn-write 7\n');
  t.deepEqual(known, [
    { story: 'swarm', seed: 34 },
    { story: 'torn-write', seed: 7 },
  ]);
  const all = [...everything({ first: 100, count: 3, known, stories: ['a', 'b'] })];
  t.deepEqual(all.slice(0, 4), [...known, { story: 'a', seed: 100 }, { story: 'b', seed: 100 }]);
  t.deepEqual(
    all.slice(4).map(({ seed }) => seed),
    [100, 101, 102],
  );
  for (let seed = 0; seed < 20; seed += 1) {
    t.truthy(scenarioNamed(drawnStory(seed)), 'a kind of cluster that there is');
    t.is(drawnStory(seed), drawnStory(seed + 10));
  }
  t.is([...seedsOf(['a', 'b'], 5, 2)].length, 4);
});

test('every seed that ever failed is of a story that exists', (t) => {
  for (const { story, seed } of seedsThatFailed()) {
    t.truthy(scenarioNamed(story), story);
    t.true(Number.isInteger(seed));
  }
});

function soaked(runs: number, leftMs: number, from = newRecord(1000)) {
  let record = from;
  const seeds: string[] = [];
  for (let i = 0; i < runs; i += 1) {
    const next = nextSeed(record, leftMs);
    seeds.push(`${next.story} ${next.seed}`);
    const { story, seed } = next;
    record = withRun(
      next.record,
      { story, seed, failure: undefined, simulatedMs: HOUR_MS / 2, reached: NOTHING },
      'c1',
    );
  }
  return { record, seeds };
}

test('a soak mixes lengths, and plays no seed of a story twice, over soaks', (t) => {
  const one = soaked(3000, DAY_NEEDS_MS);
  const again = parseRecord(JSON.stringify(one.record));
  const two = soaked(100, DAY_NEEDS_MS, again);
  t.is(new Set([...one.seeds, ...two.seeds]).size, 3100);
  const { stories } = one.record;
  t.is(stories['a-day']?.runs, 10);
  t.is(stories['an-hour']?.runs, 75);
  t.is(stories['swarm']?.runs, 125);
  t.is(stories['swarm-rare']?.runs, 75);
  t.is(stories['snapshots']?.runs, 150);
  t.is(stories['migration-broken']?.runs, 75);
  t.true((stories['swarm-small']?.runs ?? 0) > 1400);
  t.is(totalsOf(two.record).runs, 3100);
  for (const story of Object.keys(stories)) t.truthy(scenarioNamed(story), story);
});

test('a soak of minutes begins no day', (t) => {
  t.is(soaked(500, DAY_NEEDS_MS - 1).record.stories['a-day'], undefined);
});

test('a failure is kept with its commit, and told with the line that replays it', (t) => {
  const failed = { story: 'swarm', seed: 77, failure: 'A1: two leaders\n    at x', simulatedMs: 1 };
  const record = withRun(newRecord(1), { ...failed, reached: NOTHING }, 'abc');
  const kept = parseRecord(JSON.stringify(record));
  t.deepEqual(kept?.failures, [
    { story: 'swarm', seed: 77, commit: 'abc', reason: 'A1: two leaders' },
  ]);
  const said = sayRecord(record).join('\n');
  t.regex(said, /at commit abc: npm run sim -- --seed 77 --scenario swarm/);
  t.regex(said, /1 failed/);
  t.is(parseRecord('{"format":2}'), undefined);
  t.is(parseRecord('no JSON'), undefined);
});

test('the counts are a table of a document, with nothing of the host in it', (t) => {
  const { record } = soaked(30, 0);
  const [head = '', , ...rows] = tableOf({ ...record, stories: { ...record.stories } });
  t.regex(head, /story .* seeds .* simulated hours/);
  t.true(rows.includes('| an-hour | 1 | 0.5 | 0.50 | 0 |'), rows.join('\n'));
  t.is(rows.at(-1), '| all, at 1 commits | 30 | 15.0 |  | 0 |');
});

test('progress is said now and then, with what is left', (t) => {
  let nowMs = 0;
  const lines: string[] = [];
  const progress = new Progress(
    100,
    (line) => lines.push(line),
    () => nowMs,
  );
  const standing = { runs: 50, failed: 0, simulatedMs: HOUR_MS };
  nowMs = 9_000;
  progress.note(standing);
  t.deepEqual(lines, []);
  nowMs = 100_000;
  progress.note(standing);
  progress.note(standing);
  t.is(lines.length, 1);
  t.regex(lines[0] ?? '', /50 runs, 0 failed, 0\.5 seeds\/s, 1\.00 simulated hours .* 2 min to go/);
});
