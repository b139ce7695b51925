// Asks members how their copies are, for people: of named objects, and how much the layers of a family hold. Only members
// in sync and sure are asked where the answer counts; who does not answer is named, never guessed. Bounded in frames under
// way; nothing is sent while nobody asks.

import { type CopyLook, type LayerUsage, sumUsage } from '../core/copy-check.ts';
import { OperatingError } from '../core/errors.ts';
import type { FamilyId, GenerationId, NodeId, ObjectId, PolicyId } from '../core/ids.ts';
import { isSure, partitionOf } from '../core/partition.ts';
import type { PartitionConfig } from '../core/view.ts';
import { OP, STATUS } from '../wire/frame.ts';
import {
  decodeLooks,
  decodeUsage,
  encodeLookAsk,
  encodeUsageAsk,
  type LookAsk,
  MAX_LOOKS_PER_FRAME,
  MAX_USAGE_PARTITIONS,
} from '../wire/looks.ts';
import type { PartitionCfg } from '../wire/payloads.ts';
import { isUp, type Parts, requestFrame } from './context.ts';

/** For what a table says. */
export const LOOK_ROWS_DEADLINE_MS = 5000;
/** For one object that is read as a whole, beside others. */
export const LOOK_BYTES_DEADLINE_MS = 15_000;
/** The partitions of one question are counted in this time. */
export const USAGE_DEADLINE_MS = 15_000;
/** Questions about one volume's use: each because a set changed meanwhile, or a member did not answer. */
export const USAGE_TRIES = 4;
/** Before the next one. */
export const USAGE_PAUSE_MS = 500;

/** Where the objects of a layer lie. */
export interface LayerPlace {
  readonly family: FamilyId;
  readonly policy: PolicyId;
}

/** What the members said of one object. */
export interface ObjectLooks extends ObjectId {
  readonly p: number;
  readonly config: PartitionConfig;
  readonly looks: ReadonlyMap<NodeId, CopyLook>;
  /** Were asked and did not answer, or could not be asked. */
  readonly silent: readonly NodeId[];
}

type Members = (config: PartitionConfig) => readonly NodeId[];

export class CopyLooks {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Where objects of one index lie, and how: of all that the map calls members or wants as such. Never rejects. */
  locate(place: LayerPlace, objects: readonly ObjectId[]): Promise<readonly ObjectLooks[]> {
    const members: Members = ({ inSync, joining, targets }) => [
      ...new Set([...inSync, ...joining, ...targets]),
    ];
    return this.#look(place, { depth: 'rows', heals: false, objects }, members);
  }

  /** What the members in sync, and sure, say of these objects. Never rejects. */
  inSync(place: LayerPlace, ask: LookAsk): Promise<readonly ObjectLooks[]> {
    return this.#look(place, ask, (config) => config.inSync.filter((node) => isSure(config, node)));
  }

