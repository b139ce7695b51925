// Wires the data path of one node: the replica's side, the sessions of attached volumes, catch-up and purge. The only
// file that knows all parts.

import { OperatingError } from '../core/errors.ts';
import { ancestry } from '../core/generations.ts';
import {
  type GenerationId,
  type NodeId,
  partitionOfKey,
  type SessionId,
  type VolumeId,
} from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { MoveStatus } from '../core/move-progress.ts';
import type { ClusterView, Volume } from '../core/view.ts';
import type { Frame } from '../wire/frame.ts';
import { attachBar } from './attach-rules.ts';
import { CacheLosses } from './cache-losses.ts';
import { CatchUp } from './catch-up.ts';
import type { DatapathContext, Parts } from './context.ts';
import { CopyLooks } from './copy-looks.ts';
import { CopyStreams } from './copy-streams.ts';
import { Differences } from './differences.ts';
import { DirtyMaps } from './dirty-maps.ts';
import { FrozenSession } from './frozen-session.ts';
import { Gateway } from './gateway.ts';
import { type HeldVolume, holdVolume } from './hold-volume.ts';
import { askLayersLeft } from './layers-left.ts';
import { CopyFence, JoinMarks, ObjectGates } from './object-gate.ts';
import { OpenVolume } from './open-volume.ts';
import { PeerCopies } from './peer-copies.ts';
import { PeerService } from './peer-service.ts';
import { Repairer } from './repairer.ts';
import { Scrubber } from './scrub-partition.ts';
import { Settler } from './settle.ts';
import { Surplus } from './surplus.ts';

export type { DatapathContext } from './context.ts';

export interface DatapathStats {
  /** Sessions that are not over. */
  readonly sessions: number;
  readonly objectsCopied: number;
  readonly bytesCopied: number;
  /** Copies of which some sectors were right nowhere. */
  readonly objectsIncomplete: number;
}

export interface Datapath {
  /** The replica's side; `reply` exactly once. Frames of one sender come in the order in which it sent them. */
  handleFrame(from: NodeId, frame: Frame, reply: (frame: Frame) => void): void;
  /** The session of this volume on this node: the present one while it can be shared, else a new one. */
  openVolume(volume: Volume): Gateway;
  /** The session of a snapshot on this node. @throws OperatingError 'missing': it is no snapshot, or is gone */
  openSnapshot(generation: GenerationId): FrozenSession;
  /** Has the holder of a volume let its writes end before its head is frozen (S4), whoever that is. */
  hold(volume: VolumeId): Promise<HeldVolume>;
  /** The session on this node that holds the volume's lock, if there is one. */
  holderOf(volume: VolumeId): Gateway | undefined;
  /** How the volumes move whose lock this node holds (S8). */
  moves(): readonly MoveStatus[];
  /** Ends every session: drained (bounded), its lock given back. Never rejects. */
  stop(): Promise<void>;
  /** The generations that none of these members has rows of; undefined: somebody did not say. Never rejects. */
  layersLeft(
    generations: readonly GenerationId[],
    members: readonly NodeId[],
  ): Promise<readonly GenerationId[] | undefined>;
  readonly catchUp: CatchUp;
  readonly surplus: Surplus;
  readonly settler: Settler;
  readonly repairer: Repairer;
  readonly scrubber: Scrubber;
  /** How copies are, for people. */
  readonly looks: CopyLooks;
  readonly cacheLosses: CacheLosses;
  readonly streams: CopyStreams;
  readonly stats: DatapathStats;
}

