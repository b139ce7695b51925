// Questions to several members at once, by the control plane. Who does not answer in time has nothing to say; none of
// these ever rejects.

import type { NodeId } from '../core/ids.ts';
import type { DiskWord } from '../core/sightings.ts';
import type { ClusterView } from '../core/view.ts';
import type { ReplyBody, RequestBody } from '../wire/messages.ts';
import { HOW_FAR } from './log-catch-up.ts';

/** Members asked at once whether they are there. */
export const MAX_REACH_ASKED = 64;
/** How long a member may take to answer "are you there" (C1.3). */
export const CONTACT_TIMEOUT_MS = 500;

/** Asks one member. Rejects when it does not answer in time. */
export type Ask = (node: NodeId, body: RequestBody, timeoutMs: number) => Promise<ReplyBody>;

/** Whom it is worth to ask. */
export function upMembers(view: ClusterView | undefined): readonly NodeId[] {
  const members = [...(view?.members.values() ?? [])];
  return members.filter(({ state }) => state === 'up').map(({ node }) => node);
}

/** Which of these members answer now, and how far their logs are committed. */
export async function reachOf(ask: Ask, nodes: readonly NodeId[]): Promise<Map<NodeId, number>> {
  const reached = new Map<NodeId, number>();
  const one = async (node: NodeId): Promise<void> => {
    const reply = await ask(node, HOW_FAR, CONTACT_TIMEOUT_MS);
    reached.set(node, 'commit' in reply ? reply.commit : 0);
  };
  await Promise.allSettled(nodes.slice(0, MAX_REACH_ASKED).map(one));
  return reached;
}

/** What these members saw of this node's disk (C1.9). */
export async function seenBy(
  ask: Ask,
  nodes: readonly NodeId[],
): Promise<readonly (DiskWord & { readonly by: NodeId })[]> {
  const asked = nodes.map(async (by) => {
    const reply = await ask(by, { type: 'seen' }, CONTACT_TIMEOUT_MS);
    return reply.type === 'seen' ? [{ ...reply, by }] : [];
  });
  const answers = await Promise.allSettled(asked);
  return answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
}
