// `dog vdi read` and `dog vdi write`: bytes of a volume without a guest, through the node that is asked. It takes the
// volume's lock like a guest, so it is refused while one has it.

import type { Command } from 'commander';
import { parseVolumeName } from '../core/snapshot-name.ts';
import { parseBytes } from '../core/volume.ts';
import type { Extent } from '../streams/pieces.ts';
import { readRange, writeRange } from '../streams/volume-copy.ts';
import { helpTail, type Io, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';
import { type Hold, holdOf, using } from './hold.ts';

export function addVdiData(vdi: Command, io: Io): void {
  vdi
    .command('read <name> [offset] [length]')
    .description(
      'bytes of a volume, or of a snapshot NAME@TAG, to stdout: all, or LENGTH of them from OFFSET on',
    )
    .addHelpText(
      'after',
      helpTail('dog vdi read demo > demo.img', 'dog vdi read demo 1M 512 | xxd'),
    )
    .action(async (name: string, from = '0', count: string | undefined, _o, command: Command) => {
      const hold = await opened(command, io, name);
      await using(hold, async () => {
        const range = rangeOf(hold, from, count);
        await readRange(hold.volume, range, io.outBytes);
      });
    });
  vdi
    .command('write <name> [offset] [length]')
    .description('bytes from stdin into a volume: up to its end, or LENGTH of them, from OFFSET on')
    .addHelpText(
      'after',
      helpTail('dog vdi write demo < demo.img', 'echo hello | dog vdi write demo 4096'),
    )
    .action(async (name: string, from = '0', count: string | undefined, _o, command: Command) => {
      const hold = await opened(command, io, name);
      await using(hold, async () => writeAll(hold, rangeOf(hold, from, count), io, count));
    });
}

async function writeAll(
  hold: Hold,
  range: Extent,
  io: Io,
  count: string | undefined,
): Promise<void> {
  const end = range.offset + range.length;
  const tooLong = `there are more bytes: the volume ends at ${end}; what fits is written`;
  const bounded = count === undefined ? { ...range, tooLong } : range;
  const written = await writeRange(hold.volume, bounded, io.input());
  if (count !== undefined && written < range.length) {
    const message = `stdin ended after ${written} bytes, not ${range.length}; these are written`;
    throw new CommandError('short-input', message);
  }
}

async function opened(command: Command, io: Io, name: string): Promise<Hold> {
  parseVolumeName(name);
  return holdOf(sessionOf(command, io).options, io.env, name);
}

function rangeOf({ volume: { sizeBytes } }: Hold, from: string, count: string | undefined): Extent {
  const offset = parseBytes(from);
  const length = count === undefined ? sizeBytes - offset : parseBytes(count);
  const isWhole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (isWhole && offset >= 0 && length >= 0 && offset + length <= sizeBytes) {
    return { offset, length };
  }
  throw new CommandError('usage', `the volume has ${sizeBytes} bytes: that range is not in it`);
}
