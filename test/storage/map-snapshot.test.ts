// Snapshot and log together, on a disk that forgets: whatever the moment of a crash, the next start finds a pair that
// fits and holds all that was confirmed. And damage: what is left of a log, and who may start with it (C2.6).

import test, { type ExecutionContext } from 'ava';
import { type ClusterState, emptyState, hashOf } from '../../src/core/cluster-state.ts';
import { hasCode, OperatingError } from '../../src/core/errors.ts';
import type { NodeId } from '../../src/core/ids.ts';
import type { LogEntry } from '../../src/core/log-entry.ts';
import type { LogBase } from '../../src/core/raft/state.ts';
import { MAP_SNAPSHOT_PATH } from '../../src/storage/map-snapshot.ts';
import type { LogAppend, RaftLog } from '../../src/storage/raft-log.ts';
import { MAP_LOG_PATH } from '../../src/storage/raft-log-format.ts';
import {
  DAMAGED_LOG_PATH,
  DAMAGED_SNAPSHOT_PATH,
  DISTRUSTED_PATH,
  distrustMap,
  openRaftLog,
} from '../../src/storage/raft-log-open.ts';
import { encodeSnapshot } from '../../src/wire/snapshot-codec.ts';
import { clusterOf, StateCell } from '../fixtures.ts';
import { CrashWorld } from './crash-world.ts';

const VOTERS = [1, 2, 3] as NodeId[];
/** Entries of the history that all worlds write. */
const LENGTH = 400;

/** Entries 1.. and the state after each: three nodes, three voters unless told, then settings. */
function historyOf(voters = VOTERS): { entries: LogEntry[]; states: ClusterState[] } {
  const cell = clusterOf({ nodes: 3, partitions: 4 });
  const first = [1] as NodeId[];
  if (voters.length > 1) {
    cell.apply({ type: 'votersJoint', old: first, next: voters });
    cell.apply({ type: 'votersFinal', old: first, next: voters });
  }
  while (cell.entries.length < LENGTH) {
    cell.apply({
      type: 'setting',
      key: `k${cell.entries.length % 7}`,
      value: `${cell.entries.length}`,
    });
  }
  const states = [emptyState()];
  const again = new StateCell();
  for (const { body, origin } of cell.entries) {
    again.apply(body, origin);
    states.push(again.state);
  }
  return { entries: cell.entries, states };
}

const { entries: ENTRIES, states: STATES } = historyOf();

function baseAt(index: number): LogBase {
  return { index, term: 1, voters: { index: 2, voters: VOTERS, next: undefined } };
}

function snapshotAt(index: number): Uint8Array {
  return encodeSnapshot({ base: baseAt(index), state: STATES[index] as ClusterState });
}

async function open(world: CrashWorld, isMember = false): Promise<RaftLog | undefined> {
  let log: RaftLog | undefined;
  let failure: unknown;
  const failed = (error: Error): void => {
    failure = error;
  };
  openRaftLog(world.disk(), world.clock(), failed, isMember).then(
    (opened) => {
      log = opened;
    },
    (error: unknown) => {
      failure = error;
    },
  );
  await world.runUntil(() => log !== undefined || failure !== undefined);
  if (failure instanceof OperatingError) throw failure;
  return log;
}

async function append(world: CrashWorld, log: RaftLog, change: LogAppend): Promise<boolean> {
  let isDone = false;
  log.append(change, () => {
    isDone = true;
  });
  await world.runUntil(() => isDone);
  return isDone;
}

async function writeSnapshot(world: CrashWorld, log: RaftLog, index: number): Promise<boolean> {
  let isDone = false;
  log.snapshots.write(index, snapshotAt(index)).then(
    () => {
      isDone = true;
    },
    () => undefined,
  );
  await world.runUntil(() => isDone);
  return isDone;
}

/** What a world promised: nothing of it may be missing after a crash. */
interface Confirmed {
  commit: number;
  snapshot: number;
}

