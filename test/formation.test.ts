// How a node comes to belong to a cluster: options of a format, the knock from both sides, and joiners that crash.

import test from 'ava';
import { play, scenario } from '../sim/scenario.ts';
import type { Agreement } from '../src/agreement/agreement.ts';
import { buildNode } from '../src/build-node.ts';
import { viewOf } from '../src/core/cluster-state.ts';
import { hasCode, OperatingError } from '../src/core/errors.ts';
import type { NodeId, PeerKey } from '../src/core/ids.ts';
import type { EntryBody } from '../src/core/log-entry.ts';
import { decodeToken, encodeToken } from '../src/core/token.ts';
import { answerKnock, formatEntry, knockWith, makeInvite } from '../src/formation.ts';
import type { Knocker, Network } from '../src/ports/ports.ts';
import { Retirement } from '../src/retirement.ts';
import { decodeJoinReply, encodeJoinRequest, MAX_REFUSAL_CHARS } from '../src/wire/messages.ts';
import { SeededRandom } from './datapath/fake-clock.ts';
import { CLUSTER_ID, clusterOf, entryBodies } from './fixtures.ts';

const place = { zone: 'z9', weight: 1 };
const options = { name: 'c', copies: 3 };

test('formation: copies without min-copies need a majority of them', (t) => {
  for (const [copies, minCopies] of [
    [1, 1],
    [2, 2],
    [3, 2],
    [5, 3],
  ] as const) {
    t.like(formatEntry({ ...options, copies }, CLUSTER_ID), { copies, minCopies });
  }
});

test('formation: a format that could not be kept is refused as wrong usage', (t) => {
  const wrong = [
    { copies: 0 },
    { copies: 8 },
    { copies: 1.5 },
    { minCopies: 0 },
    { minCopies: 4 },
    { partitions: 8 },
    { partitions: 100 },
    { partitions: 131072 },
    { name: '' },
    { name: 'a b' },
    { name: 'n'.repeat(65) },
  ];
  for (const change of wrong) {
    const error = t.throws(() => formatEntry({ ...options, ...change }, CLUSTER_ID));
    t.true(hasCode(error, 'usage'), JSON.stringify(change));
  }
});

/** A member whose log takes what it is told to take. */
function member() {
  const cell = clusterOf({ nodes: 3, partitions: 1, settled: false });
  for (const node of [1, 2, 3]) {
    const addresses = [`/ip4/10.0.0.${node}/tcp/7001`];
    cell.apply({ ...entryBodies.nodeUp({ node, incarnation: 2 }), addresses });
  }
  const state = { detail: '', value: 4, failure: undefined as OperatingError | undefined };
  const proposed: EntryBody[] = [];
  const agreement = {
    propose: async (body: EntryBody) => {
      if (state.failure !== undefined) throw state.failure;
      proposed.push(body);
      if (body.type === 'setting') cell.apply(body);
      return {
        code: state.value === 0 ? 'refused' : 'ok',
        value: state.value,
        detail: state.detail,
      };
    },
  } as unknown as Agreement;
  const view = () => viewOf(cell.state);
  const refusals: unknown[] = [];
  const trace = { warn: (_name: string, fields?: object) => void refusals.push(fields) };
  const clock = { date: () => 1000 };
  const world = { random: new SeededRandom(1), clock };
  const door = () => ({ agreement, view: view(), clock, trace });
  const stranger = {
    peer: 'stranger' as PeerKey,
    address: '/ip4/10.0.0.9/tcp/4000',
    isSecond: false,
  };
  const answer = async (bytes: Uint8Array, from: Partial<Knocker> = {}) =>
    decodeJoinReply(await answerKnock(door(), { ...stranger, ...from }, bytes));
  const invite = (wishes = {}) => makeInvite(agreement, view(), world, wishes);
  /** What a joiner's knock looks like on the network, answered by this member. */
  const network = (asked: string[] = [], isDead: (address: string) => boolean = () => false) =>
    ({
      addresses: () => ['/ip4/10.0.0.9/tcp/7001'],
      knock: async (address: string, request: Uint8Array) => {
        asked.push(address);
        if (isDead(address)) throw new OperatingError('unreachable', 'silence');
        return answerKnock(door(), stranger, request);
      },
    }) as unknown as Network;
  return { state, proposed, answer, invite, network, view, refusals, clock, cell };
}

test('formation: who knocks with an invite gets a place and hears of all members', async (t) => {
  const { invite, network, proposed, view } = member();
  const token = await invite();
  const { node, clusterId, members } = await knockWith(network(), token, place);
  t.is(Number(node), 4);
  t.is(clusterId, view().clusterId);
  t.is(members.length, 3);
  t.like(proposed.at(-1), { type: 'nodeAdmit', peerKey: 'stranger', zone: 'z9', weight: 1 });
});

