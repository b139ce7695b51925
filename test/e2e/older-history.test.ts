// Method: three real processes; two are killed with their disks, the third goes on by a forced recovery; then the two are
// started as they were, together a majority of the voters that they know. Each ends by itself with the reason and the cure,
// the forced cluster tells of it and keeps nothing of theirs; with empty directories they join as new nodes.

import test from 'ava';
import { until } from './cluster.ts';
import type { Sheep } from './sheep-process.ts';
import { endOf, withHosts } from './with-hosts.ts';

const STEP_MS = 60_000;

test.serial(
  'voters that a forced recovery gave up are refused when they come back, and join as new nodes',
  withHosts(async (t, hosts) => {
    const first = await hosts.first(3);
    const others: Sheep[] = [await hosts.join(first), await hosts.join(first)];
    const isSettled = async () => (await first.info()).voters.length === 3;
    await until('three voters', isSettled, STEP_MS);
    // Each comes back where it was, or nobody would find anybody.
    const members = await first.members();
    const at = (node: number) => {
      const address = members.find((member) => member.node === node)?.addresses[0] ?? '';
      return ['--listen', address] as const;
    };
    await first.end();
    await others[0]?.must('vdi', 'create', 'later', '16M');
    for (const sheep of others) await sheep.end();

    await first.start(...at(1));
    const names = async () => (await first.status()).missingVoters.join();
    await until('it names who is missing', async () => (await names()) === 'n2,n3', STEP_MS);
    t.regex(await first.must('cluster', 'recover', 'force'), /as n1 sees it/);
    await first.end('SIGTERM');
    const forced = await first.unsafeRecover('--yes-i-accept-loss');
    t.is(forced.code, 0, forced.stderr);
    await first.start(...at(1));
    await first.up();

    const codes = await Promise.all(others.map((sheep, i) => endOf(sheep, ...at(i + 2))));
    t.deepEqual(codes, [1, 1]);
    for (const [i, sheep] of others.entries()) {
      t.regex(sheep.log, new RegExp(`n${i + 2} was given up by a forced recovery`));
      t.regex(sheep.log, /start sheep --join TOKEN with an empty data directory/);
    }
    const health = (await first.dog('cluster', 'health')).stdout;
    t.regex(health, /MAP_SPLIT: n[23][^\n]* runs another history/);
    t.regex(health, /dog node forget n[23]/);
    t.notRegex(await first.must('vdi', 'list'), /later/);
    t.is((await first.info()).voters.join(), 'n1');

    const areDown = async () => {
      return (await first.members()).every(({ name, state }) => name === 'n1' || state === 'down');
    };
    await until('the others are down', areDown, STEP_MS);
    for (const name of ['n2', 'n3']) await first.must('node', 'forget', name, '-f');
    for (const sheep of others) {
      sheep.destroy();
      const token = (await first.must('cluster', 'invite', '--single-use')).trim();
      await sheep.start('--join', token);
      await sheep.up();
    }
    await until('three voters again', isSettled, STEP_MS);
  }),
);
