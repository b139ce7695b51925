// `dog vdi read` and `dog vdi write`: bytes of a volume without a guest, through the node that is asked. It takes the
// volume's lock like a guest, so it is refused while one has it.

import { Agent } from 'node:http';
import type { Command } from 'commander';
import { parseVolumeName } from '../core/snapshot-name.ts';
import { parseBytes } from '../core/volume.ts';
import type { HoldData } from '../core/volume-shapes.ts';
import type { Extent } from '../streams/pieces.ts';
import {
  type FarVolume,
  MAX_PIECES_MOVING,
  readRange,
  writeRange,
} from '../streams/volume-copy.ts';
import { ask, askBytes, findTarget, type Target } from './client.ts';
import { helpTail, type Io, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';

interface Hold {
  readonly sizeBytes: number;
  readonly volume: FarVolume;
  end(): Promise<void>;
}

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
      const hold = await holdOf(command, io, name);
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
      const hold = await holdOf(command, io, name);
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

function rangeOf({ sizeBytes }: Hold, from: string, count: string | undefined): Extent {
  const offset = parseBytes(from);
  const length = count === undefined ? sizeBytes - offset : parseBytes(count);
  const isWhole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (isWhole && offset >= 0 && length >= 0 && offset + length <= sizeBytes) {
    return { offset, length };
  }
  throw new CommandError('usage', `the volume has ${sizeBytes} bytes: that range is not in it`);
}

/** The volume is given back whatever happens; what happened first is told. */
async function using(hold: Hold, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    await hold.end().catch(() => undefined);
    throw error;
  }
  await hold.end();
}

async function holdOf(command: Command, io: Io, name: string): Promise<Hold> {
  parseVolumeName(name);
  const { options } = sessionOf(command, io);
  const target = await findTarget(options, io.env);
  const timing = options.timeout === undefined ? {} : { timeoutMs: options.timeout };
  const route = `/v1/volumes/${encodeURIComponent(name)}/io`;
  const { data } = await ask<HoldData>(target, route, { method: 'POST', body: {}, ...timing });
  const { id, sizeBytes, keepEveryMs } = data;
  const keep = setInterval(() => {
    ask(target, `/v1/io/${id}/keep`, { method: 'POST', body: {} }).catch(() => undefined);
  }, keepEveryMs);
  const agent = new Agent({ keepAlive: true, maxSockets: MAX_PIECES_MOVING });
  return {
    sizeBytes,
    volume: farVolume(target, data, { agent, ...timing }),
    async end() {
      clearInterval(keep);
      agent.destroy();
      await ask(target, `/v1/io/${id}`, { method: 'DELETE', ...timing });
    },
  };
}

function farVolume(
  target: Target,
  { id, pieceBytes }: HoldData,
  how: { readonly agent: Agent; readonly timeoutMs?: number },
): FarVolume {
  return {
    pieceBytes,
    read({ offset, length }) {
      const route = `/v1/io/${id}?offset=${offset}&length=${length}`;
      return askBytes(target, route, { method: 'GET', ...how });
    },
    async write({ offset, bytes }) {
      const route = `/v1/io/${id}?offset=${offset}`;
      await askBytes(target, route, { method: 'POST', bytes, ...how });
    },
  };
}
