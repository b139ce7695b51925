// `dog vdi object location, track, du, diff, check`: what they say of what the node answers, their exit codes, and what is
// refused. Through the real API, on a node of lists.

import test, { type ExecutionContext } from 'ava';
import type { CopyLook } from '../../src/core/copy-check.ts';
import type { GenerationId, NodeId } from '../../src/core/ids.ts';
import type { CheckedSlice } from '../../src/datapath/copy-checker.ts';
import type { CopyAdmin } from '../../src/node-handle.ts';
import { FakeNode } from '../api/fake-node.ts';
import { served } from '../api/served.ts';
import { clusterOf, nodeId, settle } from '../fixtures.ts';
import { dog } from './dog.ts';

const GENERATION = 1 as GenerationId;

function lookOf(index: number): CopyLook {
  return {
    ...{ generation: GENERATION, index, state: 'whole', verToken: 2, verCount: 7, closed: 7 },
    ...{ kind: 'data', ownLow: 3, ownHigh: 0, sectors: 0, bad: [], digest: new Uint8Array(0) },
  };
}

async function sheep(t: ExecutionContext, copies: Partial<CopyAdmin>) {
  const node = new FakeNode(clusterOf({ nodes: 3 }), 1);
  const { socketPath } = await served(t, node);
  node.copyAdmin = copies as CopyAdmin;
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  await dog(['vdi', 'create', 'db', '32M'], env);
  settle(node.cell);
  return { node, env };
}

test('vdi object location: members, their roles and versions; by index or offset', async (t) => {
  const asked: number[] = [];
  const { node, env } = await sheep(t, {
    async locate(_name, index) {
      asked.push(index);
      const view = node.view();
      const volume = view?.volumeByName('db');
      if (view === undefined || volume === undefined) throw new RangeError('no volume');
      const config = view.partition(volume.policy, 5);
      const looks = new Map<NodeId, CopyLook>([[nodeId(1), lookOf(index)]]);
      return {
        volume,
        found: [{ generation: GENERATION, index, p: 5, config, looks, silent: [] }],
      };
    },
  });
  const { out, code } = await dog(['vdi', 'object', 'location', 'db', '5M'], env);
  t.is(code, 0);
  t.regex(out, /object +1 of db, from byte 4194304/);
  t.regex(out, /n1 .*in sync +db 2\.7 128 KiB/);
  t.regex(out, /n2 .*did not answer/);
  await dog(['vdi', 'object', 'location', 'db', '7', '--json'], env);
  t.deepEqual(asked, [1, 7]);
  const all = await dog(['vdi', 'object', 'location', 'db', '-r'], env);
  t.is(all.out.split('\n').length, 9, 'eight objects');
  const wrong = await dog(['vdi', 'object', 'location', 'db', 'here'], env);
  t.is(wrong.code, 64);
  t.regex(wrong.err, /cure: give an index such as 7/);
  t.is((await dog(['vdi', 'object', 'location', 'none', '-r'], env)).code, 5);
});

test('vdi du, diff: bytes by layer; ranges of two slices are one', async (t) => {
  const { env } = await sheep(t, {
    usage: async () =>
      new Map([[GENERATION, { generation: GENERATION, objects: 2, bytes: 131_072 }]]),
    async changes(_before, _after, { offset }) {
      const run = (length: number, isChanged: boolean, isAllocated = true) => {
        return { length, isChanged, isAllocated };
      };
      if (offset === 0) return [run(65_536, false), run(65_536, true)];
      return [
        run(65_536, true),
        run(65_536, true, false),
        run(32 * 1024 * 1024 - 4 * 65_536, false),
      ];
    },
  });
  const usage = await dog(['vdi', 'du', 'db'], env);
  t.regex(usage.out, /own +128 KiB, with 3 copies 384 KiB/);
  const raw = await dog(['vdi', 'diff', 'db', 'db', '-r'], env);
  t.is(raw.out, '65536\t131072\tdata\n196608\t65536\tzero\n');
  const human = await dog(['vdi', 'diff', 'db', 'db'], env);
  t.regex(human.out, /128 KiB of db may differ from db, 64 KiB are zeroes now\.\n$/);
  const json = JSON.parse((await dog(['vdi', 'diff', 'db', 'db', '--json'], env)).out);
  t.is(json.data.ranges.length, 2);
  t.is((await dog(['vdi', 'diff', 'db', 'none'], env)).code, 5);
});

test('vdi track: epoch by epoch, and where the knowledge begins', async (t) => {
  const { env } = await sheep(t, {
    async history() {
      const epoch = {
        index: 90,
        epoch: 4,
        cfg: 2,
        inSync: [nodeId(1)],
        joining: [nodeId(2)],
        by: '',
      };
      return { policy: 0 as never, p: 9, knownFrom: 90, epochs: [epoch] };
    },
  });
  const { out } = await dog(['vdi', 'track', 'db', '3'], env);
  t.regex(out, /partition 9; what was before log index 90 is not known here/);
  t.regex(out, /4 +90 +2 +n1 +n2 +\(known from here on\)/);
});

test('vdi check: slices to the end, findings, exit codes; -n heals nothing', async (t) => {
  const asked: { from: number; heals: boolean }[] = [];
  const slice = (change: Partial<CheckedSlice>): CheckedSlice => {
    const sums = { objects: 1, copies: 3, bytes: 4096, busy: 0, unasked: 0 };
    return { next: 8, ...sums, findings: [], ...change };
  };
  let result: CheckedSlice = slice({});
  const { env } = await sheep(t, {
    async check(_name, { from, heals }) {
      asked.push({ from, heals });
      if (from === 0) return { ...slice({ next: 5 }), isDone: false, total: 8 };
      return { ...result, isDone: true, total: 8 };
    },
  });
  const fine = await dog(['vdi', 'check', 'db'], env);
  t.is(fine.code, 0);
  t.regex(fine.out, /6 copies of 2 objects of db were compared, 8 KiB: all are equal and whole/);
  const finding = {
    generation: GENERATION,
    index: 6,
    node: nodeId(2),
    problem: 'damaged',
    bad: [4],
  } as const;
  result = slice({ findings: [{ ...finding, isRepaired: true }] });
  const repaired = await dog(['vdi', 'check', 'db'], env);
  t.is(repaired.code, 0);
  t.regex(repaired.out, /object 6 of db on n2: fails its checksums \(1 sectors\): repaired/);
  result = slice({ findings: [{ ...finding, isRepaired: false }] });
  const told = await dog(['vdi', 'check', 'db', '-n', '-r'], env);
  t.is(told.code, 1);
  t.is(told.out, '6\tdb\tn2\tdamaged\t4\t\n');
  result = slice({ unasked: 2 });
  t.is((await dog(['vdi', 'check', 'db', '--from', '20M'], env)).code, 2, 'not all was looked at');
  t.deepEqual(
    asked.map(({ from, heals }) => `${from}${heals ? '' : ' only'}`),
    ['0', '5', '0', '5', '0 only', '5 only', '5'],
  );
  t.is((await dog(['vdi', 'check', 'db', '--from', 'x'], env)).code, 64);
});
