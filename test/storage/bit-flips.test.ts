// One bit flipped anywhere in a data directory: what is served is right, or suspect, or the start is refused with the
// file and the cure. Stored directories, every kind of file in turn, free space of all of them too. FLIPS=500 for the
// long run: a minute.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test from 'ava';
import { type ClusterState, emptyState, hashOf } from '../../src/core/cluster-state.ts';
import { OperatingError } from '../../src/core/errors.ts';
import type { NodeId } from '../../src/core/ids.ts';
import { freshMemo, withRun } from '../../src/core/scrub.ts';
import { MIB, SECTOR_BYTES } from '../../src/core/units.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import { createRealClock } from '../../src/io/real-clock.ts';
import { loadOrCreateKey } from '../../src/p2p/identity.ts';
import type { Clock, Disk, Trace } from '../../src/ports/ports.ts';
import type { LocalObjectStore } from '../../src/storage/local-store.ts';
import { openMapSnapshots } from '../../src/storage/map-snapshot.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import { openRaftLog } from '../../src/storage/raft-log-open.ts';
import { loadScrubMemo, saveScrubMemo } from '../../src/storage/scrub-file.ts';
import { openSuperblock } from '../../src/storage/superblock.ts';
import { encodeSnapshot } from '../../src/wire/snapshot-codec.ts';
import {
  expectedObjects,
  GENERATION,
  HARD_STATE,
  IDENTITY,
  logEntries,
  REPLAYED,
  taggedSector,
  unpackFolder,
} from '../fixtures/data-directory.ts';
import { StateCell } from '../fixtures.ts';
import { SeededRandom } from './crash-world.ts';

