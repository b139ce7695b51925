// A hundred whole nodes: ten that die at once go in one epoch, and with no gossip at all the verdict is the same.
// `npm run sim -- --scale 300` and 1000 have the rest.

import '../../sim/bans.ts';
import '../../sim/share-states.ts';
import test from 'ava';
import { runAtSize } from '../../sim/scale.ts';

/** PROTOCOL 1.6: pings, and little else. */
const MAX_BYTES_PER_NODE_SECOND = 2000;

/**
 * What a bootstrap may cost a node, whatever their number: 50 to 200 nodes came to 40 to 56 views, 79 to 94 syncs and 13
 * channels. With two syncs per batch it was 150.
 */
const MAX_WORK = { views: 80, syncs: 120, channels: 20 };
/** And ten that go and come back: 3; 17 when each epoch changed the edges of all. */
const MAX_CHANNELS_PER_TROUBLE = 8;

test.serial(
  'a hundred nodes: one epoch for what dies at once, little traffic at rest, no work that grows with their number',
  async (t) => {
    t.timeout(300_000);
    const { buildNode } = await import('../../src/build-node.ts');
    const { failure, figures, work } = await runAtSize(buildNode, {
      nodes: 100,
      zones: 3,
      partitions: 16,
      seed: 1,
      quietS: 5,
      troubles: ['killed', 'silent'],
    });
    for (const { what, value } of figures) t.log(`${what}: ${value}`);
    t.is(failure, undefined);
    const traffic = figures.find(({ what }) => what.startsWith('control traffic'))?.value;
    t.true(Number.parseFloat(traffic ?? 'none') < MAX_BYTES_PER_NODE_SECOND, traffic);
    const { views = Infinity, syncs = Infinity, channels = Infinity } = work ?? {};
    t.true(views < MAX_WORK.views, `${views} views`);
    t.true(syncs < MAX_WORK.syncs, `${syncs} syncs`);
    t.true(channels < MAX_WORK.channels, `${channels} channels`);
    const dialled = figures.filter(({ value }) => value.endsWith('until all were back'));
    t.is(dialled.length, 2);
    for (const { value } of dialled) {
      t.true(Number.parseFloat(value) < MAX_CHANNELS_PER_TROUBLE, value);
    }
  },
);

test.serial(
  'one-way links that flap and 80 % loss: the bad ones and only they go, two epochs at most for a change; without gossip the same',
  async (t) => {
    t.timeout(300_000);
    const { buildNode } = await import('../../src/build-node.ts');
    // `runAtSize` fails on an innocent, on a bad one that is spared, and on too many epochs.
    const run = (isSilent: boolean) =>
      runAtSize(buildNode, {
        ...{ nodes: 48, zones: 3, partitions: 16, seed: 3, quietS: 1, isSilent },
        troubles: ['loss', 'flapping'],
      });
    const [told, silent] = [await run(false), await run(true)];
    for (const { failure, figures } of [told, silent]) {
      t.is(failure, undefined);
      for (const { what, value } of figures) t.log(`${what}: ${value}`);
    }
    t.true(told.verdicts.length > 0);
    t.deepEqual(namesOf(silent.verdicts), namesOf(told.verdicts), 'gossip changes no verdict');
  },
);

function namesOf(verdicts: readonly string[]): readonly string[] {
  return [...new Set(verdicts)].sort();
}
