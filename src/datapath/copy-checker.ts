// Compares all copies of a volume's objects, a slice at a time (dog vdi check): rows of all members in sync, then every
// byte of each object that has one. What is damaged is noted on its node, where the repairer heals it at the same version,
// and is looked at again until it is whole. Objects under write are looked at more than once. Memory: one slice of indexes.

import {
  type CopyFinding,
  type CopyLook,
  type CopyProblem,
  judgeCopies,
} from '../core/copy-check.ts';
import type { GenerationId, NodeId, ObjectId } from '../core/ids.ts';
import type { Parts } from './context.ts';
import type { CopyLooks, LayerPlace, ObjectLooks } from './copy-looks.ts';

/** Objects that are compared at a time. */
export const CHECKS_AT_ONCE = 4;
/** A slice begins no further object after this: who asked hears how far it is. */
export const CHECK_SLICE_MS = 4000;
/** An object that is in use, or differs, is looked at so often. */
export const CHECK_TRIES = 4;
/** Before it is looked at again: a write and its close end meanwhile. */
export const CHECK_PAUSE_MS = 400;
/** A repair is waited for so long. */
export const HEAL_WAIT_MS = 10_000;
/** Between two looks at one. */
export const HEAL_LOOK_MS = 250;

/** A volume or snapshot: what it shows, itself first. */
export interface CheckOf extends LayerPlace {
  readonly layers: readonly GenerationId[];
}

export interface CheckSlice {
  readonly from: number;
  readonly count: number;
  readonly heals: boolean;
}

/** One bad copy. */
export interface CheckFinding extends ObjectId {
  readonly node: NodeId;
  readonly problem: CopyProblem;
  readonly bad: readonly number[];
  readonly isRepaired: boolean;
}

export interface CheckedSlice {
  /** The index where the next slice begins. */
  readonly next: number;
  readonly objects: number;
  readonly copies: number;
  readonly bytes: number;
  /** In use at every look: nothing is known of them. */
  readonly busy: number;
  /** Copies of members in sync that did not answer. */
  readonly unasked: number;
  readonly findings: readonly CheckFinding[];
}

interface Sums {
  objects: number;
  copies: number;
  bytes: number;
  busy: number;
  unasked: number;
}

export class CopyChecker {
  readonly #parts: Pick<Parts, 'clock'>;
  readonly #looks: CopyLooks;

  constructor(parts: Pick<Parts, 'clock'>, looks: CopyLooks) {
    this.#parts = parts;
    this.#looks = looks;
  }

  /** Never rejects. */
  async check(of: CheckOf, { from, count, heals }: CheckSlice): Promise<CheckedSlice> {
    const until = this.#parts.clock.now() + CHECK_SLICE_MS;
    const sums: Sums = { objects: 0, copies: 0, bytes: 0, busy: 0, unasked: 0 };
    const findings: CheckFinding[] = [];
    const objects = await this.#written(of, from, count);
    let begun = 0;
    const worker = async (): Promise<void> => {
      while (this.#parts.clock.now() < until || begun < CHECKS_AT_ONCE) {
        const oid = objects[begun];
        if (oid === undefined) return;
        begun += 1;
        findings.push(...(await this.#checkOne(of, oid, heals, sums)));
      }
    };
    await Promise.all(Array.from({ length: CHECKS_AT_ONCE }, worker));
    const next = objects[begun]?.index ?? from + count;
    return {
      ...sums,
      next,
      findings: findings.sort((a, b) => a.index - b.index || a.node - b.node),
    };
  }

  /** Objects of these indexes of which some member in sync has a row, by index. */
  async #written(of: CheckOf, from: number, count: number): Promise<readonly ObjectId[]> {
    const objects: ObjectId[] = [];
    for (let index = from; index < from + count; index += 1) {
      objects.push(...of.layers.map((generation) => ({ generation, index })));
    }
    const found = await this.#looks.inSync(of, { depth: 'rows', heals: false, objects });
    // Who said nothing may have one.
    return found.filter(({ looks, silent }) => {
      return silent.length > 0 || [...looks.values()].some(({ state }) => state !== 'absent');
    });
  }

  async #checkOne(
    of: CheckOf,
    oid: ObjectId,
    heals: boolean,
    sums: Sums,
  ): Promise<readonly CheckFinding[]> {
    let seen = await this.#look(of, oid, heals);
    let verdict = judgeCopies(seen?.looks ?? new Map());
    for (let tries = 1; tries < CHECK_TRIES && verdict.verdict !== 'equal'; tries += 1) {
      if (verdict.verdict === 'wrong' && verdict.findings.some(isBroken)) break;
      await this.#pause(CHECK_PAUSE_MS);
      seen = await this.#look(of, oid, heals);
      verdict = judgeCopies(seen?.looks ?? new Map());
    }
    const looks = seen?.looks ?? new Map<NodeId, CopyLook>();
    sums.objects += 1;
    sums.copies += looks.size;
    for (const { sectors } of looks.values()) sums.bytes += sectors * 4096;
    sums.unasked += seen?.silent.length ?? 0;
    if (verdict.verdict === 'again') sums.busy += 1;
    if (verdict.verdict !== 'wrong') return [];
    const { findings } = verdict;
    const isHopeless = !heals || !findings.some(isBroken) || isLostEverywhere(looks, findings);
    const healed = isHopeless ? new Set<NodeId>() : await this.#healed(of, oid, findings);
    const { generation, index } = oid;
    return findings.map((one) => {
      return { generation, index, ...one, isRepaired: healed.has(one.node) };
    });
  }

  /** Which of them are whole again; waits for it, bounded. */
  async #healed(
    of: CheckOf,
    oid: ObjectId,
    findings: readonly CopyFinding[],
  ): Promise<ReadonlySet<NodeId>> {
    const healed = new Set<NodeId>();
    const until = this.#parts.clock.now() + HEAL_WAIT_MS;
    while (healed.size < findings.length && this.#parts.clock.now() < until) {
      await this.#pause(HEAL_LOOK_MS);
      const seen = await this.#look(of, oid, true);
      for (const { node } of findings) {
        if (seen?.looks.get(node)?.state === 'whole') healed.add(node);
      }
    }
    return healed;
  }

  async #look(of: CheckOf, oid: ObjectId, heals: boolean): Promise<ObjectLooks | undefined> {
    const [seen] = await this.#looks.inSync(of, { depth: 'bytes', heals, objects: [oid] });
    return seen;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((done) => void this.#parts.clock.setTimer(ms, done));
  }
}

function isBroken({ problem }: CopyFinding): boolean {
  return problem === 'damaged' || problem === 'lost';
}

/** A sector that fails on every copy can not be had from another one; nor can anything where all copies are gone. */
function isLostEverywhere(
  looks: ReadonlyMap<NodeId, CopyLook>,
  findings: readonly CopyFinding[],
): boolean {
  if (findings.length < looks.size) return false;
  if (findings.every(({ problem }) => problem === 'lost')) return true;
  const damaged = findings.filter(({ problem }) => problem === 'damaged');
  const [first, ...others] = damaged;
  return (first?.bad ?? []).some((sector) => others.every(({ bad }) => bad.includes(sector)));
}
