// A member's side of LOOK and USAGE: how its copies of named objects are, as its table and its disk have them, and how much
// the rows of a family hold. It reads and tells; what is damaged is noted for the repairer only where that was asked for.

import { createHash } from 'node:crypto';
import type { CopyLook, LayerUsage } from '../core/copy-check.ts';
import { type FamilyId, type GenerationId, type ObjectId, partitionKey } from '../core/ids.ts';
import { isSure } from '../core/partition.ts';
import { KIB, OBJECT_BYTES, REGION_BYTES } from '../core/units.ts';
import { countRegions } from '../storage/object-state.ts';
import type { CheckFound, Row } from '../storage/store-types.ts';
import { type Frame, STATUS } from '../wire/frame.ts';
import {
  decodeLookAsk,
  decodeUsageAsk,
  encodeLooks,
  encodeUsage,
  type LookAsk,
  MAX_TOLD_BAD,
} from '../wire/looks.ts';
import type { PartitionCfg } from '../wire/payloads.ts';
import type { Parts } from './context.ts';
import { answerTo, type Reply } from './peer-answer.ts';

/** Bytes of one read of a look. */
export const LOOK_PIECE_BYTES = 256 * KIB;
/** Rows that USAGE counts in one turn of the event loop. */
export const USAGE_ROWS_PER_TURN = 256;
/** A copy that changed during so many looks is busy. */
export const MAX_OWN_LOOKS = 3;

const NO_DIGEST = new Uint8Array(0);

/** LOOK: one object after the other. */
export function serveLook(parts: Parts, frame: Frame, reply: Reply): void {
  const ask = decodeLookAsk(frame.payload);
  looksOf(parts, ask).then((looks) => {
    const made = answerTo(parts, frame, STATUS.OK);
    made.payload = encodeLooks(looks);
    reply(made);
  });
}

async function looksOf(parts: Parts, ask: LookAsk): Promise<readonly CopyLook[]> {
  const looks: CopyLook[] = [];
  for (const oid of ask.objects) {
    looks.push(
      ask.depth === 'rows' ? lookAtRow(parts, oid) : await lookAtBytes(parts, oid, ask.heals),
    );
  }
  return looks;
}

function lookAtRow({ store }: Parts, { generation, index }: ObjectId): CopyLook {
  const row = store.row(generation, index);
  const suspect = store.suspects.find({ generation, index });
  if (suspect === undefined) return lookOf({ generation, index }, row, 'whole');
  return lookOf({ generation, index }, row, suspect.isWhole ? 'lost' : 'damaged');
}

/** Never rejects. */
async function lookAtBytes(parts: Parts, oid: ObjectId, heals: boolean): Promise<CopyLook> {
  for (let looks = 0; looks < MAX_OWN_LOOKS; looks += 1) {
    const row = parts.store.row(oid.generation, oid.index);
    if (row === undefined || row.kind === 'zero') return lookOf(oid, row, 'whole');
    const { verToken, verCount } = row;
    // As a deep scrub: a descriptor of ours would hide for long that the file is gone.
    if (heals) await new Promise((done) => parts.store.readSums(oid.generation, oid.index, done));
    const look = await readAll(parts, oid, row, heals);
    const now = parts.store.row(oid.generation, oid.index);
    const isStill = now?.verToken === verToken && now.verCount === verCount;
    if (isStill && look !== undefined) return look;
  }
  return lookOf(oid, parts.store.row(oid.generation, oid.index), 'busy');
}

