// The memory of long frames: used again once it was given back, and by one frame at a time.

import test from 'ava';
import { MIB } from '../../src/core/units.ts';
import {
  giveFrameMemory,
  MAX_SPARE_FRAMES,
  MIN_SPARE_FRAME_BYTES,
  takeFrameMemory,
} from '../../src/wire/frame-memory.ts';

test.serial('what is given back is the next frame; what is held is no other frame', (t) => {
  const first = takeFrameMemory(MIB, 2 * MIB);
  const second = takeFrameMemory(MIB, 2 * MIB);
  t.is(first.length, MIB);
  t.not(first.buffer, second.buffer);
  // Any part of a frame stands for it.
  giveFrameMemory(first.subarray(100, 200));
  const third = takeFrameMemory(2 * MIB, 2 * MIB);
  t.is(third.buffer, first.buffer);
  t.is(third.length, 2 * MIB);
  t.not(takeFrameMemory(MIB, 2 * MIB).buffer, third.buffer);
});

test.serial('short frames, and what was never lent, stay out of it', (t) => {
  const short = takeFrameMemory(MIN_SPARE_FRAME_BYTES - 1, 2 * MIB);
  giveFrameMemory(short);
  const foreign = new Uint8Array(2 * MIB);
  giveFrameMemory(foreign);
  const next = takeFrameMemory(MIB, 2 * MIB);
  t.false([short.buffer, foreign.buffer].includes(next.buffer));
});

test.serial('a bounded number waits', (t) => {
  const frames = Array.from({ length: MAX_SPARE_FRAMES + 2 }, () => takeFrameMemory(MIB, 2 * MIB));
  for (const frame of frames) giveFrameMemory(frame);
  const again = frames.map(() => takeFrameMemory(MIB, 2 * MIB).buffer);
  const known = new Set(frames.map(({ buffer }) => buffer));
  t.is(again.filter((buffer) => known.has(buffer)).length, MAX_SPARE_FRAMES);
  t.is(new Set(again).size, again.length);
});
