// Numbers on the command line, checked where they are read.

import { InvalidArgumentError } from 'commander';

const MAX_COUNT = 65536;

/** For commander's options: a whole number from 1 to `most`. */
export function countOf(what: string, most = MAX_COUNT): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= 1 && value <= most) return value;
    throw new InvalidArgumentError(`${what} is a whole number from 1 to ${most}.`);
  };
}
