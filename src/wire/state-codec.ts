// Bytes of a whole cluster state, for snapshots on disk and on the wire (docs/FORMATS.md, "Cluster state"). Equal states
// give equal bytes, and the decoded state hashes as the original did.
//
// Every kind of record is written with the number of its fields, so a state may grow: append a field at the end of its
// list and give it a value in the defaults for states that were written before it. Fields are never removed and never
// change their meaning or place. A state with more fields than this program knows is refused.

import { MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTE_KEY_BYTES } from '../core/attributes.ts';
import type { Generation } from '../core/generations.ts';
import type { ConfigVersion } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { ApplyResult } from '../core/log-entry.ts';
import { MAX_PARTITIONS } from '../core/partition.ts';
import type { ExplicitSets } from '../core/policy-state.ts';
import { MAX_TAG_BYTES } from '../core/snapshot-name.ts';
import type { ClusterState, ProposalWindow } from '../core/state.ts';
import { type KeptState, keptOf, restoreState } from '../core/state-restore.ts';
import { MIB } from '../core/units.ts';
import type { VolumeLock } from '../core/view.ts';
import { NO_RATES } from '../core/volume-rates.ts';
import { badFrame, Reader, Writer } from './bytes.ts';
import {
  bool,
  branded,
  bytes,
  type Codec,
  choice,
  list,
  type SomeCodec,
  type StructOf,
  str,
  struct,
  u8,
  u32,
  u48,
} from './codec.ts';
import {
  addresses,
  attachMode,
  clusterId,
  epoch,
  generation,
  incarnation,
  MAX_NAME_BYTES,
  MAX_SETTING_BYTES,
  mapIndex,
  nodeId,
  peerKey,
  policyId,
  token,
  volumeId,
  zoneName,
} from './entry-codec.ts';

export const STATE_VERSION = 1;
/** Largest encoded state: 65536 volumes, twice as many snapshots, attributes, 65536 partitions of a dozen policies fit. */
export const MAX_STATE_BYTES = 128 * MIB;
/** Sentences of results that the state keeps. */
const MAX_DETAIL_BYTES = 4096;
const MAX_ROWS = 2 ** 20;
const MAX_SET = 64;

type Fields = Record<string, SomeCodec>;

/** A record that may get more fields at its end; `later` has what older bytes do not say. */
interface Layout<F extends Fields> {
  readonly fields: F;
  readonly later: Partial<StructOf<F>>;
}

function layout<F extends Fields>(fields: F, later: Partial<StructOf<F>> = {}): Layout<F> {
  return { fields, later };
}

function writeFields<F extends Fields>(writer: Writer, fields: F, value: StructOf<F>): void {
  const values = value as Readonly<Record<string, unknown>>;
  for (const name in fields)
    (fields[name] as unknown as Codec<unknown>).write(writer, values[name]);
}

function readFields<F extends Fields>(
  reader: Reader,
  shape: Layout<F>,
  count: number,
): StructOf<F> {
  const record: Record<string, unknown> = {};
  let at = 0;
  for (const name in shape.fields) {
    const isThere = at < count;
    record[name] = isThere ? (shape.fields[name] as SomeCodec).read(reader) : shape.later[name];
    if (record[name] === undefined) throw badFrame(`a record without ${name}`);
    at += 1;
  }
  return record as StructOf<F>;
}

function readFieldCount(reader: Reader, fields: Fields): number {
  const count = reader.u8();
  if (count > Object.keys(fields).length) throw badFrame('a newer version wrote this state');
  return count;
}

/** One record behind the number of its fields (u8). */
function growing<F extends Fields>(shape: Layout<F>): Codec<StructOf<F>> {
  const size = Object.keys(shape.fields).length;
  return {
    write: (w, value) => {
      w.u8(size);
      writeFields(w, shape.fields, value);
    },
    read: (r) => readFields(r, shape, readFieldCount(r, shape.fields)),
  };
}

