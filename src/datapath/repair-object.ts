// One try to heal one damaged copy (4.10): find what is bad, take it from in-sync members at exactly the version that the
// row here has, journal it as that version again. The object's gate keeps guest writes and other copies out meanwhile; a
// source that is ahead lets the writes that wait here through first, then the try begins anew. What no copy can give is
// said by sector, never guessed.

import { getSum } from '../core/checksum.ts';
import { OperatingError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import {
  MAX_PAYLOAD_BYTES,
  OBJECT_BYTES,
  SECTOR_BYTES,
  SECTORS_PER_OBJECT,
} from '../core/units.ts';
import type { Suspect } from '../storage/suspects.ts';
import type { Parts } from './context.ts';
import { type FetchedRange, fetchRange } from './fetch-range.ts';
import { objectKey } from './object-gate.ts';
import {
  type Attempt,
  attemptOf,
  IDLE,
  type RepairDone,
  type Repaired,
  type RepairShared,
  retry,
} from './repair-attempt.ts';
import { copyWhole } from './repair-whole.ts';

/** More bad sectors than this in one object: it is copied as a whole. */
export const MAX_SINGLE_REPAIRS = 64;
/** Times that one try lets waiting writes pass, because the sources are ahead. */
export const REPAIR_LOOKS = 4;
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

/** The only copy: every sector that fails now, of all that there are. What the guest wrote anew since is right. */
function listBad(
  parts: Parts,
  object: ObjectId,
  offset: number,
  bad: readonly number[],
  done: (bad: readonly number[]) => void,
): void {
  if (offset >= OBJECT_BYTES) {
    done(bad);
    return;
  }
  const { generation, index } = object;
  parts.store.check(generation, index, { offset, count: MAX_PAYLOAD_BYTES }, (found) => {
    if (found.isLost) return done(Array.from({ length: SECTORS_PER_OBJECT }, (_, i) => i));
    const next = offset + MAX_PAYLOAD_BYTES;
    listBad(parts, object, next, [...bad, ...found.bad], done);
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
        return listBad(parts, suspect, 0, [], (lost) => leave({ ...IDLE, lost }));
      }
      if (isWhole) copyWhole(parts, fence, attempt, leave);
      else repairRuns(parts, attempt, runsOf(bad), IDLE, leave);
    });
  });
  if (!waits) done({ ...IDLE, error: new OperatingError('busy', 'too much waits for the object') });
}

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
    if (getSum(sums, i) === 0) continue;
    bytes.set(data.subarray(taken, taken + SECTOR_BYTES), i * SECTOR_BYTES);
    taken += SECTOR_BYTES;
  }
  return bytes;
}
