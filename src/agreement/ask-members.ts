// Questions to several members at once, by the control plane. Who does not answer in time has nothing to say; none of
// these ever rejects.

import type { Incarnation, NodeId, PeerKey } from '../core/ids.ts';
import type { DiskWord } from '../core/sightings.ts';
import type { ClusterView } from '../core/view.ts';
import type { Random } from '../ports/ports.ts';
import type { ReplyBody, RequestBody } from '../wire/messages.ts';
import { HOW_FAR } from './log-catch-up.ts';

/** One in so many pulls asks anybody, also who is down by the own view. */
const ASK_ALL_EVERY = 4;
/** Members asked at once whether they are there. */
export const MAX_REACH_ASKED = 64;
/** How long a member may take to answer "are you there" (C1.3). */
export const CONTACT_TIMEOUT_MS = 500;

/** How long a leader may take to hear from its voters. */
export const LEADER_TIMEOUT_MS = 1500;

/** The answer of who saw nothing of a disk (C1.9). */
export const NOTHING_SEEN: DiskWord = {
  storeGeneration: 0,
  incarnation: 0 as Incarnation,
  journalSeq: 0,
};

/** Asks one member. Rejects when it does not answer in time. */
export type Ask = (node: NodeId, body: RequestBody, timeoutMs: number) => Promise<ReplyBody>;

/** Whom it is worth to ask. */
export function upMembers(view: ClusterView | undefined): readonly NodeId[] {
  const members = [...(view?.members.values() ?? [])];
  return members.filter(({ state }) => state === 'up').map(({ node }) => node);
}

/** What tells whom to ask for the log. */
export interface Known {
  readonly view: ClusterView | undefined;
  readonly self: NodeId;
  /** Where there is no view. */
  readonly bootstrap: readonly PeerKey[];
}

/** Everybody else. */
export function sourcesOf({ view, self, bootstrap }: Known): readonly PeerKey[] {
  const others = [...(view?.members.values() ?? [])].filter(({ node }) => node !== self);
  return others.length > 0 ? others.map(({ peerKey }) => peerKey) : bootstrap;
}

/** Mostly members that are up by this view: who is silent costs a time-out. Now and then all: the view may be old. */
export function likelySources(known: Known, random: Random): readonly PeerKey[] {
  const members = [...(known.view?.members.values() ?? [])];
  const up = members.filter(({ node, state }) => node !== known.self && state === 'up');
  const areAll = up.length === 0 || random.u32() % ASK_ALL_EVERY === 0;
  return areAll ? sourcesOf(known) : up.map(({ peerKey }) => peerKey);
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

/** Who of these members leads now, by the word of a majority of its voters (C2.3). */
export async function leaderAmong(ask: Ask, nodes: readonly NodeId[]): Promise<NodeId | undefined> {
  const asked = nodes.slice(0, MAX_REACH_ASKED).map(async (node) => {
    const reply = await ask(node, { type: 'readIndex' }, LEADER_TIMEOUT_MS);
    return reply.type === 'readIndex' ? node : undefined;
  });
  const answers = await Promise.allSettled(asked);
  return answers
    .flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
    .find((node) => node !== undefined);
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
