// Bytes of what a node remembers of its scrubs and repairs, file `scrub` in the data directory: 512 bytes, replaced as a
// whole (scrub.new, sync, rename, folder sync). Integers are little-endian. It is a convenience: when it is damaged,
// scrubbing begins anew, and nothing else depends on it.
//     0 u32 magic "SSCR"        4 u32 format version      8 u8 paused (1/0)          9 u8 run: 0 none, 1 light, 2 deep
//    10 u48 date of the last complete light run          16 u48 of the last deep one
//    22 u48 date at which the run began                  28 u48 its position + 1     34 u48 its total bytes
//    40 u48 its bytes done                               46 u48 sectors that were repaired
//    52 u48 objects repaired as a whole                   58 u48 date of the last repair, 0 = none
//   508 u32 sum of 0-507
//   Dates are ms since 1970. Partitions with keys below position + 1 are done. Format 1 has zeroes from 46 on.

import { OperatingError } from '../core/errors.ts';
import { freshMemo, type ScrubMemo } from '../core/scrub.ts';
import type { Clock, Disk, Trace } from '../ports/ports.ts';
import { asOperatingError } from './disk-errors.ts';
import { BLOCK_BYTES, getU48, isSealed, sealBlock, setU48, viewOfBytes } from './layout.ts';

export const SCRUB_PATH = 'scrub';
const SCRUB_NEW_PATH = 'scrub.new';
const SCRUB_MAGIC = 0x52435353;
const SCRUB_FORMAT = 2;
const RUN_KINDS = [undefined, 'light', 'deep'] as const;

/** The memo of this disk; a fresh one where there is none that can be believed. */
export function loadScrubMemo(disk: Disk, clock: Clock, trace: Trace): ScrubMemo {
  try {
    const file = disk.open(SCRUB_PATH, { create: false });
    if (file === undefined) return freshMemo(clock.date());
    const block = new Uint8Array(BLOCK_BYTES);
    file.readSync(block, 0, BLOCK_BYTES, 0);
    file.close();
    const memo = decode(block);
    if (memo !== undefined) return memo;
    trace.warn('scrub.memo-damaged', { file: SCRUB_PATH });
  } catch (error) {
    trace.warn('scrub.memo-damaged', { file: asOperatingError(error).message });
  }
  return freshMemo(clock.date());
}

/** Durable when done. One at a time. */
export function saveScrubMemo(
  disk: Disk,
  memo: ScrubMemo,
  done: (error: OperatingError | undefined) => void,
): void {
  const ended = (error: Error | undefined): void =>
    done(error === undefined ? undefined : asOperatingError(error));
  try {
    const file = disk.open(SCRUB_NEW_PATH, { create: true });
    if (file === undefined) {
      ended(new OperatingError('io', `can not make ${SCRUB_NEW_PATH}`));
      return;
    }
    file.writeSync(encode(memo), 0);
    file.sync((error) => {
      file.close();
      if (error !== undefined) return ended(error);
      try {
        disk.rename(SCRUB_NEW_PATH, SCRUB_PATH);
        disk.syncFolder('', ended);
      } catch (failure) {
        ended(asOperatingError(failure));
      }
    });
  } catch (error) {
    ended(asOperatingError(error));
  }
}

function encode({ isPaused, run, lightMs, deepMs, repairs }: ScrubMemo): Uint8Array {
  const block = new Uint8Array(BLOCK_BYTES);
  const view = viewOfBytes(block);
  view.setUint32(0, SCRUB_MAGIC, true);
  view.setUint32(4, SCRUB_FORMAT, true);
  block[8] = isPaused ? 1 : 0;
  block[9] = RUN_KINDS.indexOf(run?.kind);
  setU48(view, 10, lightMs);
  setU48(view, 16, deepMs);
  setU48(view, 22, run?.startedMs ?? 0);
  setU48(view, 28, (run?.position ?? -1) + 1);
  setU48(view, 34, run?.totalBytes ?? 0);
  setU48(view, 40, run?.doneBytes ?? 0);
  setU48(view, 46, repairs.sectors);
  setU48(view, 52, repairs.objects);
  setU48(view, 58, repairs.lastMs);
  sealBlock(block);
  return block;
}

function decode(block: Uint8Array): ScrubMemo | undefined {
  const view = viewOfBytes(block);
  const isOurs = view.getUint32(0, true) === SCRUB_MAGIC && isSealed(block);
  if (!isOurs || view.getUint32(4, true) > SCRUB_FORMAT) return undefined;
  const kind = RUN_KINDS[block[9] as number];
  return {
    isPaused: block[8] === 1,
    lightMs: getU48(view, 10),
    deepMs: getU48(view, 16),
    repairs: {
      sectors: getU48(view, 46),
      objects: getU48(view, 52),
      lastMs: getU48(view, 58),
    },
    run:
      kind === undefined
        ? undefined
        : {
            kind,
            startedMs: getU48(view, 22),
            position: getU48(view, 28) - 1,
            totalBytes: getU48(view, 34),
            doneBytes: getU48(view, 40),
          },
  };
}
