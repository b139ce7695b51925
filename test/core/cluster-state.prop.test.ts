// Random entry sequences, drawn so that many are legal: compare-and-set values come from the present state most of the
// time, a step too early or wild at others. After every entry the invariants of PROTOCOL 7 are looked at.

import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { applyEntry, type ClusterState, emptyState, hashOf } from '../../src/core/cluster-state.ts';
import type { FencingToken, Incarnation, VolumeId } from '../../src/core/ids.ts';
import type { EntryBody, EntryOrigin, LogEntry, PartitionCas } from '../../src/core/log-entry.ts';
import type { PartitionConfig } from '../../src/core/view.ts';
import { decodeState, encodeState } from '../../src/wire/state-codec.ts';
import {
  casOf,
  configAt,
  entryBodies as make,
  NO_ORIGIN,
  nodeId,
  policyId,
  StateCell,
} from '../fixtures.ts';

const P = 4;

/** A few small numbers that a body is made of, once the state is known. */
interface Draw {
  kind: number;
  a: number;
  b: number;
  c: number;
  wild: boolean;
  repeat: boolean;
}

const draw: fc.Arbitrary<Draw> = fc.record({
  kind: fc.integer({ min: 0, max: 32 }),
  a: fc.integer({ min: 1, max: 5 }),
  b: fc.integer({ min: 0, max: P - 1 }),
  c: fc.integer({ min: 0, max: 3 }),
  wild: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  repeat: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
});

function bodyOf(cell: StateCell, d: Draw): EntryBody {
  const partitions = casList(cell, d);
  const known = cell.state.members.get(nodeId(d.a))?.incarnation ?? 0;
  const incarnation = d.wild ? known + 1 : known;
  if (d.kind > 19) return otherBody(cell, d, incarnation as Incarnation);
  const volume = 1 + (d.c % 2);
  const lock = [...cell.state.volumes.values()].find((one) => one.id === volume)?.lock;
  const token = (lock?.token ?? 0) + (d.wild ? 1 : 0);
  const life = { volume, token, node: d.a, incarnation, session: d.c };
  const inSync = partitions.length > 0 ? configOf(cell, d).inSync : [];
  switch (d.kind) {
    case 0:
    case 1:
      return make.nodeJoin({ peer: d.a, zone: `z${d.c}`, weight: d.wild ? Number.NaN : 1 });
    case 2:
    case 3:
    case 4:
      return make.nodeUp({
        node: d.a,
        incarnation: known + (d.wild ? 0 : 1),
        continues: d.c === 0 ? known : 0,
      });
    case 5:
    case 6:
      return make.nodesDown({
        nodes: [[d.a, known]],
        baseEpoch: cell.state.epoch - (d.wild ? 1 : 0),
      });
    case 7:
    case 8:
      return make.isrJoin({ partitions, node: d.a, incarnation });
    case 9:
    case 10:
    case 11:
      return make.isrPromote({
        partitions,
        node: d.a,
        incarnation,
        source: inSync[d.c % 2] ?? d.c,
      });
    case 12:
      return make.isrShrink({ partitions, node: d.a });
    case 13:
      return d.c < 2
        ? make.isrAbort({ partitions, node: d.a })
        : make.purge({ partitions, node: d.a });
    case 14:
      if (d.c === 2) return make.isrSettle({ partitions, node: d.a, incarnation });
      if (d.c === 3) return make.isrDoubt({ partitions });
      if (d.c === 1) return make.isrShrinkUnsure({ partitions, node: d.a });
      return make.isrRelease({ partitions, node: d.a });
    case 15:
      return d.wild
        ? { type: 'policyCreate', copies: d.a, minCopies: d.c, strict: d.b > 1 }
        : make.volumeCreate({
            name: `v${d.c}`,
            policy: d.b > 2 ? 1 : 0,
            durability: d.c === 1 ? 'writeback' : 'durable',
          });
    case 16:
      return make.lockAcquire(life);
    case 17:
      return make.lockRelease({ volume, token });
    case 18:
      return make.takeover({ ...life, force: d.wild });
    default:
      if (d.wild) return make.volumeDelete({ volume, token });
      return { type: 'setting', key: `k${d.a}`, value: 'x' };
  }
}

