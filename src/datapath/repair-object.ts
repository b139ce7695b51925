// One try to heal one damaged copy (4.10): find what is bad, take it from in-sync members at exactly the version that the
// row here has, journal it as that version again. The object's gate keeps guest writes and other copies out meanwhile; a
// source that is ahead lets the writes that wait here through first, then the try begins anew. What no copy can give is
// said by sector, never guessed.

import { OperatingError } from '../core/errors.ts';
import { type ConfigVersion, type NodeId, partitionOfKey } from '../core/ids.ts';
import { MAX_PAYLOAD_BYTES, OBJECT_BYTES, SECTOR_BYTES } from '../core/units.ts';
import type { PartitionConfig } from '../core/view.ts';
import type { StagedObject } from '../storage/store-types.ts';
import type { Suspect } from '../storage/suspects.ts';
import { OP, STATUS } from '../wire/frame.ts';
import { decodeRows, encodeObjectNames, type RowImage } from '../wire/payloads.ts';
import { isUp, type Parts, requestFrame } from './context.ts';
import { type FetchedRange, type FetchOrder, fetchRange, stageRange } from './fetch-range.ts';
import { isMember } from './judge.ts';
import { type CopyFence, type ObjectGates, objectKey } from './object-gate.ts';
import { versionOfRow } from './peer-answer.ts';

/** More bad sectors than this in one object: it is copied as a whole. */
export const MAX_SINGLE_REPAIRS = 64;
/** Times that one try lets waiting writes pass, because the sources are ahead. */
export const REPAIR_LOOKS = 4;
/** Until a source has said which version it has. */
export const REPAIR_ASK_DEADLINE_MS = 2000;

/** What became of a try. */
export interface Repaired {
  /** Undefined: all that could be done is done. Else it is tried again. */
  readonly error: OperatingError | undefined;
  /** Sectors that are right again; a whole object counts those that have data. */
  readonly sectors: number;
  readonly isWhole: boolean;
  /** Sectors that fail on every copy. */
  readonly lost: readonly number[];
}

export interface RepairShared {
  readonly gates: ObjectGates;
  readonly fence: CopyFence;
}

type RepairDone = (result: Repaired) => void;

/** A try under way, at one version under one config. */
interface Attempt extends FetchOrder {
  readonly suspect: Suspect;
  readonly config: PartitionConfig;
}

const IDLE: Repaired = { error: undefined, sectors: 0, isWhole: false, lost: [] };

/** Tries once. `done` exactly once; without an error and without lost sectors the suspect is forgotten. */
export function repairObject(
  parts: Parts,
  shared: RepairShared,
  suspect: Suspect,
  done: RepairDone,
): void {
  const { store } = parts;
  const finish = (result: Repaired): void => {
    const isClean = result.error === undefined && result.lost.length === 0;
    if (isClean && store.suspects.find(suspect) === suspect) store.suspects.forget(suspect);
    done(result);
  };
  if (store.row(suspect.generation, suspect.index) === undefined) {
    finish(IDLE);
    return;
  }
  findBad(parts, suspect, 0, [], (isWhole, bad) => {
    if (!isWhole && bad.length === 0) return finish(IDLE);
    const attempt = (looks: number): void => {
      underGate(parts, shared, suspect, isWhole, bad, (result) => {
        if (result.error?.code !== 'changed' || looks >= REPAIR_LOOKS) return finish(result);
        attempt(looks + 1);
      });
    };
    attempt(1);
  });
}

/** Every sector of the copy, in pieces. */
function findBad(
  parts: Parts,
  suspect: Suspect,
  offset: number,
  bad: number[],
  done: (isWhole: boolean, bad: readonly number[]) => void,
): void {
  if (suspect.isWhole || bad.length > MAX_SINGLE_REPAIRS) {
    done(true, bad);
    return;
  }
  if (offset >= OBJECT_BYTES) {
    done(false, bad);
    return;
  }
  const { generation, index } = suspect;
  parts.store.check(generation, index, { offset, count: MAX_PAYLOAD_BYTES }, (found) => {
    if (found.isLost) return done(true, bad);
    findBad(parts, suspect, offset + MAX_PAYLOAD_BYTES, [...bad, ...found.bad], done);
  });
}

/** Takes the gate behind whoever waits there, so that what is under way lands first. */
function underGate(
  parts: Parts,
  { gates, fence }: RepairShared,
  suspect: Suspect,
  isWhole: boolean,
  bad: readonly number[],
  done: RepairDone,
): void {
  const key = objectKey(suspect.generation, suspect.index);
  const waits = gates.wait(key, () => {
    gates.enter(key);
    const leave: RepairDone = (result) => {
      // The next try queues behind the writes that wait now.
      if (result.error?.code === 'changed') done(result);
      gates.leave(key);
      if (result.error?.code !== 'changed') done(result);
    };
    parts.store.settled((failed) => {
      if (failed !== undefined) return leave({ ...IDLE, error: failed });
      const attempt = attemptOf(parts, fence, suspect);
      if (attempt instanceof OperatingError) return leave({ ...IDLE, error: attempt });
      if (attempt.sources.length === 0) {
        const lost = isWhole ? [] : bad;
        const error = isWhole ? noSource() : undefined;
        return leave({ ...IDLE, error, lost });
      }
      if (isWhole) copyWhole(parts, fence, attempt, leave);
      else repairRuns(parts, attempt, runsOf(bad), IDLE, leave);
    });
  });
  if (!waits) done({ ...IDLE, error: new OperatingError('busy', 'too much waits for the object') });
}

