// When a node takes a snapshot of its map and cuts its log: by entries, or by bytes, since all of the log is in memory too.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { RaftDriver } from '../../src/agreement/raft-driver.ts';
import {
  dueBytes,
  MAX_LOG_BEFORE_SNAPSHOT_BYTES,
  NORMAL_PACE,
  SNAPSHOT_EVERY_BYTES,
  SNAPSHOT_EVERY_ENTRIES,
  SnapshotDuties,
} from '../../src/agreement/snapshots.ts';
import { MIB } from '../../src/core/units.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import { MapSnapshots } from '../../src/storage/map-snapshot.ts';
import type { RaftLog } from '../../src/storage/raft-log.ts';
import { clusterOf } from '../fixtures.ts';

/** A log of `usedBytes`; `cut` resolves with the index that it was cut at. */
function world(t: ExecutionContext) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-snapshots-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));
  const snapshots = new MapSnapshots(openFileDisk(folder));
  const log = { usedBytes: 0, commit: 1000, snapshots, entryAt: () => undefined };
  let noteCut: (index: number) => void = () => {};
  const cut = new Promise<number>((resolve) => {
    noteCut = resolve;
  });
  const driver = {
    firstIndex: 1,
    baseAt: (index: number) => ({ index, term: 1, voters: undefined }),
    compact: (index: number) => noteCut(index),
  } as unknown as RaftDriver;
  const duties = new SnapshotDuties({
    log: log as unknown as RaftLog,
    trace: { event: () => {}, warn: () => {}, count: () => {} },
    driver: () => driver,
    pace: NORMAL_PACE,
    ask: () => Promise.reject(new Error('nobody is asked')),
    leftBehind: () => undefined,
    onContradicted: () => {},
    expect: () => {},
  });
  return { log, duties, cut, snapshots };
}

test('a log of few large entries is cut by its bytes', async (t) => {
  const { log, duties, cut, snapshots } = world(t);
  const { state } = clusterOf({ nodes: 3 });
  log.usedBytes = SNAPSHOT_EVERY_BYTES - 1;
  duties.consider(250, state);
  t.false(snapshots.isWriting, 'not yet');
  log.usedBytes = SNAPSHOT_EVERY_BYTES;
  duties.consider(500, state);
  t.is(await cut, 500);
  t.is(snapshots.head?.index, 500);
});

test('a log of many small entries is cut by their number', async (t) => {
  const { duties, cut } = world(t);
  const { state } = clusterOf({ nodes: 3 });
  duties.consider(SNAPSHOT_EVERY_ENTRIES - 250, state);
  duties.consider(SNAPSHOT_EVERY_ENTRIES, state);
  t.is(await cut, SNAPSHOT_EVERY_ENTRIES);
});

test('a log is as long as the snapshot is large, within bounds', (t) => {
  t.is(dueBytes(0), SNAPSHOT_EVERY_BYTES);
  t.is(dueBytes(5 * MIB), 5 * MIB);
  t.is(dueBytes(64 * MIB), MAX_LOG_BEFORE_SNAPSHOT_BYTES);
});
