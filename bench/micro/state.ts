// What entries and looks at the map cost at size: node bench/micro/state.ts [members] [partitions]. CPU of this thread.

import {
  applyEntry,
  type ClusterState,
  emptyState,
  hashOf,
  viewOf,
} from '../../src/core/cluster-state.ts';
import { HASH_VERSION } from '../../src/core/hash.ts';
import type { Epoch, Incarnation, MapIndex, NodeId, PeerKey } from '../../src/core/ids.ts';
import type { EntryBody, LogEntry } from '../../src/core/log-entry.ts';
import { subjectsOf } from '../../src/core/membership.ts';
import { ChangePlanner } from '../../src/core/recovery-plan.ts';
import { buildRing } from '../../src/core/ring.ts';
import { OBJECT_BYTES } from '../../src/core/units.ts';

const members = Number(process.argv[2] ?? 1000);
const partitions = Number(process.argv[3] ?? 65536);
const ZONES = 3;
const RUNS = 5;

let state: ClusterState = emptyState();
let counter = 0;

function apply(body: EntryBody): void {
  counter += 1;
  const origin = { node: 1 as NodeId, incarnation: 1 as Incarnation, counter };
  const index = (state.index + 1) as MapIndex;
  const entry: LogEntry = { index, term: 1 as LogEntry['term'], origin, body };
  const applied = applyEntry(state, entry);
  if (applied.result.code !== 'ok')
    process.stdout.write(`${body.type}: ${applied.result.detail}\n`);
  state = applied.state;
}

const nodeUp = (node: number, incarnation: number): EntryBody => ({
  type: 'nodeUp',
  node: node as NodeId,
  incarnation: incarnation as Incarnation,
  addresses: [],
  storeGeneration: node,
  journalSeq: 0,
  continues: 0 as Incarnation,
  cleanStop: true,
});

function timed(what: string, run: () => void): void {
  let best = Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < RUNS; i += 1) {
    const start = performance.now();
    run();
    const ms = performance.now() - start;
    best = Math.min(best, ms);
    worst = Math.max(worst, ms);
  }
  process.stdout.write(
    `${what.padEnd(44)} best ${best.toFixed(3)} ms, worst ${worst.toFixed(3)} ms\n`,
  );
}

apply({
  type: 'format',
  clusterId: '0'.repeat(32),
  name: 'bench',
  objectBytes: OBJECT_BYTES,
  hashVersion: HASH_VERSION,
  partitions,
  copies: 3,
  minCopies: 2,
  strict: false,
} as EntryBody);
for (let node = 1; node <= members; node += 1) {
  const peerKey = `peer-${node}` as PeerKey;
  apply({ type: 'nodeJoin', peerKey, addresses: [], zone: `z${node % ZONES}`, weight: 1 });
}
const early = state;
timed(`ring of ${members}`, () => {
  buildRing([...state.members.values()]);
});
for (let node = 1; node <= members; node += Math.max(1, Math.floor(members / 20)))
  apply(nodeUp(node, 1));
const sparse = state;
let next = 2;
timed('nodeUp of a new member (ring and targets)', () => {
  apply(nodeUp(next, 1));
  next += 1;
});
state = sparse;
// The rest is up without measuring each new ring: members of a state made by hand.
const up = new Map(early.members);
for (const [node, member] of up) {
  up.set(node, { ...member, state: 'up', incarnation: 1 as Incarnation, storeGeneration: node });
}
state = { ...sparse, members: up, epoch: (sparse.epoch + 1) as Epoch };
apply(nodeUp(members, 2));
let life = 3;
timed('nodeUp of a known member', () => {
  apply(nodeUp(members, life));
  life += 1;
});
timed('setting', () => apply({ type: 'setting', key: 'bench', value: String(life) }));
timed('viewOf', () => {
  viewOf(state);
});
timed('hash of the state', () => {
  hashOf(state);
});
timed('observer rings of an epoch', () => {
  subjectsOf({ ...viewOf(state), members: new Map(state.members) }, 1 as NodeId);
});
let victim = 2;
timed('nodesDown of ten', () => {
  const nodes = Array.from({ length: 10 }, (_, i) => {
    const node = (victim + i) as NodeId;
    const incarnation = state.members.get(node)?.incarnation ?? (1 as Incarnation);
    return { node, incarnation };
  });
  victim += 10;
  apply({ type: 'nodesDown', nodes, baseEpoch: state.epoch });
});
const planner = new ChangePlanner();
timed('plan with members down, first look', () => {
  planner.plan(viewOf({ ...state, members: new Map(state.members) }), 0);
});
const view = viewOf(state);
timed('plan with members down, same view', () => {
  planner.plan(view, 1000);
});
