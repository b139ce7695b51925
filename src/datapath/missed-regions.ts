// The joiner's side of short outages (4.7): what a source noted of what this node missed, asked once per partition, cfg
// and source. A source that does not know, or not from the beginning, costs comparing.

import { OperatingError } from '../core/errors.ts';
import type { RegionMask } from '../core/extent.ts';
import { type NodeId, type ObjectId, partitionKey } from '../core/ids.ts';
import type { ClusterView } from '../core/view.ts';
import { FLAG, type Frame, OP, STATUS } from '../wire/frame.ts';
import { decodeDirtyAnswer, encodeDirtyAsk, type PartitionCfg } from '../wire/payloads.ts';
import { type Parts, requestFrame } from './context.ts';
import { objectKey } from './object-gate.ts';

/** Objects remembered at once, of all partitions; beyond, objects are compared. */
export const MAX_MISSED_OBJECTS = 262_144;
/** Copies that wait for one answer; more are tried again. */
export const MAX_MISSED_WAITERS = 4096;
export const DIRTY_DEADLINE_MS = 5000;

/** Regions by object; an object that is not there differs in open regions at most. */
export type Missed = ReadonlyMap<string, RegionMask> | 'unknown';

type MissedDone = (missed: Missed | OperatingError) => void;

interface Known extends PartitionCfg {
  readonly source: NodeId;
  readonly regions: Map<string, RegionMask>;
  answer: Missed | undefined;
  waiters: MissedDone[];
}

export class MissedRegions {
  readonly #parts: Parts;
  /** By partition and source. */
  readonly #known = new Map<string, Known>();
  #count = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** What this node misses in a partition that it joins at this cfg; an error: ask again. */
  find(where: PartitionCfg, source: NodeId, done: MissedDone): void {
    const key = `${partitionKey(where.policy, where.p)}/${source}`;
    const found = this.#known.get(key);
    if (found !== undefined && found.cfg === where.cfg) {
      if (found.answer !== undefined) done(found.answer);
      else if (found.waiters.length < MAX_MISSED_WAITERS) found.waiters.push(done);
      else done(new OperatingError('busy', 'too many copies wait for what was missed'));
      return;
    }
    const { policy, p, cfg } = where;
    this.#forget(key);
    const known: Known = {
      ...{ policy, p, cfg, source },
      regions: new Map(),
      answer: undefined,
      waiters: [done],
    };
    this.#known.set(key, known);
    this.#ask(key, known, undefined);
  }

  /** Forgets what was asked under another cfg. */
  forgetPast(view: ClusterView): void {
    for (const [key, known] of this.#known) {
      const config = view.partition(known.policy, known.p);
      const isPresent = config.cfg === known.cfg && config.joining.includes(this.#parts.self);
      if (!isPresent) this.#forget(key);
    }
  }

  #ask(key: string, known: Known, after: ObjectId | undefined): void {
    const { self, views } = this.#parts;
    const { policy, p, cfg, source } = known;
    const frame = requestFrame(views.current(), OP.DIRTY);
    frame.partition = p;
    frame.cfg = cfg;
    frame.generation = after?.generation ?? (0 as Frame['generation']);
    frame.index = after?.index ?? 0;
    frame.payload = encodeDirtyAsk({ policy, p, cfg, node: self });
    this.#parts.ask(source, frame, DIRTY_DEADLINE_MS, (reply) => {
      // Forgotten meanwhile: its waiters know.
      if (this.#known.get(key) !== known) return;
      if (reply?.status === STATUS.STALE) this.#parts.pull(reply.mapIndex, source);
      // BAD: a source of an older release.
      if (reply?.status === STATUS.OVERFLOW || reply?.status === STATUS.BAD) {
        return this.#answer(known, 'unknown');
      }
      if (reply?.status !== STATUS.OK) return this.#forget(key);
      const { objects } = decodeDirtyAnswer(reply.payload);
      for (const { generation, index, low, high } of objects) {
        known.regions.set(objectKey(generation, index), { low, high });
      }
      this.#count += objects.length;
      if (this.#count > MAX_MISSED_OBJECTS) return this.#answer(known, 'unknown');
      const last = objects.at(-1);
      if ((reply.flags & FLAG.MORE) === 0 || last === undefined) {
        return this.#answer(known, known.regions);
      }
      this.#ask(key, known, last);
    });
  }

  #answer(known: Known, answer: Missed): void {
    known.answer = answer;
    if (answer === 'unknown') {
      this.#count -= known.regions.size;
      known.regions.clear();
      this.#parts.trace.count('missed.unknown');
    }
    const { waiters } = known;
    known.waiters = [];
    for (const done of waiters) done(answer);
  }

  #forget(key: string): void {
    const known = this.#known.get(key);
    if (known === undefined) return;
    this.#known.delete(key);
    this.#count -= known.regions.size;
    const { waiters } = known;
    known.waiters = [];
    for (const done of waiters) {
      done(new OperatingError('unreachable', 'nobody says what was missed', { advice: 'retry' }));
    }
  }
}
