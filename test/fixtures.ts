// Makers of test data with named options. Every maker gives something legal; a test names only what it is about.

import { applyEntry, type ClusterState, emptyState } from '../src/core/cluster-state.ts';
import type {
  ClusterId,
  ConfigVersion,
  Epoch,
  FencingToken,
  GenerationId,
  Incarnation,
  MapIndex,
  NodeId,
  PeerKey,
  PolicyId,
  SessionId,
  VolumeId,
} from '../src/core/ids.ts';
import type {
  ApplyResult,
  EntryBody,
  EntryOrigin,
  LogEntry,
  PartitionCas,
} from '../src/core/log-entry.ts';
import type { RingMember } from '../src/core/ring.ts';
import { MIB, OBJECT_BYTES } from '../src/core/units.ts';
import type { Member, PartitionConfig, VolumeLock } from '../src/core/view.ts';

export const CLUSTER_ID = '0123456789abcdef0123456789abcdef' as ClusterId;
export const NO_ORIGIN: EntryOrigin = {
  node: 0 as NodeId,
  incarnation: 0 as Incarnation,
  counter: 0,
};

export function nodeId(node: number): NodeId {
  return node as NodeId;
}

export function nodeIds(...nodes: number[]): NodeId[] {
  return nodes as NodeId[];
}

export function policyId(policy: number): PolicyId {
  return policy as PolicyId;
}

export function member(options: {
  node: number;
  zone?: string;
  weight?: number;
  state?: Member['state'];
  incarnation?: number;
}): Member {
  return {
    node: nodeId(options.node),
    peerKey: `peer-${options.node}` as PeerKey,
    addresses: [`/ip4/127.0.0.1/tcp/${7000 + options.node}`],
    zone: options.zone ?? `z${options.node}`,
    weight: options.weight ?? 1,
    state: options.state ?? 'up',
    incarnation: (options.incarnation ?? 1) as Incarnation,
    since: 1 as Epoch,
    storeGeneration: 0,
    journalSeq: 0,
    failure: '',
    space: 'ok',
    observers: [],
    standing: 'in',
    outBy: '',
    isWitness: false,
  };
}

/** Ring members 1..count, spread over zones in turn (each in its own without `zones`). */
export function ringMembers(options: {
  count: number;
  zones?: number;
  weight?: number;
}): RingMember[] {
  return Array.from({ length: options.count }, (_, i) => ({
    node: nodeId(i + 1),
    zone: `z${i % (options.zones ?? options.count)}`,
    weight: options.weight ?? 1,
  }));
}

export function partitionConfig(options: {
  cfg?: number;
  targets?: number[];
  inSync: number[];
  joining?: number[];
  doubtful?: number[];
}): PartitionConfig {
  return {
    cfg: (options.cfg ?? 1) as ConfigVersion,
    targets: nodeIds(...(options.targets ?? options.inSync)),
    inSync: nodeIds(...options.inSync),
    joining: nodeIds(...(options.joining ?? [])),
    doubtful: nodeIds(...(options.doubtful ?? [])),
  };
}

