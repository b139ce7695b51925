import test from 'ava';
import fc from 'fast-check';
import { buildRing, type RingMember, targetsOf, targetTable } from '../../src/core/ring.ts';
import { nodeId, policyId, ringMembers } from '../fixtures.ts';

const P = 256;

interface Case {
  members: RingMember[];
  copies: number;
  strict: boolean;
}

const cases: fc.Arbitrary<Case> = fc.record({
  members: fc.uniqueArray(
    fc.record({
      node: fc.integer({ min: 1, max: 60 }).map(nodeId),
      zone: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      weight: fc.constantFrom(1, 1, 2, 4),
    }),
    { selector: (one) => one.node, minLength: 2, maxLength: 12 },
  ),
  copies: fc.integer({ min: 1, max: 5 }),
  strict: fc.boolean(),
});

function tableOf(members: RingMember[], { copies, strict }: Case): (readonly number[])[] {
  const rule = { id: policyId(0), copies, strict };
  return targetTable(buildRing(members), rule, P).map((set) => set.walk);
}

// C-ring, exact and per partition; the two directions of one comparison.
test('ring: a member that joins is the only newcomer, one that leaves makes room for one', (t) => {
  fc.assert(
    fc.property(cases, (c) => {
      const mover = c.members[0] as RingMember;
      const without = tableOf(c.members.slice(1), c);
      const withIt = tableOf(c.members, c);
      for (let p = 0; p < P; p += 1) {
        const [small, large] = [without[p] as number[], withIt[p] as number[]];
        const came = large.filter((node) => !small.includes(node));
        const went = small.filter((node) => !large.includes(node));
        if (came.some((node) => node !== mover.node) || went.length > 1) return false;
      }
      return true;
    }),
    { numRuns: 60 },
  );
  t.pass();
});

test('ring: distinct nodes, distinct zones while there are enough, strict never shares one', (t) => {
  fc.assert(
    fc.property(cases, (c) => {
      const zoneOf = new Map(c.members.map((one) => [one.node as number, one.zone]));
      const zones = new Set(zoneOf.values()).size;
      return tableOf(c.members, c).every((targets) => {
        const used = new Set(targets.map((node) => zoneOf.get(node))).size;
        const wanted = Math.min(c.copies, c.strict ? zones : c.members.length);
        const areDistinct = new Set(targets).size === targets.length;
        return areDistinct && targets.length === wanted && used === Math.min(c.copies, zones);
      });
    }),
    { numRuns: 60 },
  );
  t.pass();
});

test('ring: the order in which members are named does not matter, nor does who asks', (t) => {
  const members = ringMembers({ count: 7, zones: 3 });
  const rule = { id: policyId(2), copies: 3, strict: false };
  const table = targetTable(buildRing(members), rule, P);
  const again = targetTable(buildRing(members.toReversed()), rule, P);
  t.deepEqual(table, again);
  t.deepEqual(targetsOf(buildRing(members), rule, 17), table[17]?.walk as never);
  const other = targetTable(buildRing(members), { ...rule, id: policyId(3) }, P);
  t.notDeepEqual(table, other, 'each policy is placed on its own');
});

// Method: the figures of the prototype (SIMULATOR.md), with room for the other hash.
test('ring: copies spread by weight, and a join moves its fair share', (t) => {
  const rule = { id: policyId(0), copies: 3, strict: false };
  for (const [count, worst] of [
    [5, 1.15],
    [30, 1.35],
  ] as const) {
    const members = ringMembers({ count });
    const table = targetTable(buildRing(members), rule, 4096);
    const held = new Map<number, number>();
    for (const { walk } of table)
      for (const node of walk) held.set(node, (held.get(node) ?? 0) + 1);
    const ratio = (Math.max(...held.values()) * count) / (4096 * 3);
    t.true(ratio < worst, `N=${count}: max/mean ${ratio}`);
    const larger = targetTable(buildRing(ringMembers({ count: count + 1 })), rule, 4096);
    const newcomer = nodeId(count + 1);
    const share = larger.filter(({ walk }) => walk.includes(newcomer)).length / (4096 * 3);
    const fair = 1 / (count + 1);
    t.true(share > fair * 0.7 && share < fair * 1.3, `N=${count}: moved ${share}, fair ${fair}`);
  }
});

test('ring: weight 0 owns nothing, weight 2 about twice as much', (t) => {
  const members = ringMembers({ count: 8 }).map((one, i) => ({ ...one, weight: [0, 2][i] ?? 1 }));
  const rule = { id: policyId(0), copies: 1, strict: false };
  const held = new Map<number, number>();
  for (const { walk } of targetTable(buildRing(members), rule, 4096)) {
    held.set(walk[0] as number, (held.get(walk[0] as number) ?? 0) + 1);
  }
  t.is(held.get(1), undefined);
  const ratio = ((held.get(2) ?? 0) * 8) / (4096 * 2);
  t.true(ratio > 0.75 && ratio < 1.25, `${ratio}`);
  t.deepEqual(targetsOf(buildRing([]), rule, 0), []);
});
