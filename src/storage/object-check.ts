// Looks at copies for repair and scrub: every byte of a range against its sums, and the file as the next start would find
// it. What is damaged is noted in the list of suspects; nothing is healed here but what memory still knows for sure: the
// sums of an object whose page is loaded. Reads go through the thread pool.

import { setSum, verifySector } from '../core/checksum.ts';
import { objectName } from '../core/ids.ts';
import { OBJECT_BYTES, SECTOR_BYTES, SECTORS_PER_OBJECT } from '../core/units.ts';
import type { Disk, DiskFile, Trace } from '../ports/ports.ts';
import type { Applier } from './apply.ts';
import { asOperatingError } from './disk-errors.ts';
import { DATA_OFFSET } from './layout.ts';
import type { ObjectCache } from './object-cache.ts';
import { decodeSlots, SLOTS_BYTES } from './object-file.ts';
import { overlaySums } from './object-read.ts';
import type { ObjectState } from './object-state.ts';
import type { CheckFound, CheckRange } from './store-types.ts';

/** An object that changes during each look is looked at synchronously after so many. */
const MAX_CHECK_LOOKS = 8;
const LOST: CheckFound = { isLost: true, bad: [], checkedBytes: 0 };
const NOTHING: CheckFound = { isLost: false, bad: [], checkedBytes: 0 };

export interface CheckParts {
  readonly disk: Disk;
  readonly trace: Trace;
  readonly cache: ObjectCache;
  readonly applier: Applier;
}

/** Whole sectors of an object against their sums. Unapplied writes are not looked at: memory holds them. */
export function checkSectors(
  parts: CheckParts,
  state: ObjectState,
  range: CheckRange,
  done: (found: CheckFound) => void,
  looks = 0,
): void {
  const { cache } = parts;
  if (state.isLost && !state.isDead) {
    done(LOST);
    return;
  }
  if (state.isDead || !state.hasFile) {
    done(NOTHING);
    return;
  }
  const again = (): void => checkSectors(parts, state, range, done, looks + 1);
  let file: DiskFile | undefined;
  try {
    if (state.page === undefined && looks < MAX_CHECK_LOOKS) {
      cache.loadPageLater(state, again);
      return;
    }
    file = openFile(parts, state);
  } catch (error) {
    parts.trace.warn('store.check-failed', { error: asOperatingError(error).message });
    if (range.isQuiet !== true) cache.suspects.note(state, false);
    done({ isLost: false, bad: sectorsOf(range), checkedBytes: 0 });
    return;
  }
  if (file === undefined) {
    done(LOST);
    return;
  }
  if (looks >= MAX_CHECK_LOOKS) {
    done(found(parts, state, range, oneByOne(file, range)));
    return;
  }
  const held = file;
  const { pageChanges, fileLife } = state;
  const bytes = new Uint8Array(range.count);
  cache.hold(held);
  held.read(bytes, 0, range.count, DATA_OFFSET + range.offset, (error) => {
    cache.release(held);
    if (state.fileLife !== fileLife || state.page === undefined) return again();
    const read = error === undefined ? bytes : oneByOne(held, range);
    const isBad = badSectors(state, range, read).bad.length > 0;
    if (isBad && state.pageChanges !== pageChanges) return again();
    done(found(parts, state, range, read));
  });
}

/** With the page loaded; a file that lost its name is made again. Undefined: the object is lost. */
function openFile(parts: CheckParts, state: ObjectState): DiskFile | undefined {
  const { cache } = parts;
  if (!cache.loadPage(state)) return undefined;
  if (cache.file(state) === undefined) withoutFile(parts, state);
  return cache.file(state);
}

/** Where a read of the whole fails, each sector by itself: one that can not be read stays zeroes and fails its sum. */
function oneByOne(file: DiskFile, range: { offset: number; count: number }): Uint8Array {
  const bytes = new Uint8Array(range.count);
  for (let at = 0; at < range.count; at += SECTOR_BYTES) {
    try {
      file.readSync(bytes, at, SECTOR_BYTES, DATA_OFFSET + range.offset + at);
    } catch {
      bytes.fill(0xff, at, at + SECTOR_BYTES); // A latent error of the disk: as good as wrong bytes.
    }
  }
  return bytes;
}

