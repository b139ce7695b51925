import test from 'ava';
import type { DiskSpace } from '../../src/core/space.ts';
import { GIB, MIB } from '../../src/core/units.ts';
import type { Clock, Disk } from '../../src/ports/ports.ts';
import { SpaceGuard } from '../../src/storage/space-guard.ts';

/** A guard of a 100 GiB disk with a clock that is moved by hand. */
function guardOf(freeBytes: number) {
  const space = { totalBytes: 100 * GIB, freeBytes };
  let now = 0;
  const clock = { now: () => now } as unknown as Clock;
  const disk = { space: (): DiskSpace => space } as unknown as Disk;
  const later = (): void => {
    now += 1000;
  };
  return { guard: new SpaceGuard(disk, clock), space, later };
}

test('space-guard: new space is refused from full on, owned space only near the end', (t) => {
  const { guard, space, later } = guardOf(5 * GIB + 10 * MIB);
  t.is(guard.admit(9 * MIB, 'new space'), undefined);
  t.is(guard.admit(2 * MIB, 'new space')?.code, 'no-space', 'what was accepted counts');
  t.is(guard.admit(2 * MIB, 'owned space'), undefined);
  guard.applied(11 * MIB);
  space.freeBytes = 2 * GIB + 1.5 * MIB;
  later();
  t.is(guard.admit(MIB, 'owned space'), undefined);
  t.is(guard.admit(MIB, 'owned space')?.code, 'no-space');
  t.is(guard.level, 'full');
});

test('space-guard: what is accepted and not applied counts beside what the system says', (t) => {
  const { guard, later } = guardOf(5 * GIB + 10 * MIB);
  t.is(guard.admit(6 * MIB, 'new space'), undefined);
  later();
  t.is(guard.admit(6 * MIB, 'new space')?.code, 'no-space', 'still on its way to the disk');
  guard.applied(6 * MIB);
  later();
  t.is(guard.admit(6 * MIB, 'new space'), undefined);
});

test('space-guard: a refusal makes it full until there is clearly more room', (t) => {
  const { guard, space, later } = guardOf(5 * GIB + MIB);
  t.is(guard.level, 'nearfull');
  t.not(guard.refusal(4 * MIB, 'new space'), undefined);
  t.is(guard.level, 'full');
  later();
  t.is(guard.level, 'full', 'a little above the limit is not enough');
  space.freeBytes = 8 * GIB;
  later();
  t.is(guard.level, 'nearfull');
  t.is(guard.refusal(4 * MIB, 'new space'), undefined);
});