/** Number of fields (u8), number of records (u32), the records. */
function table<F extends Fields>(shape: Layout<F>): Codec<readonly StructOf<F>[]> {
  const size = Object.keys(shape.fields).length;
  return {
    write: (w, rows) => {
      invariant(rows.length <= MAX_ROWS, 'a table of a state is bounded');
      w.u8(size);
      w.u32(rows.length);
      for (const row of rows) writeFields(w, shape.fields, row);
    },
    read: (r) => {
      const known = readFieldCount(r, shape.fields);
      const count = r.u32();
      if (count > MAX_ROWS || count > r.remaining) throw badFrame(`a table of ${count}`);
      const rows: StructOf<F>[] = [];
      for (let at = 0; at < count; at += 1) rows.push(readFields(r, shape, known));
      return rows;
    },
  };
}

/** cfg of every partition, as many u32. */
const cfgs: Codec<Uint32Array> = {
  write: (w, values) => {
    w.u32(values.length);
    for (const value of values) w.u32(value);
  },
  read: (r) => {
    const count = r.u32();
    if (count > MAX_PARTITIONS || count * 4 > r.remaining) throw badFrame(`${count} partitions`);
    const values = new Uint32Array(count);
    for (let at = 0; at < count; at += 1) values[at] = r.u32();
    return values;
  },
};

/** A codec of something else than what is written: `to` for writing, `from` after reading. */
function mapped<A, B>(codec: Codec<A>, to: (value: B) => A, from: (value: A) => B): Codec<B> {
  return { write: (w, value) => codec.write(w, to(value)), read: (r) => from(codec.read(r)) };
}

const nodes = list(nodeId, MAX_SET);
const family = branded<KeptState['volumes'][number]['family']>(u32);
const sessionId = branded<VolumeLock['session']>(u32);

const member = layout(
  {
    node: nodeId,
    peerKey,
    addresses,
    zone: zoneName,
    weight: u32,
    state: choice(['joined', 'up', 'down']),
    incarnation,
    since: epoch,
    storeGeneration: u48,
    journalSeq: u48,
    standing: choice(['in', 'leaving', 'gone', 'out']),
    outBy: choice(['', 'auto', 'operator']),
    isWitness: bool,
    failure: str(MAX_DETAIL_BYTES),
    space: choice(['ok', 'nearfull', 'full']),
    observers: nodes,
  },
  { standing: 'in', outBy: '', isWitness: false, failure: '', space: 'ok', observers: [] },
);

/** In the order of their retirement. */
const retired = layout({
  node: nodeId,
  peerKey,
  how: choice(['lost', 'forgotten', 'outdated']),
  since: epoch,
});

const lock = growing(
  layout(
    {
      state: choice(['free', 'held']),
      token,
      grantedAt: mapIndex,
      node: nodeId,
      incarnation,
      session: sessionId,
      tookOver: bool,
      sinceMs: u48,
      from: str(MAX_DETAIL_BYTES),
      next: nodeId,
    },
    { sinceMs: 0, from: '', next: 0 as VolumeLock['next'] },
  ),
);

const volume = layout(
  {
    id: volumeId,
    name: str(MAX_NAME_BYTES),
    family,
    policy: policyId,
    head: generation,
    sizeBytes: u48,
    durability: choice(['durable', 'writeback']),
    attachMode,
    lock,
    ioTimeoutMs: u32,
    isProtected: bool,
    rates: struct({ iops: u32, bytesPerSecond: u48 }),
  },
  { ioTimeoutMs: 0, isProtected: false, rates: NO_RATES },
);

const move = layout({ volume: volumeId, policy: policyId, family, generation, token });

const trashed = layout({ volume: growing(volume), trashedMs: u48, dueAgeMs: u48 });

const attribute = layout({
  volume: volumeId,
  key: str(MAX_ATTRIBUTE_KEY_BYTES),
  value: bytes(MAX_ATTRIBUTE_BYTES),
});