/** Builds the data path of one node. `context` is kept; nothing is started. */
export function createDatapath(context: DatapathContext): Datapath {
  // Set below, before any frame: the parts ask this node's own service by direct call.
  let service: PeerService | undefined;
  const dirty = new DirtyMaps(context);
  context.views.onChange(() => dirty.follow());
  context.store.followLayers((generation) => ancestry(context.views.current(), generation));
  const streams = new CopyStreams(context);
  const parts: Parts = {
    ...context,
    dirty,
    streams,
    ask: (node, frame, deadlineMs, done) => {
      if (node !== context.self) return context.peers.request(node, frame, deadlineMs, done);
      invariant(service !== undefined, 'the own replica is there before the first request');
      service.handleFrame(node, frame, done);
    },
  };
  const gates = new ObjectGates();
  const marks = new JoinMarks();
  const fence = new CopyFence();
  const differences = new Differences(parts);
  const catchUp = new CatchUp(parts, { gates, marks, fence, differences });
  const surplus = new Surplus(parts, gates);
  const settler = new Settler(parts, { gates, fence, differences });
  const repairer = new Repairer(parts, { gates, fence });
  const scrubber = new Scrubber(parts);
  const copies = new PeerCopies(parts, { gates, marks, fence, differences });
  const cacheLosses = new CacheLosses();
  const sessions = new Sessions(parts, cacheLosses);
  const sessionOf = (volume: VolumeId): Gateway | undefined => sessions.holderOf(volume);
  service = new PeerService({ parts, gates, marks, copies, catchUp, sessionOf });
  const served = service;
  context.views.onChange((view) => {
    forgetMarks(marks, view, context.self);
    differences.forgetPast(view);
  });
  return {
    handleFrame: (from, frame, reply) => served.handleFrame(from, frame, reply),
    openVolume: (volume) => sessions.open(volume),
    hold: (volume) => heldStill(parts, volume),
    layersLeft: (generations, members) => {
      return new Promise((resolve) => askLayersLeft(parts, generations, members, resolve));
    },
    openSnapshot: (generation) => sessions.openFrozen(generation),
    holderOf: sessionOf,
    moves: () => sessions.all().flatMap((gateway) => gateway.move ?? []),
    stop: async () => {
      repairer.stop();
      await Promise.all(sessions.all().map((gateway) => gateway.end()));
    },
    catchUp,
    surplus,
    settler,
    repairer,
    scrubber,
    looks: new CopyLooks(parts),
    cacheLosses,
    streams,
    get stats() {
      const { objectsCopied, bytesCopied, objectsIncomplete } = catchUp;
      const copies = { objectsCopied, bytesCopied, objectsIncomplete };
      return { sessions: sessions.all().length, ...copies };
    },
  };
}

function heldStill(parts: Parts, volume: VolumeId): Promise<HeldVolume> {
  return new Promise((resolve, reject) => {
    holdVolume(parts, volume, (error, held) => {
      if (held !== undefined) resolve(held);
      else reject(error);
    });
  });
}

/** Marks live as long as this node joins the partition. */
function forgetMarks(marks: JoinMarks, view: ClusterView, self: NodeId): void {
  for (const key of marks.partitions()) {
    const { policy, p } = partitionOfKey(key);
    const config = view.partition(policy, p);
    if (!config.joining.includes(self)) marks.forget(key);
  }
}

/** Sessions by number; several of one volume may be on their way out at once. */
class Sessions {
  readonly #parts: Parts;
  readonly #cacheLosses: CacheLosses;
  readonly #gateways = new Map<SessionId, Gateway>();
  /** Of snapshots that somebody reads. */
  readonly #frozen = new Map<GenerationId, FrozenSession>();
  #last = 0;

  constructor(parts: Parts, cacheLosses: CacheLosses) {
    this.#parts = parts;
    this.#cacheLosses = cacheLosses;
  }

  all(): readonly Gateway[] {
    return [...this.#gateways.values()];
  }

  openFrozen(generation: GenerationId): FrozenSession {
    const known = this.#frozen.get(generation);
    if (known?.isUsable === true) return known;
    const view = this.#parts.views.current();
    const volume = view.volumeOfGeneration(generation);
    if (volume === undefined || view.generations.get(generation)?.state !== 'frozen') {
      throw new OperatingError('missing', 'there is no such snapshot');
    }
    const session: FrozenSession = new FrozenSession(this.#parts, volume, () => {
      if (this.#frozen.get(generation) === session) this.#frozen.delete(generation);
    });
    this.#frozen.set(generation, session);
    return session;
  }

  holderOf(volume: VolumeId): Gateway | undefined {
    for (const gateway of this.#gateways.values()) {
      if (gateway.volume.id === volume && gateway.isHolder) return gateway;
    }
    return undefined;
  }

  open(volume: Volume): Gateway {
    const mine = this.all().find((one) => one.volume.id === volume.id && one.isUsable);
    const { views, self } = this.#parts;
    const bar = attachBar(views.current(), volume, self, mine?.hasGuest === true);
    if (bar !== undefined) throw bar;
    if (mine !== undefined) return mine;
    this.#last += 1;
    const sessionId = this.#last as SessionId;
    const cell = new OpenVolume(
      { sessionId, volume },
      {
        onWant: (open) => this.#parts.lock.wanted(open),
        whenIndex: (index, fn) => this.#parts.views.whenIndex(index, fn),
        onLost: ({ code }) => {
          if (code === 'cache-lost') this.#cacheLosses.note(volume.id, this.#parts.clock.date());
        },
      },
    );
    const gateway = new Gateway(this.#parts, cell, () => this.#gateways.delete(sessionId));
    this.#gateways.set(sessionId, gateway);
    return gateway;
  }
}
