// One bit flipped anywhere in a data directory: what is served is right, or suspect, or the start is refused with the
// file and the cure. Stored directories, every kind of file in turn. FLIPS=500 for the long run.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test from 'ava';
import { OperatingError } from '../../src/core/errors.ts';
import { MIB, SECTOR_BYTES } from '../../src/core/units.ts';
import { openFileDisk } from '../../src/io/file-disk.ts';
import { createRealClock } from '../../src/io/real-clock.ts';
import type { LocalObjectStore } from '../../src/storage/local-store.ts';
import { openObjectStore } from '../../src/storage/object-store.ts';
import { openRaftLog } from '../../src/storage/raft-log-open.ts';
import { openSuperblock } from '../../src/storage/superblock.ts';
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
import { SeededRandom } from './crash-world.ts';

const STORED = new URL('../fixtures/data-directory-2', import.meta.url).pathname;
const FLIPS = Number(process.env.FLIPS ?? 24);
const KINDS = [/^superblock$/, /^journal$/, /^index\./, /^map\.log$/, /^objects\//, /^incoming\//];

const fatal = (error: Error): never => {
  throw error;
};

/** Flips a bit of a byte that means something: not one of the long runs of zeroes. */
function flip(folder: string, kind: RegExp, random: SeededRandom): string {
  const names = fs
    .readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => kind.test(name) && fs.statSync(path.join(folder, name)).isFile());
  const name = names[random.below(names.length)] as string;
  const file = path.join(folder, name);
  const bytes = fs.readFileSync(file);
  const used: number[] = [];
  for (let at = 0; at < bytes.length; at += 1) if (bytes[at] !== 0) used.push(at);
  const at = used[random.below(used.length)] as number;
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

async function outcomeOf(folder: string): Promise<string> {
  const disk = openFileDisk(folder);
  const random = new SeededRandom(1);
  const clock = createRealClock();
  const trace = { event: () => undefined, warn: () => undefined, count: () => undefined };
  const superblock = await openSuperblock(disk, random);
  const { clusterId, node, peerKey } = superblock;
  const identity = JSON.stringify({ clusterId, node, peerKey });
  if (identity !== JSON.stringify(IDENTITY)) throw new TypeError(`identity is ${identity}`);
  const log = await openRaftLog(disk, clock, fatal);
  const entries = JSON.stringify(log.entries);
  // The last batch has no attest record behind it.
  const whole = JSON.stringify(logEntries());
  const cut = JSON.stringify(logEntries().slice(0, log.entries.length));
  if (entries !== whole && (entries !== cut || log.entries.length !== 1))
    throw new TypeError(entries);
  if (log.hardState.term !== HARD_STATE.term) throw new TypeError('another term');
  const options = { disk, clock, random, trace, journalBytes: 8 * MIB, onFatal: fatal };
  const store = await openObjectStore(options);
  const suspects = await suspectsOf(store);
  await new Promise<void>((resolve) => log.stop(resolve));
  await new Promise<void>((resolve) => store.stop(() => resolve()));
  return suspects === 0 ? 'right' : 'suspect';
}

test(`${FLIPS} flipped bits: right, suspect, or refused with file and cure; never wrong`, async (t) => {
  t.timeout(1_800_000);
  const outcomes = new Map<string, number>();
  for (let i = 0; i < FLIPS; i += 1) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-flip-'));
    try {
      unpackFolder(STORED, folder);
      const where = flip(folder, KINDS[i % KINDS.length] as RegExp, new SeededRandom(1000 + i));
      const outcome = await outcomeOf(folder).catch((error: unknown) => {
        if (!(error instanceof OperatingError)) throw new TypeError(`${where}: ${error}`);
        const name = (where.split(' ')[0] as string).split('/')[0] as string;
        t.true(error.message.includes(name) && error.remedy !== '', `${where}: ${error.message}`);
        return `refused: ${error.code}`;
      });
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  }
  t.log(Object.fromEntries(outcomes));
  t.true(['right', 'suspect', 'refused: corrupt'].every((outcome) => outcomes.has(outcome)));
});
