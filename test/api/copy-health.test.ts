// What the members say of their copies, as health tells it.

import test from 'ava';
import { CACHE_LOSS_TOLD_MS, copyWarnings } from '../../src/api/copy-health.ts';
import type { NodeCondition } from '../../src/core/condition.ts';
import { REPAIR_TOLD_MS } from '../../src/core/scrub.ts';
import { decodeCondition, encodeCondition } from '../../src/wire/condition.ts';

const view = (copies: number) =>
  ({
    volumes: new Map([[4, { name: 'cached' }]]),
    volumeOfGeneration: () => ({ name: 'disk', policy: 7 }),
    policies: new Map([[7, { copies }]]),
  }) as never;
const VIEW = view(3);
const FINE: NodeCondition = {
  node: 2 as never,
  sectorsRepaired: 0,
  objectsRepaired: 0,
  lastRepairMs: 0,
  damagedCount: 0,
  damaged: [],
  differenceCount: 0,
  differences: [],
  scrubLate: [],
  cacheLosses: [],
  mixUps: [],
  space: { totalBytes: 1000, freeBytes: 600, usedBytes: 400, objects: 7, appliedIndex: 9 },
};
const place = { generation: 1 as never, index: 1 };

function told(condition: Partial<NodeCondition>, dateMs = 1000): string[] {
  const sent = decodeCondition(encodeCondition({ ...FINE, ...condition }));
  return copyWarnings(VIEW, [sent, FINE], dateMs).map(
    ({ code, severity, message }) => `${code} ${severity} ${message}`,
  );
}

test('copy health: nothing is said of nodes whose copies are well', (t) => {
  t.deepEqual(told({}), []);
});

test('copy health: what no copy has is an error that names volume and bytes', (t) => {
  const damaged = [{ ...place, lost: [5, 6, 9], reason: 'no copy passes its sums' }];
  const [text, ...rest] = told({ damagedCount: 1, damaged });
  t.regex(
    text as string,
    /^CORRUPTION error .*volume disk .*bytes 4214784-4222975, 4231168-4235263;/,
  );
  t.deepEqual(rest, []);
});

test('copy health: a repair that waits is an error with its reason, one that was made a warning for a day', (t) => {
  const damaged = [{ ...place, lost: [], reason: 'no other copy in sync answers' }];
  t.regex(
    told({ damagedCount: 3, damaged })[0] as string,
    /error not repaired: 3 copies .*n2 \(disk within bytes 4194304-8388607 and 2 more\): no other/,
  );
  const repaired = { sectorsRepaired: 7, objectsRepaired: 1, lastRepairMs: 500 };
  t.regex(told(repaired)[0] as string, /^CORRUPTION warning repaired: 7 sectors .*n2/);
  t.deepEqual(told(repaired, 501 + REPAIR_TOLD_MS), []);
});

test('copy health: the only copy is not said to be healed by others', (t) => {
  const damaged = [{ ...place, lost: [], reason: 'the repair has not begun' }];
  const cure = (copies: number) =>
    copyWarnings(view(copies), [{ ...FINE, damagedCount: 1, damaged }], 0)[0]?.remedy ?? '';
  t.regex(cure(2), /bring the other copies back/);
  t.notRegex(cure(1), /other copies/);
  t.regex(cure(1), /the only copy/);
});

test('copy health: all sectors of an object are told, as one range', (t) => {
  const lost = Array.from({ length: 1024 }, (_, i) => i);
  const damaged = [{ ...place, lost, reason: 'no copy passes its sums' }];
  const [text] = told({ damagedCount: 1, damaged });
  t.regex(text as string, /volume disk .* at bytes 4194304-8388607; reads/);
});

test('copy health: differences and late scrubs are told', (t) => {
  const differences = [{ ...place, peer: 3 as never, what: 'sums' as const }];
  t.regex(
    told({ differenceCount: 1, differences })[0] as string,
    /error copies differ .*n2 and n3 \(sums\)/,
  );
  t.regex(told({ scrubLate: ['deep'] })[0] as string, /^SCRUB_LATE warning .*n2 \(deep\)/);
});

test('copy health: a writeback volume that lost unflushed writes is an error that names it, for a day', (t) => {
  const loss = (volume: number, dateMs: number) => ({ volume: volume as never, dateMs });
  const cacheLosses = [loss(4, 1000), loss(9, 1000)];
  const [text, ...rest] = told({ cacheLosses });
  t.regex(text as string, /^CACHE_LOST error writes of cached .* at 1970-01-01T00:00:01/);
  t.deepEqual(rest, [], 'a volume that is deleted is told of no more');
  t.deepEqual(told({ cacheLosses }, 1001 + CACHE_LOSS_TOLD_MS), []);
});
