/**
 * This node's care for copies that nobody reads (4.10): light and deep scrubs, one partition per round. News is a start, a
 * pause or its end. A pause ends the round under way by itself: the work asks, before each piece, whether it shall go on.
 */
import { roundsMachine } from './rounds.ts';

/** Between two looks at what is due. */
export const SCRUB_LOOK_MS = 10_000;
/** After a round that failed. */
export const SCRUB_PAUSE_MS = 5000;

export const scrubMachine = roundsMachine({
  id: 'scrub',
  news: 'scrub.changed',
  lookMs: SCRUB_LOOK_MS,
  pauseMs: SCRUB_PAUSE_MS,
});
