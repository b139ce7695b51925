// S8: a volume moves to another policy. What the log decides: whose copy counts, and when a copy begins anew.

import test from 'ava';
import { hashOf, viewOf } from '../../src/core/cluster-state.ts';
import type { GenerationId, Incarnation, VolumeId } from '../../src/core/ids.ts';
import { partitionOf } from '../../src/core/partition.ts';
import type { Volume } from '../../src/core/view.ts';
import { copyBar, moverOf } from '../../src/core/volume-move.ts';
import { decodeState, encodeState } from '../../src/wire/state-codec.ts';
import {
  clusterOf,
  configAt,
  entryBodies as make,
  nodeId,
  olderState,
  StateCell,
} from '../fixtures.ts';

const DISK = 1 as VolumeId;

/** A volume of three copies that n1 holds, with token 1, and policy 1 of one copy. */
function held(options: { durability?: 'durable' | 'writeback' } = {}): StateCell {
  const cell = clusterOf({ nodes: 4, copies: 3 });
  cell.apply({ type: 'policyCreate', copies: 1, minCopies: 1, strict: false });
  cell.apply(make.volumeCreate(options));
  cell.apply(make.lockAcquire({ token: 0, node: 1 }));
  return cell;
}

function volumeIn(cell: StateCell): Volume {
  const volume = cell.state.volumes.get(DISK);
  if (volume === undefined) throw new RangeError('no volume');
  return volume;
}

const generationIn = (cell: StateCell): number => cell.state.moves.get(DISK)?.generation ?? 0;

test('move: it begins in an empty root generation of a new family, and the volume stays as it is', (t) => {
  const cell = held();
  const before = volumeIn(cell);
  t.like(cell.apply(make.moveStart({ token: 1, policy: 1 })), { code: 'ok', value: 2 });
  t.is(volumeIn(cell), before);
  t.like(cell.state.moves.get(DISK), { policy: 1, family: 2, generation: 2, token: 1 });
  const view = viewOf(cell.state);
  t.is(view.volumeOfGeneration(before.head), before);
  const twin = view.volumeOfGeneration(2 as GenerationId);
  t.like(twin, { id: DISK, head: 2, family: 2, policy: 1, lock: before.lock });
  t.is(
    view.volumeOfGeneration(2 as GenerationId),
    twin,
    'made once: it is asked for with each frame',
  );
});

test('move: what is no move, and what another one overtook', (t) => {
  const cell = held();
  t.is(cell.apply(make.moveStart({ volume: 9, token: 0, policy: 1 })).code, 'missing');
  t.is(cell.apply(make.moveStart({ token: 0, policy: 1 })).code, 'stale', 'another token');
  t.is(cell.apply(make.moveStart({ token: 1, policy: 7 })).code, 'missing');
  t.is(cell.apply(make.moveStart({ token: 1, policy: 0 })).code, 'duplicate', 'it is there');
  t.is(cell.apply(make.moveCancel({ token: 1 })).code, 'duplicate', 'it does not move');
  t.is(cell.apply(make.volumeMove({ token: 1, head: 1 })).code, 'stale');
  cell.apply(make.moveStart({ token: 1, policy: 1 }));
  t.is(cell.apply(make.moveStart({ token: 1, policy: 1 })).code, 'stale', 'somebody began before');
  t.is(cell.apply(make.moveCancel({ token: 0 })).code, 'stale');
});

test('move: all is copied: the volume is its copy, the former head is a deleted generation', (t) => {
  const cell = held();
  cell.apply(make.moveStart({ token: 1, policy: 1 }));
  t.is(cell.apply(make.volumeMove({ token: 1, head: 1 })).code, 'stale', 'not what was copied');
  t.like(cell.apply(make.volumeMove({ token: 1, head: 2 })), { code: 'ok', value: 2 });
  t.like(volumeIn(cell), { head: 2, family: 2, policy: 1, name: 'disk', lock: { token: 1 } });
  const view = viewOf(cell.state);
  t.is(view.volumeOfGeneration(1 as GenerationId), undefined);
  t.is(view.lastGeneration, 2 as GenerationId);
  t.is(view.volumeOfGeneration(2 as GenerationId), volumeIn(cell));
  t.is(view.moves.size, 0);
  t.is(cell.apply(make.volumeMove({ token: 1, head: 2 })).code, 'stale', 'once');
});

// What the session before wrote went to both or to one: the new one can not know.
test('move: a new token begins the copy anew, and the copy of the session before never counts', (t) => {
  const cell = held();
  cell.apply(make.moveStart({ token: 1, policy: 1 }));
  t.is(cell.apply(make.takeover({ token: 1, node: 2, force: true })).value, 2);
  t.like(cell.state.moves.get(DISK), { generation: 3, family: 3, token: 2, policy: 1 });
  const view = viewOf(cell.state);
  t.is(view.volumeOfGeneration(2 as GenerationId), undefined, 'what was copied is deleted');
  t.is(cell.apply(make.volumeMove({ token: 1, head: 2 })).code, 'stale');
  t.is(cell.apply(make.volumeMove({ token: 2, head: 2 })).code, 'stale');
  cell.apply(make.lockRelease({ token: 2 }));
  t.is(generationIn(cell), 3, 'nobody copies');
  t.is(cell.apply(make.volumeMove({ token: 2, head: 3 })).code, 'stale', 'only a holder moves it');
  cell.apply(make.lockAcquire({ token: 2, node: 1 }));
  t.is(generationIn(cell), 4);
  t.is(cell.apply(make.volumeMove({ token: 3, head: 4 })).code, 'ok');
});

