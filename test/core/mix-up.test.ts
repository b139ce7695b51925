import test from 'ava';
import type { NodeId } from '../../src/core/ids.ts';
import {
  type KnownMixUp,
  MAX_MIX_UPS,
  MIX_UP_TOLD_MS,
  MixUpMemory,
} from '../../src/core/mix-up.ts';

const met = (node: number, kind: KnownMixUp['kind'] = 'identity-twice', address = 'a') =>
  ({ kind, node: node as NodeId, address, found: 0 }) as const;

test('a mix-up is told until it was not seen for its time; seen again it is told with what is known now', (t) => {
  const memory = new MixUpMemory();
  memory.note(met(3), 0);
  memory.note(met(3, 'address-taken'), 0);
  t.is(memory.current(MIX_UP_TOLD_MS['address-taken'] - 1).length, 2);
  memory.note(met(3, 'identity-twice', 'b'), 1000);
  t.deepEqual(memory.current(MIX_UP_TOLD_MS['identity-twice'] + 999), [
    met(3, 'identity-twice', 'b'),
  ]);
  t.deepEqual(memory.current(MIX_UP_TOLD_MS['identity-twice'] + 1000), []);
});

test('what is remembered is bounded: the oldest goes', (t) => {
  const memory = new MixUpMemory();
  for (let node = 1; node <= MAX_MIX_UPS + 1; node += 1) memory.note(met(node), node);
  const nodes = memory.current(100).map(({ node }) => node as number);
  t.is(nodes.length, MAX_MIX_UPS);
  t.false(nodes.includes(1));
});
