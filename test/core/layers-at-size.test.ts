// A volume of 4 TiB with a thousand layers above it, or a thousand clones below: what operators ask for costs milliseconds,
// and what a replica asks of the tree for each row does not grow with both. CPU time, so that a busy host fails nothing.

import test from 'ava';
import { hashOf, viewOf } from '../../src/core/cluster-state.ts';
import { ancestry } from '../../src/core/generations.ts';
import type { FencingToken, GenerationId, VolumeId } from '../../src/core/ids.ts';
import type { EntryBody } from '../../src/core/log-entry.ts';
import { type LayerRow, mayReclaim } from '../../src/core/reclaim.ts';
import { TIB } from '../../src/core/units.ts';
import { decodeState, encodeState } from '../../src/wire/state-codec.ts';
import { clusterOf, entryBodies as make, type StateCell } from '../fixtures.ts';

const MANY = 1000;
/** The bound that operators are promised, of which these parts use a small one. */
const OPERATION_MS = 50;

const WHOLE: LayerRow = { ownLow: -1 >>> 0, ownHigh: -1 >>> 0, verCount: 1, closed: 1 };

function cpuMs(work: () => void): number {
  const from = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(from);
  return (user + system) / 1000;
}

function casOf(cell: StateCell) {
  const volume = viewOf(cell.state).volumeByName('disk');
  if (volume === undefined) throw new RangeError('no disk');
  return { volume: volume.id, token: volume.lock.token, head: volume.head };
}

function withDisk(): StateCell {
  const cell = clusterOf({ nodes: 3, copies: 3 });
  cell.apply(make.volumeCreate({ name: 'disk', sizeBytes: 4 * TIB }));
  return cell;
}

const snapshot = (cell: StateCell, tag: string): EntryBody => {
  return { type: 'snapshot', volumes: [casOf(cell)], tag, dateMs: 0 };
};

function deep(): StateCell {
  const cell = withDisk();
  for (let i = 0; i < MANY; i += 1) cell.apply(snapshot(cell, `s${i}`));
  return cell;
}

const clone = (name: string): EntryBody => {
  const how = { durability: 'durable', attachMode: 'handover', isDeep: false, dateMs: 0 } as const;
  const from = { volume: 1 as VolumeId, token: 0 as FencingToken, head: 1 as GenerationId };
  return { type: 'volumeClone', from, name, ...how };
};

test('a thousand snapshots deep: each next operation, and opening, is far below its bound', (t) => {
  const cell = deep();
  const each = (what: string, body: () => EntryBody): void => {
    const ms = cpuMs(() => t.is(cell.apply(body()).code, 'ok', what));
    t.true(ms < OPERATION_MS, `${what}: ${ms} ms`);
  };
  each('snapshot', () => snapshot(cell, 'next'));
  each('clone', () => ({ ...clone('copy'), from: casOf(cell) }) as EntryBody);
  const cut = { type: 'volumeShrink', volume: 1 as VolumeId, token: 0 as FencingToken } as const;
  each('shrink', () => ({ ...cut, sizeBytes: TIB }));
  each('delete a middle one', () => ({ type: 'snapshotDelete', generation: 500 as GenerationId }));
  const view = viewOf(cell.state);
  const ms = cpuMs(() => {
    const path = ancestry(view, view.volumeByName('disk')?.head ?? (0 as GenerationId));
    t.is(path.length, MANY + 4);
  });
  t.true(ms < OPERATION_MS, `the path: ${ms} ms`);
  const kept = cpuMs(() => {
    t.is(hashOf(decodeState(encodeState(cell.state))), hashOf(cell.state));
  });
  t.true(kept < 1000, `kept and read again: ${kept} ms`);
});

test('a thousand clones wide: one more, one less, and a layer that shows in all of them', (t) => {
  const cell = withDisk();
  cell.apply(snapshot(cell, 'gold'));
  const made = cpuMs(() => {
    for (let i = 0; i < MANY; i += 1) t.is(cell.apply(clone(`c${i}`)).code, 'ok');
  });
  t.true(made < MANY * OPERATION_MS, `${made} ms`);
  const ms = cpuMs(() => t.is(cell.apply(clone('last')).code, 'ok'));
  t.true(ms < OPERATION_MS, `${ms} ms`);
  const gone = cpuMs(() => {
    const body = { type: 'volumeDelete', volume: 7 as VolumeId, token: 0 as FencingToken } as const;
    t.is(cell.apply(body).code, 'ok');
  });
  t.true(gone < OPERATION_MS, `${gone} ms`);
});

test('what may be reclaimed is found down to the first that shows it, not for each reader anew', (t) => {
  const cell = deep();
  cell.apply({ type: 'snapshotDelete', generation: 1 as GenerationId });
  const { generations } = viewOf(cell.state);
  let looks = 0;
  const rows =
    (covered: boolean) =>
    (id: GenerationId): LayerRow | undefined => {
      looks += 1;
      return id === 1 || covered ? WHOLE : undefined;
    };
  t.false(mayReclaim({ generations }, 1 as GenerationId, 0, rows(false)));
  t.true(looks <= 2, `${looks} rows looked at`);
  looks = 0;
  t.true(mayReclaim({ generations }, 1 as GenerationId, 0, rows(true)));
  t.true(looks <= 2, `${looks} rows looked at`);
});