test('move: its own session may begin anew, too, and another target may be given', (t) => {
  const cell = held();
  cell.apply({ type: 'policyCreate', copies: 2, minCopies: 1, strict: false });
  cell.apply(make.moveStart({ token: 1, policy: 1 }));
  t.is(cell.apply(make.moveStart({ token: 1, policy: 1, former: 2 })).value, 3);
  t.is(cell.apply(make.volumeMove({ token: 1, head: 2 })).code, 'stale');
  t.is(cell.apply(make.moveStart({ token: 1, policy: 2, former: 2 })).code, 'stale');
  t.is(cell.apply(make.moveStart({ token: 1, policy: 2, former: 3 })).value, 4);
  t.is(cell.state.moves.get(DISK)?.policy as number, 2);
});

test('move: cancelled, or the volume deleted: nothing of the copy is left', (t) => {
  const cell = held();
  cell.apply(make.moveStart({ token: 1, policy: 1 }));
  t.like(cell.apply(make.moveCancel({ token: 1 })), { code: 'ok', value: 2 });
  t.is(cell.apply(make.volumeMove({ token: 1, head: 2 })).code, 'stale');
  t.is(viewOf(cell.state).volumeOfGeneration(2 as GenerationId), undefined);
  cell.apply(make.moveStart({ token: 1, policy: 1 }));
  t.is(cell.apply(make.volumeDelete({ token: 1 })).code, 'held');
  cell.apply(make.lockRelease({ token: 1 }));
  t.is(cell.apply(make.volumeDelete({ token: 1 })).code, 'ok');
  t.is(cell.state.moves.size + cell.state.volumeOfHead.size, 0);
});

test('move: a writeback volume makes unclean starts doubtful in the target, from the first copy on (R8)', (t) => {
  const cell = held({ durability: 'writeback' });
  const isDoubted = () => cell.state.policies.get(1 as never)?.everWriteback;
  t.false(isDoubted());
  cell.apply(make.moveStart({ token: 1, policy: 1 }));
  t.true(isDoubted());
});

test('move: the bytes of a state say it; a state from before moves had none', (t) => {
  const cell = held();
  const without = encodeState(cell.state);
  const plain = hashOf(cell.state);
  cell.apply(make.moveStart({ token: 1, policy: 1 }));
  const again = decodeState(encodeState(cell.state));
  t.is(hashOf(again), hashOf(cell.state));
  t.deepEqual([...again.moves], [...cell.state.moves]);
  t.deepEqual(new StateCell(again).apply(make.volumeMove({ token: 1, head: 2 })), {
    code: 'ok',
    value: 2,
    detail: '',
  });
  // Moves, generations, attributes, trash, age.
  const older = olderState(without, 5);
  t.is(hashOf(decodeState(older)), plain);
});

test('move: a lost part of the target that is accepted begins the copy anew', (t) => {
  const cell = clusterOf({ nodes: 3, copies: 3 });
  cell.apply({ type: 'policyCreate', copies: 1, minCopies: 1, strict: false });
  cell.apply(make.volumeCreate());
  cell.apply(make.moveStart({ token: 0, policy: 1 }));
  const p = partitionOf(2 as never, 0, cell.state.partitions);
  const [only] = configAt(cell, p, 1).inSync;
  const { cfg } = configAt(cell, p, 1);
  cell.apply(make.nodesDown({ nodes: [[only as number, 1]], baseEpoch: cell.state.epoch }));
  t.regex(
    copyBar(viewOf(cell.state), { ...volumeIn(cell), family: 2 as never, policy: 1 as never }) ??
      '',
    /0 of 1/,
  );
  cell.apply({ type: 'nodeLost', node: nodeId(only as number), by: 'test' });
  const [left] = [...cell.state.members.keys()];
  const element = { policy: 1 as never, p, cfg: configAt(cell, p, 1).cfg };
  t.true(configAt(cell, p, 1).cfg >= cfg);
  const body = { partitions: [element], node: left as number };
  t.is(cell.apply(make.acceptLoss(body)).code, 'ok');
  t.is(generationIn(cell), 3);
});

test('move: who takes a free volume is one member that is up and holds data', (t) => {
  const cell = held();
  const view = () => viewOf(cell.state);
  const first = moverOf(view(), volumeIn(cell));
  t.not(first, undefined);
  cell.apply(make.nodesDown({ nodes: [[first as number, 1]], baseEpoch: cell.state.epoch }));
  const second = moverOf(view(), volumeIn(cell));
  t.not(second, first);
  cell.apply(make.nodeUp({ node: first as number, incarnation: 2 as Incarnation }));
  t.is(moverOf(view(), volumeIn(cell)), first);
});