function otherBody(cell: StateCell, d: Draw, incarnation: Incarnation): EntryBody {
  if (d.kind > 29) return careBody(cell, d);
  return d.kind > 26 ? moveBody(cell, d) : lifeBody(d, incarnation);
}

/** A volume that moves between two policies, or does not. */
function moveBody(cell: StateCell, d: Draw): EntryBody {
  const volume = 1 + (d.c % 2);
  const lock = cell.state.volumes.get(volume as never)?.lock;
  const token = (lock?.token ?? 0) + (d.wild ? 1 : 0);
  const generation = cell.state.moves.get(volume as never)?.generation ?? 0;
  if (d.kind === 27) {
    return make.moveStart({ volume, token, policy: d.b % 3, former: d.wild ? 7 : generation });
  }
  if (d.kind === 28) return make.moveCancel({ volume, token });
  return make.volumeMove({ volume, token, head: generation });
}

function trashBody(cell: StateCell, d: Draw, volume: VolumeId): EntryBody {
  const token = cell.state.volumes.get(volume)?.lock.token ?? (0 as FencingToken);
  if (d.b === 0) return { type: 'volumeTrash', volume, token, keepMs: 1000, dateMs: d.c };
  if (d.b === 1) return { type: 'trashRestore', volume, name: `v${d.c}` };
  if (d.b === 2) return { type: 'aged', fromMs: cell.state.ageMs, byMs: 500 * d.c };
  return { type: 'trashPurge', volume, by: d.wild ? 'operator' : 'time' };
}

/** What operators keep and change of one volume. */
function careBody(cell: StateCell, d: Draw): EntryBody {
  const volume = (1 + (d.c % 2)) as VolumeId;
  const known = cell.state.volumes.get(volume);
  const token = ((known?.lock.token ?? 0) + (d.wild ? 1 : 0)) as FencingToken;
  if (d.kind === 30 && d.a <= 3) {
    const former = d.wild ? 'else' : (known?.name ?? '');
    return { type: 'volumeRename', volume, former, name: `v${d.b}` };
  }
  if (d.kind === 30 && d.a > 3) return trashBody(cell, d, volume);
  if (d.kind === 31) {
    if (d.c > 1) return { type: 'volumeProtect', volume, isProtected: d.b === 0 };
    const durability = d.b > 1 ? 'durable' : 'writeback';
    return { type: 'volumeDurability', volume, token, durability };
  }
  const key = `k${d.b % 2}`;
  if (d.a === 1) return { type: 'attributeRemove', volume, key };
  return { type: 'attributeSet', volume, key, value: new Uint8Array(d.a), isNew: d.c === 3 };
}

/** What an operator or time may decide of a member. */
function lifeBody(d: Draw, incarnation: Incarnation): EntryBody {
  const node = nodeId(d.a);
  const reason = d.c % 2 === 0 ? 'auto' : 'operator';
  switch (d.kind) {
    case 20:
      return { type: 'nodeOut', node, incarnation, reason };
    case 21:
      return { type: 'nodeIn', node, incarnation, reason };
    case 22:
      return { type: 'nodeLeave', node };
    case 23:
      return { type: 'nodeGone', node };
    case 24:
      return { type: 'nodeWeight', node, weight: d.c, zone: `z${d.b}` };
    case 25: {
      const copies = 1 + d.c;
      const minCopies = d.wild ? copies : Math.floor(copies / 2) + 1;
      return { type: 'policyChange', policy: policyId(0), copies, minCopies, strict: false };
    }
    default:
      return { type: 'nodeLost', node, by: 'test' };
  }
}

function configOf(cell: StateCell, d: Draw) {
  return configAt(cell, d.b);
}

