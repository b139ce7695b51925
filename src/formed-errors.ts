// Why a node that belongs to a cluster can not go on, or waits: the words that people read.

import { OperatingError } from './core/errors.ts';
import type { NodeId } from './core/ids.ts';
import { NEW_IDENTITY, REPLACE_OR_FIND } from './core/remedies.ts';
import type { Retired } from './core/view.ts';

/** The disk is not the one that the map knows. */
export function refusedDisk(detail: string): OperatingError {
  return new OperatingError('refused', `the cluster does not take this node back: ${detail}`, {
    remedy: REPLACE_OR_FIND,
  });
}

/** Why an identity never comes back. */
export function whyRetired(node: NodeId, how: Retired['how']): string {
  const why =
    how === 'outdated' ? 'came with an older image of its disk' : `was ${how} by an operator`;
  return `n${node} ${why}: its identity is retired`;
}

/** The map knows this identity as one that never comes back. */
export function retired(node: NodeId, how: Retired['how']): OperatingError {
  return new OperatingError('gone', whyRetired(node, how), {
    remedy: NEW_IDENTITY,
  });
}

/** Not an end: it tries again. */
export function waitingFor(what: string): OperatingError {
  return new OperatingError('no-quorum', `waits for ${what}`, { advice: 'retry' });
}
