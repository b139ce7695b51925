// Of which deleted generations members still have rows (S6): the leader asks all that count, and drops the record of a layer
// that nobody has anything of. A row that is on its way to a member then belongs to no generation any more when it comes,
// and is dropped like all of those (S5): nothing that anybody reads hangs on it, or its source would have kept its own.

import type { GenerationId, NodeId } from '../core/ids.ts';
import type { Frame } from '../wire/frame.ts';
import { OP, STATUS } from '../wire/frame.ts';
import { decodeLayers, encodeLayers } from '../wire/layers-left.ts';
import { type Parts, requestFrame } from './context.ts';
import { answerSettled, answerTo, type Reply } from './peer-answer.ts';

/** A member that does not answer within this time has all of them, for all that is known. */
export const LAYERS_DEADLINE_MS = 5000;

/** `done` once: the generations that no member has rows of; undefined: somebody did not say. */
export function askLayersLeft(
  parts: Parts,
  generations: readonly GenerationId[],
  members: readonly NodeId[],
  done: (nowhere: readonly GenerationId[] | undefined) => void,
): void {
  const view = parts.views.current();
  const left = new Set<GenerationId>();
  let open = members.length;
  let isKnown = true;
  for (const node of members) {
    const frame = requestFrame(view, OP.LAYERS);
    frame.payload = encodeLayers(generations);
    parts.ask(node, frame, LAYERS_DEADLINE_MS, (reply) => {
      open -= 1;
      if (reply?.status !== STATUS.OK) isKnown = false;
      else for (const one of decodeLayers(reply.payload)) left.add(one);
      if (open > 0) return;
      done(isKnown ? generations.filter((one) => !left.has(one)) : undefined);
    });
  }
  if (open === 0) done(undefined);
}

/** At a member: what it drops counts as left until that is durable. */
export function answerLayers(parts: Parts, frame: Frame, reply: Reply): void {
  const asked = decodeLayers(frame.payload);
  const make = (): Frame => {
    const made = answerTo(parts, frame, STATUS.OK);
    made.payload = encodeLayers(asked.filter((one) => parts.store.hasRows(one)));
    return made;
  };
  answerSettled(parts, frame, reply, { judge: () => STATUS.OK, make });
}