function check(t: ExecutionContext, log: RaftLog, confirmed: Confirmed): void {
  const { base, entries, commit, snapshots } = log;
  t.is(log.damage, undefined, 'a crash is no damage');
  t.is(log.hardState.term, commit > 0 ? 1 : log.hardState.term);
  t.true(commit >= confirmed.commit, `commit ${commit} of ${confirmed.commit}`);
  t.true((snapshots.head?.index ?? 0) >= confirmed.snapshot);
  t.true(base.index <= (snapshots.head?.index ?? 0), 'the snapshot reaches the log');
  t.true(base.index + entries.length >= commit);
  t.deepEqual(entries, ENTRIES.slice(base.index, base.index + entries.length));
  if (base.index > 0) t.deepEqual(base, baseAt(base.index));
  const found = snapshots.takeFound();
  if (found === undefined) return;
  t.is(hashOf(found.state), hashOf(STATES[found.base.index] as ClusterState));
}

/** One thing at a time, the power going in the middle of it. */
async function live(t: ExecutionContext, world: CrashWorld, confirmed: Confirmed): Promise<void> {
  const log = await open(world);
  if (log === undefined) return;
  check(t, log, confirmed);
  while (!world.isDead) {
    const last = log.base.index + log.entries.length;
    const dice = world.random.below(10);
    if (dice < 6 && last < LENGTH) {
      const count = 1 + world.random.below(20);
      const next = ENTRIES.slice(last, last + count);
      const commit = last + next.length;
      const hardState = { term: 1, vote: 0 as const };
      if (await append(world, log, { hardState, entries: next, commit })) confirmed.commit = commit;
    } else if (dice < 8 && log.commit > Math.max(10, log.snapshots.head?.index ?? 0)) {
      const index = log.commit;
      if (!(await writeSnapshot(world, log, index))) return;
      confirmed.snapshot = index;
      const kept = Math.max(log.base.index, index - world.random.below(10));
      await append(world, log, { entries: [], base: baseAt(kept) });
    } else if (dice === 8 && log.commit > 10 && log.commit + 30 < LENGTH) {
      // From elsewhere: far ahead of this log.
      const index = log.commit + 1 + world.random.below(30);
      if (!(await writeSnapshot(world, log, index))) return;
      confirmed.snapshot = index;
      const reset = { entries: [], base: baseAt(index), isReset: true } as const;
      const hardState = { term: 1, vote: 0 as const };
      if (index > last && (await append(world, log, { ...reset, hardState })))
        confirmed.commit = index;
    } else if (dice === 9) {
      for (let i = world.random.below(40); i > 0; i -= 1) world.step();
    }
    if (last >= LENGTH) return;
  }
}

for (let seed = 1; seed <= 30; seed += 1) {
  test(`map snapshot: log and snapshot fit after a crash at any step, seed ${seed}`, async (t) => {
    const world = new CrashWorld(seed);
    const confirmed = { commit: 0, snapshot: 0 };
    for (let life = 0; life < 12; life += 1) {
      const run = live(t, world, confirmed);
      const steps = world.random.below(120);
      for (let i = 0; i < steps; i += 1) await new Promise((resolve) => setImmediate(resolve));
      if (!world.isDead) world.crash();
      await run;
      world.restart();
    }
    const log = await open(world);
    if (log === undefined) return t.fail('it opens');
    check(t, log, confirmed);
  });
}

/** A log of `count` entries, three batches each, its end named as synced. */
async function written(
  count: number,
  entries = ENTRIES,
): Promise<{ world: CrashWorld; log: RaftLog }> {
  const world = new CrashWorld(1);
  const log = await open(world);
  if (log === undefined) throw new OperatingError('io', 'it opens');
  for (let at = 0; at < count; at += 20) {
    const part = entries.slice(at, Math.min(count, at + 20));
    const commit = at + part.length;
    await append(world, log, { hardState: { term: 1, vote: 2 as NodeId }, entries: part, commit });
  }
  let isStopped = false;
  log.stop(() => {
    isStopped = true;
  });
  await world.runUntil(() => isStopped);
  return { world, log };
}

test('map log: a compacted log is short, and opens with its snapshot', async (t) => {
  const { world } = await written(200);
  const log = (await open(world)) as RaftLog;
  const before = log.usedBytes;
  await writeSnapshot(world, log, 200);
  await append(world, log, { entries: [], base: baseAt(190) });
  t.true(log.usedBytes < before / 4, `${before} to ${log.usedBytes}`);
  t.deepEqual(log.entries, ENTRIES.slice(190, 200));
  t.is(log.entryAt(190), undefined);
  t.deepEqual(log.entryAt(191), ENTRIES[190]);
  await append(world, log, { entries: ENTRIES.slice(200, 210), commit: 205 });
  world.crash(0);
  world.restart();
  const again = (await open(world)) as RaftLog;
  t.deepEqual(again.base, baseAt(190));
  t.deepEqual(again.entries, ENTRIES.slice(190, 210));
  t.deepEqual(again.hardState, { term: 1, vote: 2 as NodeId });
  t.is(again.commit, 205);
  t.is(again.snapshots.head?.index, 200);
});

