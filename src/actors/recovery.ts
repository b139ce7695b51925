/**
 * This node's own catch-up: while the map has it in a joining set it copies what it lacks and asks for promotion (4.6);
 * copies that the ring no longer wants go by a purge entry (I5).
 *
 * One round = copy a bounded batch of partitions, propose their promotion; or propose a purge list. A round that the
 * map overtakes ends by itself: its elements carry cfg, so a late promotion is a no-op.
 */
import { roundsMachine } from './rounds.ts';

export const RECOVERY_LOOK_MS = 1000;
/** After a round that failed: the source may be restarting. */
export const RECOVERY_PAUSE_MS = 300;

export const recoveryMachine = roundsMachine({
  id: 'recovery',
  news: 'view.changed',
  lookMs: RECOVERY_LOOK_MS,
  pauseMs: RECOVERY_PAUSE_MS,
});