function casList(cell: StateCell, d: Draw): PartitionCas[] {
  if (cell.state.policies.size === 0) return [];
  const list = [casOf(cell, d.b), casOf(cell, (d.b + d.c) % P)];
  return d.wild
    ? [...list, { ...casOf(cell, d.b), p: 999 }, { ...casOf(cell, 0), policy: policyId(77) }]
    : list;
}

/** Sets of every partition before and after one entry (A5, A6, A7, A8, I6, I11). */
function checkStep(t: ExecutionContext, cell: StateCell, before: StateCell, body: EntryBody): void {
  const [old, now] = [before.state, cell.state];
  t.true(now.epoch >= old.epoch && now.epoch <= old.epoch + 1);
  t.is(now.epoch > old.epoch, now.members !== old.members, 'A5: each epoch has one content');
  checkMoves(t, before, cell);
  checkCare(t, before, cell);
  for (const [id, policy] of now.policies) {
    if (!old.policies.has(id)) continue;
    for (let p = 0; p < P; p += 1)
      checkPartition(t, before, cell, { id, p, body, m: policy.policy.minCopies });
  }
  for (const [id, volume] of now.volumes) {
    const was = old.volumes.get(id)?.lock ?? volume.lock;
    const { lock } = volume;
    t.true(lock.token === was.token || lock.token === was.token + 1, 'A6');
    const isGrant = body.type === 'lockAcquire' || body.type === 'takeover';
    if (lock.token !== was.token) t.true(isGrant && lock.state === 'held', 'A6');
    if (isGrant || lock.state === 'free') continue;
    t.deepEqual([lock.node, lock.session], [was.node, was.session], 'A6: one holder per token');
  }
}

/** A name stands for one volume; a protected one stays; attributes are those of volumes that are there. */
function checkCare(
  t: ExecutionContext,
  { state: old }: StateCell,
  { state: now }: StateCell,
): void {
  t.is(now.volumeOfName.size, now.volumes.size, 'each volume has a name of its own');
  for (const [name, id] of now.volumeOfName) t.is(now.volumes.get(id)?.name, name);
  for (const [id, { isProtected }] of old.volumes) t.true(!isProtected || now.volumes.has(id));
  for (const [id, attributes] of now.attributes) {
    const isThere = now.volumes.has(id) || now.trash.has(id);
    t.true(isThere && attributes.size > 0, 'attributes go with their volume');
  }
}

/** S8: a volume moves to what was copied under its present token, and generations are never used again (I11). */
function checkMoves(
  t: ExecutionContext,
  { state: old }: StateCell,
  { state: now }: StateCell,
): void {
  t.true(now.counters.generation >= old.counters.generation, 'I11');
  for (const { volume: id, generation, token } of now.moves.values()) {
    const volume = now.volumes.get(id);
    t.not(volume, undefined);
    t.is(now.volumeOfHead.get(generation), id);
    if (volume?.lock.state === 'held') t.is(token, volume.lock.token, 'S8');
    const was = old.moves.get(id);
    if (was?.generation !== generation) t.true(generation > old.counters.generation, 'I11');
    else t.is(was.token, token, 'S8: another token, another generation');
  }
  for (const [id, { head, lock }] of now.volumes) {
    const was = old.volumes.get(id);
    if (was === undefined || was.head === head) continue;
    t.is(old.moves.get(id)?.generation, head, 'S8');
    t.is(old.moves.get(id)?.token, lock.token, 'S8');
  }
  t.is(now.volumeOfHead.size, now.volumes.size + now.moves.size);
  const heads = [...now.generations.values()].filter(({ state }) => state === 'head');
  const trashed = [...now.trash.values()].map(({ volume }) => volume.head);
  const wanted = [...now.volumeOfHead.keys(), ...trashed];
  t.deepEqual(heads.map(({ id }) => id).sort(), wanted.sort(), 'S1');
}

