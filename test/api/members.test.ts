// The routes about members refuse what they do not understand, with a sentence and a status.

import test from 'ava';
import { ask } from '../../src/cli/client.ts';
import { CommandError } from '../../src/cli/failure.ts';
import { clusterOf } from '../fixtures.ts';
import { FakeNode } from './fake-node.ts';
import { served } from './served.ts';

test('members: wrong names, verbs, fields and values are refused as wrong usage', async (t) => {
  const { socketPath } = await served(t, new FakeNode(clusterOf({ nodes: 4, copies: 2 }), 1));
  const code = async (route: string, body?: unknown) => {
    const options = body === undefined ? {} : ({ method: 'POST', body } as const);
    const error = await ask({ socketPath }, route, options).catch((reason: unknown) => reason);
    return error instanceof CommandError ? error.code : 'ok';
  };
  const wrong: readonly (readonly [string, unknown?])[] = [
    ['/v1/nodes/n1/plan/dance'],
    ['/v1/nodes/one/plan/drain'],
    ['/v1/nodes/n2/drain', { now: true }],
    ['/v1/nodes/n2/weight', {}],
    ['/v1/nodes/n2/weight', { weight: 1.5 }],
    ['/v1/nodes/n2/weight', { weight: 65 }],
    ['/v1/nodes/n2/zone', {}],
    ['/v1/nodes/n2/zone', { zone: '' }],
    ['/v1/nodes/n2/zone', { zone: 'rack 1' }],
    ['/v1/nodes/n2/zone', { zone: 'z'.repeat(65) }],
    ['/v1/nodes/n2/maintenance', { forMs: 0 }],
    ['/v1/cluster/invite', { ttlMs: 'soon' }],
    ['/v1/cluster/set', { name: 'out-after' }],
    ['/v1/cluster/alter-copy', { copies: 2, minCopies: 3 }],
  ];
  for (const [route, body] of wrong) t.is(await code(route, body), 'usage', route);
  t.is(await code('/v1/nodes/n9/plan/drain'), 'missing');
  t.is(await code('/v1/nodes/n9/drain', {}), 'missing');
  t.is(await code('/v1/nodes/n2/maintenance', { forMs: 60_000 }), 'ok');
  t.is(await code('/v1/nodes/n2/undrain', {}), 'exists');
});

test('members: a blank node knows none', async (t) => {
  const { socketPath } = await served(t, new FakeNode());
  for (const route of ['/v1/nodes', '/v1/invites', '/v1/cluster/recover']) {
    const error = await t.throwsAsync(ask({ socketPath }, route));
    t.is((error as CommandError).code, 'not-formatted', route);
  }
});
