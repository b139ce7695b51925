// What each node was, and when: up, down or paused, its role, epoch, place in the in-sync sets; and what happened to it.
// Looks at a run from outside, between events: nothing of the run changes by it. timeline-page.ts shows it to people.

import type { NodeId } from '../src/core/ids.ts';
import type { ClusterView } from '../src/core/view.ts';
import type { FaultKind } from './reach/fault-kinds.ts';
import type { Outcome } from './scenario.ts';
import { sayStep, type TimedStep } from './schedule/step.ts';
import type { SimNode } from './sim-node.ts';
import type { Stage } from './stage.ts';
import { GUEST, type TraceRecord } from './world.ts';

/** Simulated time between two looks at all nodes. */
const LOOK_EVERY_MS = 20;
/** The same fault at the same place within this time of its last is told once, with a count. */
const SAME_FAULT_MS = 1000;
/** Most rows kept; the page says when there were more. */
const MAX_MARKS = 4000;
/** Faults that are weather: only their counts are of interest. */
const WEATHER: ReadonlySet<FaultKind> = new Set(['packet-lost', 'gossip-lost', 'gossip-doubled']);
/** What nodes and stage say and a reader wants to see; warnings, too. */
const TOLD = new Set([
  'start',
  'fell',
  'raft.role',
  'fault',
  'harm',
  'partition',
  'heal',
  'stays cut',
  'swarm',
]);
/** Entries of the log that change who is there, who leads, who holds. */
const TELLING = /type=(node|voters|takeover|format|acceptLoss|volume|move)/;

export interface LifePiece {
  readonly fromMs: number;
  toMs: number;
  readonly phase: string;
  readonly role: string;
  readonly epoch: number;
  readonly index: number;
  /** Partitions, of those that the ring or a set gives it. */
  readonly inSync: number;
  readonly joining: number;
  readonly doubtful: number;
  readonly wanted: number;
}

export type MarkKind =
  | 'fault'
  | 'cure'
  | 'life'
  | 'log'
  | 'role'
  | 'warning'
  | 'violation'
  | 'step';

export interface Mark {
  readonly atMs: number;
  /** A node's name, or 'stage'. */
  readonly node: string;
  readonly kind: MarkKind;
  readonly text: string;
  /** How often, of a fault that came again and again. */
  count: number;
}

export interface Lines {
  readonly endMs: number;
  readonly nodes: readonly { readonly name: string; readonly pieces: readonly LifePiece[] }[];
  readonly marks: readonly Mark[];
  readonly droppedMarks: number;
}

type Places = ReadonlyMap<NodeId, Pick<LifePiece, 'inSync' | 'joining' | 'doubtful' | 'wanted'>>;
const NO_PLACE = { inSync: 0, joining: 0, doubtful: 0, wanted: 0 };

export class LifeLines {
  readonly #stage: Stage;
  readonly #pieces = new Map<string, LifePiece[]>();
  readonly #marks: Mark[] = [];
  readonly #lastFault = new Map<string, { readonly mark: Mark; atMs: number }>();
  readonly #toldEntries = new Set<string>();
  #dropped = 0;
  #nextLookMs = 0;
  #placement: object | undefined;
  #places: Places = new Map();

