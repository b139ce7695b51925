// The product's actor machines, for what looks into them from outside: coverage, and actors that are broken on purpose.

import type { AnyStateMachine, AnyStateNode } from 'xstate';
import { membershipMachine } from '../src/actors/membership.ts';
import { nodeMachine } from '../src/actors/node.ts';
import { peerMachine } from '../src/actors/peer.ts';
import { recoveryMachine } from '../src/actors/recovery.ts';
import { replicatorMachine } from '../src/actors/replicator.ts';
import { ringMachine } from '../src/actors/ring.ts';
import { scrubMachine } from '../src/actors/scrub.ts';
import { vdiLockMachine } from '../src/actors/vdi-lock.ts';
import { voterMachine } from '../src/actors/voter.ts';

export const MACHINES: readonly AnyStateMachine[] = [
  nodeMachine,
  membershipMachine,
  peerMachine,
  voterMachine,
  ringMachine,
  replicatorMachine,
  recoveryMachine,
  scrubMachine,
  vdiLockMachine,
];

export type Definition = AnyStateNode['transitions'] extends Map<string, (infer D)[]> ? D : never;

/** Every transition of a machine: where from, on what. */
export function* transitionsOf(
  node: AnyStateNode,
): Generator<{ readonly from: AnyStateNode; readonly on: string; readonly one: Definition }> {
  for (const [on, definitions] of node.transitions) {
    for (const one of definitions) yield { from: node, on, one: one as Definition };
  }
  for (const one of node.always ?? []) yield { from: node, on: 'at once', one: one as Definition };
  for (const child of Object.values(node.states)) yield* transitionsOf(child);
}
