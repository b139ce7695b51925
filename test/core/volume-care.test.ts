// Names, protection, modes and attributes of volumes, as the log decides about them.

import test from 'ava';
import {
  MAX_ALL_ATTRIBUTE_BYTES,
  MAX_ATTRIBUTE_BYTES,
  MAX_ATTRIBUTES,
} from '../../src/core/attributes.ts';
import { hashOf, viewOf } from '../../src/core/cluster-state.ts';
import type { FencingToken, VolumeId } from '../../src/core/ids.ts';
import { MIB } from '../../src/core/units.ts';
import { MAX_IOPS, MIN_BANDWIDTH, NO_RATES, type RateKind } from '../../src/core/volume-rates.ts';
import { decodeState, encodeState } from '../../src/wire/state-codec.ts';
import { clusterOf, entryBodies as make, type StateCell } from '../fixtures.ts';

const DISK = 1 as VolumeId;
const NOBODY = 9 as VolumeId;
const NO_TOKEN = 0 as FencingToken;

function withDisk(options: { name?: string } = {}): StateCell {
  const cell = clusterOf({ nodes: 2, copies: 2 });
  cell.apply(make.volumeCreate(options));
  return cell;
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

function rename(former: string, name: string, volume = DISK) {
  return { type: 'volumeRename', volume, former, name } as const;
}

function set(key: string, value: string | Uint8Array, options: { isNew?: boolean } = {}) {
  const bytes = typeof value === 'string' ? bytesOf(value) : value;
  return {
    type: 'attributeSet',
    ...{ volume: DISK, key, value: bytes, isNew: options.isNew ?? false },
  } as const;
}

test('rename: the same volume under another name, and the former name is free', (t) => {
  const cell = withDisk();
  cell.apply(make.lockAcquire({ token: 0, node: 1 }));
  const before = cell.state.volumes.get(DISK);
  t.like(cell.apply(rename('disk', 'web')), { code: 'ok', value: 1 });
  const view = viewOf(cell.state);
  t.is(view.volumeByName('disk'), undefined);
  t.deepEqual({ ...view.volumeByName('web'), name: 'disk' }, { ...before }, 'its lock, its head');
  t.is(cell.apply(make.volumeCreate({ name: 'disk' })).code, 'ok');
});

test('rename: what is no name, what is taken, and what another one was faster with', (t) => {
  const cell = withDisk();
  cell.apply(make.volumeCreate({ name: 'other' }));
  t.is(cell.apply(rename('disk', 'web', NOBODY)).code, 'missing');
  t.like(cell.apply(rename('disk', 'other')), { code: 'exists', value: 2 });
  t.is(cell.apply(rename('disk', 'a b')).code, 'refused');
  t.is(cell.apply(rename('disk', 'disk')).code, 'duplicate');
  cell.apply(rename('disk', 'web'));
  t.is(cell.apply(rename('disk', 'blue')).code, 'stale', 'it is called web by now');
  t.is(viewOf(cell.state).volumeByName('web')?.id, DISK);
});

test('rates: one changes, the other stays; what is no limit is refused; kept, and hashed where there is one', (t) => {
  const cell = withDisk();
  const rate = (kind: RateKind, perSecond: number, volume = DISK) =>
    cell.apply({ type: 'volumeRate', volume, kind, perSecond });
  const before = hashOf(cell.state);
  t.like(rate('iops', 500), { code: 'ok', value: 1 });
  t.is(rate('bandwidth', 50 * MIB).code, 'ok');
  t.deepEqual(cell.state.volumes.get(DISK)?.rates, { iops: 500, bytesPerSecond: 50 * MIB });
  t.is(rate('iops', 1, NOBODY).code, 'missing');
  t.is(rate('iops', MAX_IOPS + 1).code, 'refused');
  t.is(rate('bandwidth', MIN_BANDWIDTH - 1).code, 'refused');
  const again = decodeState(encodeState(cell.state));
  t.deepEqual(again.volumes.get(DISK)?.rates, { iops: 500, bytesPerSecond: 50 * MIB });
  t.is(hashOf(again), hashOf(cell.state));
  rate('iops', 0);
  const { counters } = cell.state;
  t.deepEqual(cell.state.volumes.get(DISK)?.rates, { iops: 0, bytesPerSecond: 50 * MIB });
  rate('bandwidth', 0);
  t.is(counters.volume, cell.state.counters.volume);
  t.deepEqual(cell.state.volumes.get(DISK)?.rates, NO_RATES);
  t.not(hashOf(cell.state), before, 'the index is part of it');
});

test('protect: nothing deletes it until that is taken back', (t) => {
  const cell = withDisk();
  cell.apply({ type: 'volumeProtect', volume: DISK, isProtected: true });
  t.like(cell.apply(make.volumeDelete({ token: 0 })), { code: 'refused' });
  const again = decodeState(encodeState(cell.state));
  t.true(again.volumes.get(DISK)?.isProtected);
  t.is(hashOf(again), hashOf(cell.state));
  cell.apply({ type: 'volumeProtect', volume: DISK, isProtected: false });
  t.not(hashOf({ ...cell.state, index: again.index }), hashOf(again), 'the hash knows');
  t.is(cell.apply(make.volumeDelete({ token: 0 })).code, 'ok');
  t.is(
    cell.apply({ type: 'volumeProtect', volume: DISK, isProtected: true }).code,
    'missing',
    'it is gone',
  );
});

test('mode: changes while nobody holds the volume, and the policy remembers writeback for ever (R8)', (t) => {
  const cell = withDisk();
  const writeback = { type: 'volumeDurability', volume: DISK, durability: 'writeback' } as const;
  cell.apply(make.lockAcquire({ token: 0, node: 1 }));
  const token = 1 as FencingToken;
  t.like(cell.apply({ ...writeback, token }), { code: 'held', value: 1 });
  cell.apply(make.nodesDown({ nodes: [[1, 1]], baseEpoch: cell.state.epoch }));
  t.is(
    cell.apply({ ...writeback, token }).code,
    'held',
    'a dead holder has not flushed: the next one settles that first',
  );
  cell.apply(make.lockRelease({ token: 1 }));
  t.is(cell.apply({ ...writeback, token: NO_TOKEN }).code, 'stale');
  t.is(cell.apply({ ...writeback, token }).code, 'ok');
  t.is(cell.state.volumes.get(DISK)?.durability, 'writeback');
  t.true([...cell.state.policies.values()].some(({ everWriteback }) => everWriteback));
  cell.apply({ ...writeback, token, durability: 'durable' });
  t.true([...cell.state.policies.values()].some(({ everWriteback }) => everWriteback));
});

// The original's scenario 015: many create-only writes at once, exactly one winner.
test('attributes: of many who make the same one, one has it', (t) => {
  const cell = withDisk();
  const results = ['a', 'b', 'c'].map((who) => cell.apply(set('lock', who, { isNew: true })));
  t.deepEqual(
    results.map(({ code }) => code),
    ['ok', 'exists', 'exists'],
  );
  t.deepEqual(viewOf(cell.state).attributes.get(DISK)?.get('lock'), bytesOf('a'));
  t.is(cell.apply({ type: 'attributeRemove', volume: DISK, key: 'lock' }).code, 'ok');
  t.is(cell.apply({ type: 'attributeRemove', volume: DISK, key: 'lock' }).code, 'missing');
  t.is(cell.apply(set('lock', 'b', { isNew: true })).code, 'ok', 'given back: the next one');
});

test('attributes: are kept with the map, hash with it, and go with their volume', (t) => {
  const cell = withDisk();
  const value = bytesOf('anna');
  cell.apply(set('owner', value));
  cell.apply(set('empty', ''));
  value.fill(0);
  t.deepEqual(cell.state.attributes.get(DISK)?.get('owner'), bytesOf('anna'), 'a copy');
  const again = decodeState(encodeState(cell.state));
  t.deepEqual(again.attributes.get(DISK)?.get('owner'), bytesOf('anna'));
  t.is(hashOf(again), hashOf(cell.state));
  const changed = new Map(cell.state.attributes).set(DISK, new Map([['owner', bytesOf('ann')]]));
  t.not(hashOf({ ...cell.state, attributes: changed }), hashOf(cell.state));
  cell.apply(make.volumeDelete({ token: 0 }));
  t.is(cell.state.attributes.size, 0);
  t.is(cell.apply(set('owner', 'anna')).code, 'missing');
});

test('attributes: bounded in keys, in values, per volume and in all', (t) => {
  const cell = withDisk();
  t.is(cell.apply(set('', 'x')).code, 'refused');
  t.is(cell.apply(set('a\nb', 'x')).code, 'refused');
  t.is(cell.apply(set('k'.repeat(255), 'x')).code, 'ok');
  t.is(cell.apply(set('ä'.repeat(128), 'x')).code, 'refused', '256 bytes');
  t.is(cell.apply(set('big', new Uint8Array(MAX_ATTRIBUTE_BYTES))).code, 'ok');
  t.is(cell.apply(set('big', new Uint8Array(MAX_ATTRIBUTE_BYTES + 1))).code, 'refused');
  const most = Math.floor(MAX_ALL_ATTRIBUTE_BYTES / MAX_ATTRIBUTE_BYTES);
  const codes = Array.from({ length: most }, (_, at) => {
    return cell.apply(set(`b${at}`, new Uint8Array(MAX_ATTRIBUTE_BYTES))).code;
  });
  t.is(codes.at(-1), 'full', 'all of them together');
  t.is(codes.filter((code) => code === 'ok').length, most - 2);
  t.is(cell.apply(set('b0', 'smaller')).code, 'ok', 'what makes room is taken');
  const many = withDisk();
  for (let at = 0; at < MAX_ATTRIBUTES; at += 1) many.apply(set(`k${at}`, ''));
  t.is(many.apply(set('one more', '')).code, 'full');
  t.is(many.apply(set('k7', 'again')).code, 'ok', 'it is there: it is changed');
});
