// C1.9: what observers saw of a disk accuses an older image of it, and nothing else.

import test from 'ava';
import fc from 'fast-check';
import { viewOf } from '../../src/core/cluster-state.ts';
import type { Incarnation } from '../../src/core/ids.ts';
import { isOlderImage, Sightings, witnessesOf } from '../../src/core/sightings.ts';
import type { ClusterView, Member } from '../../src/core/view.ts';
import { clusterOf, member, nodeId, nodeIds } from '../fixtures.ts';

const word = (incarnation: number, journalSeq: number, storeGeneration = 9) => ({
  storeGeneration,
  incarnation: incarnation as Incarnation,
  journalSeq,
});

/** A view of exactly these members. */
function view({ members }: { readonly members: readonly Member[] }): ClusterView {
  const { state } = clusterOf({ nodes: 1, partitions: 1 });
  return { ...viewOf(state), members: new Map(members.map((one) => [one.node, one])) };
}

test('sightings: less than an earlier life had is an older image; the same life, more, or another disk is none', (t) => {
  t.true(isOlderImage(word(3, 99), word(2, 100)));
  t.false(isOlderImage(word(3, 100), word(2, 100)));
  t.false(isOlderImage(word(2, 99), word(2, 100)), 'its own pongs went on while it was called up');
  t.false(isOlderImage(word(3, 99, 8), word(2, 100)), 'a fresh disk has a rule of its own');
});

test('sightings: the maximum stays, whatever life says less; another disk begins anew', (t) => {
  const sightings = new Sightings();
  const n2 = nodeId(2);
  sightings.note(n2, word(2, 100));
  sightings.note(n2, word(3, 90));
  t.like(sightings.of(n2), word(2, 100));
  sightings.note(n2, word(3, 101));
  t.like(sightings.of(n2), word(3, 101));
  sightings.note(n2, word(0, 500));
  t.like(sightings.of(n2), word(3, 101), 'nobody knows which life said that');
  sightings.note(n2, word(1, 5, 10));
  t.like(sightings.of(n2), word(1, 5, 10));
});

test('sightings: news is told once, and goes on from what the disk knew', (t) => {
  const sightings = new Sightings([{ node: nodeId(4), ...word(1, 7) }]);
  t.is(sightings.takeNews(), undefined);
  sightings.note(nodeId(2), word(2, 100));
  t.deepEqual(
    sightings.takeNews()?.map(({ node }) => node),
    nodeIds(2, 4),
  );
  t.is(sightings.takeNews(), undefined);
  sightings.note(nodeId(2), word(2, 100));
  t.is(sightings.takeNews(), undefined);
  sightings.settle(view({ members: [member({ node: 2 })] }));
  t.is(sightings.of(nodeId(4)), undefined, 'no member');
  t.is(sightings.takeNews()?.length, 1);
});

test('sightings: a member that came up with less is named, one that was never up is not', (t) => {
  const sightings = new Sightings(
    [2, 3, 4].map((node) => ({ node: nodeId(node), ...word(1, 100) })),
  );
  const members = [
    { ...member({ node: 2, incarnation: 2 }), ...word(2, 60) },
    { ...member({ node: 3, incarnation: 2 }), ...word(2, 100) },
    { ...member({ node: 4, incarnation: 0, state: 'joined' as const }), journalSeq: 0 },
  ];
  const found = sightings.olderImages(view({ members }));
  t.deepEqual(
    found.map(({ member: { node }, seen }) => [node, seen.journalSeq]),
    [[nodeId(2), 100]],
  );
});

test('sightings: a node that is down asks who observed it then, as far as they are up; else who observes it now', (t) => {
  const down = { ...member({ node: 1, state: 'down' as const }), observers: nodeIds(2, 3, 4) };
  const others = [member({ node: 2 }), member({ node: 3, state: 'down' }), member({ node: 5 })];
  t.deepEqual(witnessesOf(view({ members: [down, ...others] }), nodeId(1)), nodeIds(2));
  const up = view({ members: [member({ node: 1 }), ...others] });
  t.deepEqual(witnessesOf(up, nodeId(1)), nodeIds(2, 5));
});

/** One disk through its lives; some starts are from an image that was made before. Pongs are heard by chance. */
test('sightings: no life of a whole disk is accused, however its process restarts or goes on', (t) => {
  const step = fc.constantFrom('write', 'pong', 'restart', 'goOn', 'ask', 'applied');
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const sightings = new Sightings();
      const disk = { incarnation: 1, journalSeq: 0 };
      let known = word(1, 0);
      let asked = known;
      for (const what of steps) {
        if (what === 'write') disk.journalSeq += 1;
        else if (what === 'pong')
          sightings.note(nodeId(2), word(disk.incarnation, disk.journalSeq));
        else if (what === 'restart' || what === 'goOn') disk.incarnation += 1;
        else if (what === 'ask') asked = word(disk.incarnation, disk.journalSeq);
        else if (asked.incarnation > known.incarnation) known = asked;
        const now = { ...member({ node: 2, incarnation: known.incarnation }), ...known };
        if (sightings.olderImages(view({ members: [now] })).length > 0) return false;
      }
      return true;
    }),
  );
  t.pass();
});
