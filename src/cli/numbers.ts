// Numbers on the command line, checked where they are read.

import { InvalidArgumentError } from 'commander';
import { parseDuration } from '../core/duration.ts';
import { messageOf } from '../core/errors.ts';

const MAX_COUNT = 65536;
const MAX_TIMEOUT_MS = 24 * 60 * 60_000;

/** For commander's options: a whole number from 1 to `most`. */
export function countOf(what: string, most = MAX_COUNT): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= 1 && value <= most) return value;
    throw new InvalidArgumentError(`${what} is a whole number from 1 to ${most}.`);
  };
}

/** For commander's options: a time in ms, longer than 0. */
export function timeOf(what: string): (text: string) => number {
  return (text) => {
    let ms = 0;
    try {
      ms = parseDuration(text);
    } catch (error) {
      throw new InvalidArgumentError(`${what}: ${messageOf(error)}.`);
    }
    if (ms > 0 && ms <= MAX_TIMEOUT_MS) return ms;
    throw new InvalidArgumentError(`${what} is longer than 0 and at most a day.`);
  };
}
