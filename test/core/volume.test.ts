import test from 'ava';
import { viewOf } from '../../src/core/cluster-state.ts';
import type { FencingToken, Incarnation, SessionId } from '../../src/core/ids.ts';
import { judgeLock, type SessionKey } from '../../src/core/lock.ts';
import { GIB, MIB, TIB } from '../../src/core/units.ts';
import {
  checkName,
  checkSize,
  MAX_VOLUME_BYTES,
  nameProblem,
  parseSize,
} from '../../src/core/volume.ts';
import { clusterOf, entryBodies, nodeId, volumeLock } from '../fixtures.ts';

test('volume: names a person can read and type pass', (t) => {
  for (const name of ['disk', 'vm-1.root', 'Größe', '磁盘', 'a'.repeat(255), '😀']) {
    t.is(nameProblem(name), undefined, name);
  }
});

test('volume: other names are refused with the reason and the cure', (t) => {
  const bad = [
    '',
    '.',
    '..',
    '-c',
    'a b',
    'a\tb',
    'a@b',
    'a:b',
    'a/b',
    'a\\b',
    'a\u0000',
    'a\u202eb',
    'a\ud800',
  ];
  for (const name of [...bad, 'a'.repeat(256), 'ä'.repeat(128)]) {
    const error = t.throws(() => checkName(name), undefined, JSON.stringify(name));
    t.like(error, { code: 'usage' });
    t.regex((error as { remedy?: string }).remedy ?? '', /printable/);
  }
});

test('volume: sizes are read in powers of 1024', (t) => {
  t.is(parseSize('64M'), 64 * MIB);
  t.is(parseSize('10g'), 10 * GIB);
  t.is(parseSize('1T'), TIB);
  t.is(parseSize('4096'), 4096);
  t.is(parseSize('1.5KiB'), 1536);
  t.is(parseSize(' 2 MB '), 2 * MIB);
  t.is(parseSize('512B'), 512);
});

test('volume: what is no size is refused in one line with the cure', (t) => {
  const bad = [
    '',
    'M',
    'ten',
    '1X',
    '0',
    '-1',
    '-5G',
    '5T',
    '1e9',
    '0x10',
    '1.0001K',
    '99999999999999999999',
  ];
  for (const text of bad) {
    const error = t.throws(() => parseSize(text), undefined, text);
    t.like(error, { code: 'usage' }, text);
    t.false(error?.message.includes('\n'));
  }
  t.throws(() => checkSize(1000), { message: /next one is 1024/ });
  t.notThrows(() => checkSize(MAX_VOLUME_BYTES));
  t.throws(() => checkSize(MAX_VOLUME_BYTES + 512));
});

test('lock: a session sees whether to go on, acquire, take over or stand back', (t) => {
  const cell = clusterOf({ nodes: 3 });
  const self: SessionKey = {
    node: nodeId(1),
    incarnation: 1 as Incarnation,
    session: 4 as SessionId,
  };
  const held = volumeLock({ ...self, state: 'held', token: 1 as FencingToken });
  const view = viewOf(cell.state);
  t.is(judgeLock(view, volumeLock(), self), 'free');
  t.is(judgeLock(view, held, self), 'mine');
  t.is(judgeLock(view, { ...held, session: 5 as SessionId }, self), 'sibling');
  t.is(judgeLock(view, { ...held, node: nodeId(2) }, self), 'live');
  t.is(judgeLock(view, { ...held, node: nodeId(9) }, self), 'dead');
  t.is(judgeLock(view, { ...held, incarnation: 3 as Incarnation }, self), 'dead');
  cell.apply(entryBodies.nodesDown({ nodes: [[2, 1]], baseEpoch: cell.state.epoch }));
  t.is(judgeLock(viewOf(cell.state), { ...held, node: nodeId(2) }, self), 'dead');
});
