// What an observer reports (C1.3, C1.8). The agreement and the prober are stand-ins; the rule is in duties.ts.

import test from 'ava';
import { type DutiesContext, membershipDuties } from '../src/duties.ts';
import type { Alert } from '../src/wire/messages.ts';

/** Subjects that an observer reports, of a silent peer 2 and a refused dial of peer 3. */
function reported(isDistrustful: boolean): readonly number[] {
  const subjects: number[] = [];
  const context = {
    self: 1,
    view: () => ({ epoch: 7 }),
    trace: { event: () => {}, count: () => {} },
    prober: { isDistrustful: () => isDistrustful },
    agreement: {
      alert: (alert: Alert) => {
        subjects.push(alert.subject);
        return Promise.resolve();
      },
    },
  } as unknown as DutiesContext;
  const { report } = membershipDuties(context);
  const common = { incarnation: 1, down: true } as const;
  report({ ...common, subject: 2, refused: false } as Parameters<typeof report>[0]);
  report({ ...common, subject: 3, refused: true } as Parameters<typeof report>[0]);
  return subjects;
}

test('an observer that lagged keeps quiet about silence (C1.3), not about a refused dial (C1.8)', (t) => {
  t.deepEqual(reported(false), [2, 3]);
  t.deepEqual(reported(true), [3]);
});