test('map snapshot: any turned bit is found; one of three voters opens muted, with nothing of it, and keeps it aside', async (t) => {
  const { world: first } = await written(100);
  const log = (await open(first)) as RaftLog;
  await writeSnapshot(first, log, 100);
  const size = (log.snapshots.head?.bytes ?? 0) + 64;
  for (let at = 0; at < size; at += 131) {
    if (at >= 56 && at < 64) continue;
    const { world } = await cutAt(100, 90);
    world.damage(MAP_SNAPSHOT_PATH, at, (byte) => byte ^ 4);
    for (const turn of ['found', 'again']) {
      const again = (await open(world)) as RaftLog;
      t.true(again.isMuted, `byte ${at}, ${turn}`);
      t.deepEqual([again.base.index, again.entries.length, again.commit], [0, 0, 0]);
      t.deepEqual(again.hardState, { term: 1, vote: 0 });
      t.is(again.snapshots.takeFound(), undefined);
      if (turn === 'found') t.regex(again.damage ?? '', /map\.snapshot/);
    }
    t.true(world.paths().includes(DAMAGED_SNAPSHOT_PATH));
    t.true(world.paths().includes(DAMAGED_LOG_PATH));
  }
});

test('map snapshot: a damaged one that the log does not need costs nothing', async (t) => {
  const { world } = await written(100);
  const log = (await open(world)) as RaftLog;
  await writeSnapshot(world, log, 100);
  world.damage(MAP_SNAPSHOT_PATH, 30, (byte) => byte ^ 4);
  const again = (await open(world)) as RaftLog;
  t.false(again.isMuted);
  t.is(again.commit, 100);
  t.is(again.entries.length, 100);
  t.regex(again.damage ?? '', /map\.snapshot/, 'and it says so');
});

test('map snapshot: a snapshot that is gone is damage, where the log needs it', async (t) => {
  const { world } = await cutAt(100, 90);
  world.removeFile(MAP_SNAPSHOT_PATH);
  const again = (await open(world)) as RaftLog;
  t.true(again.isMuted);
  t.regex(again.damage ?? '', /no snapshot reaches there/);
});

test('map snapshot: the only voter does not start with a damaged one: nobody else knows the map', async (t) => {
  const { world } = await cutAt(100, 90, [1 as NodeId]);
  world.damage(MAP_SNAPSHOT_PATH, 30, (byte) => byte ^ 4);
  const error = await t.throwsAsync(open(world), { instanceOf: OperatingError, code: 'corrupt' });
  t.regex(error?.message ?? '', /only voter/);
  t.not(error?.remedy, '');
  world.damage(MAP_SNAPSHOT_PATH, 30, (byte) => byte ^ 4);
  t.is((await open(world))?.commit, 100, 'nothing was changed');
});

test('map log: what differed from the voters is not believed at the next start; it is muted until they told (C2.8)', async (t) => {
  const { world } = await cutAt(100, 90);
  let isDone = false;
  distrustMap(world.disk()).then(() => {
    isDone = true;
  }, t.fail);
  await world.runUntil(() => isDone);
  world.crash(0);
  world.restart();
  const again = (await open(world)) as RaftLog;
  t.true(again.isMuted);
  t.deepEqual([again.base.index, again.entries.length], [0, 0]);
  t.is(again.snapshots.takeFound(), undefined);
  t.false(world.paths().includes(DISTRUSTED_PATH));
  t.true((await open(world))?.isMuted, 'and it stays muted');
});

/** A log with a snapshot at `index` that was cut at `base`. */
async function cutAt(
  index: number,
  base: number,
  voters = VOTERS,
): Promise<{ readonly world: CrashWorld }> {
  const { world } = await written(index, historyOf(voters).entries);
  const log = (await open(world)) as RaftLog;
  await writeSnapshot(world, log, index);
  const set = { index: 2, voters, next: undefined };
  await append(world, log, { entries: [], base: { index: base, term: 1, voters: set } });
  return { world };
}

