// Whether a life that was called down, though it went on, would stay if it came back now (C4.2). Its data path may be
// broken while the control plane is fine: it would come back at once, be called down again, and raise two epochs every few
// seconds for as long as the fault lasts. So it pings those who would observe it first.

import { hash32, shuffled } from '../core/hash.ts';
import type { NodeId } from '../core/ids.ts';
import { MAX_OBSERVERS } from '../core/membership.ts';
import { marksOf } from '../core/tally.ts';
import type { ClusterView } from '../core/view.ts';

/** True when fewer of the would-be observers miss it than the low mark. Nobody else up: nobody would miss it. */
export async function wouldStay(
  view: ClusterView,
  self: NodeId,
  ping: (node: NodeId) => Promise<boolean>,
): Promise<boolean> {
  const up = [...view.members.values()]
    .filter(({ node, state }) => state === 'up' && node !== self)
    .map(({ node }) => node);
  // Which ones will be drawn for the epoch of its return is not known: others each time it asks.
  const observers = shuffled(up, hash32(view.epoch, self)).slice(0, MAX_OBSERVERS);
  const answers = await Promise.all(observers.map(ping));
  const missed = answers.filter((isAnswered) => !isAnswered).length;
  return missed < marksOf(observers.length).low;
}
