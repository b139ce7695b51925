// What is noted for an absent member, step by step of the map (4.7). Method: a table of configs before and after.

import test from 'ava';
import type { NodeId } from '../../src/core/ids.ts';
import { type OutageStep, outageStep } from '../../src/core/outage.ts';
import type { PartitionConfig } from '../../src/core/view.ts';

const SELF = 1 as NodeId;
const AWAY = 3 as NodeId;

function config(cfg: number, inSync: number[], joining: number[] = []): PartitionConfig {
  const targets = [1, 2, 3];
  return { cfg, targets, inSync, joining, doubtful: [] } as unknown as PartitionConfig;
}

const ALL = config(5, [1, 2, 3]);
const GONE = config(6, [1, 2]);
const BACK = config(7, [1, 2], [3]);

interface Case {
  readonly what: string;
  readonly before: PartitionConfig;
  readonly after: PartitionConfig;
  readonly isNoting?: boolean;
  readonly wasAnnounced?: boolean;
  readonly step: OutageStep;
}

const CASES: readonly Case[] = [
  { what: 'it leaves', before: ALL, after: GONE, step: 'begin' },
  { what: 'it left and joins, seen as one step', before: ALL, after: BACK, step: 'begin' },
  { what: 'a restarted process never saw it', before: GONE, after: GONE, step: 'none' },
  {
    what: 'a step from before this process was a member',
    before: ALL,
    after: GONE,
    wasAnnounced: false,
    step: 'none',
  },
  {
    what: 'who was not in I when it left',
    before: config(5, [2, 3], [1]),
    after: GONE,
    step: 'none',
  },
  { what: 'who comes into I later', before: config(6, [2], [1]), after: GONE, step: 'none' },
  { what: 'it is away', before: GONE, after: GONE, isNoting: true, step: 'note' },
  { what: 'it joins', before: GONE, after: BACK, isNoting: true, step: 'freeze' },
  { what: 'it joins, unchanged', before: BACK, after: BACK, isNoting: true, step: 'freeze' },
  {
    what: 'its join is given up',
    before: BACK,
    after: config(8, [1, 2]),
    isNoting: true,
    step: 'reopen',
  },
  {
    what: 'it joins again, seen as one step',
    before: BACK,
    after: config(9, [1, 2], [3]),
    isNoting: true,
    step: 'reopen',
  },
  {
    what: 'it is promoted',
    before: BACK,
    after: config(8, [1, 2, 3]),
    isNoting: true,
    step: 'forget',
  },
  {
    what: 'who notes leaves I',
    before: GONE,
    after: config(7, [2]),
    isNoting: true,
    step: 'forget',
  },
  {
    what: 'the ring wants it no more',
    before: GONE,
    after: { ...GONE, targets: [1, 2] as NodeId[] },
    isNoting: true,
    step: 'forget',
  },
];

for (const { what, before, after, isNoting = false, wasAnnounced = true, step } of CASES) {
  test(`${what}: ${step}`, (t) => {
    const question = { self: SELF, node: AWAY, before, after, isNoting, wasAnnounced };
    t.is(outageStep(question), step);
  });
}
