// Hears every step of every actor of a node: an event that no transition takes is a hole in a machine. It harms nobody
// at once, so it is a warning; the simulator fails on it. Events of xstate itself (init, done, stop) need no transition.

import type { InspectionEvent } from 'xstate';

/** For `inspect` of createActor: tells which actor had no transition for which event. */
export function noticeUnexpected(
  tell: (unexpected: { readonly actor: string; readonly event: string }) => void,
): (inspection: InspectionEvent) => void {
  return (inspection) => {
    if (inspection.type !== '@xstate.microstep' || inspection._transitions.length > 0) return;
    const { type } = inspection.event;
    if (type.startsWith('xstate.')) return;
    const { id } = inspection.actorRef as { readonly id?: string };
    tell({ actor: id ?? 'unknown', event: type });
  };
}