test('formation: the secret of an invite is in the token only, its hash in the map', async (t) => {
  const { invite, proposed } = member();
  const { secret } = decodeToken(await invite());
  t.false(JSON.stringify(proposed).includes(secret));
});

test('formation: an invite that names nobody is refused, not printed', async (t) => {
  const nowhere = viewOf(clusterOf({ nodes: 1, partitions: 1, settled: false }).state);
  const agreement = { propose: async () => ({ code: 'ok', value: 0, detail: '' }) };
  const made = makeInvite(agreement as unknown as Agreement, nowhere, {
    random: new SeededRandom(1),
    clock: { date: () => 1 },
  });
  t.true(hasCode(await t.throwsAsync(made), 'unreachable'));
});

test('formation: members that do not answer are passed over; when none does all are named', async (t) => {
  const { invite, network } = member();
  const token = await invite();
  const asked: string[] = [];
  const [first] = decodeToken(token).addresses;
  await knockWith(
    network(asked, (address) => address === first),
    token,
    place,
  );
  t.is(asked.length, 2);
  const error = await t.throwsAsync(
    knockWith(
      network([], () => true),
      token,
      place,
    ),
  );
  t.true(hasCode(error, 'unreachable'));
  for (const address of decodeToken(token).addresses) t.true(error?.message.includes(address));
});

test('formation: a member without a quorum is passed over, a refusal ends the knocks', async (t) => {
  const { invite, network, state } = member();
  const token = await invite();
  const asked: string[] = [];
  state.failure = new OperatingError('no-quorum', 'nobody decides');
  t.true(hasCode(await t.throwsAsync(knockWith(network(asked), token, place)), 'unreachable'));
  t.is(asked.length, 3);
  state.failure = undefined;
  state.value = 0;
  state.detail = 'too many members';
  const error = await t.throwsAsync(knockWith(network(asked), token, place));
  t.true(hasCode(error, 'refused'));
  t.is(asked.length, 4);
});

test('formation: a wrong secret, an unknown invite, another cluster: no place, and the reason', async (t) => {
  const { invite, network, proposed } = member();
  const token = decodeToken(await invite());
  const before = proposed.length;
  const wrong = [
    [{ secret: 'guessed' }, 'refused'],
    [{ inviteId: 'other' }, 'refused'],
    [{ clusterId: '0'.repeat(32) as typeof CLUSTER_ID }, 'wrong-cluster'],
  ] as const;
  for (const [change, code] of wrong) {
    const forged = encodeToken({ ...token, ...change });
    t.true(hasCode(await t.throwsAsync(knockWith(network(), forged, place)), code), code);
  }
  t.is(proposed.length, before);
  const elsewhere = encodeToken({ ...token, clusterId: '0'.repeat(32) as typeof CLUSTER_ID });
  const error = await t.throwsAsync(knockWith(network(), elsewhere, place));
  t.regex(error?.message ?? '', /^the member at \S+ refused: this is cluster \S+, not 0{32}$/);
  t.regex((error as OperatingError).remedy, /dog cluster invite/, 'the joiner is told what to do');
});

test('formation: versions that do not overlap are refused, and both sides are told why', async (t) => {
  const { answer, invite, refusals } = member();
  const { clusterId, inviteId, secret } = decodeToken(await invite());
  const knock = { ...{ clusterId, inviteId, secret }, addresses: [], ...place, isWitness: false };
  const newer = encodeJoinRequest({ ...knock, oldest: 2, newest: 3 });
  const text = 'the versions do not fit: this cluster speaks protocol 1 to 1, the joiner 2 to 3';
  t.deepEqual(await answer(newer), { type: 'refused', code: 'unsupported', text });
  const address = '/ip4/10.0.0.9/tcp/4000';
  t.deepEqual(refusals, [{ peer: 'stranger', address, code: 'unsupported', reason: text }]);
  const unknown = await answer(new Uint8Array([9, ...newer.subarray(1)]));
  t.regex(unknown.type === 'refused' ? unknown.text : '', /a knock of format 9, here 2/);
  t.is((await answer(encodeJoinRequest({ ...knock, oldest: 1, newest: 3 }))).type, 'joined');
});

test('formation: a knock of the first format names no versions and is let in', async (t) => {
  const { answer, invite } = member();
  const { clusterId, inviteId, secret } = decodeToken(await invite());
  const knock = { ...{ clusterId, inviteId, secret }, addresses: [], ...place, isWitness: false };
  const bytes = encodeJoinRequest({ ...knock, oldest: 1, newest: 1 });
  const first = new Uint8Array([1, ...bytes.subarray(1, bytes.length - 5)]);
  t.is((await answer(first)).type, 'joined');
});

