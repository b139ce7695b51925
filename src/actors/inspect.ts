// Hears every step of every actor of a node. An event that no transition takes is a hole in a machine: it harms nobody at
// once, so it is a warning; the simulator fails on it. A change of state is told to whoever wants to watch (sheep
// --inspect). Events of xstate itself (init, done, stop) need no transition.

import type { InspectionEvent } from 'xstate';

/** An actor went from one state to another; nested states are joined by dots, parallel ones do not exist here. */
export interface Transition {
  readonly actor: string;
  /** The machine's event; not "event", which is the name of the line in the log. */
  readonly on: string;
  /** Empty at its start. */
  readonly from: string;
  readonly to: string;
}

export interface Watchers {
  /** Which actor had no transition for which event. */
  readonly unexpected: (unexpected: { readonly actor: string; readonly on: string }) => void;
  /** Every change of state, in order. A step that ends where it began is none. */
  readonly moved?: (transition: Transition) => void;
}

/** For `inspect` of createActor. */
export function watchActors(watchers: Watchers): (inspection: InspectionEvent) => void {
  const { unexpected, moved } = watchers;
  /** The last state that was told of each actor; it goes with its actor. */
  const states = new WeakMap<object, string>();
  return (inspection) => {
    // Snapshots tell of the start; steps tell of states that are left again at once.
    if (inspection.type !== '@xstate.microstep' && inspection.type !== '@xstate.snapshot') return;
    const { type } = inspection.event;
    const { actorRef } = inspection;
    const actor = (actorRef as { readonly id?: string }).id ?? 'unknown';
    const isStep = inspection.type === '@xstate.microstep';
    if (isStep && inspection._transitions.length === 0 && !type.startsWith('xstate.')) {
      unexpected({ actor, on: type });
    }
    if (moved === undefined) return;
    const to = stateOf(inspection.snapshot);
    const from = states.get(actorRef) ?? '';
    if (to === from) return;
    states.set(actorRef, to);
    moved({ actor, on: type, from, to });
  };
}

function stateOf(snapshot: unknown): string {
  let { value } = snapshot as { readonly value?: unknown };
  const names: string[] = [];
  while (typeof value === 'object' && value !== null) {
    const [name, inner] = Object.entries(value)[0] ?? [];
    if (name === undefined) break;
    names.push(name);
    value = inner;
  }
  if (typeof value === 'string') names.push(value);
  return names.join('.');
}