// Method: a bit in each batch behind those that name the voters: without any other voter's name nobody may start.
test('map log: a damaged log of one of three voters opens muted, with what is whole and committed (C2.6)', async (t) => {
  for (let at = 3000; at < 12_000; at += 701) {
    const { world, log } = await written(200);
    if (at > log.usedBytes - 400) break;
    world.damage(MAP_LOG_PATH, at, (byte) => byte ^ 0xff);
    const again = (await open(world)) as RaftLog;
    if (again.damage === undefined) {
      // The padding of a batch.
      t.is(again.commit, 200);
      continue;
    }
    t.true(again.isMuted);
    t.true(again.commit < 200);
    t.is(again.entries.length, again.commit, 'nothing that is not committed');
    t.deepEqual(again.entries, ENTRIES.slice(0, again.commit));
    t.is(again.hardState.vote, 0);
    t.true(world.paths().includes(DAMAGED_LOG_PATH), 'the old one is kept for a person');
    t.true((await open(world))?.isMuted, 'and it stays muted');
  }
});

test('map log: muteness ends by a record, durably', async (t) => {
  const { world } = await written(200);
  world.damage(MAP_LOG_PATH, 5000, (byte) => byte ^ 0xff);
  const log = (await open(world)) as RaftLog;
  t.true(log.isMuted);
  await append(world, log, { entries: [], unmutes: true });
  t.false(log.isMuted);
  world.crash(0);
  world.restart();
  t.false((await open(world))?.isMuted);
});

test('map log: with a snapshot a log damaged from its first batch on is replaced by it (C2.6)', async (t) => {
  const { world } = await written(200);
  const log = (await open(world)) as RaftLog;
  await writeSnapshot(world, log, 150);
  for (let at = 64; at < 6000; at += 64) world.damage(MAP_LOG_PATH, at, () => 0x77);
  const again = (await open(world)) as RaftLog;
  t.true(again.isMuted);
  t.deepEqual(again.base, baseAt(150));
  t.is(again.commit, 150);
});

test('map log: the only voter does not start with a damaged log: nobody else knows (C2.6)', async (t) => {
  const { entries } = historyOf([1] as NodeId[]);
  const { world } = await written(200, entries);
  world.damage(MAP_LOG_PATH, 5000, (byte) => byte ^ 0xff);
  const error = await t.throwsAsync(open(world), { instanceOf: OperatingError });
  t.true(hasCode(error, 'corrupt'));
  t.regex(error?.message ?? '', /map\.log is damaged at byte \d+.*only voter/);
  t.regex(error?.remedy ?? '', /backup|recover force/);
  t.true(world.paths().includes(MAP_LOG_PATH), 'and nothing was changed');
});

test('map log: a member whose log is gone forgot what it promised: it does not start as a new voter (C2.6)', async (t) => {
  const { world } = await written(200);
  world.removeFile(MAP_LOG_PATH);
  const error = await t.throwsAsync(open(world, true), { instanceOf: OperatingError });
  t.true(hasCode(error, 'corrupt'));
  t.regex(error?.message ?? '', /map\.log is missing/);
  t.false(world.paths().includes(MAP_LOG_PATH), 'and none is made');
});

test('map log: gone, with a snapshot that names other voters: muted, as one that is damaged (C2.6)', async (t) => {
  const { world } = await written(200);
  const log = (await open(world)) as RaftLog;
  await writeSnapshot(world, log, 150);
  world.removeFile(MAP_LOG_PATH);
  const again = (await open(world, true)) as RaftLog;
  t.true(again.isMuted);
  t.deepEqual(again.base, baseAt(150));
  t.true((await open(world, true))?.isMuted, 'and it stays muted');
});

test('map log: a crash after a damaged log was set aside, before there is another one: muted all the same', async (t) => {
  const { world } = await written(200);
  world.damage(MAP_LOG_PATH, 5000, (byte) => byte ^ 0xff);
  const log = (await open(world, true)) as RaftLog;
  t.true(log.isMuted && log.commit > 0);
  world.removeFile(MAP_LOG_PATH);
  const again = (await open(world, true)) as RaftLog;
  t.true(again.isMuted);
  t.is(again.commit, log.commit);
});
