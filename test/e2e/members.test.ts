// Method: real processes that join, leave, move and are lost, asked through `dog` as an operator would.

import test, { type ExecutionContext } from 'ava';
import type { NodeData } from '../../src/core/admin-shapes.ts';
import { until } from './cluster.ts';
import { Hosts, type Sheep } from './sheep-process.ts';
import { TaggedWriter } from './tagged-writer.ts';

const TEST_TIMEOUT_MS = 5 * 60_000;
const STEP_MS = 60_000;
const WRITES_PER_STEP = 300;

function withHosts(body: (t: ExecutionContext, hosts: Hosts) => Promise<void>) {
  return async (t: ExecutionContext) => {
    t.timeout(TEST_TIMEOUT_MS);
    const hosts = new Hosts();
    try {
      await body(t, hosts);
    } catch (error) {
      t.log(hosts.logs);
      throw error;
    } finally {
      await hosts.stop();
    }
  };
}

/** All copies in sync where the ring wants them, and this many voters. */
async function atRest(by: Sheep, voters: number): Promise<void> {
  const isThere = async () => {
    const { partitions, voters: now } = await by.info();
    return partitions.settled === partitions.total && now.length === voters;
  };
  await until(`at rest with ${voters} voters`, isThere, STEP_MS);
}

function drained(by: Sheep, name: string): Promise<void> {
  return allDrained(by, [name]);
}

/** Leave at once: drained first, then ended, then forgotten. */
async function allDrained(by: Sheep, names: readonly string[]): Promise<void> {
  const areAll = async (what: (member: NodeData) => boolean) => {
    const members = (await by.members()).filter(({ name }) => names.includes(name));
    return members.length === names.length && members.every(what);
  };
  for (const name of names) await by.must('node', 'drain', name, '-f');
  const areGone = () => areAll(({ standing }) => standing === 'gone');
  await until(`${names} are gone`, areGone, STEP_MS);
  for (const name of names) await by.must('node', 'kill', name);
  await until(`${names} are down`, () => areAll(({ state }) => state === 'down'), STEP_MS);
  for (const name of names) await by.must('node', 'forget', name, '-f');
}

test.serial(
  'a cluster grows from 1 to 9 and shrinks to 1 under load: voters as its size asks, no error at the guest',
  withHosts(async (t, hosts) => {
    const first = await hosts.first(1);
    await first.must('vdi', 'create', 'disk', '64M');
    const writer = new TaggedWriter({
      ...{ socket: first.nbd, volume: 'disk' },
      ...{ blocks: 1024, blockBytes: 8192, inFlight: 4 },
    });
    await writer.start();
    const step = async (voters: number) => {
      await atRest(first, voters);
      await writer.acknowledgements(writer.acknowledgedCount + WRITES_PER_STEP);
    };
    await step(1);
    await hosts.join(first);
    await step(2);
    await hosts.join(first);
    await step(3);
    const early = await first.dog('cluster', 'alter-copy', '-c', '3');
    t.regex(early.stderr, /Stop writes until 2 copies of every block are made/);
    await first.must('cluster', 'alter-copy', '-c', '3', '--min-copies', '1');
    await step(3);
    await first.must('cluster', 'alter-copy', '-c', '3');
    await hosts.join(first);
    await step(3);
    await hosts.join(first);
    await step(5);
    await Promise.all(Array.from({ length: 4 }, () => hosts.join(first)));
    await step(5);
    // Voters and others, by turns: n6 to n9 do not vote, n2 to n5 do.
    await allDrained(first, ['n9', 'n8', 'n2', 'n7']);
    await step(5);
    await drained(first, 'n5');
    await step(3);
    await drained(first, 'n3');
    await step(3);
    await first.must('cluster', 'alter-copy', '-c', '1', '-f');
    await drained(first, 'n6');
    await step(2);
    await drained(first, 'n4');
    await step(1);
    await writer.stop();
    t.deepEqual(writer.errors, []);
    await writer.verify(t, first.nbd);
    const { retired, members } = await first.info();
    t.deepEqual(
      retired.map(({ name, how }) => `${name} ${how}`).sort(),
      [2, 3, 4, 5, 6, 7, 8, 9].map((node) => `n${node} forgotten`),
    );
    t.is(members.total, 1);
  }),
);

