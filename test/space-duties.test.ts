import test from 'ava';
import { viewOf } from '../src/core/cluster-state.ts';
import type { Incarnation } from '../src/core/ids.ts';
import type { EntryBody } from '../src/core/log-entry.ts';
import type { SpaceLevel } from '../src/core/space.ts';
import {
  SHRINK_GATHER_MS,
  SPACE_HOLD_MS,
  SPACE_LOOK_MS,
  SpaceDuties,
} from '../src/space-duties.ts';
import { FakeClock } from './datapath/fake-clock.ts';
import { clusterOf, configAt, entryBodies, nodeId, policyId } from './fixtures.ts';

/** Node 3 of three, whose proposals are applied at once. */
function dutiesOf(copies = 3) {
  const cell = clusterOf({ nodes: 3, copies });
  const clock = new FakeClock();
  const proposed: EntryBody[] = [];
  const disk = { level: 'ok' as SpaceLevel };
  const duties = new SpaceDuties({
    self: nodeId(3),
    incarnation: () => 1 as Incarnation,
    clock,
    trace: { event: () => {}, warn: () => {}, count: () => {} },
    agreement: {
      propose: (body: EntryBody) => {
        proposed.push(body);
        return Promise.resolve(cell.apply(body));
      },
    },
    view: () => viewOf(cell.state),
    level: () => disk.level,
  });
  const pass = async (ms: number): Promise<void> => {
    clock.run(ms);
    for (let i = 0; i < 10; i += 1) await Promise.resolve();
  };
  return { cell, duties, proposed, disk, pass };
}

test('space: the map is told of each change, of a better one only after a while', async (t) => {
  const { duties, proposed, disk, pass } = dutiesOf();
  duties.start();
  await pass(SPACE_LOOK_MS);
  t.deepEqual(proposed, []);
  disk.level = 'nearfull';
  await pass(SPACE_LOOK_MS);
  disk.level = 'full';
  await pass(SPACE_LOOK_MS);
  disk.level = 'ok';
  await pass(SPACE_LOOK_MS);
  const levels = () => proposed.map((body) => (body.type === 'nodeSpace' ? body.level : body.type));
  t.deepEqual(levels(), ['nearfull', 'full'], 'copies do not come and go every second');
  for (let ms = 0; ms < SPACE_HOLD_MS; ms += SPACE_LOOK_MS) await pass(SPACE_LOOK_MS);
  t.deepEqual(levels(), ['nearfull', 'full', 'ok']);
  duties.stop();
});

test('space: a refused write takes this node out of its partition, after it is called full', async (t) => {
  const { cell, duties, proposed, pass } = dutiesOf();
  duties.noRoom({ policy: policyId(0), p: 2 });
  duties.noRoom({ policy: policyId(0), p: 2 });
  await pass(SHRINK_GATHER_MS);
  t.deepEqual(
    proposed.map(({ type }) => type),
    ['nodeSpace', 'isrShrink'],
  );
  t.deepEqual<readonly number[], number[]>(configAt(cell, 2).inSync, [1, 2]);
  t.deepEqual<readonly number[], number[]>(configAt(cell, 1).inSync, [1, 2, 3]);
});

test('space: where minCopies others are not there it stays, and the guest is told (4.9)', async (t) => {
  const { cell, duties, proposed, pass } = dutiesOf();
  cell.apply(entryBodies.nodesDown({ nodes: [[1, 1]], baseEpoch: cell.state.epoch }));
  duties.noRoom({ policy: policyId(0), p: 2 });
  await pass(SHRINK_GATHER_MS);
  t.deepEqual(
    proposed.map(({ type }) => type),
    ['nodeSpace'],
  );
  t.true(configAt(cell, 2).inSync.includes(nodeId(3)));
});