function attemptOf(parts: Parts, fence: CopyFence, suspect: Suspect): Attempt | OperatingError {
  const { views, self, store } = parts;
  const { generation, index, partition } = suspect;
  const { policy, p } = partitionOfKey(partition);
  const view = views.current();
  if (view.volumeOfGeneration(generation) === undefined) {
    return new OperatingError('gone', 'the volume was deleted');
  }
  const config = view.partition(policy, p);
  const row = store.row(generation, index);
  if (!isMember(config, self) || row === undefined) {
    return new OperatingError('not-member', 'this copy is not wanted any more');
  }
  const others = config.inSync.filter((node) => node !== self && !config.doubtful.includes(node));
  const sources = others.filter((node) => isUp(view, node));
  if (others.length > 0 && sources.length === 0) return noSource();
  const version = versionOfRow(row);
  const seals = fence.sealsOf(partition);
  const isValid = (): boolean => {
    const own = versionOfRow(store.row(generation, index));
    const isSame = own.token === version.token && own.count === version.count;
    const now = views.current().partition(policy, p);
    return isSame && now.cfg === config.cfg && fence.sealsOf(partition) === seals;
  };
  const { cfg } = config;
  return { suspect, config, generation, index, p, cfg, version, sources, isValid };
}

// -------------------------------------------------------------------------------------------- sectors

interface Run {
  readonly offset: number;
  readonly count: number;
}

/** Bad sectors, neighbours together. */
function runsOf(bad: readonly number[]): Run[] {
  const runs: { offset: number; count: number }[] = [];
  for (const sector of bad) {
    const last = runs.at(-1);
    const offset = sector * SECTOR_BYTES;
    const isNext = last !== undefined && last.offset + last.count === offset;
    if (isNext && last.count < MAX_SINGLE_REPAIRS * SECTOR_BYTES) last.count += SECTOR_BYTES;
    else runs.push({ offset, count: SECTOR_BYTES });
  }
  return runs;
}

/** One run after the other; what was healed meanwhile, by a write of the guest, is left alone. */
function repairRuns(
  parts: Parts,
  attempt: Attempt,
  runs: readonly Run[],
  so: Repaired,
  done: RepairDone,
): void {
  const [run, ...rest] = runs;
  if (run === undefined) {
    done(so);
    return;
  }
  const { generation, index } = attempt;
  parts.store.check(generation, index, run, (found) => {
    if (found.isLost) return done({ ...so, error: retry('the copy was lost meanwhile') });
    if (found.bad.length === 0) return repairRuns(parts, attempt, rest, so, done);
    const [again, ...more] = runsOf(found.bad);
    fetchRange(parts, attempt, again ?? run, (error, fetched) => {
      if (error !== undefined) return done({ ...so, error });
      journal(parts, attempt, fetched, (failed) => {
        if (failed !== undefined) return done({ ...so, error: failed });
        const count = (again ?? run).count / SECTOR_BYTES - fetched.lost.length;
        const now = { ...so, sectors: so.sectors + count, lost: [...so.lost, ...fetched.lost] };
        repairRuns(parts, attempt, [...more, ...rest], now, done);
      });
    });
  });
}

/** Writes what was fetched as the version that the row has. */
function journal(
  parts: Parts,
  attempt: Attempt,
  fetched: FetchedRange,
  done: (error: OperatingError | undefined) => void,
): void {
  let left = 1;
  let failure: OperatingError | undefined;
  const one = (error: OperatingError | undefined): void => {
    failure ??= error;
    left -= 1;
    if (left === 0) done(failure);
  };
  for (const { offset, sums, data } of fetched.pieces) {
    if (!attempt.isValid()) {
      failure ??= retry('the repair became void');
      break;
    }
    left += 1;
    const { generation, index, version } = attempt;
    const count = (sums.length / 4) * SECTOR_BYTES;
    const place = { generation, index, version, offset, count };
    parts.store.repair(place, spread(sums, data), sums, one);
  }
  one(undefined);
}

/** Sectors without a sum become zeroes, so that the data has a place for each sum. */
function spread(sums: Uint8Array, data: Uint8Array): Uint8Array {
  const sectors = sums.length / 4;
  if (data.length === sectors * SECTOR_BYTES) return data;
  const bytes = new Uint8Array(sectors * SECTOR_BYTES);
  let taken = 0;
  for (let i = 0; i < sectors; i += 1) {
    if (isEmpty(sums, i)) continue;
    bytes.set(data.subarray(taken, taken + SECTOR_BYTES), i * SECTOR_BYTES);
    taken += SECTOR_BYTES;
  }
  return bytes;
}

