// Rewrites block frames on their way, for mutants: what a replica or a source would have taken or said if it broke a
// rule. A node's own copy is reached by a call and stays as it is.

import type { ClusterView } from '../../src/core/view.ts';
import { decodeFrame, encodeHeaders, type Frame } from '../../src/wire/frame.ts';
import type { Stage } from '../stage.ts';

/** @param change gets each frame with the receiver's view at its arrival; returns it, or another one */
export function tamperFrames(
  stage: Stage,
  change: (frame: Frame, view: ClusterView | undefined) => Frame,
): void {
  stage.cable.tamper = ({ plane, to, bytes }) => {
    if (plane !== 'data') return bytes;
    const receiver = stage.node(to);
    const view = receiver.isRunning ? receiver.running().handle.view() : undefined;
    const frame = decodeFrame(bytes);
    const changed = change(frame, view);
    if (changed === frame) return bytes;
    return Buffer.concat([encodeHeaders(changed), changed.payload]);
  };
}
