// Why a node that belongs to a cluster can not go on, or waits: the words that people read.

import { OperatingError } from './core/errors.ts';
import type { NodeId } from './core/ids.ts';
import { NEW_IDENTITY, ONE_OF_TWO, OTHER_HISTORY, REPLACE_OR_FIND } from './core/remedies.ts';
import { decodeToken } from './core/token.ts';
import type { Member, Retired } from './core/view.ts';
import type { Superblock } from './storage/superblock.ts';

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

/** A forced recovery went on without this voter (section 6): its disk knows another history. */
export function whyGivenUp(node: NodeId): string {
  return `n${node} was given up by a forced recovery: its disk knows another history of this cluster`;
}

/** What is decided by the log here is decided otherwise there: one of the two was forced (section 6). */
export function otherHistory(self: NodeId, other: NodeId): OperatingError {
  return new OperatingError(
    'diverged',
    `n${self} and n${other} have different histories of this cluster: one of them went on by a forced recovery without what the other one knows`,
    { remedy: OTHER_HISTORY },
  );
}

/** Two data directories with one key, both in use. */
export function identityTaken({
  node,
  addresses,
}: Pick<Member, 'node' | 'addresses'>): OperatingError {
  const where = addresses[0] === undefined ? '' : ` at ${addresses[0]}`;
  return new OperatingError(
    'locked',
    `another process has the identity of n${node}${where}: one data directory is a copy of the other`,
    { remedy: ONE_OF_TWO },
  );
}

/** Not an end: it tries again. */
export function waitingFor(what: string): OperatingError {
  return new OperatingError('no-quorum', `waits for ${what}`, { advice: 'retry' });
}

/** A data directory belongs to one cluster for good. */
export function alreadyFormatted(clusterId: string): OperatingError {
  return new OperatingError('already-formatted', `this node belongs to cluster ${clusterId}`, {
    remedy:
      'dog cluster format --force wipes this node first, and asks before; its copies of the volumes are lost',
  });
}

/** The token is of another cluster than this directory. @throws OperatingError 'wrong-cluster' */
export function refuseOtherCluster(superblock: Pick<Superblock, 'clusterId'>, token: string): void {
  const { clusterId } = decodeToken(token);
  if (clusterId === superblock.clusterId) return;
  throw new OperatingError(
    'wrong-cluster',
    `this data directory belongs to cluster ${superblock.clusterId}, the token is of ${clusterId}`,
    { remedy: 'use the data directory of that cluster, or an empty one' },
  );
}
