// Method: a node of three is stopped in order, one file or folder of its data directory is taken away, and it is started
// again: each one in turn, whatever there is. Either the node refuses with one error that names what is missing and what to
// do, and starts once it is back; or it goes on without it, fetches what it lacks, and serves the right bytes. Never a bare
// code of the system, never silence.

import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { MIB } from '../../src/core/units.ts';
import { until } from './cluster.ts';
import { NbdClient } from './nbd-client.ts';
import { Hosts, type Sheep } from './sheep-process.ts';

const TEST_TIMEOUT_MS = 8 * 60_000;
const HEALED_MS = 60_000;
const OBJECTS = 6;
const PIECE_BYTES = 65_536;

/** What becomes of a start without this; a name that fits none of them fails the test. */
const TABLE: readonly (readonly [RegExp, RegExp | 'goes on', 'or goes on'?])[] = [
  [/^superblock$/, /superblock/],
  [/^identity\.key$/, /identity\.key/],
  [/^journal$/, /journal is missing/],
  [/^index\./, /index\.[0-9a-f]{8}.*missing/],
  // Where the book of members, or a snapshot, says whom to ask for the map.
  [/^map\.log$/, /map\.log is missing/, 'or goes on'],
  [/^map\.snapshot$/, 'goes on'],
  [/^(scrub|outages|sightings|reserve|members|map\..*damaged)$/, 'goes on'],
  [/^incoming$/, 'goes on'],
  [/^objects$/, 'goes on'],
  [/^objects\/..$/, 'goes on'],
  [/^objects\/..\/[0-9a-f]{16}$/, 'goes on'],
  // Made anew by every start.
  [/^(lock|node\.lock|.*\.sock)$/, 'goes on'],
];

async function fill(sheep: Sheep): Promise<Buffer[]> {
  const client = await NbdClient.connect(sheep.nbd, 'disk');
  const pieces: Buffer[] = [];
  for (let i = 0; i < OBJECTS; i += 1) {
    pieces.push(crypto.randomBytes(PIECE_BYTES));
    await client.write(i * 4 * MIB, pieces[i] as Buffer);
  }
  await client.close();
  return pieces;
}

async function readsRight(t: ExecutionContext, sheep: Sheep, pieces: Buffer[], what: string) {
  const client = await NbdClient.connect(sheep.nbd, 'disk');
  for (const [i, piece] of pieces.entries()) {
    const read = await client.read(i * 4 * MIB, PIECE_BYTES);
    t.true(read.equals(piece), `without ${what}: object ${i}`);
  }
  await client.close();
}

/** Every entry at the top, one folder of objects, and one object. */
function entriesOf(dir: string): string[] {
  const folder = fs
    .readdirSync(path.join(dir, 'objects'))
    .find((name) => fs.readdirSync(path.join(dir, 'objects', name)).length > 0);
  const [file] = fs.readdirSync(path.join(dir, 'objects', folder ?? ''));
  return [...fs.readdirSync(dir), `objects/${folder}`, `objects/${folder}/${file}`];
}

async function refusalOf(sheep: Sheep): Promise<string> {
  sheep.log = '';
  await sheep.start().catch(() => undefined);
  return sheep.isRunning ? '' : sheep.log;
}

async function isWhole(sheep: Sheep): Promise<boolean> {
  const { partitions } = await sheep.info();
  const { stdout } = await sheep.dog('node', 'scrub', 'info', '--json');
  const { run, damaged } = JSON.parse(stdout).data;
  return partitions.settled === partitions.total && run === null && (damaged ?? []).length === 0;
}

async function goesOn(t: ExecutionContext, sheep: Sheep, pieces: Buffer[], name: string) {
  await sheep.up();
  await readsRight(t, sheep, pieces, name);
  await sheep.must('node', 'scrub', 'start', 'deep');
  await until(`whole without ${name}`, () => isWhole(sheep), HEALED_MS, 300);
  t.is((await sheep.status()).objects, OBJECTS, name);
  t.is(await sheep.end('SIGTERM'), 0, name);
}

test('a data directory without any one of its files: a clear refusal, or healed; nothing in between', async (t) => {
  t.timeout(TEST_TIMEOUT_MS);
  const hosts = new Hosts();
  try {
    const first = await hosts.first(3);
    await hosts.join(first);
    const third = await hosts.join(first);
    await first.must('vdi', 'create', 'disk', '64M');
    const pieces = await fill(first);
    await third.must('node', 'scrub', 'start', 'light');
    await until('scrubbed', () => isWhole(third), HEALED_MS, 300);
    t.is(await third.end('SIGTERM'), 0);
    const aside = `${third.dir}.aside`;
    for (const name of entriesOf(third.dir)) {
      const [, expected, other] = TABLE.find(([pattern]) => pattern.test(name)) ?? [];
      const place = path.join(third.dir, name);
      fs.renameSync(place, aside);
      const said = await refusalOf(third);
      t.log(`${name}: ${said === '' ? 'goes on' : said.trim().split('\n').slice(-3).join(' | ')}`);
      if (said === '' && (expected === 'goes on' || other === 'or goes on')) {
        await goesOn(t, third, pieces, name);
        fs.rmSync(aside, { recursive: true, force: true });
        continue;
      }
      t.true(expected instanceof RegExp && expected.test(said), `${name}: ${said || 'started'}`);
      t.notRegex(said, /ENOENT|at .*\.ts:\d/, name);
      if (third.isRunning) await third.end('SIGTERM');
      fs.rmSync(place, { recursive: true, force: true });
      fs.renameSync(aside, place);
      await third.start();
      await goesOn(t, third, pieces, `nothing, after ${name}`);
    }
  } catch (error) {
    t.log(hosts.logs);
    throw error;
  } finally {
    await hosts.stop();
  }
});
