// A node's care for its copies, as its fronts see it: scrubs on command, and how the copies of all members are, asked of
// each of them when a person wants to know. Nothing is sent while nobody asks.

import {
  MAX_TOLD_OBJECTS,
  MAX_TOLD_SECTORS,
  type NodeCondition,
  type NodeSpace,
} from './core/condition.ts';
import { messageOf, OperatingError } from './core/errors.ts';
import type { NodeId } from './core/ids.ts';
import type { KnownMixUp } from './core/mix-up.ts';
import type { ScrubSettings } from './core/scrub.ts';
import type { ClusterView } from './core/view.ts';
import { type PeerRequests, requestFrame } from './datapath/context.ts';
import type { Datapath } from './datapath/datapath.ts';
import type { Ports, Trace } from './ports/ports.ts';
import { ScrubDuties } from './scrub-duties.ts';
import type { ObjectStore } from './storage/store-types.ts';
import { decodeCondition, encodeCondition } from './wire/condition.ts';
import { type Frame, OP, replyTo, STATUS } from './wire/frame.ts';

/** A member that does not say its condition in this time is left out: health names it as down by other means. */
export const CONDITION_DEADLINE_MS = 1500;

export interface CareContext {
  readonly self: NodeId;
  readonly trace: Trace;
  readonly peers: PeerRequests;
  readonly scrub: ScrubDuties;
  readonly view: () => ClusterView | undefined;
  readonly datapath: () => Datapath | undefined;
  readonly mixUps: () => readonly KnownMixUp[];
  readonly space: () => NodeSpace;
}

export class CopyCare {
  readonly scrub: ScrubDuties;
  readonly #context: CareContext;

  constructor(context: CareContext) {
    this.#context = context;
    this.scrub = context.scrub;
  }

  /** How this node's copies are. */
  condition(): NodeCondition {
    const { self, datapath, scrub, mixUps, space } = this.#context;
    const { repairer, scrubber, cacheLosses } = datapath() ?? {};
    const { repairs } = scrub;
    const unhealed = repairer?.unhealed(MAX_TOLD_OBJECTS) ?? [];
    return {
      node: self,
      sectorsRepaired: repairs.sectors,
      objectsRepaired: repairs.objects,
      lastRepairMs: repairs.lastMs,
      damagedCount: repairer?.damagedCount ?? 0,
      damaged: unhealed.map(({ generation, index, lost, reason }) => ({
        generation,
        index,
        lost: lost.slice(0, MAX_TOLD_SECTORS),
        reason: reason.slice(0, 100),
      })),
      differenceCount: scrubber?.differenceCount ?? 0,
      differences: scrubber?.differences(MAX_TOLD_OBJECTS) ?? [],
      scrubLate: scrub.status().late,
      cacheLosses: cacheLosses?.all ?? [],
      mixUps: mixUps(),
      space: space(),
    };
  }

  /** How the copies of all members that are up and answer are, by node. Never rejects. */
  async conditions(): Promise<readonly NodeCondition[]> {
    const { self, view } = this.#context;
    const now = view();
    const others = [...(now?.members.values() ?? [])]
      .filter(({ node, state }) => node !== self && state === 'up')
      .map(({ node }) => node);
    const answers = await Promise.all(others.map((node) => this.#ask(node, now)));
    return [this.condition(), ...answers]
      .filter((answer) => answer !== undefined)
      .sort((a, b) => a.node - b.node);
  }

  /** Answers a CONDITION. */
  answer(frame: Frame, reply: (frame: Frame) => void): void {
    const made = replyTo(frame, STATUS.OK);
    made.payload = encodeCondition(this.condition());
    reply(made);
  }

  #ask(node: NodeId, view: ClusterView | undefined): Promise<NodeCondition | undefined> {
    const { peers, trace } = this.#context;
    if (view === undefined) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const frame = requestFrame(view, OP.CONDITION);
      peers.request(node, frame, CONDITION_DEADLINE_MS, (reply) => {
        if (reply?.status !== STATUS.OK) return resolve(undefined);
        try {
          const said = decodeCondition(reply.payload);
          resolve(said.node === node ? said : undefined);
        } catch (error) {
          if (!(error instanceof OperatingError)) throw error;
          trace.warn('condition.refused', { node, error: messageOf(error) });
          resolve(undefined);
        }
      });
    });
  }
}

/** The parts of a formed node that look after its copies. */
export function makeCopyCare(options: {
  readonly self: NodeId;
  readonly ports: Ports;
  readonly store: ObjectStore & { readonly usedBytes: number; readonly objectCount: number };
  readonly settings: ScrubSettings;
  readonly peers: PeerRequests;
  readonly view: () => ClusterView | undefined;
  readonly datapath: () => Datapath | undefined;
  readonly mixUps: () => readonly KnownMixUp[];
  readonly isFree: () => boolean;
  readonly changed: () => void;
}): CopyCare {
  const { self, ports, settings, peers, view, store, datapath, isFree, changed, mixUps } = options;
  const { disk, clock, trace } = ports;
  const scrub = new ScrubDuties({
    disk,
    clock,
    trace,
    store,
    ...settings,
    datapath,
    isFree,
    changed,
  });
  const space = (): NodeSpace => {
    const { totalBytes, freeBytes } = disk.space();
    const { usedBytes, objectCount: objects } = store;
    return { totalBytes, freeBytes, usedBytes, objects, appliedIndex: view()?.index ?? 0 };
  };
  return new CopyCare({ self, trace, peers, view, datapath, scrub, mixUps, space });
}