test('formation: who was retired hears it, whatever it has in its hand; a member does not become another', async (t) => {
  const { network, cell, proposed, view } = member();
  const asked = network();
  const self = 4 as NodeId;
  const memory = viewOf(clusterOf({ nodes: 4, partitions: 1, settled: false }).state);
  const known = new Map(
    [...memory.members].map(([node, one]) => [
      node,
      { ...one, addresses: ['/ip4/10.0.0.1/tcp/7001'] },
    ]),
  );
  const before = { ...memory, clusterId: view().clusterId, members: known };
  const ask = () => new Retirement(asked, { now: () => 0 }).ask(before, self);
  t.is(await ask(), undefined, 'a stranger is no former member');
  cell.apply({ ...entryBodies.nodeJoin({ peer: 9 }), peerKey: 'stranger' as PeerKey });
  t.is(await ask(), undefined);
  t.is(proposed.length, 0, 'nothing is proposed for a member that only asks');
  cell.apply({ type: 'nodeLost', node: 4 as NodeId, by: 'test' });
  const refusal = await ask();
  t.true(hasCode(refusal, 'gone'));
  t.regex(refusal?.message ?? '', /n4 was forgotten by an operator/);
  t.regex(refusal?.remedy ?? '', /empty data directory/);
});

test('formation: an invite that has ended opens nothing', async (t) => {
  const { network, invite, clock, proposed } = member();
  const token = await invite({ ttlMs: 500 });
  clock.date = () => 1499;
  await knockWith(network(), token, place);
  const before = proposed.length;
  clock.date = () => 1500;
  const error = await t.throwsAsync(knockWith(network(), token, place));
  t.regex(error?.message ?? '', /the token has expired/);
  t.is(proposed.length, before);
  t.true(hasCode(await t.throwsAsync(invite({ ttlMs: 0 })), 'usage'));
});

test('formation: a knock is always answered, whatever its bytes and however long the reason', async (t) => {
  const { answer, state, invite, network } = member();
  t.like(await answer(new Uint8Array([1, 2, 3])), { type: 'refused' });
  t.like(await answer(new Uint8Array(0)), { type: 'refused' });
  const token = await invite();
  state.value = 0;
  state.detail = '\u{1F411}'.repeat(MAX_REFUSAL_CHARS);
  const error = await t.throwsAsync(knockWith(network(), token, place));
  t.true(hasCode(error, 'refused'));
  const blank = await answerKnock(
    {
      ...{ agreement: undefined, view: undefined },
      clock: { date: () => 1 },
      trace: { warn: () => {} },
    },
    { peer: 'stranger' as PeerKey, address: '', isSecond: false },
    new Uint8Array(0),
  );
  t.like(decodeJoinReply(blank), { type: 'refused', code: 'not-formatted' });
});

test('formation: the only voter of two nodes comes back while the other one is gone', async (t) => {
  const story = scenario('lone-voter', { nodes: 2, copies: 1 }, async (stage) => {
    await stage.form();
    const [first, second] = stage.nodes;
    if (first === undefined || second === undefined) return;
    const node = second.running().handle.status().node as NodeId;
    await stage.operate(first, 'drain', (admin) => admin.drain(node));
    await stage.until('n2 is gone', () => stage.memberOf(second)?.standing === 'gone', {
      seconds: 60,
    });
    second.losePower();
    first.kill();
    await first.start();
    await stage.until('n1 is up', () => first.running().handle.status().phase === 'up', {
      seconds: 30,
    });
  });
  t.is((await play(story, { build: buildNode, seed: 1 })).failure, undefined);
});

test('formation: a joiner that crashed before it heard of the map knocks again and gets in', async (t) => {
  const story = scenario('joiner-crashes', { nodes: 2, copies: 1 }, async (stage) => {
    const [first, second] = stage.nodes;
    if (first === undefined || second === undefined) return;
    const { world } = stage;
    const ask = async <T>(
      node: typeof first,
      call: (handle: ReturnType<typeof handleOf>) => Promise<T>,
    ) => {
      let promise: Promise<T> | undefined;
      world.enter(node.running().process, () => {
        promise = call(handleOf(node));
      });
      return world.wait('an answer', promise as Promise<T>, { seconds: 30 });
    };
    const handleOf = (node: typeof first) => node.running().handle;
    const isUp = (node: typeof first) => () => handleOf(node).status().phase === 'up';
    await first.start();
    await ask(first, (handle) => handle.format({ name: 'sim', copies: 1, partitions: 16 }));
    await stage.until('n1 is up', isUp(first), { seconds: 30 });
    const token = await ask(first, (handle) => handle.invite());
    await second.start();
    await ask(second, (handle) => handle.join(token, place));
    t.is(handleOf(second).view(), undefined, 'it has not heard of the map yet');
    second.kill();
    await second.start();
    await stage.run({ seconds: 5 });
    t.is(handleOf(second).view(), undefined, 'it knows nobody to ask');
    await ask(second, (handle) => handle.join(token, place));
    await stage.until('n2 is up', isUp(second), { seconds: 30 });
    t.is(handleOf(second).status().node, 2 as NodeId);
  });
  t.is((await play(story, { build: buildNode, seed: 1 })).failure, undefined);
});
