// The way on when a majority of the voters is lost for good (PROTOCOL section 6), with the daemon stopped: this node's log
// becomes the truth, as far as it goes, and this node the only voter. What the lost voters decided beyond it is lost. The
// running cluster never does this; a person does, who was told what it may cost.

import { givenUpKey } from './core/cluster-settings.ts';
import { applyEntry, emptyState, viewOf } from './core/cluster-state.ts';
import { OperatingError } from './core/errors.ts';
import { FORCED_TERMS, historyKey } from './core/history.ts';
import type { Incarnation, MapIndex, NodeId } from './core/ids.ts';
import type { LogEntry } from './core/log-entry.ts';
import type { ClusterState } from './core/state.ts';
import type { ClusterView } from './core/view.ts';
import type { RecoverPlan } from './node-handle.ts';
import type { Clock, Disk, Random } from './ports/ports.ts';
import { planOfRecovery } from './recover-plan.ts';
import type { RaftLog } from './storage/raft-log.ts';
import { openRaftLog } from './storage/raft-log-open.ts';
import { openSuperblock } from './storage/superblock.ts';

const SUPERBLOCK_PATH = 'superblock';
/** Members beside the voters that are looked for. */
const MAX_BYSTANDERS = 64;

/** A data directory, opened for this and for nothing else. */
export interface ForcedRecovery {
  readonly node: NodeId;
  readonly view: ClusterView;
  readonly plan: RecoverPlan;
  /** Voters that are there, this node not counted. */
  readonly others: readonly NodeId[];
  /** Members that are there and do not vote by this node's log. If the voters were replaced since, they know. */
  readonly bystanders: readonly NodeId[];
  /** Voters that are not there: what the cluster goes on without. */
  readonly lost: readonly NodeId[];
  /** Makes this node the only voter; durable when it resolves. */
  force(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Reads what this node knows, whole log, committed or not, and asks who else is there.
 * @param isThere whether somebody listens at one of these addresses
 * @throws OperatingError 'not-formatted', 'refused' while a majority of the voters can be reached
 */
export async function openForRecovery(
  ports: { readonly disk: Disk; readonly clock: Clock; readonly random: Random },
  isThere: (addresses: readonly string[]) => Promise<boolean>,
): Promise<ForcedRecovery> {
  const { disk, clock, random } = ports;
  checkFormed(disk);
  const superblock = await openSuperblock(disk, random);
  const { node } = superblock;
  if (node === undefined) throw notFormed();
  const fail = (error: Error): never => {
    throw error;
  };
  const log = await openRaftLog(disk, clock, fail, true);
  const close = async (): Promise<void> => {
    await new Promise<void>((resolve) => log.stop(resolve));
    if (superblock.wasClean) await superblock.markClean();
  };
  try {
    const view = viewOf(stateOf(log));
    const last = log.base.index + log.entries.length;
    const others = await reachable(view, node, view.voters, isThere);
    const rest = [...view.members.keys()].filter((member) => !view.voters.includes(member));
    const bystanders = await reachable(view, node, rest.slice(0, MAX_BYSTANDERS), isThere);
    const reached = new Map([[node, last], ...others.map((one) => [one, 0] as const)]);
    const plan = planOfRecovery(view, node, reached);
    checkMinority(view, node, others);
    const lost = view.voters.filter((voter) => voter !== node && !others.includes(voter));
    const term = log.hardState.term + FORCED_TERMS + (random.u32() % FORCED_TERMS);
    const force = () => forceVoters(log, view, { node, term, lost });
    return { node, view, plan, others, bystanders, lost, force, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function checkFormed(disk: Disk): void {
  const file = disk.open(SUPERBLOCK_PATH, { create: false });
  if (file === undefined) throw notFormed();
  file.close();
}

function notFormed(): OperatingError {
  return new OperatingError('not-formatted', 'this directory belongs to no cluster', {
    remedy: 'name the data directory of a member that is left',
  });
}

function stateOf(log: RaftLog): ClusterState {
  let state = log.snapshots.takeFound()?.state ?? emptyState();
  for (const entry of log.entries) {
    if (entry.index === state.index + 1) state = applyEntry(state, entry).state;
  }
  return state;
}

async function reachable(
  view: ClusterView,
  self: NodeId,
  nodes: readonly NodeId[],
  isThere: (addresses: readonly string[]) => Promise<boolean>,
): Promise<readonly NodeId[]> {
  const asked = nodes
    .filter((node) => node !== self)
    .map(async (node) => {
      const isUp = await isThere(view.members.get(node)?.addresses ?? []);
      return isUp ? [node] : [];
    });
  return (await Promise.all(asked)).flat();
}

/** This node counts as there: its log was just read. */
function checkMinority(view: ClusterView, self: NodeId, others: readonly NodeId[]): void {
  const present = others.length + (view.voters.includes(self) ? 1 : 0);
  const needed = Math.floor(view.voters.length / 2) + 1;
  if (present < needed) return;
  const names = [self, ...others].map((node) => `n${node}`).join(', ');
  throw new OperatingError('refused', `a majority of the voters is there: ${names}`, {
    remedy: 'start this node again: the cluster decides by itself',
  });
}

/** The new set of voters, a mark for each voter that was given up, and one that tells this history from others. */
async function forceVoters(
  log: RaftLog,
  view: ClusterView,
  { node, term, lost }: { node: NodeId; term: number; lost: readonly NodeId[] },
): Promise<void> {
  const first = log.base.index + log.entries.length + 1;
  const origin = { node: 0 as NodeId, incarnation: 0 as Incarnation, counter: 0 };
  const body = { type: 'votersForced', old: view.voters, next: [node], by: `n${node}` } as const;
  const marks = lost.map((voter) => {
    const value = `${view.members.get(voter)?.incarnation ?? 0}`;
    return { type: 'setting', key: givenUpKey(voter), value } as const;
  });
  const history = { type: 'setting', key: historyKey(term), value: `${log.commit}` } as const;
  const entries = [body, ...marks, history].map((one, at): LogEntry => {
    return { index: (first + at) as MapIndex, term, origin, body: one };
  });
  await new Promise<void>((resolve) => {
    log.append(
      {
        hardState: { term, vote: 0 },
        entries,
        commit: first + entries.length - 1,
        ...(log.isMuted ? { unmutes: true } : {}),
      },
      resolve,
    );
  });
}
