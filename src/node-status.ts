// How a node is, for people and for dog: read from what is there, nothing kept.

import type { FormedNode } from './formed-node.ts';
import type { NodePhase, NodeStatus } from './node-handle.ts';
import type { Disk } from './ports/ports.ts';
import type { Superblock } from './storage/superblock.ts';

export interface StatusSource {
  readonly formed: FormedNode | undefined;
  readonly superblock: Superblock | undefined;
  readonly isStopping: boolean;
  readonly space: ReturnType<Disk['space']>;
}

/** The status of a node as of now. */
export function statusOf(source: StatusSource): NodeStatus {
  const { formed, superblock, space } = source;
  const phase = phaseOf(source);
  return {
    phase,
    node: superblock?.node,
    clusterId: superblock?.clusterId,
    appliedIndex: formed?.agreement.learner.applied ?? 0,
    leader: formed?.agreement.driver.leader,
    role: formed?.agreement.driver.role ?? 'none',
    waitingFor: waitingFor(source, phase),
    missingVoters: formed?.desk.missingVoters ?? [],
    missing: formed?.desk.missing ?? [],
    spaceBytes: {
      total: space.totalBytes,
      free: space.freeBytes,
      used: formed?.store.usedBytes ?? 0,
    },
    objects: formed?.store.objectCount ?? 0,
    disputedIndex: formed?.agreement.auditor.disputedIndex ?? 0,
    splitFrom: formed?.agreement.driver.splitFrom ?? [],
    slowNodes: formed?.slowNodes ?? [],
    catchUp: {
      partitionsLeft: formed?.recovery.partitionsLeft ?? 0,
      bytesCopied: formed?.bytesCopied ?? 0,
    },
  };
}

function phaseOf({ formed, isStopping }: StatusSource): NodePhase {
  if (isStopping) return 'stopping';
  if (formed === undefined) return 'blank';
  return formed.isUp ? 'up' : 'starting';
}

function waitingFor({ formed }: StatusSource, phase: NodePhase): string {
  if (phase === 'blank') return 'dog cluster format, or --join with a token';
  if (phase !== 'starting' || formed === undefined) return '';
  const { view } = formed;
  if (view === undefined)
    return 'the map log, from a member; if that lasts, start it with --join and a new token';
  const { missingVoters } = formed.desk;
  if (missingVoters.length > 0) {
    const { length } = view.voters;
    const names = missingVoters.map((voter) => `n${voter}`).join(', ');
    const there = length - missingVoters.length;
    return `a quorum of the voters: ${names} ${missingVoters.length === 1 ? 'does' : 'do'} not answer, ${there} of ${length} are there`;
  }
  return view.voters.length === 1 && view.voters[0] === formed.self
    ? 'its own election'
    : 'the voters to choose a leader';
}
