// What one node tells a collector of metrics: GET /metrics in Prometheus' text format. Gauges are worked out when they are
// asked for, from what this node knows by itself: no other node is asked, so a collector asks each. What is of the
// cluster is the same on all nodes that have applied the same log: dashboards take the largest. What the process costs
// (processor, memory, descriptors, how late its event loop was since it was asked last) has the names that all Node
// processes use.

import type { FastifyInstance } from 'fastify';
import { collectDefaultMetrics, Registry } from 'prom-client';
import type { NodeId } from '../core/ids.ts';
import type { ClusterView } from '../core/view.ts';
import type { NodeHandle, NodeStatus } from '../node-handle.ts';
import { warningsOf } from './admin-routes.ts';
import { type Family, familyOf } from './metric-family.ts';
import { recoveryFamilies } from './recovery-metrics.ts';
import { clusterPartitions, nodeName } from './report.ts';

/** How often the event loop is asked whether it is on time. What holds it up for less is not seen. */
const LAG_PRECISION_MS = 20;

/** What the gauges are worked out from, once per answer. */
interface Facts {
  readonly handle: NodeHandle;
  readonly status: NodeStatus;
  readonly view: ClusterView;
}

/** @param counters of this process since its start, by name */
export function addMetrics(
  app: FastifyInstance,
  handle: NodeHandle,
  counters: () => ReadonlyMap<string, number>,
): void {
  const ofProcess = new Registry();
  collectDefaultMetrics({ register: ofProcess, eventLoopMonitoringPrecision: LAG_PRECISION_MS });
  app.get('/metrics', async (_request, reply) => {
    const registry = new Registry();
    const view = handle.view();
    const status = handle.status();
    // Until it is up its view is of the past, or there is none.
    const isUp = view !== undefined && status.phase === 'up';
    const all = [
      ...nodeFamilies(status),
      ...(isUp ? clusterFamilies({ handle, status, view }) : []),
      ...(isUp ? recoveryFamilies(handle.recovery()) : []),
      countersFamily(counters()),
    ];
    for (const family of all) registry.registerMetric(familyOf(family));
    reply.type(registry.contentType);
    return `${await registry.metrics()}\n${await ofProcess.metrics()}`;
  });
}

/** Known before the node has a cluster, too. */
function nodeFamilies(status: NodeStatus): readonly Family[] {
  const { total, free, used } = status.spaceBytes;
  const isKnown = status.node !== undefined;
  return [
    {
      name: 'up',
      help: '1: this node is up in the map; 0: it is blank, starts, or stops',
      values: [{ value: status.phase === 'up' ? 1 : 0 }],
    },
    {
      name: 'log_applied_index',
      help: 'entries of the map log that are applied here',
      values: [{ value: status.appliedIndex }],
    },
    {
      name: 'leader',
      help: '1: this node leads the voters',
      values: [{ value: isKnown && status.leader === status.node ? 1 : 0 }],
    },
    {
      name: 'disk_bytes',
      help: 'of the file system with the data directory; used: by copies here',
      values: [
        { labels: { kind: 'total' }, value: total },
        { labels: { kind: 'free' }, value: free },
        { labels: { kind: 'used' }, value: used },
      ],
    },
    { name: 'objects', help: 'copies that this node holds', values: [{ value: status.objects }] },
  ];
}

function clusterFamilies(facts: Facts): readonly Family[] {
  const { view, status } = facts;
  return [
    { name: 'epoch', help: 'of the membership', values: [{ value: view.epoch }] },
    {
      name: 'voter',
      help: '1: this node votes',
      values: [{ value: view.voters.some((node) => node === status.node) ? 1 : 0 }],
    },
    { name: 'nodes', help: 'members of the cluster, by state', values: memberCounts(view) },
    {
      name: 'partitions',
      help: 'of all policies in use, by state; one may be in several but clean, degraded, halted and lost',
      values: Object.entries(clusterPartitions(view)).map(([state, value]) => {
        return { labels: { state }, value };
      }),
    },
    { name: 'volumes', help: 'by what is done with them', values: volumeCounts(view) },
    {
      name: 'volume_size_bytes',
      help: 'as guests see it',
      values: [...view.volumes.values()].map(({ name, sizeBytes }) => {
        return { labels: { volume: name }, value: sizeBytes };
      }),
    },
    {
      name: 'out_countdown_seconds',
      help: 'until a member that is down is called out; absent: it is not, or something bars it',
      values: countdowns(facts),
    },
    {
      name: 'health',
      help: '1 while this check warns, as far as this node knows by itself; dog cluster health asks all',
      values: warningsOf(facts.handle).map(({ code, severity }) => {
        return { labels: { code, severity }, value: 1 };
      }),
    },
  ];
}

function memberCounts(view: ClusterView): Family['values'] {
  const counts = { up: 0, down: 0, joined: 0, leaving: 0, out: 0 };
  for (const { state, standing } of view.members.values()) {
    counts[state] += 1;
    if (standing === 'leaving' || standing === 'out') counts[standing] += 1;
  }
  return Object.entries(counts).map(([state, value]) => ({ labels: { state }, value }));
}

function volumeCounts(view: ClusterView): Family['values'] {
  const all = [...view.volumes.values()];
  const attached = all.filter(({ lock }) => lock.state === 'held').length;
  return [
    { labels: { state: 'attached' }, value: attached },
    { labels: { state: 'free' }, value: all.length - attached },
    { labels: { state: 'moving' }, value: view.moves.size },
  ];
}

function countdowns({ handle, view }: Facts): Family['values'] {
  const admin = handle.admin();
  const outIn = (node: NodeId): number | undefined => admin.fate(node).outInMs;
  return [...view.members.keys()].flatMap((node) => {
    const ms = outIn(node);
    return ms === undefined ? [] : [{ labels: { node: nodeName(node) }, value: ms / 1000 }];
  });
}

function countersFamily(counters: ReadonlyMap<string, number>): Family {
  return {
    name: 'events_total',
    help: 'what this process counted since its start, by name: dog node counters has the same',
    isCounter: true,
    values: [...counters]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([event, value]) => ({ labels: { event }, value })),
  };
}
