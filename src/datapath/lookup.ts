// Learns what the session does not remember of objects: from this node's own replica when it is in sync, else from a
// member of I (R7). The partition is touched, so all of I agrees on what is acknowledged, and nothing of these objects is
// in flight.

import type { GenerationId, Version } from '../core/ids.ts';
import { readersOf } from '../core/partition.ts';
import type { Row } from '../storage/store-types.ts';
import { OP, STATUS } from '../wire/frame.ts';
import { decodeRows, encodeObjectNames, MAX_ROWS_PER_FRAME } from '../wire/payloads.ts';
import { configOf, isUp, type Parts, requestFrame } from './context.ts';
import type { PathCell } from './path-cell.ts';
import { type StackKey, stackKey, stackOf } from './stack.ts';
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

/**
 * What the head shows of objects of one partition (S7): as one row each, whose own regions are those that the nearest layer
 * that owns them has as data. Limits are not looked at: what they hide is called data. Undefined when the session is lost.
 */
export function lookUpShown(
  parts: Parts,
  open: PathCell,
  asked: { readonly p: number; readonly indexes: readonly number[] },
  then: (rows: readonly FoundRow[] | undefined) => void,
): void {
  const layers = [...stackOf(parts.views.current(), open.volume.head)];
  if (layers.length === 1) {
    lookUpRows(parts, open, asked, then);
    return;
  }
  const most = Math.max(1, Math.floor(MAX_ROWS_PER_FRAME / layers.length));
  const found = new Map<StackKey, FoundRow>();
  const next = (at: number): void => {
    const indexes = asked.indexes.slice(at, at + most);
    if (indexes.length === 0) {
      then(asked.indexes.map((index) => shownRow(layers, index, found)));
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

function shownRow(
  layers: readonly GenerationId[],
  index: number,
  found: ReadonlyMap<StackKey, FoundRow>,
): FoundRow {
  const owned = { low: 0, high: 0 };
  const data = { low: 0, high: 0 };
  for (const generation of layers) {
    const row = found.get(stackKey(generation, index));
    if (row === undefined) continue;
    if (row.kind === 'data') {
      data.low |= row.ownLow & ~owned.low;
      data.high |= row.ownHigh & ~owned.high;
    }
    owned.low |= row.ownLow;
    owned.high |= row.ownHigh;
  }
  const [ownLow, ownHigh] = [data.low >>> 0, data.high >>> 0];
  const generation = layers[0] as GenerationId;
  const isData = ownLow !== 0 || ownHigh !== 0;
  const version = { verToken: 0, verCount: isData ? 1 : 0 };
  return { generation, index, ...version, kind: isData ? 'data' : 'zero', ownLow, ownHigh };
}

function versionOf(row: { verToken: number; verCount: number } | undefined): Version {
  return { token: (row?.verToken ?? 0) as Version['token'], count: row?.verCount ?? 0 };
}