/** Heads with nothing above them are not written: they follow from their volumes. */
const generationRow = layout({
  id: generation,
  family,
  policy: policyId,
  parent: mapped<number, Generation['parent']>(
    u32,
    (parent) => parent,
    (parent) => parent as Generation['parent'],
  ),
  limitBytes: u48,
  state: choice(['head', 'frozen', 'deleted']),
  frozenAt: mapIndex,
  volume: volumeId,
  name: str(MAX_NAME_BYTES),
  tag: str(MAX_TAG_BYTES),
  sizeBytes: u48,
  createdMs: u48,
  isProtected: bool,
});

const explicit: Codec<ReadonlyMap<number, ExplicitSets>> = mapped(
  table(layout({ p: u32, inSync: nodes, joining: nodes, doubtful: nodes }, { doubtful: [] })),
  (sets) => [...sets].map(([p, set]) => ({ p, ...set })),
  (rows) => new Map(rows.map(({ p, ...set }) => [p, set])),
);

const unsure: Codec<ReadonlyMap<number, ConfigVersion>> = mapped(
  table(layout({ p: u32, cfg: u32 })),
  (marks) => [...marks].map(([p, cfg]) => ({ p, cfg })),
  (rows) => new Map(rows.map(({ p, cfg }) => [p, cfg as ConfigVersion])),
);

const policy = layout(
  {
    policy: growing(layout({ id: policyId, copies: u8, minCopies: u8, strict: bool })),
    cfg: cfgs,
    explicit,
    everWriteback: bool,
    unsure,
  },
  { everWriteback: false, unsure: new Map() },
);

/** Append only: places are in snapshots. */
const RESULT_CODES: readonly ApplyResult['code'][] = [
  'ok',
  'duplicate',
  'exists',
  'missing',
  'stale',
  'held',
  'refused',
  'full',
];
const results: Codec<ProposalWindow['results']> = mapped(
  table(
    layout({
      counter: u48,
      code: choice(RESULT_CODES),
      value: u48,
      detail: str(MAX_DETAIL_BYTES),
    }),
  ),
  (known) =>
    [...known].sort(([a], [b]) => a - b).map(([counter, result]) => ({ counter, ...result })),
  (rows) => new Map(rows.map(({ counter, ...result }) => [counter, result])),
);
const proposals: Codec<KeptState['proposals']> = mapped(
  table(layout({ node: nodeId, incarnation, highest: u48, results })),
  (windows) => windows.map(([node, window]) => ({ node, ...window })),
  (rows) => rows.map(({ node, ...window }) => [node, window] as const),
);
const settings: Codec<KeptState['settings']> = mapped(
  table(layout({ key: str(MAX_NAME_BYTES), value: str(MAX_SETTING_BYTES) })),
  (pairs) => pairs.map(([key, value]) => ({ key, value })),
  (rows) => rows.map(({ key, value }) => [key, value] as const),
);

const state: Codec<KeptState> = growing(
  layout(
    {
      index: mapIndex,
      epoch,
      clusterId,
      name: str(MAX_NAME_BYTES),
      partitions: u32,
      counters: growing(layout({ node: u48, volume: u48, family: u48, generation: u48 })),
      voters: nodes,
      nextVoters: nodes,
      audit: growing(layout({ atIndex: mapIndex, stateHash: str(MAX_NAME_BYTES) })),
      members: table(member),
      policies: table(policy),
      volumes: table(volume),
      settings,
      proposals,
      retired: table(retired),
      moves: table(move),
      generations: table(generationRow),
      attributes: table(attribute),
      trash: table(trashed),
      ageMs: u48,
    },
    { retired: [], moves: [], generations: [], attributes: [], trash: [], ageMs: 0 },
  ),
);

/** Equal states give equal bytes. */
export function encodeState(value: ClusterState): Uint8Array {
  const writer = new Writer(MAX_STATE_BYTES);
  writer.u8(STATE_VERSION);
  state.write(writer, keptOf(value));
  return writer.finish();
}

/** Throws 'bad-frame' for anything but the exact bytes of one state. */
export function decodeState(bytes: Uint8Array): ClusterState {
  const reader = new Reader(bytes);
  const version = reader.u8();
  if (version !== STATE_VERSION) throw badFrame(`state version ${version}`);
  const value = state.read(reader);
  reader.end();
  return restoreState(value);
}
