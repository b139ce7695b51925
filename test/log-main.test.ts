// `sheep log`: what it prints of a directory, that it changes nothing, and that the judge of histories sees a difference.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test from 'ava';
import { hasCode } from '../src/core/errors.ts';
import type { Incarnation, MapIndex, NodeId, PeerKey } from '../src/core/ids.ts';
import { formatEntry, writeFirstEntries } from '../src/formation.ts';
import { openFileDisk } from '../src/io/file-disk.ts';
import { createRealClock } from '../src/io/real-clock.ts';
import { printLog } from '../src/log-main.ts';
import { openRaftLog } from '../src/storage/raft-log-open.ts';
import { differences, type History } from './e2e/one-history.ts';
import { CLUSTER_ID } from './fixtures.ts';

/** A directory with a format, a member, and one entry that is not committed. */
async function directory(value: string): Promise<string> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-log-'));
  const log = await openRaftLog(openFileDisk(dir), createRealClock(), (error) => {
    throw error;
  });
  const first = { peerKey: 'peer-1' as PeerKey, addresses: [], zone: 'z', weight: 1 };
  await writeFirstEntries(log, formatEntry({ name: 'c', copies: 1 }, CLUSTER_ID), first);
  const origin = { node: 1 as NodeId, incarnation: 1 as Incarnation, counter: 1 };
  const body = { type: 'setting', key: 'k', value } as const;
  const entry = { index: 3 as MapIndex, term: 1, origin, body };
  await new Promise<void>((resolve) => log.append({ entries: [entry] }, resolve));
  await new Promise<void>((resolve) => log.stop(resolve));
  return dir;
}

function printed(...args: string[]): string {
  let text = '';
  const say = (more: string): void => {
    text += more;
  };
  printLog(args, { say, exists: fs.existsSync });
  return text;
}

test('sheep log prints index, term, type and hash, what is open, and the state; it changes nothing', async (t) => {
  const dir = await directory('v');
  const before = fs.readFileSync(path.join(dir, 'map.log'));
  const rows = printed(dir)
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t'));
  t.deepEqual(rows.map(([index, term, type]) => [index, term, type]).slice(0, 3), [
    ['1', '1', 'format'],
    ['2', '1', 'nodeJoin'],
    ['3', '1', 'setting'],
  ]);
  t.deepEqual(rows.map((row) => row[4]).slice(0, 3), [undefined, undefined, 'open']);
  t.deepEqual(rows[3]?.slice(0, 2), ['state', '2']);
  t.deepEqual(fs.readFileSync(path.join(dir, 'map.log')), before);
  t.deepEqual(fs.readdirSync(dir), ['map.log']);
  fs.rmSync(dir, { recursive: true });
});

test('sheep log: another value is another hash, the same is the same; no directory is made', async (t) => {
  const dirs = [await directory('v'), await directory('v'), await directory('w')];
  const [a, b, c] = dirs.map((dir) => printed(dir));
  t.is(a, b);
  t.not(a, c);
  const absent = path.join(os.tmpdir(), `sheep-absent-${process.pid}`);
  t.true(
    hasCode(
      t.throws(() => printed(absent)),
      'not-formatted',
    ),
  );
  t.false(fs.existsSync(absent));
  t.true(
    hasCode(
      t.throws(() => printed()),
      'usage',
    ),
  );
  t.regex(printed('--help'), /sheep log DIR/);
  for (const dir of dirs) fs.rmSync(dir, { recursive: true });
});

test('the judge of histories names an entry, and a state, that two nodes have otherwise', (t) => {
  const of = (
    entries: readonly [number, string][],
    commit: number,
    stateHash: string,
  ): History => ({
    entries: new Map(entries),
    commit,
    stateHash,
  });
  const one = of([[5, '1 noop a']], 5, 's5');
  t.deepEqual(differences([one, of([[6, '1 noop b']], 6, 's6'), one]), []);
  t.is(differences([one, of([[5, '2 noop a']], 6, 's6')]).length, 1);
  t.is(differences([one, of([[5, '1 noop a']], 5, 'other')]).length, 1);
});
