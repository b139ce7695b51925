// Counts what the product does in this process: states and transitions of its actors, entries that its nodes apply. The
// machines themselves are told to count: an action more in each entry and each transition, so nothing that happens in one
// microstep is missed. No trace, no hash, no decision changes by it.

import type { AnyStateNode } from 'xstate';
import type { EntryBody } from '../../src/core/log-entry.ts';
import { RARE_POINTS } from '../../src/ports/ports.ts';
import { RecoveryDuties } from '../../src/recovery-duties.ts';
import { type Definition, MACHINES, transitionsOf } from '../machines.ts';
import type { Outcome } from '../scenario.ts';
import { FAULT_KINDS } from './fault-kinds.ts';
import { type All, countsOf, type Reached } from './reached.ts';

/** The compiler says when one is missing. */
const ENTRY_TYPES: Readonly<Record<EntryBody['type'], true>> = {
  noop: true,
  format: true,
  policyCreate: true,
  policyChange: true,
  setting: true,
  audit: true,
  nodeJoin: true,
  nodeAdmit: true,
  nodeUp: true,
  nodesDown: true,
  nodeFailed: true,
  nodeSpace: true,
  nodeOut: true,
  nodeIn: true,
  nodeLeave: true,
  nodeGone: true,
  nodeLost: true,
  nodeOutdated: true,
  nodeWeight: true,
  votersForced: true,
  votersJoint: true,
  votersFinal: true,
  isrShrink: true,
  isrJoin: true,
  isrAbort: true,
  isrPromote: true,
  isrSettle: true,
  isrShrinkUnsure: true,
  isrDoubt: true,
  acceptLoss: true,
  isrRelease: true,
  purge: true,
  volumeCreate: true,
  volumeOptions: true,
  volumeDelete: true,
  volumeAttach: true,
  volumeRename: true,
  snapshot: true,
  volumeClone: true,
  rollback: true,
  snapshotDelete: true,
  snapshotProtect: true,
  generationReclaimed: true,
  volumeGrow: true,
  volumeTrash: true,
  trashRestore: true,
  trashPurge: true,
  aged: true,
  volumeShrink: true,
  volumeProtect: true,
  volumeDurability: true,
  volumeRate: true,
  attributeSet: true,
  attributeRemove: true,
  lockBreak: true,
  handoverPrepare: true,
  handoverComplete: true,
  handoverCancel: true,
  holdEnd: true,
  moveStart: true,
  moveCancel: true,
  volumeMove: true,
  lockAcquire: true,
  lockRelease: true,
  takeover: true,
};

interface Counter {
  readonly states: Map<string, number>;
  readonly transitions: Map<string, number>;
  readonly entries: Map<string, number>;
}

function newCounter(): Counter {
  return { states: new Map(), transitions: new Map(), entries: new Map() };
}

let counter = newCounter();
const names: { states: string[]; transitions: string[] } = { states: [], transitions: [] };

function add(group: keyof Counter, name: string): void {
  counter[group].set(name, (counter[group].get(name) ?? 0) + 1);
}

function nameOf(node: AnyStateNode): string {
  return node.path.length === 0 ? '*' : node.path.join('.');
}

function textOfGuard(guard: unknown): string {
  if (guard === undefined) return '';
  if (typeof guard === 'string') return ` if ${guard}`;
  const { type, params } = guard as { readonly type?: string; readonly params?: object };
  return ` if ${type ?? 'allowed'}${params === undefined ? '' : ` ${JSON.stringify(params)}`}`;
}

function watchTransition(actor: string, node: AnyStateNode, on: string, one: Definition): void {
  const to = (one.target ?? []).map(nameOf).join(' ');
  const event = on.replace(/^xstate\.(after|done\.actor|error\.actor)\./, '$1 ');
  const base = `${actor}: ${nameOf(node)} -- ${event}${textOfGuard(one.guard)} --> ${to || 'stays'}`;
  const name = names.transitions.includes(base) ? `${base} (2)` : base;
  names.transitions.push(name);
  (one.actions as unknown[]).push(() => add('transitions', name));
}

function watchStates(actor: string, node: AnyStateNode): void {
  if (node.parent !== undefined) {
    const name = `${actor}.${nameOf(node)}`;
    names.states.push(name);
    (node.entry as unknown[]).push(() => add('states', name));
  }
  for (const child of Object.values(node.states)) watchStates(actor, child);
}

/** Once per process, before the first node is built. Returns all that can be reached. */
export function watch(): All {
  if (names.states.length === 0) {
    for (const { id, root } of MACHINES) {
      watchStates(id, root);
      for (const { from, on, one } of transitionsOf(root)) watchTransition(id, from, on, one);
    }
    const { noteApplied } = RecoveryDuties.prototype;
    RecoveryDuties.prototype.noteApplied = function (entry, result) {
      if (result.code === 'ok') add('entries', entry.body.type);
      noteApplied.call(this, entry, result);
    };
  }
  return { ...names, faults: FAULT_KINDS, rare: RARE_POINTS, entries: Object.keys(ENTRY_TYPES) };
}

/** What was reached since the last call: by this run, when it is called after each. */
export function takeReached({ faults, rare }: Pick<Outcome, 'faults' | 'rare'>): Reached {
  const { states, transitions, entries } = counter;
  counter = newCounter();
  return {
    faults: countsOf(faults),
    rare: countsOf(rare),
    states: countsOf(states),
    transitions: countsOf(transitions),
    entries: countsOf(entries),
  };
}
