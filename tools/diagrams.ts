// The state diagrams of docs/ACTORS.md, drawn from the machines themselves: what is drawn is what runs.

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

export const MACHINES: Readonly<Record<string, AnyStateMachine>> = {
  node: nodeMachine,
  membership: membershipMachine,
  peer: peerMachine,
  voter: voterMachine,
  ring: ringMachine,
  replicator: replicatorMachine,
  recovery: recoveryMachine,
  scrub: scrubMachine,
  'vdi-lock': vdiLockMachine,
};

/** Mermaid text of one machine: every state, and every transition that leads to another state. */
export function diagramOf(name: string): string {
  const machine = MACHINES[name];
  if (machine === undefined) throw new RangeError(`docs name the machine ${name}, which is none`);
  return `stateDiagram-v2\n${linesOf(machine.root).join('\n')}\n`;
}

function linesOf(node: AnyStateNode): string[] {
  const lines: string[] = [];
  const children = Object.values(node.states);
  const [start] = children.length > 0 ? (node.initial?.target ?? []) : [];
  if (start !== undefined) lines.push(`[*] --> ${idOf(start)}`);
  for (const child of children) {
    if (Object.keys(child.states).length > 0) {
      lines.push(`state ${idOf(child)} {`, ...linesOf(child).map((line) => `  ${line}`), '}');
    } else {
      lines.push(idOf(child));
    }
    lines.push(...arrowsOf(child));
    if (child.type === 'final') lines.push(`${idOf(child)} --> [*]`);
  }
  if (node.parent === undefined) lines.push(...arrowsOf(node));
  return lines.map((line) => (node.parent === undefined ? `  ${line}` : line));
}

/** What holds in all states of the machine is drawn as coming from outside of them. */
function arrowsOf(node: AnyStateNode): string[] {
  const from = node.parent === undefined ? '[*]' : idOf(node);
  const labels = new Map<string, Set<string>>();
  for (const [event, transitions] of node.transitions) {
    for (const { target, guard } of transitions) noteArrow(labels, target, eventName(event), guard);
  }
  for (const { target, guard } of node.always ?? []) noteArrow(labels, target, 'at once', guard);
  return [...labels].map(([to, events]) => `${from} --> ${to} : ${[...events].join(', ')}`);
}

function noteArrow(
  labels: Map<string, Set<string>>,
  target: readonly AnyStateNode[] | undefined,
  event: string,
  guard: unknown,
): void {
  for (const to of target ?? []) {
    const words = labels.get(idOf(to)) ?? new Set<string>();
    labels.set(
      idOf(to),
      words.add(guard === undefined ? event : `${event} if ${guardName(guard)}`),
    );
  }
}

/** xstate's own events in plain words. */
function eventName(event: string): string {
  const [, , kind, what] = /^xstate\.((after|done\.actor|error\.actor)\.(.*))$/.exec(event) ?? [];
  if (kind === undefined || what === undefined) return event;
  const name = what.replace(/\.[\w-]+(\.[\w-]+)*$/, '');
  if (kind === 'after') return `after ${name}`;
  return `${name} ${kind === 'done.actor' ? 'done' : 'failed'}`;
}

function guardName(guard: unknown): string {
  if (typeof guard === 'string') return guard;
  const { type, params } = guard as { readonly type?: string; readonly params?: { role?: string } };
  return params?.role === undefined ? (type ?? 'allowed') : `${params.role}`;
}

function idOf(node: AnyStateNode): string {
  return node.path.join('_');
}
