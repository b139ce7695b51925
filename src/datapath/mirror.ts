// A change that goes to two paths (S8): while a volume moves, its holder writes to the head and to the copy, and answers the
// guest when both have it. The range of the head stays held until then, so both get overlapping changes in one order.

import type { OperatingError } from '../core/errors.ts';
import { keepMemory } from '../core/lent-memory.ts';
import { isPathOver, PATH_OVER } from './path-cell.ts';
import type { Change } from './version-pipe.ts';
import type { Done } from './volume-session.ts';

/** `written`: it has the change; `void`: the copy does not count any more, so it need not. */
export type Mirrored = 'written' | 'void' | OperatingError;

export interface Mirror {
  /** The same change of the copy. `done` once; the bytes are the caller's again only after that. */
  take(index: number, change: Change, done: (outcome: Mirrored) => void): void;
  /** The head did not take a change that the copy was given: they may differ from here on. */
  differs(error: OperatingError): void;
}

/** The change as the head's writer gets it; the copy gets it at once. `change.done` once both have it. */
export function onBoth(mirror: Mirror, index: number, change: Change): Change {
  let own: OperatingError | undefined;
  let isOwnDone = false;
  let other: Mirrored | undefined;
  const judge = (): void => {
    if (isOwnDone && other !== undefined) change.done(outcomeOf(own, other));
  };
  // Either path may look at it for longer than the other.
  keepMemory(change.data);
  mirror.take(index, change, (outcome) => {
    other = outcome;
    judge();
  });
  const done: Done = (error) => {
    own = error;
    isOwnDone = true;
    if (error !== undefined && !isPathOver(error)) mirror.differs(error);
    judge();
  };
  return { ...change, done };
}

function outcomeOf(own: OperatingError | undefined, other: Mirrored): OperatingError | undefined {
  // The head's path is over, for the volume has moved: the copy is the head, and its word counts.
  if (own === PATH_OVER && other !== 'void') return other === 'written' ? undefined : other;
  return own ?? (other === 'written' || other === 'void' ? undefined : other);
}
