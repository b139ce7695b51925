// Learns what the session does not remember of objects: from this node's own replica when it is in sync, else from a
// member of I (R7). The partition is touched, so all of I agrees on what is acknowledged, and nothing of these objects is
// in flight.

import type { RegionMask } from '../core/extent.ts';
import { ancestry, type Layer, NO_LIMIT } from '../core/generations.ts';
import type { GenerationId, Version } from '../core/ids.ts';
import { readersOf } from '../core/partition.ts';
import type { ClusterView } from '../core/view.ts';
import type { Row } from '../storage/store-types.ts';
import { OP, STATUS } from '../wire/frame.ts';
import { decodeRows, encodeObjectNames, MAX_ROWS_PER_FRAME } from '../wire/payloads.ts';
import { configOf, isUp, type Parts, requestFrame } from './context.ts';
import type { PathCell } from './path-cell.ts';
import { type StackKey, stackKey } from './stack.ts';
import type { ObjectPipe } from './version-pipe.ts';

export const LOOKUP_DEADLINE_MS = 2000;
/** Pause before the next member is asked. */
export const LOOKUP_RETRY_MS = 50;

/** What is told of an object. One that was never written has no row. */
export type FoundRow = Pick<
  Row,
  'generation' | 'index' | 'verToken' | 'verCount' | 'kind' | 'ownLow' | 'ownHigh'
>;

/** Objects of one partition: of the head, or of other layers too. */
interface AskedRows {
  readonly p: number;
  readonly indexes: readonly number[];
  readonly layers?: readonly GenerationId[];
}

/** Calls `then` once `pipe` knows its version, or when the session is lost: look which. */
export function lookUpVersion(
  parts: Parts,
  open: PathCell,
  pipe: ObjectPipe,
  then: () => void,
): void {
  lookUpRows(parts, open, { p: pipe.p, indexes: [pipe.index] }, (rows) => {
    if (rows !== undefined) pipe.learn(versionOf(rows[0]));
    then();
  });
}

/** The rows of objects of one partition; undefined when the session is lost. */
export function lookUpRows(
  parts: Parts,
  open: PathCell,
  asked: AskedRows,
  then: (rows: readonly FoundRow[] | undefined) => void,
  tries = 0,
): void {
  if (!open.isHeld) {
    then(undefined);
    return;
  }
  const view = parts.views.current();
  const config = configOf(view, open.volume, asked.p);
  const readers = readersOf(config, open.volume.durability);
  const { head } = open.volume;
  const { layers = [head] } = asked;
  const names = asked.indexes.flatMap((index) => {
    return layers.map((generation) => ({ generation, index }));
  });
  if (readers.includes(parts.self)) {
    const own = names.map(({ generation, index }) => parts.store.row(generation, index));
    then(own.filter((row) => row !== undefined));
    return;
  }
  const up = readers.filter((node) => isUp(view, node));
  const members = up.length > 0 ? up : readers;
  const node = members[tries % members.length];
  const again = (): void => {
    parts.clock.setTimer(LOOKUP_RETRY_MS, () => lookUpRows(parts, open, asked, then, tries + 1));
  };
  if (node === undefined) {
    again();
    return;
  }
  const frame = requestFrame(view, OP.VERSIONS);
  frame.volume = open.volume.id;
  frame.token = open.token;
  if (open.token === 0) frame.generation = head;
  frame.partition = asked.p;
  frame.cfg = config.cfg;
  frame.payload = encodeObjectNames(names);
  parts.ask(node, frame, LOOKUP_DEADLINE_MS, (reply) => {
    if (reply?.status === STATUS.FENCED) open.fenced();
    const isBehind = reply?.status === STATUS.STALE || reply?.status === STATUS.GONE;
    if (reply !== undefined && isBehind) parts.pull(reply.mapIndex, node);
    if (reply?.status !== STATUS.OK) return open.isHeld ? again() : then(undefined);
    then(decodeRows(reply.payload));
  });
}

/** Rows of the head and of all that it shows (S1), of objects of one partition. */
export interface StackRows {
  readonly path: readonly Layer[];
  readonly rowOf: (generation: GenerationId, index: number) => FoundRow | undefined;
}

/** Looks them up, page by page where there are many layers. Undefined when the session is lost. */
export function lookUpStack(
  parts: Parts,
  open: PathCell,
  asked: { readonly p: number; readonly indexes: readonly number[] },
  then: (rows: StackRows | undefined) => void,
): void {
  const path = pathOf(parts.views.current(), open.volume.head);
  const layers = path.map(({ generation }) => generation);
  const most = Math.max(1, Math.floor(MAX_ROWS_PER_FRAME / layers.length));
  const found = new Map<StackKey, FoundRow>();
  const rowOf = (generation: GenerationId, index: number) => found.get(stackKey(generation, index));
  const next = (at: number): void => {
    const indexes = asked.indexes.slice(at, at + most);
    if (indexes.length === 0) {
      then({ path, rowOf });
      return;
    }
    lookUpRows(parts, open, { p: asked.p, indexes, layers }, (rows) => {
      if (rows === undefined) return then(undefined);
      for (const row of rows) found.set(stackKey(row.generation, row.index), row);
      next(at + most);
    });
  };
  next(0);
}

/** A generation that the view does not know shows itself alone. */
function pathOf(view: ClusterView, generation: GenerationId): readonly Layer[] {
  const path = ancestry(view, generation);
  return path.length > 0 ? path : [{ generation, limitBytes: NO_LIMIT }];
}

/** Which regions of one object the head shows as data (S7). */
export interface ShownData extends RegionMask {
  readonly index: number;
}

/** The same as masks, one for each object: limits are not looked at, what they hide is called data. */
export function lookUpShown(
  parts: Parts,
  open: PathCell,
  asked: { readonly p: number; readonly indexes: readonly number[] },
  then: (shown: readonly ShownData[] | undefined) => void,
): void {
  lookUpStack(parts, open, asked, (rows) => {
    then(rows && asked.indexes.map((index) => shownData(rows, index)));
  });
}

function shownData({ path, rowOf }: StackRows, index: number): ShownData {
  const owned = { low: 0, high: 0 };
  const data = { low: 0, high: 0 };
  for (const { generation } of path) {
    const row = rowOf(generation, index);
    if (row === undefined) continue;
    if (row.kind === 'data') {
      data.low |= row.ownLow & ~owned.low;
      data.high |= row.ownHigh & ~owned.high;
    }
    owned.low |= row.ownLow;
    owned.high |= row.ownHigh;
  }
  return { index, low: data.low >>> 0, high: data.high >>> 0 };
}

function versionOf(row: { verToken: number; verCount: number } | undefined): Version {
  return { token: (row?.verToken ?? 0) as Version['token'], count: row?.verCount ?? 0 };
}