test.serial(
  'a member comes back at another address; one that is down is out after the delay, and in again by its start',
  withHosts(async (t, hosts) => {
    const first = await hosts.first(2);
    const others = [await hosts.join(first), await hosts.join(first)];
    await first.must('vdi', 'create', 'disk', '32M');
    await atRest(first, 3);
    const [second, third] = others as [Sheep, Sheep];
    const before = (await first.member('n3'))?.addresses;
    const writer = new TaggedWriter({
      ...{ socket: first.nbd, volume: 'disk' },
      ...{ blocks: 512, blockBytes: 8192, inFlight: 4 },
    });
    await writer.start();
    await third.end('SIGTERM');
    await third.start();
    await third.up();
    await atRest(first, 3);
    t.notDeepEqual((await first.member('n3'))?.addresses, before, 'it listens elsewhere');
    await writer.acknowledgements(writer.acknowledgedCount + WRITES_PER_STEP);

    await first.must('cluster', 'set', 'out-after', '3s');
    await first.must('node', 'maintenance', 'n3', 'on', '--for', '12s');
    await third.end();
    const isDown = async () => (await first.member('n3'))?.state === 'down';
    await until('n3 is down', isDown, STEP_MS);
    const { stdout } = await first.dog('cluster', 'health');
    t.regex(stdout, /NODE_DOWN: n3 does not answer.*in maintenance until .*, out in \d+ s/);
    const isOut = async () => (await first.member('n3'))?.standing === 'out';
    await until('n3 is out', isOut, STEP_MS);
    t.regex((await first.dog('cluster', 'health')).stdout, /NODE_OUT: n3 is out/);
    await atRest(first, 3);
    await third.start();
    await third.up();
    await until('n3 is in', async () => (await first.member('n3'))?.standing === 'in', STEP_MS);
    await atRest(first, 3);
    await writer.stop();
    t.deepEqual(writer.errors, []);
    await writer.verify(t, second.nbd);
  }),
);

test.serial(
  'two of three voters lose their disks: the third says for whom it waits, is forced, and grows again',
  withHosts(async (t, hosts) => {
    const first = await hosts.first(3);
    const lost = [await hosts.join(first), await hosts.join(first)];
    await first.must('vdi', 'create', 'disk', '32M');
    await atRest(first, 3);
    const writer = new TaggedWriter({
      ...{ socket: first.nbd, volume: 'disk' },
      ...{ blocks: 512, blockBytes: 8192, inFlight: 4 },
    });
    await writer.start();
    await writer.acknowledgements(WRITES_PER_STEP);
    await writer.stop();
    await Promise.all([first.end(), ...lost.map((sheep) => sheep.end())]);
    for (const sheep of lost) sheep.destroy();

    await first.start();
    const names = async () => (await first.status()).missingVoters.join();
    await until('it names who is missing', async () => (await names()) === 'n2,n3', STEP_MS);
    t.regex((await first.status()).waitingFor, /n2, n3 do not answer, 1 of 3 are there/);
    const plan = await first.must('cluster', 'recover', 'force');
    t.regex(plan, /n2 {2}DOES NOT ANSWER[\s\S]*n1 can go on alone/);
    const running = await first.unsafeRecover('--yes-i-accept-loss');
    t.not(running.code, 0, 'the daemon runs');
    t.is((await first.dog('node', 'kill', 'n1')).code, 0);
    t.is(await first.ended(), 0);
    const unasked = await first.unsafeRecover();
    t.is(unasked.code, 64);
    t.regex(unasked.stderr, /nobody accepted the loss/);
    const forced = await first.unsafeRecover('--yes-i-accept-loss');
    t.is(forced.code, 0, forced.stderr);
    t.regex(forced.stdout, /IT CAN NOT BE UNDONE[\s\S]*dog node forget n2/);

    await first.start();
    await first.up();
    const areDown = async () => {
      const members = await first.members();
      return members.every(({ name, state }) => name === 'n1' || state === 'down');
    };
    await until('the lost ones are down', areDown, STEP_MS);
    await first.must('node', 'forget', 'n2', '-f');
    await first.must('node', 'forget', 'n3', '-f');
    await hosts.join(first);
    await hosts.join(first);
    await atRest(first, 3);
    await writer.verify(t, first.nbd);
  }),
);

test.serial(
  'a majority that is there is not forced; two nodes and a witness; a token serves one node',
  withHosts(async (t, hosts) => {
    const first = await hosts.first(2, '--min-copies', '1');
    const second = await hosts.join(first);
    const witness = await hosts.join(first, '--witness');
    await first.must('vdi', 'create', 'disk', '32M');
    await atRest(first, 3);
    t.is((await first.dog('cluster', 'recover', 'force')).code, 77);
    await second.end();
    const there = await second.unsafeRecover('--yes-i-accept-loss');
    t.is(there.code, 1);
    t.regex(there.stderr, /a majority of the voters is there: n2, n1, n3/);

    const writer = new TaggedWriter({
      ...{ socket: first.nbd, volume: 'disk' },
      ...{ blocks: 256, blockBytes: 8192, inFlight: 2 },
    });
    await writer.start();
    await writer.acknowledgements(WRITES_PER_STEP);
    await writer.stop();
    t.deepEqual(writer.errors, [], 'one node and the witness go on');
    t.is((await witness.status()).objects, 0);
    t.regex(await first.must('node', 'list'), /n3 .*witness/);
    await second.start();
    await second.up();
    await atRest(first, 3);

    const token = (await first.must('cluster', 'invite', '--single-use')).trim();
    const third = hosts.make();
    await third.start('--join', token);
    await third.up();
    const fourth = hosts.make();
    await fourth.start('--join', token).catch(() => {});
    t.is(await fourth.ended(), 1);
    t.regex(fourth.log, /the token is not known here: it was used up/);
    t.regex(hosts.logs, /knock\.refused/, 'the member that was asked says so, too');
  }),
);