function badSectors(
  state: ObjectState,
  range: CheckRange,
  bytes: Uint8Array,
): { readonly bad: readonly number[]; readonly checked: number } {
  const page = state.page as Uint32Array;
  const bad: number[] = [];
  let checked = 0;
  for (const sector of sectorsOf(range)) {
    const sum = page[sector] as number;
    if (sum === 0) continue;
    checked += 1;
    const at = sector * SECTOR_BYTES - range.offset;
    if (!verifySector(state.generation, state.index, sector, bytes, at, sum)) bad.push(sector);
  }
  return { bad, checked };
}

function found(
  { cache }: CheckParts,
  state: ObjectState,
  range: CheckRange,
  bytes: Uint8Array,
): CheckFound {
  const { bad, checked } = badSectors(state, range, bytes);
  if (bad.length > 0 && range.isQuiet !== true) cache.suspects.note(state, false);
  return { isLost: false, bad, checkedBytes: checked * SECTOR_BYTES };
}

function sectorsOf(range: { readonly offset: number; readonly count: number }): number[] {
  const first = range.offset / SECTOR_BYTES;
  return Array.from({ length: range.count / SECTOR_BYTES }, (_, i) => first + i);
}

/**
 * The sums of an object, from its file opened anew: a descriptor of ours outlives the name, a page in memory outlives
 * the slots. Where memory knows the sums and the file does not, the file gets them again (and its data is doubted).
 * @param done the sums as accepted, one u32 (LE) per sector; undefined = lost, or not to be had now
 */
export function lookAtFile(
  parts: CheckParts,
  state: ObjectState,
  done: (sums: Uint8Array | undefined) => void,
  looks = 0,
): void {
  if (state.isLost || looks >= MAX_CHECK_LOOKS) {
    done(undefined);
    return;
  }
  if (state.isDead || !state.hasFile) {
    done(sumsWith(state, undefined));
    return;
  }
  try {
    const fresh = parts.disk.open(state.path, { create: false });
    if (fresh === undefined) {
      done(withoutFile(parts, state));
      return;
    }
    cutBack(parts, state, fresh);
    const { slotSequence, fileLife } = state;
    const bytes = new Uint8Array(SLOTS_BYTES);
    fresh.read(bytes, 0, SLOTS_BYTES, 0, (error) => {
      fresh.close();
      if (state.fileLife !== fileLife) return lookAtFile(parts, state, done, looks + 1);
      const sums =
        error === undefined ? decodeSlots(bytes, state.generation, state.index) : undefined;
      // Before its first checkpoint a file has no slot yet: memory and journal hold the sums.
      const isGood = slotSequence === 0 || (sums?.slotSequence ?? 0) >= slotSequence;
      if (!isGood) return done(withoutFile(parts, state));
      done(sumsWith(state, state.page ?? sums?.page));
    });
  } catch (error) {
    parts.trace.warn('store.check-failed', { error: asOperatingError(error).message });
    done(undefined);
  }
}

/** What is behind the data is nobody's, and takes space. */
function cutBack({ trace }: CheckParts, state: ObjectState, file: DiskFile): void {
  const extra = file.sizeSync() - DATA_OFFSET - OBJECT_BYTES;
  if (extra <= 0) return;
  file.truncateSync(DATA_OFFSET + OBJECT_BYTES);
  trace.warn('store.object-cut-back', { object: objectName(state), bytes: extra });
}

/** File or slots are gone: what memory knows goes into a file again, else the object is lost. */
function withoutFile(parts: CheckParts, state: ObjectState): Uint8Array | undefined {
  const { cache, applier, trace } = parts;
  if (state.page === undefined) {
    cache.lose(state, 'file or sums are gone');
    return undefined;
  }
  trace.warn('store.sums-rewritten', { object: objectName(state) });
  cache.reopen(state);
  applier.markDirty(state);
  cache.suspects.note(state, false);
  return sumsWith(state, state.page);
}

function sumsWith(state: ObjectState, page: Uint32Array | undefined): Uint8Array {
  const sums = new Uint8Array(SECTORS_PER_OBJECT * 4);
  for (let i = 0; i < SECTORS_PER_OBJECT; i += 1) setSum(sums, i, page?.[i] ?? 0);
  for (const record of state.pending) overlaySums(record, 0, SECTORS_PER_OBJECT, sums);
  return sums;
}