function checkPartition(
  t: ExecutionContext,
  before: StateCell,
  cell: StateCell,
  at: { id: number; p: number; body: EntryBody; m: number },
): void {
  const was = configAt(before, at.p, at.id);
  const is = configAt(cell, at.p, at.id);
  const setsOf = ({ inSync, joining, doubtful }: typeof is): string =>
    `${inSync} | ${joining} | ${doubtful}`;
  // An unclean start raises cfg also where the member was doubtful already (R8).
  const { body } = at;
  const isDoubtedAgain =
    body.type === 'nodeUp' && was.doubtful.includes(body.node) && is.cfg > was.cfg;
  // Another minCopies raises cfg of all (1.5).
  const isRuled = body.type === 'policyChange' && is.cfg > was.cfg;
  const areSame = setsOf(was) === setsOf(is) && !isDoubtedAgain && !isRuled;
  t.is(Number(is.cfg), areSame ? was.cfg : was.cfg + 1, `I11 at ${body.type}`);
  checkDoubt(t, was, is, body);
  if (was.inSync.length > 0) {
    t.true(
      is.inSync.some((node) => was.inSync.includes(node)),
      'A7',
    );
    for (const node of is.inSync) {
      if (was.inSync.includes(node)) continue;
      t.is(at.body.type, 'isrPromote', 'A8');
      t.true(was.joining.includes(node), 'A8');
    }
  }
  if (is.inSync.length < was.inSync.length) {
    t.true(is.inSync.length >= at.m || body.type === 'nodeLost', 'I6');
  }
  t.false(is.joining.some((node) => is.inSync.includes(node)));
}

/** R8, A8: who is doubtful became so by an unclean start; who is doubtful is no source. */
function checkDoubt(
  t: ExecutionContext,
  was: PartitionConfig,
  is: PartitionConfig,
  body: EntryBody,
): void {
  for (const node of is.doubtful) {
    t.true(is.inSync.includes(node), 'R8: doubtful members are members of I');
    if (!was.doubtful.includes(node)) t.true(body.type === 'nodeUp' && body.node === node, 'R8');
  }
  for (const node of was.doubtful) {
    if (is.doubtful.includes(node) || !is.inSync.includes(node)) continue;
    t.true(body.type === 'isrSettle' && body.node === node, 'R8: settled by the log alone');
  }
  if (body.type !== 'isrPromote' || is.inSync.length <= was.inSync.length) return;
  t.true(
    body.partitions.some(
      ({ source }) => was.inSync.includes(source) && !was.doubtful.includes(source),
    ),
    'A8: the source was sure',
  );
}

function run(
  draws: readonly Draw[],
  check: (cell: StateCell, before: StateCell, body: EntryBody) => void,
): StateCell {
  const cell = new StateCell();
  cell.apply(make.format({ partitions: P, copies: 3, minCopies: 2 }));
  for (let node = 1; node <= 3; node += 1) {
    cell.apply(make.nodeJoin({ peer: node }));
    cell.apply(make.nodeUp({ node, incarnation: 1 }));
  }
  let counter = 1;
  for (const d of draws) {
    const before = new StateCell(cell.state);
    const body = bodyOf(cell, d);
    if (!d.repeat) counter += 1;
    const origin: EntryOrigin = {
      node: nodeId(1 + (d.b % 3)),
      incarnation: 1 as Incarnation,
      counter,
    };
    cell.apply(body, d.wild ? NO_ORIGIN : origin);
    check(cell, before, body);
  }
  return cell;
}

test('state: its bytes say all of it: decoded, it is equal, hashes alike and goes on alike (C2.8)', (t) => {
  fc.assert(
    fc.property(
      fc.array(draw, { maxLength: 60 }),
      fc.array(draw, { maxLength: 10 }),
      (draws, more) => {
        const { state } = run(draws, () => undefined);
        const bytes = encodeState(state);
        const again = decodeState(bytes);
        t.is(hashOf(again), hashOf(state));
        t.deepEqual(plain(again), plain(state));
        t.deepEqual(encodeState(again), bytes, 'equal states give equal bytes');
        const [one, other] = [new StateCell(state), new StateCell(again)];
        for (const d of more) {
          const body = bodyOf(one, d);
          t.deepEqual(other.apply(body), one.apply(body));
        }
        t.is(hashOf(other.state), hashOf(one.state));
      },
    ),
    { numRuns: 100 },
  );
});