  constructor(stage: Stage) {
    this.#stage = stage;
    stage.world.afterEvent = () => {
      if (stage.world.nowMs >= this.#nextLookMs) this.look();
    };
    stage.world.onFault = (kind, where) => this.#noteFault(kind, where);
    stage.world.onNote = (record) => this.#noteRecord(record);
  }

  /** @param outcome its steps are told, too: faults have marks of their own, these are the cures and waits */
  end({ failure, steps }: Pick<Outcome, 'failure' | 'steps'>): Lines {
    const endMs = this.#stage.world.nowMs;
    for (const pieces of this.#pieces.values()) {
      const last = pieces.at(-1);
      if (last !== undefined) last.toMs = endMs;
    }
    for (const step of steps) this.#tellStep(step);
    this.#marks.sort((one, other) => one.atMs - other.atMs);
    const [why] = failure?.split('\n') ?? [];
    if (why !== undefined) {
      this.#marks.push({ atMs: endMs, node: 'stage', kind: 'violation', text: why, count: 1 });
    }
    const nodes = [...this.#pieces].map(([name, pieces]) => ({ name, pieces }));
    return { endMs, nodes, marks: this.#marks, droppedMarks: this.#dropped };
  }

  #tellStep(step: TimedStep): void {
    const atMs = (step.at ?? 0) * 1000;
    if ('cure' in step) this.#mark({ node: step.node, kind: 'cure', text: step.cure }, atMs);
    else if ('act' in step && step.act !== 'run') {
      const { at: _at, ...bare } = step;
      this.#mark({ node: 'stage', kind: 'step', text: sayStep(bare) }, atMs);
    }
  }

  // ------------------------------------------------------------------------------------------- lives

  look(): void {
    const { nowMs } = this.#stage.world;
    this.#nextLookMs = nowMs + LOOK_EVERY_MS;
    const view = this.#newestView();
    for (const node of this.#stage.nodes) {
      const pieces = this.#pieces.get(node.name) ?? [];
      this.#pieces.set(node.name, pieces);
      const now = this.#pieceOf(node, view);
      const last = pieces.at(-1);
      if (last !== undefined && isSame(last, now)) last.toMs = nowMs;
      else {
        if (last !== undefined) last.toMs = nowMs;
        pieces.push(now);
      }
    }
  }

  #newestView(): ClusterView | undefined {
    let newest: ClusterView | undefined;
    for (const node of this.#stage.running) {
      if (this.#stage.leftBehind.has(node)) continue;
      const view = node.running().handle.view();
      if (view !== undefined && view.index > (newest?.index ?? -1)) newest = view;
    }
    return newest;
  }

  #pieceOf(node: SimNode, view: ClusterView | undefined): LifePiece {
    const { nowMs } = this.#stage.world;
    const member = view?.memberByKey(node.host.peer)?.node;
    const place = (member === undefined ? undefined : this.#placesIn(view).get(member)) ?? NO_PLACE;
    const base = { fromMs: nowMs, toMs: nowMs, ...place };
    if (!node.isRunning) {
      const phase = node.host.isPowered ? 'stopped' : 'no power';
      return { ...base, phase, role: '', epoch: 0, index: 0 };
    }
    const { handle, process } = node.running();
    const status = handle.status();
    const phase = process.pausedUntilMs > nowMs ? 'paused' : status.phase;
    const epoch = handle.view()?.epoch ?? 0;
    return { ...base, phase, role: status.role, epoch, index: status.appliedIndex };
  }

  /** Worked out anew only when a config changed. */
  #placesIn(view: ClusterView | undefined): Places {
    if (view === undefined || view.placement === this.#placement) return this.#places;
    const places = new Map<NodeId, { -readonly [K in keyof typeof NO_PLACE]: number }>();
    const of = (node: NodeId) => {
      const place = places.get(node) ?? { ...NO_PLACE };
      places.set(node, place);
      return place;
    };
    for (const policy of view.policies.values()) {
      for (let p = 0; p < view.partitions; p += 1) {
        const { inSync, joining, doubtful, targets } = view.partition(policy.id, p);
        for (const node of inSync) of(node).inSync += 1;
        for (const node of joining) of(node).joining += 1;
        for (const node of doubtful) of(node).doubtful += 1;
        for (const node of targets) of(node).wanted += 1;
      }
    }
    this.#placement = view.placement;
    this.#places = places;
    return places;
  }

  // ------------------------------------------------------------------------------------------- marks

  #mark(mark: Pick<Mark, 'node' | 'kind' | 'text'>, atMs = this.#stage.world.nowMs): Mark {
    const whole = { ...mark, atMs, count: 1 };
    if (this.#marks.length < MAX_MARKS) this.#marks.push(whole);
    else this.#dropped += 1;
    return whole;
  }

  #noteFault(kind: FaultKind, where: string): void {
    if (WEATHER.has(kind)) return;
    const { nowMs } = this.#stage.world;
    const key = `${kind} ${where}`;
    const last = this.#lastFault.get(key);
    if (last !== undefined && nowMs - last.atMs < SAME_FAULT_MS) {
      last.mark.count += 1;
      last.atMs = nowMs;
      return;
    }
    const node = where === '' ? 'stage' : where;
    this.#lastFault.set(key, {
      mark: this.#mark({ node, kind: 'fault', text: kind }),
      atMs: nowMs,
    });
  }

  #noteRecord({ node, name, text }: TraceRecord): void {
    if (node === GUEST) return;
    if (name === 'map.applied') {
      const entry = text.replace(/ value=.*/, '');
      if (!TELLING.test(text) || this.#toldEntries.has(entry)) return;
      this.#toldEntries.add(entry);
      this.#mark({ node: 'stage', kind: 'log', text: entry });
    } else if (name.startsWith('warn '))
      this.#mark({ node, kind: 'warning', text: `${name} ${text}` });
    else if (TOLD.has(name)) {
      const kind = name === 'raft.role' ? 'role' : node === 'stage' ? 'step' : 'life';
      this.#mark({ node, kind, text: `${name} ${text}` });
    }
  }
}

function isSame(one: LifePiece, other: LifePiece): boolean {
  return (
    one.phase === other.phase &&
    one.role === other.role &&
    one.epoch === other.epoch &&
    one.inSync === other.inSync &&
    one.joining === other.joining &&
    one.doubtful === other.doubtful &&
    one.wanted === other.wanted
  );
}