const STORED = new URL('../fixtures/data-directory-2', import.meta.url).pathname;
const FLIPS = Number(process.env.FLIPS ?? 45);
/** What is tested is bits, not what a disk keeps: memory where there is some. */
const BASE = fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir();
const KINDS: readonly (readonly [RegExp, 'used' | 'any'])[] = [
  [/^superblock$/, 'used'],
  [/^identity\.key$/, 'any'],
  [/^journal$/, 'used'],
  [/^index\./, 'any'],
  [/^map\.log$/, 'used'],
  [/^map\.snapshot$/, 'any'],
  [/^scrub$/, 'any'],
  [/^objects\//, 'used'],
  [/^incoming\//, 'used'],
  [/^superblock$/, 'any'],
  [/^journal$/, 'any'],
  [/^map\.log$/, 'any'],
  [/^objects\//, 'any'],
];
const MEMO = withRun(freshMemo(1_700_000_000_000), 'deep', 5e12, 1_700_000_000_123);
/** The state after so many entries of the stored log. */
const SNAPSHOT_INDEX = 2;

const fatal = (error: Error): never => {
  throw error;
};

class FlipTrace implements Trace {
  readonly warnings: string[] = [];
  event(): void {}
  count(): void {}
  warn(name: string): void {
    this.warnings.push(name);
  }
}

/** Settings only: what a log says after its first entries. */
function snapshotState(): ClusterState {
  const cell = new StateCell(emptyState());
  for (const { body, origin } of logEntries().slice(0, SNAPSHOT_INDEX)) cell.apply(body, origin);
  return cell.state;
}

/** What the stored directory lacks: a key, a snapshot of its log, a memo of scrubs. Returns the key. */
async function complete(folder: string, key: Uint8Array | undefined): Promise<Uint8Array> {
  const disk = openFileDisk(folder);
  const base = {
    index: SNAPSHOT_INDEX,
    term: logEntries()[SNAPSHOT_INDEX - 1]?.term ?? 0,
    // Others vote, too: with the log damaged they are asked, instead of a start that is refused.
    voters: { index: 1, voters: [1, 2, 3] as NodeId[], next: undefined },
  };
  const snapshots = openMapSnapshots(disk);
  await snapshots.write(SNAPSHOT_INDEX, encodeSnapshot({ base, state: snapshotState() }));
  snapshots.close();
  await new Promise<void>((resolve, reject) => {
    saveScrubMemo(disk, MEMO, (error) => (error === undefined ? resolve() : reject(error)));
  });
  const keyFile = path.join(folder, 'identity.key');
  if (key !== undefined) fs.writeFileSync(keyFile, key);
  else {
    const superblock = path.join(folder, 'superblock');
    fs.renameSync(superblock, `${superblock}.aside`);
    await loadOrCreateKey(disk);
    fs.renameSync(`${superblock}.aside`, superblock);
  }
  return fs.readFileSync(keyFile);
}

/** Flips a bit: of a byte that means something (not one of the long runs of zeroes), or of any byte. */
function flip(folder: string, kind: number, random: SeededRandom): string {
  const [pattern, which] = KINDS[kind] as (typeof KINDS)[number];
  const names = fs
    .readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => pattern.test(name) && fs.statSync(path.join(folder, name)).isFile());
  const name = names[random.below(names.length)] as string;
  const file = path.join(folder, name);
  const bytes = fs.readFileSync(file);
  const used: number[] = [];
  if (which === 'used')
    for (let at = 0; at < bytes.length; at += 1) if (bytes[at] !== 0) used.push(at);
  const at = used[random.below(used.length || 1)] ?? random.below(bytes.length);
  bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
  const fd = fs.openSync(file, 'r+');
  fs.writeSync(fd, bytes, at, 1, at);
  fs.closeSync(fd);
  return `${name} at ${at}`;
}

/** How many sectors are suspect; throws at one that is served wrong. */
async function suspectsOf(store: LocalObjectStore): Promise<number> {
  let suspects = 0;
  for (const [index, tags] of expectedObjects().entries()) {
    const last = REPLAYED.at(-1);
    // The last record has no attest record behind it: damaged, it is a torn tail.
    const isLast = index === last?.index && store.row(GENERATION, index)?.verCount === 2;
    for (const sector of [...(tags?.keys() ?? []), 77, 1023]) {
      const bytes = new Uint8Array(SECTOR_BYTES);
      const outcome = await new Promise<string>((resolve) => {
        store.read(GENERATION, index, sector * SECTOR_BYTES, SECTOR_BYTES, bytes, 0, resolve);
      });
      const tag = isLast ? undefined : tags?.get(sector);
      const right =
        tag === undefined ? new Uint8Array(SECTOR_BYTES) : taggedSector(index, sector, tag);
      if (outcome === 'suspect') suspects += 1;
      else if (Buffer.compare(bytes, right) !== 0)
        throw new TypeError(`${index}/${sector} is wrong`);
    }
  }
  return suspects;
}

/** The map is what was written, or a beginning of it. Returns whether the node would ask the others for the rest. */
async function isLogMuted(disk: Disk, clock: Clock): Promise<boolean> {
  const log = await openRaftLog(disk, clock, fatal);
  try {
    const { base, entries, commit, snapshots } = log;
    const end = base.index + entries.length;
    const expected = JSON.stringify(logEntries().slice(base.index, end));
    if (JSON.stringify(entries) !== expected) throw new TypeError(JSON.stringify(entries));
    if (commit > 4 || commit > end) throw new TypeError(`commit ${commit}`);
    // Muted it votes for nobody, and learns the term from the others.
    const { term } = log.hardState;
    if (term !== HARD_STATE.term && (log.damage === undefined || term > HARD_STATE.term))
      throw new TypeError(`term ${term}`);
    const found = snapshots.takeFound();
    const isFound = found !== undefined && hashOf(found.state) === hashOf(snapshotState());
    // The log reaches back to its beginning: it needs no snapshot.
    const isDropped = found === undefined && log.damage?.includes('map.snapshot') === true;
    if (!isFound && !isDropped) throw new TypeError('another snapshot');
    // The last batch has no attest record behind it: damaged, it is a torn tail, and the snapshot reaches further.
    if (log.damage === undefined && end < 5 && end !== SNAPSHOT_INDEX)
      throw new TypeError(`the log ends at ${end}`);
    return log.damage !== undefined;
  } finally {
    await new Promise<void>((resolve) => log.stop(resolve));
  }
}

/** A start, in the order of a node's. */
async function outcomeOf(folder: string, peerKey: string): Promise<string> {
  const disk = openFileDisk(folder);
  const random = new SeededRandom(1);
  const clock = createRealClock();
  const trace = new FlipTrace();
  const key = await loadOrCreateKey(disk);
  if (key.peerKey !== peerKey) throw new TypeError(`key of ${key.peerKey}`);
  const superblock = await openSuperblock(disk, random);
  const identity = {
    clusterId: superblock.clusterId,
    node: superblock.node,
    peerKey: superblock.peerKey,
  };
  if (JSON.stringify(identity) !== JSON.stringify(IDENTITY))
    throw new TypeError(`identity is ${JSON.stringify(identity)}`);
  const isMuted = await isLogMuted(disk, clock);
  const isScrubFresh = loadScrubMemo(disk, clock, trace).run === undefined;
  if (isScrubFresh && !trace.warnings.includes('scrub.memo-damaged'))
    throw new TypeError('a memo of scrubs was lost without a word');
  const options = { disk, clock, random, trace, journalBytes: 8 * MIB, onFatal: fatal };
  const store = await openObjectStore(options);
  const suspects = await suspectsOf(store);
  await new Promise<void>((resolve) => store.stop(() => resolve()));
  if (isMuted) return 'the others are asked for the map';
  if (isScrubFresh) return 'scrubbing begins anew';
  return suspects === 0 ? 'right' : 'suspect';
}

/** What became of one flipped bit. */
async function flipped(number: number, key: Uint8Array, peerKey: string): Promise<string> {
  const folder = fs.mkdtempSync(path.join(BASE, 'sheep-flip-'));
  try {
    unpackFolder(STORED, folder);
    await complete(folder, key);
    const kind = number % KINDS.length;
    const where = flip(folder, kind, new SeededRandom(1000 + number));
    return await outcomeOf(folder, peerKey).catch((error: unknown) => {
      if (!(error instanceof OperatingError)) throw new TypeError(`${where}: ${error}`);
      const name = (where.split(' ')[0] as string).split('/')[0] as string;
      const isSaid = error.message.includes(name) && error.remedy !== '';
      if (!isSaid) throw new TypeError(`${where}: ${error.message}; ${error.remedy}`);
      return `refused: ${name.replace(/\..*/, '')} ${error.code}`;
    });
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

test(`${FLIPS} flipped bits: right, suspect, or refused with file and cure; never wrong`, async (t) => {
  t.timeout(1_800_000);
  const folder = fs.mkdtempSync(path.join(BASE, 'sheep-flip-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }));
  unpackFolder(STORED, folder);
  const key = await complete(folder, undefined);
  const { peerKey } = await loadOrCreateKey(openFileDisk(folder));
  t.is(await outcomeOf(folder, peerKey), 'right', 'as it was stored');
  const outcomes = new Map<string, number>();
  for (let i = 0; i < FLIPS; i += 1) {
    const outcome = await flipped(i, key, peerKey);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  t.log(Object.fromEntries(outcomes));
  const needed = ['superblock', 'identity', 'index'].map((name) => `refused: ${name} corrupt`);
  const helped = ['scrubbing begins anew', 'the others are asked for the map'];
  for (const outcome of ['right', 'suspect', ...helped, ...needed])
    t.true(outcomes.has(outcome), outcome);
});