/** All but what only makes it faster; orders that decide nothing are one. The order of settings counts. */
function plain(state: ClusterState): unknown {
  const policies = [...state.policies].map(([id, { cache: _cache, explicit, ...policy }]) => {
    return [id, policy, byKey(explicit)];
  });
  const proposals = byKey(state.proposals).map(([node, window]) => {
    return [node, { ...window, results: byKey(window.results) }];
  });
  const { members, volumes, generations, attributes } = state;
  const sorted = {
    trash: byKey(state.trash),
    attributes: byKey(attributes).map(([id, all]) => [id, [...all].sort()]),
    members: byKey(members),
    volumes: byKey(volumes),
    generations: byKey(generations),
  };
  return { ...state, ...sorted, policies, proposals, settings: [...state.settings] };
}

function byKey<V>(map: ReadonlyMap<number, V>): [number, V][] {
  return [...map].sort(([a], [b]) => a - b);
}

test('state: the invariants hold after every entry of any sequence', (t) => {
  fc.assert(
    fc.property(fc.array(draw, { maxLength: 80 }), (draws) => {
      run(draws, (cell, before, body) => checkStep(t, cell, before, body));
    }),
    { numRuns: 150 },
  );
});

test('state: equal sequences give equal hashes, and the hash sees a difference (A4)', (t) => {
  fc.assert(
    fc.property(fc.array(draw, { maxLength: 40 }), (draws) => {
      const cell = run(draws, () => undefined);
      const again = cell.entries.reduce(
        (state, entry) => applyEntry(state, entry).state,
        emptyState(),
      );
      t.is(hashOf(again), hashOf(cell.state));
      const copy = new StateCell(cell.state);
      copy.apply({ type: 'noop' });
      t.not(hashOf(copy.state), hashOf(cell.state));
    }),
    { numRuns: 40 },
  );
});

test('state: applying a proposal again changes nothing but the index (C2.5)', (t) => {
  fc.assert(
    fc.property(fc.array(draw, { minLength: 1, maxLength: 30 }), draw, (draws, last) => {
      const cell = run(draws, () => undefined);
      const body = bodyOf(cell, last);
      const origin = { node: nodeId(1), incarnation: 1 as Incarnation, counter: 1000 };
      const first = cell.apply(body, origin);
      const once = cell.state;
      const second = cell.apply(body, origin);
      t.is(second.value, first.value);
      t.is(hashOf({ ...cell.state, index: once.index }), hashOf(once));
    }),
    { numRuns: 60 },
  );
});

// Method: numbers that no sane proposer sends, in every field of every kind; nothing may be thrown.
test('state: no entry makes it throw', (t) => {
  const number = fc.constantFrom(
    0,
    -1,
    1,
    2.5,
    2 ** 32,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2 ** 53,
  );
  const scramble = (body: EntryBody, values: readonly number[]): EntryBody => {
    let at = 0;
    const text = JSON.stringify(body, (_key, value) => {
      if (typeof value !== 'number') return value;
      at += 1;
      return `#${values[at % values.length]}`;
    });
    return JSON.parse(text, (_key, value) => {
      return typeof value === 'string' && value.startsWith('#') ? Number(value.slice(1)) : value;
    });
  };
  fc.assert(
    fc.property(
      fc.array(draw, { maxLength: 30 }),
      fc.array(number, { minLength: 5, maxLength: 9 }),
      (draws, values) => {
        const cell = run(draws, () => undefined);
        for (const d of draws) {
          const body = scramble(bodyOf(cell, d), values);
          const entry: LogEntry = { ...(cell.entries.at(-1) as LogEntry), origin: NO_ORIGIN, body };
          applyEntry(cell.state, { ...entry, index: (cell.state.index + 1) as LogEntry['index'] });
        }
      },
    ),
    { numRuns: 60 },
  );
  t.pass();
});
