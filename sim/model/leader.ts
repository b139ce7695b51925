// What the leader, operators and fate do to the partition of the model: shrink, join, drain, promote, abort, lost disks,
// restarts. Each is one step; what comes between two steps may be anything.

import {
  COPIES,
  freshReplica,
  isPrefix,
  MIN_COPIES,
  type Partition,
  tokenOf,
} from './partition.ts';

const MAX_LOST_DISKS = 2;

/** A member of I is called down, rightly or not. */
export function shrink(part: Partition): void {
  const { now, random } = part;
  const node = random.pick(now.inSync);
  const isLost = part.replica(node).isLost;
  const others = now.inSync.filter((one) => one !== node);
  const liveOthers = others.filter((one) => !part.replica(one).isLost);
  if (liveOthers.length === 0) return;
  const stay = part.isBroken('doubtfulCount')
    ? others
    : others.filter((one) => !now.doubtful.includes(one));
  if (!isLost && stay.length < MIN_COPIES && !part.isBroken('shrinksTooFar')) return;
  part.reconfigure({ inSync: others, joining: now.joining });
}

/** One joiner at a time. */
export function join(part: Partition): void {
  const { now, random, replicas } = part;
  if (now.joining.length > 0 || now.inSync.length >= COPIES) return;
  const spare = replicas.flatMap(({ isLost }, node) =>
    isLost || now.inSync.includes(node) ? [] : [node],
  );
  if (spare.length === 0) return;
  part.drained = undefined;
  const joinedAt = part.last + 1;
  part.reconfigure({ inSync: now.inSync, joining: [random.pick(spare)], joinedAt });
}

/** Drains the joiner, or promotes it, or gives it up. */
export function advanceJoiner(part: Partition): void {
  const { now, random } = part;
  const [joiner] = now.joining;
  if (joiner === undefined) return;
  if (part.replica(joiner).isLost || random.chance(0.2)) {
    part.reconfigure({ inSync: now.inSync, joining: [] });
    return;
  }
  if (part.drained !== undefined || part.isBroken('noDrain')) promote(part, joiner);
  else drain(part, joiner);
}

function promote(part: Partition, joiner: number): void {
  const { now, drained } = part;
  if (drained === undefined) part.forbid('I4');
  else if (drained.applied < now.joinedAt || !now.joining.includes(joiner)) part.forbid('A8');
  part.reconfigure({ inSync: [...now.inSync, joiner], joining: [] });
  part.tally.promoted += 1;
}

/** 4.6. The joiner keeps what it has where that says more than the source. */
function drain(part: Partition, joiner: number): void {
  const { now, random } = part;
  const source = random.pick(part.sureOf(now));
  const { isLost, applied, chain, closed } = part.replica(source);
  if (isLost || (applied < now.joinedAt && !part.isBroken('sourceUnaware'))) return;
  part.apply(joiner, now.joinedAt);
  const mine = part.replica(joiner);
  const isSynced = mine.syncedFor === now.joinedAt;
  const saysMore = isSynced && isPrefix(chain, mine.chain);
  if (!saysMore || part.isBroken('drainShortens')) {
    if (isSynced && chain.length < mine.chain.length) part.forbid('I4');
    part.copyFrom(joiner, chain, closed);
  }
  mine.syncedFor = now.joinedAt;
  part.drained = { source, applied };
}

/** A doubtful member cuts what no holder will ever have acknowledged, and is sure again (4.5). */
export function settle(part: Partition): void {
  const { now, random } = part;
  if (now.doubtful.length === 0) return;
  const node = random.pick(now.doubtful);
  const sources = part.sureOf(now).filter((one) => !part.replica(one).isLost);
  if (part.replica(node).isLost || sources.length === 0) return;
  const source = random.pick(sources);
  for (const one of [node, source]) part.apply(one, part.last);
  const { chain, closed } = part.replica(source);
  const own = part.replica(node).chain;
  const isFenced = tokenOf(own.at(-1) ?? '0') < now.token || part.isBroken('cutsTheLiving');
  const isCut = own.length > chain.length && isFenced && !part.isBroken('settlesUncut');
  if (isCut) part.copyFrom(node, chain, closed);
  const doubtful = now.doubtful.filter((one) => one !== node);
  part.reconfigure({ inSync: now.inSync, joining: now.joining, doubtful });
}

/** The host comes back blank: a new node. */
export function loseDisk(part: Partition): void {
  const { now, random, replicas } = part;
  const node = random.between(0, replicas.length - 1);
  const lostSoFar = replicas.filter(({ isLost }) => isLost).length;
  const liveMembers = now.inSync.filter((one) => !part.replica(one).isLost);
  const isLastMember = liveMembers.length === 1 && liveMembers[0] === node;
  if (lostSoFar >= MAX_LOST_DISKS || part.replica(node).isLost || isLastMember) return;
  if (part.isBroken('sameIdentity')) {
    replicas[node] = { ...freshReplica(), applied: part.replica(node).applied };
    return;
  }
  part.replica(node).isLost = true;
  replicas.push(freshReplica());
}

/** A process ends and starts again on its disk: what it had synced it has (R4, A10). */
export function restart(part: Partition): void {
  const { random, replicas } = part;
  const replica = part.replica(random.between(0, replicas.length - 1));
  const before = replica.applied;
  if (part.isBroken('forgetsIndex')) {
    replica.applied = random.between(0, before);
    replica.token = 0;
  }
  if (part.isBroken('syncsLater') && replica.chain.length > 0) {
    replica.chain = replica.chain.slice(0, -1);
    replica.closed = Math.min(replica.closed, replica.chain.length);
  }
  if (replica.applied < before) part.forbid('A10');
}
