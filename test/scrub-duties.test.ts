// What a node tells of repairs outlives its process: a warning that a restart takes back would never be seen by somebody
// who looks once a day.

import test from 'ava';
import { REPAIR_TOLD_MS } from '../src/core/scrub.ts';
import { ScrubDuties } from '../src/scrub-duties.ts';
import { CrashWorld } from './storage/crash-world.ts';

interface Repairs {
  sectorsRepaired: number;
  objectsRepaired: number;
  lastRepairMs: number;
}

function dutiesOn(world: CrashWorld, repairer: Repairs, date: { ms: number }): ScrubDuties {
  const clock = Object.assign(Object.create(world.clock()), { date: () => date.ms });
  return new ScrubDuties({
    disk: world.disk(),
    clock,
    trace: world.trace(),
    store: {} as never,
    periods: { lightMs: Number.POSITIVE_INFINITY, deepMs: Number.POSITIVE_INFINITY },
    bytesPerSecond: 1,
    datapath: () => ({ repairer }) as never,
    isFree: () => false,
    changed: () => undefined,
  });
}

test('repairs of a process are told by the next one, added to its own, for a day', async (t) => {
  const world = new CrashWorld(3);
  const date = { ms: 1_700_000_000_000 };
  const first = { sectorsRepaired: 3, objectsRepaired: 1, lastRepairMs: date.ms - 5 };
  const duties = dutiesOn(world, first, date);
  t.false(duties.input.workDue(), 'nothing is scrubbed');
  await world.runUntil(() => world.disk().list('').includes('scrub'));

  const own: Repairs = { sectorsRepaired: 0, objectsRepaired: 0, lastRepairMs: 0 };
  const next = dutiesOn(world, own, date);
  t.deepEqual(next.repairs, { sectors: 3, objects: 1, lastMs: first.lastRepairMs });
  Object.assign(own, { sectorsRepaired: 2, lastRepairMs: date.ms });
  t.deepEqual(next.repairs, { sectors: 5, objects: 1, lastMs: date.ms });
  t.is(next.status().repairs.sectors, 5, 'and by what scrubs say of themselves');
  date.ms += REPAIR_TOLD_MS;
  t.is(next.repairs.sectors, 2, 'those of the first process were a day ago');
});
