// The frame of every good answer, and the view that most of them are made of.

import type { AdminAnswer, Warning } from '../core/admin-shapes.ts';
import { OperatingError } from '../core/errors.ts';
import type { ClusterView } from '../core/view.ts';
import type { NodeHandle } from '../node-handle.ts';

/** A document of this node, with its epoch. */
export function answer<Data>(
  handle: NodeHandle,
  schema: string,
  data: Data,
  warnings: readonly Warning[] = [],
): AdminAnswer<Data> {
  return { schema: `sheep/${schema}/1`, epoch: handle.view()?.epoch ?? 0, data, warnings };
}

/** @throws OperatingError 'not-formatted' */
export function viewOf(handle: NodeHandle): ClusterView {
  const view = handle.view();
  if (view !== undefined) return view;
  throw new OperatingError('not-formatted', 'this node belongs to no cluster yet', {
    remedy: 'make one with "dog cluster format", or start it with "sheep --join TOKEN"',
  });
}