/** Undefined: it changed meanwhile. */
async function readAll(
  parts: Parts,
  oid: ObjectId,
  row: Row,
  heals: boolean,
): Promise<CopyLook | undefined> {
  const bad: number[] = [];
  const hash = createHash('sha256');
  let sectors = 0;
  for (let offset = 0; offset < OBJECT_BYTES; offset += LOOK_PIECE_BYTES) {
    const range = { offset, count: LOOK_PIECE_BYTES, isQuiet: !heals };
    const found = await new Promise<CheckFound>((done) => {
      parts.store.check(oid.generation, oid.index, range, done);
    });
    if (found.isLost) return lookOf(oid, row, 'lost');
    bad.push(...found.bad);
    sectors += found.checkedBytes / (4 * KIB);
    if (bad.length > 0) continue;
    const piece = await pieceOf(parts, oid, offset);
    if (piece === undefined) return undefined;
    hash.update(piece.sums).update(piece.data);
  }
  if (bad.length === 0) return { ...lookOf(oid, row, 'whole'), sectors, digest: hash.digest() };
  return { ...lookOf(oid, row, 'damaged'), sectors, bad: bad.slice(0, MAX_TOLD_BAD) };
}

function pieceOf(
  { store }: Parts,
  { generation, index }: ObjectId,
  offset: number,
): Promise<{ readonly sums: Uint8Array; readonly data: Uint8Array } | undefined> {
  return new Promise((resolve) => {
    store.readForCopy(generation, index, offset, LOOK_PIECE_BYTES, (error, sums, data) => {
      resolve(error === undefined ? { sums, data } : undefined);
    });
  });
}

function lookOf(
  { generation, index }: ObjectId,
  row: Row | undefined,
  state: CopyLook['state'],
): CopyLook {
  return {
    ...{ generation, index },
    state: row === undefined ? 'absent' : state,
    ...{ verToken: row?.verToken ?? 0, verCount: row?.verCount ?? 0, closed: row?.closed ?? 0 },
    ...{ kind: row?.kind ?? 'zero', ownLow: row?.ownLow ?? 0, ownHigh: row?.ownHigh ?? 0 },
    ...{ sectors: 0, bad: [], digest: NO_DIGEST },
  };
}

/** USAGE: by generation, regions with data of the rows in partitions where this node is a sure member. */
export function serveUsage(parts: Parts, frame: Frame, reply: Reply): void {
  const { family, partitions } = decodeUsageAsk(frame.payload);
  const sums = new Map<GenerationId, LayerUsage>();
  const next = (from: number): void => {
    for (let at = from; at < partitions.length; at += 1) {
      const one = partitions[at] as PartitionCfg;
      if (!isSureOf(parts, one)) {
        reply(answerTo(parts, frame, STATUS.STALE));
        return;
      }
      const rows = parts.store.rowsOf(partitionKey(one.policy, one.p));
      if (rows.length === 0) continue;
      addRows(parts, sums, rows, family, () => next(at + 1));
      return;
    }
    const made = answerTo(parts, frame, STATUS.OK);
    made.payload = encodeUsage([...sums.values()]);
    reply(made);
  };
  next(0);
}

function isSureOf({ views, self }: Parts, { policy, p, cfg }: PartitionCfg): boolean {
  const view = views.current();
  if (!view.policies.has(policy) || p >= view.partitions) return false;
  const config = view.partition(policy, p);
  return config.cfg === cfg && isSure(config, self);
}

/** A bounded number of rows in one turn. */
function addRows(
  parts: Parts,
  sums: Map<GenerationId, LayerUsage>,
  rows: readonly Row[],
  family: FamilyId,
  done: () => void,
  from = 0,
): void {
  for (const row of rows.slice(from, from + USAGE_ROWS_PER_TURN)) {
    if (row.family !== family) continue;
    const { generation } = row;
    const { objects, bytes } = sums.get(generation) ?? { objects: 0, bytes: 0 };
    sums.set(generation, {
      generation,
      objects: objects + 1,
      bytes: bytes + heldBytes(parts, row),
    });
  }
  const next = from + USAGE_ROWS_PER_TURN;
  if (next < rows.length) parts.clock.soon(() => addRows(parts, sums, rows, family, done, next));
  else parts.clock.soon(done);
}

/** What a row owns and holds, by regions. */
function heldBytes({ store }: Parts, { generation, index, kind, ownLow, ownHigh }: Row): number {
  if (kind === 'zero') return 0;
  const held = store.heldRegions(generation, index);
  return countRegions((held.low & ownLow) >>> 0, (held.high & ownHigh) >>> 0) * REGION_BYTES;
}