  async #look(
    { family, policy }: LayerPlace,
    { depth, heals, objects }: LookAsk,
    members: Members,
  ): Promise<readonly ObjectLooks[]> {
    const view = this.#parts.views.current();
    const found = objects.map((oid) => {
      const p = partitionOf(family, oid.index, view.partitions);
      const config = view.partition(policy, p);
      return { ...oid, p, config, looks: new Map<NodeId, CopyLook>(), silent: [] as NodeId[] };
    });
    const asked = new Map<NodeId, typeof found>();
    for (const one of found) {
      for (const node of members(one.config)) {
        if (isUp(view, node)) asked.set(node, [...(asked.get(node) ?? []), one]);
        else one.silent.push(node);
      }
    }
    const most = depth === 'rows' ? MAX_LOOKS_PER_FRAME : 1;
    const askNode = async (node: NodeId, wanted: typeof found): Promise<void> => {
      for (let at = 0; at < wanted.length; at += most) {
        const some = wanted.slice(at, at + most);
        const looks = await this.#ask(node, { depth, heals, objects: some });
        some.forEach((one, i) => {
          const look = looks?.[i];
          if (look === undefined) one.silent.push(node);
          else one.looks.set(node, look);
        });
      }
    };
    await Promise.all([...asked].map(([node, wanted]) => askNode(node, wanted)));
    return found;
  }

  /** In the order of the objects; undefined: no answer, or none that fits. */
  #ask(node: NodeId, ask: LookAsk): Promise<readonly CopyLook[] | undefined> {
    const frame = requestFrame(this.#parts.views.current(), OP.LOOK);
    const objects = ask.objects.map(({ generation, index }) => ({ generation, index }));
    frame.payload = encodeLookAsk({ ...ask, objects });
    const deadlineMs = ask.depth === 'rows' ? LOOK_ROWS_DEADLINE_MS : LOOK_BYTES_DEADLINE_MS;
    return new Promise((resolve) => {
      this.#parts.ask(node, frame, deadlineMs, (reply) => {
        if (reply?.status !== STATUS.OK) return resolve(undefined);
        const looks = decodedOr(() => decodeLooks(reply.payload));
        const isFit = looks?.every((look, i) => {
          return look.generation === objects[i]?.generation && look.index === objects[i]?.index;
        });
        resolve(isFit === true && looks?.length === objects.length ? looks : undefined);
      });
    });
  }

  /**
   * What each layer of a family holds, one copy of it: every partition is asked of one member in sync, this node first.
   * @throws OperatingError 'degraded' when a partition's members do not answer
   */
  async usage({ family, policy }: LayerPlace): Promise<ReadonlyMap<GenerationId, LayerUsage>> {
    const { clock, views } = this.#parts;
    const parts: (readonly LayerUsage[])[] = [];
    let left = Array.from({ length: views.current().partitions }, (_, p) => p);
    for (let tries = 0; tries < USAGE_TRIES && left.length > 0; tries += 1) {
      if (tries > 0) await new Promise<void>((done) => void clock.setTimer(USAGE_PAUSE_MS, done));
      const asked = await Promise.all(
        this.#questions(policy, left, tries).map(async ({ node, partitions }) => {
          const told = await this.#askUsage(node, family, partitions);
          if (told !== undefined) parts.push(told);
          return told === undefined ? partitions.map(({ p }) => p) : [];
        }),
      );
      left = asked.flat();
    }
    if (left.length === 0) return sumUsage(parts);
    throw new OperatingError(
      'degraded',
      `no member in sync answers for ${left.length} partitions`,
      {
        advice: 'retry',
        remedy: 'dog cluster health',
      },
    );
  }

  /** Whom to ask for which of these; partitions that nobody can answer for have a question that fails. */
  #questions(
    policy: PolicyId,
    left: readonly number[],
    tries: number,
  ): { readonly node: NodeId; readonly partitions: readonly PartitionCfg[] }[] {
    const { views, self } = this.#parts;
    const view = views.current();
    const byNode = new Map<NodeId, PartitionCfg[]>();
    for (const p of left) {
      const config = view.partition(policy, p);
      const sure = config.inSync.filter((node) => isSure(config, node) && isUp(view, node));
      const isOwn = sure.includes(self) && tries === 0;
      const node = isOwn ? self : (sure[(tries + p) % sure.length] ?? self);
      const list = byNode.get(node) ?? [];
      list.push({ policy, p, cfg: config.cfg });
      byNode.set(node, list);
    }
    return [...byNode].flatMap(([node, all]) => {
      const pages = Math.ceil(all.length / MAX_USAGE_PARTITIONS);
      return Array.from({ length: pages }, (_, i) => {
        const partitions = all.slice(i * MAX_USAGE_PARTITIONS, (i + 1) * MAX_USAGE_PARTITIONS);
        return { node, partitions };
      });
    });
  }

  #askUsage(
    node: NodeId,
    family: FamilyId,
    partitions: readonly PartitionCfg[],
  ): Promise<readonly LayerUsage[] | undefined> {
    const frame = requestFrame(this.#parts.views.current(), OP.USAGE);
    frame.payload = encodeUsageAsk({ family, partitions });
    return new Promise((resolve) => {
      this.#parts.ask(node, frame, USAGE_DEADLINE_MS, (reply) => {
        if (reply?.status === STATUS.STALE) this.#parts.pull(reply.mapIndex, node);
        resolve(
          reply?.status === STATUS.OK ? decodedOr(() => decodeUsage(reply.payload)) : undefined,
        );
      });
    });
  }
}

/** What a member says may be nonsense. */
function decodedOr<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof OperatingError) return undefined;
    throw error;
  }
}