function isEmpty(sums: Uint8Array, i: number): boolean {
  return (
    (sums[4 * i] ?? 0) +
      (sums[4 * i + 1] ?? 0) +
      (sums[4 * i + 2] ?? 0) +
      (sums[4 * i + 3] ?? 0) ===
    0
  );
}

// -------------------------------------------------------------------------------------------- whole objects

/** The copy as a source has it at our version; open stays what either side has as open (I9). */
function copyWhole(parts: Parts, fence: CopyFence, attempt: Attempt, done: RepairDone): void {
  askRow(parts, attempt, 0, (error, row) => {
    if (error !== undefined || row === undefined)
      return done({ ...IDLE, error: error ?? noSource() });
    const own = parts.store.row(attempt.generation, attempt.index);
    if (own === undefined || !attempt.isValid())
      return done({ ...IDLE, error: retry('overtaken') });
    const { verToken: _token, verCount: _count, ...image } = row;
    const staged = stage(parts, {
      ...image,
      version: attempt.version,
      closed: Math.min(own.closed, row.closed),
      openLow: (own.openLow | row.openLow) >>> 0,
      openHigh: (own.openHigh | row.openHigh) >>> 0,
    });
    if (staged instanceof OperatingError) return done({ ...IDLE, error: staged });
    if (row.kind === 'zero')
      return commit(parts, fence, attempt, staged, { ...IDLE, isWhole: true }, done);
    fill(parts, attempt, staged, 0, { ...IDLE, isWhole: true }, (result) => {
      if (result.error === undefined) return commit(parts, fence, attempt, staged, result, done);
      staged.abort();
      done(result);
    });
  });
}

/** The row of the first source that answers, if it has our version. */
function askRow(
  parts: Parts,
  attempt: Attempt,
  at: number,
  done: (error: OperatingError | undefined, row: RowImage | undefined) => void,
): void {
  const source: NodeId | undefined = attempt.sources[at];
  if (source === undefined) {
    done(noSource(), undefined);
    return;
  }
  const { generation, index, version } = attempt;
  const frame = requestFrame(parts.views.current(), OP.VERSIONS);
  frame.partition = attempt.p;
  frame.cfg = attempt.cfg as ConfigVersion;
  frame.payload = encodeObjectNames([{ generation, index }]);
  parts.ask(source, frame, REPAIR_ASK_DEADLINE_MS, (reply) => {
    if (reply?.status === STATUS.STALE) parts.pull(reply.mapIndex, source);
    if (reply?.status !== STATUS.OK) return askRow(parts, attempt, at + 1, done);
    const [row] = decodeRows(reply.payload);
    const isSame = row?.verToken === version.token && row.verCount === version.count;
    if (isSame && row !== undefined) return done(undefined, row);
    done(retry('the source has another version'), undefined);
  });
}

function stage(
  parts: Parts,
  image: Parameters<Parts['store']['stage']>[0],
): StagedObject | OperatingError {
  try {
    return parts.store.stage(image);
  } catch (error) {
    if (error instanceof OperatingError) return error;
    throw error;
  }
}

/** All pieces; a sector that no copy has gets a sum that it never passes. */
function fill(
  parts: Parts,
  attempt: Attempt,
  staged: StagedObject,
  offset: number,
  so: Repaired,
  done: RepairDone,
): void {
  if (offset >= OBJECT_BYTES) {
    done(so);
    return;
  }
  fetchRange(parts, attempt, { offset, count: MAX_PAYLOAD_BYTES }, (error, fetched) => {
    if (error !== undefined) return done({ ...so, error });
    const sectors = stageRange(staged, attempt, fetched);
    const now = { ...so, sectors: so.sectors + sectors, lost: [...so.lost, ...fetched.lost] };
    fill(parts, attempt, staged, offset + MAX_PAYLOAD_BYTES, now, done);
  });
}

/** Version and config once more: after this it can not be stopped. */
function commit(
  parts: Parts,
  fence: CopyFence,
  attempt: Attempt,
  staged: StagedObject,
  result: Repaired,
  done: RepairDone,
): void {
  if (!attempt.isValid()) {
    staged.abort();
    done({ ...IDLE, error: retry('the repair became void') });
    return;
  }
  const { suspect } = attempt;
  fence.beginCommit(suspect.partition);
  staged.commit((error) => {
    fence.endCommit(suspect.partition);
    if (error === undefined && result.lost.length > 0) parts.store.suspects.note(suspect, false);
    done({ ...result, error });
  });
}

function retry(what: string): OperatingError {
  return new OperatingError('changed', what, { advice: 'retry' });
}

function noSource(): OperatingError {
  return new OperatingError('unreachable', 'no other copy in sync answers', { advice: 'retry' });
}