export const entryBodies = {
  format(
    options: { partitions?: number; copies?: number; minCopies?: number; strict?: boolean } = {},
  ) {
    const copies = options.copies ?? 3;
    return {
      type: 'format',
      clusterId: CLUSTER_ID,
      name: 'test',
      partitions: options.partitions ?? 8,
      copies,
      minCopies: options.minCopies ?? Math.floor(copies / 2) + 1,
      strict: options.strict ?? false,
      objectBytes: OBJECT_BYTES,
      hashVersion: 1,
    } satisfies EntryBody;
  },
  nodeJoin(options: { peer: number; zone?: string; weight?: number }) {
    return {
      type: 'nodeJoin',
      peerKey: `peer-${options.peer}` as PeerKey,
      addresses: [`/ip4/127.0.0.1/tcp/${7000 + options.peer}`],
      zone: options.zone ?? `z${options.peer}`,
      weight: options.weight ?? 1,
    } satisfies EntryBody;
  },
  nodeUp(options: {
    node: number;
    incarnation: number;
    continues?: number;
    storeGeneration?: number;
    journalSeq?: number;
    cleanStop?: boolean;
  }) {
    return {
      type: 'nodeUp',
      node: nodeId(options.node),
      incarnation: options.incarnation as Incarnation,
      addresses: [],
      storeGeneration: options.storeGeneration ?? 1,
      journalSeq: options.journalSeq ?? 0,
      continues: (options.continues ?? 0) as Incarnation,
      cleanStop: options.cleanStop ?? false,
    } satisfies EntryBody;
  },
  nodesDown(options: { nodes: readonly (readonly [number, number])[]; baseEpoch: number }) {
    return {
      type: 'nodesDown',
      nodes: options.nodes.map(([node, incarnation]) => ({
        node: nodeId(node),
        incarnation: incarnation as Incarnation,
      })),
      baseEpoch: options.baseEpoch as Epoch,
    } satisfies EntryBody;
  },
  isrJoin(options: { partitions: PartitionCas[]; node: number; incarnation?: number }) {
    return {
      type: 'isrJoin',
      partitions: options.partitions,
      node: nodeId(options.node),
      incarnation: (options.incarnation ?? 1) as Incarnation,
    } satisfies EntryBody;
  },
  isrPromote(options: {
    partitions: PartitionCas[];
    node: number;
    source: number;
    incarnation?: number;
  }) {
    return {
      type: 'isrPromote',
      partitions: options.partitions.map((element) => ({
        ...element,
        source: nodeId(options.source),
        sourceApplied: 1 as MapIndex,
      })),
      node: nodeId(options.node),
      incarnation: (options.incarnation ?? 1) as Incarnation,
    } satisfies EntryBody;
  },
  isrShrink(options: { partitions: PartitionCas[]; node: number }) {
    const node = nodeId(options.node);
    return {
      type: 'isrShrink',
      partitions: options.partitions,
      node,
      reason: 'test',
    } satisfies EntryBody;
  },
  isrAbort(options: { partitions: PartitionCas[]; node: number }) {
    const node = nodeId(options.node);
    return { type: 'isrAbort', partitions: options.partitions, node } satisfies EntryBody;
  },
  isrRelease(options: { partitions: PartitionCas[]; node: number }) {
    const node = nodeId(options.node);
    return { type: 'isrRelease', partitions: options.partitions, node } satisfies EntryBody;
  },
  acceptLoss(options: { partitions: PartitionCas[]; node: number; incarnation?: number }) {
    return {
      type: 'acceptLoss',
      partitions: options.partitions,
      node: nodeId(options.node),
      incarnation: (options.incarnation ?? 1) as Incarnation,
      by: 'test',
    } satisfies EntryBody;
  },
  isrDoubt(options: { partitions: PartitionCas[] }) {
    return { type: 'isrDoubt', partitions: options.partitions } satisfies EntryBody;
  },
  isrSettle(options: { partitions: PartitionCas[]; node: number; incarnation?: number }) {
    return {
      type: 'isrSettle',
      partitions: options.partitions,
      node: nodeId(options.node),
      incarnation: (options.incarnation ?? 1) as Incarnation,
    } satisfies EntryBody;
  },
  isrShrinkUnsure(options: { partitions: PartitionCas[]; node: number }) {
    const node = nodeId(options.node);
    return {
      type: 'isrShrinkUnsure',
      partitions: options.partitions,
      node,
      reason: 'test',
    } satisfies EntryBody;
  },
  purge(options: { partitions: PartitionCas[]; node: number }) {
    const node = nodeId(options.node);
    return { type: 'purge', partitions: options.partitions, node } satisfies EntryBody;
  },
  volumeCreate(
    options: {
      name?: string;
      sizeBytes?: number;
      policy?: number;
      durability?: 'durable' | 'writeback';
    } = {},
  ) {
    return {
      type: 'volumeCreate',
      name: options.name ?? 'disk',
      policy: policyId(options.policy ?? 0),
      sizeBytes: options.sizeBytes ?? 64 * MIB,
      durability: options.durability ?? 'durable',
      attachMode: 'handover',
    } satisfies EntryBody;
  },
  volumeDelete(options: { volume?: number; token: number }) {
    return {
      type: 'volumeDelete',
      volume: (options.volume ?? 1) as VolumeId,
      token: options.token as FencingToken,
    } satisfies EntryBody;
  },
  moveStart(options: { volume?: number; token: number; policy: number; former?: number }) {
    return {
      type: 'moveStart',
      volume: (options.volume ?? 1) as VolumeId,
      token: options.token as FencingToken,
      policy: policyId(options.policy),
      former: (options.former ?? 0) as GenerationId,
    } satisfies EntryBody;
  },
  moveCancel(options: { volume?: number; token: number }) {
    return {
      type: 'moveCancel',
      volume: (options.volume ?? 1) as VolumeId,
      token: options.token as FencingToken,
    } satisfies EntryBody;
  },
  volumeMove(options: { volume?: number; token: number; head: number }) {
    return {
      type: 'volumeMove',
      volume: (options.volume ?? 1) as VolumeId,
      token: options.token as FencingToken,
      head: options.head as GenerationId,
    } satisfies EntryBody;
  },
  lockAcquire(options: LockOptions) {
    return { type: 'lockAcquire', ...sessionOf(options) } satisfies EntryBody;
  },
  takeover(options: LockOptions & { force?: boolean }) {
    const force = options.force ?? false;
    return { type: 'takeover', ...sessionOf(options), reason: 'test', force } satisfies EntryBody;
  },
  lockRelease(options: { volume?: number; token: number }) {
    return {
      type: 'lockRelease',
      volume: (options.volume ?? 1) as VolumeId,
      token: options.token as FencingToken,
    } satisfies EntryBody;
  },
};

