// Method: real processes that must not come in: a node of another cluster, a token that was taken back. Each is told why
// and ends; the member says who knocked, and from where; the cluster goes on. And `sheep --inspect`.

import test from 'ava';
import { endOf, withHosts } from './with-hosts.ts';

test.serial(
  'a node of another cluster and a token that was revoked are refused with the reason; --inspect shows the actors',
  withHosts(async (t, hosts) => {
    const first = hosts.make();
    await first.start('--inspect');
    await first.must('cluster', 'format', '-c', '1', '--partitions', '64');
    await first.up();
    t.regex(first.log, /actor\.moved.*announcing.*up/, 'each change of state is a line');
    t.regex(first.log, /"?actor"?[=:] ?"?voter/, 'of the voter, too');
    t.is((await first.members()).length, 1);

    const token = (await first.must('cluster', 'invite')).trim();
    const listed = JSON.parse(await first.must('cluster', 'invite', 'list', '--json'));
    await first.must('cluster', 'invite', 'revoke', listed.data[0].id);
    const late = hosts.make();
    t.is(await endOf(late, '--join', token), 1);
    t.regex(late.log, /the token is not known here/);
    t.regex(late.log, /dog cluster invite/, 'with the cure');
    t.regex(first.log, /knock\.refused.*127\.0\.0\.1/, 'and the member says so, with the address');

    const other = await hosts.first(1);
    const good = (await first.must('cluster', 'invite')).trim();
    t.is(await other.end('SIGTERM'), 0);
    t.is(await endOf(other, '--join', good), 1);
    t.regex(other.log, /this data directory belongs to cluster [0-9a-f]+, the token is of/);
    t.is((await first.members()).length, 1);
  }),
);
