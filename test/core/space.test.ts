import test from 'ava';
import { DEFAULT_SPACE_RULE, spaceLevel, spaceLimits } from '../../src/core/space.ts';
import { GIB, MIB } from '../../src/core/units.ts';

const rule = DEFAULT_SPACE_RULE;
const at = (totalBytes: number, used: number) => ({
  totalBytes,
  freeBytes: totalBytes * (1 - used),
});

test('space: shares decide on large disks, reserves on small ones', (t) => {
  const large = spaceLimits(1000 * GIB, rule);
  t.is(Math.round(large.nearfull / GIB), 150);
  t.is(Math.round(large.full / GIB), 50);
  t.is(Math.round(large.overwrite / GIB), 20);
  const small = spaceLimits(128 * MIB, rule);
  t.is(small.full, 16 * MIB);
  t.is(small.overwrite, 8 * MIB);
  for (const bytes of [16 * MIB, 64 * MIB, GIB, 100 * GIB]) {
    const { nearfull, full, overwrite } = spaceLimits(bytes, rule);
    t.true(nearfull >= full && full > overwrite && overwrite > 0 && nearfull < bytes / 2);
  }
});

test('space: worse at once, better only beyond the hysteresis', (t) => {
  const total = 100 * GIB;
  t.is(spaceLevel(at(total, 0.8), rule, 'ok'), 'ok');
  t.is(spaceLevel(at(total, 0.86), rule, 'ok'), 'nearfull');
  t.is(spaceLevel(at(total, 0.96), rule, 'ok'), 'full');
  t.is(spaceLevel(at(total, 0.94), rule, 'full'), 'full');
  t.is(spaceLevel(at(total, 0.94), rule, 'nearfull'), 'nearfull');
  t.is(spaceLevel(at(total, 0.92), rule, 'full'), 'nearfull');
  t.is(spaceLevel(at(total, 0.84), rule, 'nearfull'), 'nearfull');
  t.is(spaceLevel(at(total, 0.82), rule, 'nearfull'), 'ok');
  t.is(spaceLevel(at(total, 0.5), rule, 'full'), 'ok');
});