interface LockOptions {
  volume?: number;
  token: number;
  node: number;
  incarnation?: number;
  session?: number;
}

function sessionOf(options: LockOptions) {
  return {
    volume: (options.volume ?? 1) as VolumeId,
    token: options.token as FencingToken,
    node: nodeId(options.node),
    incarnation: (options.incarnation ?? 1) as Incarnation,
    session: (options.session ?? 1) as SessionId,
    dateMs: 0,
    from: '',
  };
}

export function volumeLock(options: Partial<VolumeLock> = {}): VolumeLock {
  return {
    state: 'free',
    token: 0 as FencingToken,
    grantedAt: 0 as MapIndex,
    node: nodeId(0),
    incarnation: 0 as Incarnation,
    session: 0 as SessionId,
    tookOver: false,
    sinceMs: 0,
    from: '',
    next: nodeId(0),
    ...options,
  };
}

/** A state that entries are fed to in order; keeps the last result. */
export class StateCell {
  state: ClusterState;
  readonly entries: LogEntry[] = [];

  constructor(state: ClusterState = emptyState()) {
    this.state = state;
  }

  apply(body: EntryBody, origin: EntryOrigin = NO_ORIGIN): ApplyResult {
    const index = (this.state.index + 1) as MapIndex;
    const entry: LogEntry = { index, term: 1, origin, body };
    this.entries.push(entry);
    const { state, result } = applyEntry(this.state, entry);
    this.state = state;
    return result;
  }
}

/** A formatted cluster with nodes 1..count up in incarnation 1 (each in its own zone), by real entries. */
export function clusterOf(options: {
  nodes: number;
  partitions?: number;
  copies?: number;
  minCopies?: number;
  /** Makes I = T everywhere by joins and promotions, as the leader would. */
  settled?: boolean;
}): StateCell {
  const cell = new StateCell();
  cell.apply(entryBodies.format(options));
  for (let node = 1; node <= options.nodes; node += 1) {
    cell.apply(entryBodies.nodeJoin({ peer: node }));
    cell.apply(entryBodies.nodeUp({ node, incarnation: 1 }));
  }
  if (options.settled ?? true) settle(cell);
  return cell;
}

/** Joins and promotes what is missing of T, then releases what is not in T, in every partition of policy 0. */
export function settle(cell: StateCell): void {
  const policy = policyId(0);
  for (const [p] of [...(cell.state.policies.get(policy)?.explicit ?? [])]) {
    for (const target of configAt(cell, p).targets) {
      const incarnation = cell.state.members.get(target)?.incarnation ?? 0;
      const config = configAt(cell, p);
      if (config.inSync.includes(target)) continue;
      const source =
        config.inSync.find((node) => cell.state.members.get(node)?.state === 'up') ?? 0;
      cell.apply(entryBodies.isrJoin({ partitions: [casOf(cell, p)], node: target, incarnation }));
      const partitions = [casOf(cell, p)];
      cell.apply(entryBodies.isrPromote({ partitions, node: target, source, incarnation }));
    }
    for (const node of configAt(cell, p).inSync) {
      cell.apply(entryBodies.isrRelease({ partitions: [casOf(cell, p)], node }));
    }
  }
}

/** The config of a partition as the state has it now. */
export function configAt(cell: StateCell, p: number, policy = 0): PartitionConfig {
  const state = cell.state.policies.get(policyId(policy));
  if (state === undefined) throw new RangeError(`no policy ${policy}`);
  const sets = state.explicit.get(p);
  const targets = state.targets[p]?.walk ?? [];
  return {
    cfg: state.cfg[p] as ConfigVersion,
    targets,
    inSync: sets?.inSync ?? targets.toSorted((a, b) => a - b),
    joining: sets?.joining ?? [],
    doubtful: sets?.doubtful ?? [],
  };
}

/** The compare-and-set element that fits the state now. */
export function casOf(cell: StateCell, p: number, policy = 0): PartitionCas {
  return { policy: policyId(policy), p, cfg: configAt(cell, p, policy).cfg };
}

/** Bytes of the fields that the state has grown by, the last first, where they hold nothing: an age, and empty tables. */
const GROWN_BYTES: readonly number[] = [6, 5, 5, 5, 5];

/** The bytes of a state as a program wrote it that did not know its last `fields` fields, which hold nothing. */
export function olderState(bytes: Uint8Array, fields: number): Uint8Array {
  const tail = GROWN_BYTES.slice(0, fields).reduce((sum, count) => sum + count, 0);
  const older = bytes.slice(0, bytes.length - tail);
  // Its version, then how many fields it has.
  older[1] = (older[1] as number) - fields;
  return older;
}
