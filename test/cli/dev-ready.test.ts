// When `dog dev up` says that the cluster is ready.

import test from 'ava';
import { isClusterReady } from '../../src/cli/dev-ready.ts';
import type { ClusterData } from '../../src/core/admin-shapes.ts';

type Seen = Pick<ClusterData, 'partitions' | 'members'>;

function seen(partitions: Partial<Seen['partitions']>, members: Partial<Seen['members']> = {}) {
  const none = { total: 8, clean: 0, joining: 0, degraded: 0, halted: 0, lost: 0, settled: 0 };
  return {
    partitions: { ...none, ...partitions },
    members: { total: 3, up: 3, down: 0, notInReach: 0, ...members },
  };
}

test('ready: all are up and nothing is left to do', (t) => {
  t.true(isClusterReady(seen({ settled: 8 }), [], 3));
  t.false(isClusterReady(seen({ settled: 7, joining: 1 }), [], 3));
  t.false(isClusterReady(seen({ settled: 8 }, { up: 2, down: 1 }), [], 3));
  t.false(isClusterReady(seen({ total: 0 }), [{ code: 'RECOVERY_PAUSED' }], 3));
});

test('ready: a node that joined by hand is not waited for', (t) => {
  t.true(isClusterReady(seen({ degraded: 8 }, { total: 4 }), [], 3));
});

test('ready: what a pause or a full disk keeps from being copied is not waited for, halted guests are', (t) => {
  for (const code of ['RECOVERY_PAUSED', 'DISK_FULL']) {
    t.true(isClusterReady(seen({ settled: 5, joining: 2, degraded: 1 }), [{ code }], 3), code);
    t.false(isClusterReady(seen({ settled: 5, halted: 3 }), [{ code }], 3), code);
    t.false(isClusterReady(seen({ settled: 5, joining: 3 }, { up: 2 }), [{ code }], 3), code);
  }
  t.false(isClusterReady(seen({ settled: 5, joining: 3 }), [{ code: 'DEGRADED' }], 3));
  const nearfull = [{ code: 'DISK_NEARFULL' }];
  t.true(isClusterReady(seen({ settled: 5, joining: 3 }), nearfull, 3), 'it takes no moves');
  t.false(
    isClusterReady(seen({ settled: 5, degraded: 3 }), nearfull, 3),
    'it takes what is missing',
  );
});
