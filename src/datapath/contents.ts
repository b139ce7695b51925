// The joiner's side of asking what a source has (4.6 step 3): of many partitions at once, for most of them hold little or
// nothing, and of one with many objects page by page. The source has applied the joining cfg before it hands anything
// over: older ones are refused there (A8).

import { partitionKey } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import { FLAG, type Frame, OP, STATUS } from '../wire/frame.ts';
import {
  type Contents,
  decodeContents,
  decodePartitionCfgs,
  decodeRows,
  encodePartitionCfgs,
  MANY_ROWS,
  type RowImage,
} from '../wire/payloads.ts';
import type { Parts } from './context.ts';
import { type Drain, drainFrame } from './drain.ts';

export const LIST_DEADLINE_MS = 5000;

/** What the source of a drain has; undefined: it does not confirm, or does not answer. */
type Listed = (drain: Drain, rows: readonly RowImage[] | undefined) => void;

/** Asks one source for what it has of these partitions; `listed` once for each of them. */
export function askContents(parts: Parts, drains: readonly Drain[], listed: Listed): void {
  const [first] = drains;
  invariant(first !== undefined, 'somebody asks for something');
  const frame = drainFrame(parts, first, OP.CONTENTS);
  frame.payload = encodePartitionCfgs(drains);
  parts.ask(first.source, frame, LIST_DEADLINE_MS, (reply) => {
    if (reply?.status === STATUS.BAD) {
      // A source of an older release.
      for (const drain of drains) askOne(parts, drain, listed);
      return;
    }
    if (reply?.status !== STATUS.OK) {
      for (const drain of drains) listed(drain, undefined);
      return;
    }
    handOut(parts, drains, { reply, contents: decodeContents(reply.payload) }, listed);
  });
}

function handOut(
  parts: Parts,
  drains: readonly Drain[],
  { reply, contents }: { readonly reply: Frame; readonly contents: Contents },
  listed: Listed,
): void {
  const rowsOf = rowsByPartition(contents);
  let isBehind = false;
  for (const drain of drains) {
    const found = rowsOf.get(drain.key);
    if (found?.cfg !== drain.cfg) {
      isBehind = true;
      listed(drain, undefined);
      continue;
    }
    drain.sourceApplied = reply.mapIndex;
    if (found.rows === undefined) listAll(parts, drain, undefined, [], listed);
    else listed(drain, found.rows);
  }
  if (isBehind) parts.pull(reply.mapIndex, drains[0]?.source as Drain['source']);
}

interface Held {
  readonly cfg: number;
  /** Undefined: too many for this answer. */
  readonly rows: readonly RowImage[] | undefined;
}

/** By partitionKey; nothing where the counts are not those of the rows. */
function rowsByPartition({ partitions, rows }: Contents): ReadonlyMap<number, Held> {
  const held = new Map<number, Held>();
  let at = 0;
  for (const { policy, p, cfg, rows: count } of partitions) {
    const isMany = count === MANY_ROWS;
    const end = isMany ? at : at + count;
    held.set(partitionKey(policy, p), { cfg, rows: isMany ? undefined : rows.slice(at, end) });
    at = end;
  }
  return at === rows.length ? held : new Map();
}

/** The same for one partition, by requests that every release knows. */
function askOne(parts: Parts, drain: Drain, listed: Listed): void {
  const frame = drainFrame(parts, drain, OP.CONFIRM);
  frame.payload = encodePartitionCfgs([drain]);
  parts.ask(drain.source, frame, LIST_DEADLINE_MS, (reply) => {
    if (reply?.status !== STATUS.OK || reply.payload.length === 0) return listed(drain, undefined);
    drain.sourceApplied = reply.mapIndex;
    const [confirmed] = decodePartitionCfgs(reply.payload);
    if (confirmed?.p !== drain.p || confirmed.cfg !== drain.cfg) {
      parts.pull(reply.mapIndex, drain.source);
      return listed(drain, undefined);
    }
    listAll(parts, drain, undefined, [], listed);
  });
}

function listAll(
  parts: Parts,
  drain: Drain,
  after: RowImage | undefined,
  rows: RowImage[],
  listed: Listed,
): void {
  const frame = drainFrame(parts, drain, OP.LIST);
  frame.generation = after?.generation ?? (0 as Frame['generation']);
  frame.index = after?.index ?? 0;
  frame.payload = encodePartitionCfgs([drain]);
  parts.ask(drain.source, frame, LIST_DEADLINE_MS, (reply) => {
    if (reply?.status === STATUS.STALE) parts.pull(reply.mapIndex, drain.source);
    if (reply?.status !== STATUS.OK) return listed(drain, undefined);
    const page = decodeRows(reply.payload);
    for (const row of page) rows.push(row);
    const last = page.at(-1);
    if ((reply.flags & FLAG.MORE) === 0 || last === undefined) return listed(drain, rows);
    listAll(parts, drain, last, rows, listed);
  });
}
