// Snapshots of the map: taken at audit points when the log has grown, so that it can be cut; handed out in pieces; and
// fetched by a node that needs what the others' logs have no more (C2.5). Every node does all three, voter or not.
//
// One snapshot is fetched at a time, from one peer at a time. Nodes take snapshots at the same points, and equal states
// have equal bytes: what was fetched from one is good with another, as long as index and digest are the same.

import { messageOf, OperatingError } from '../core/errors.ts';
import type { MapIndex, PeerKey } from '../core/ids.ts';
import type { ClusterState } from '../core/state.ts';
import { KIB, MIB } from '../core/units.ts';
import type { Trace } from '../ports/ports.ts';
import { digestOf, type MapSnapshots } from '../storage/map-snapshot.ts';
import type { RaftLog } from '../storage/raft-log.ts';
import { encodeEntry } from '../wire/entry-codec.ts';
import {
  MAX_PIECE_BYTES,
  type ReplyBody,
  type RequestBody,
  type SnapshotPiece,
} from '../wire/messages.ts';
import {
  decodeSnapshot,
  encodeSnapshot,
  MAX_SNAPSHOT_BYTES,
  type MapSnapshot,
} from '../wire/snapshot-codec.ts';
import type { RaftDriver } from './raft-driver.ts';

/** A snapshot is due after so many entries, */
export const SNAPSHOT_EVERY_ENTRIES = 10_000;
/** or when the log has so many bytes: its entries are in memory, decoded, as about ten times as many. */
export const SNAPSHOT_EVERY_BYTES = 2 * MIB;
/** A log below this is not cut while it is smaller than the snapshot, which would cost more than it saves. */
export const MAX_LOG_BEFORE_SNAPSHOT_BYTES = 8 * MIB;
/** Entries before a snapshot that the log keeps, for those who are a little behind, */
export const KEEP_ENTRIES = 1000;
/** and their bytes. */
export const KEEP_BYTES = 512 * KIB;
/** Time for one piece. */
export const PIECE_TIMEOUT_MS = 2000;
/** How often one fetch begins anew because its source has a newer snapshot by now. */
export const MAX_FETCH_RESTARTS = 4;

/** When snapshots are taken; the bounds above unless a test has less patience. */
export interface SnapshotPace {
  readonly everyEntries: number;
  readonly keepEntries: number;
}

export const NORMAL_PACE: SnapshotPace = {
  everyEntries: SNAPSHOT_EVERY_ENTRIES,
  keepEntries: KEEP_ENTRIES,
};

export interface SnapshotDutiesOptions {
  readonly log: RaftLog;
  readonly trace: Trace;
  readonly driver: () => RaftDriver;
  readonly pace: SnapshotPace;
  readonly ask: (peer: PeerKey, body: RequestBody, timeoutMs: number) => Promise<ReplyBody>;
  /** Which one is of an older history, what is applied here or this; then it must not be installed. */
  readonly leftBehind: (state: ClusterState) => 'ours' | 'theirs' | undefined;
  readonly onContradicted: (peer: PeerKey, isLater: boolean) => void;
  /** It is on disk: the learner adopts it once the log says that it is committed. */
  readonly expect: (snapshot: MapSnapshot) => void;
}

/** From how many bytes on the log is cut. @param newest bytes of the newest snapshot; 0 = there is none */
export function dueBytes(newest: number): number {
  return Math.min(Math.max(SNAPSHOT_EVERY_BYTES, newest), MAX_LOG_BEFORE_SNAPSHOT_BYTES);
}

/** What was fetched so far. */
interface Partial {
  readonly index: number;
  readonly digest: string;
  readonly bytes: Uint8Array;
  received: number;
}

export class SnapshotDuties {
  readonly #options: SnapshotDutiesOptions;
  #partial: Partial | undefined;
  #isFetching = false;
  #isStopped = false;

  constructor(options: SnapshotDutiesOptions) {
    this.#options = options;
  }

  stop(): void {
    this.#isStopped = true;
    this.#partial = undefined;
  }

  // ---------------------------------------------------------------------------------------------- to take one

  /** At an audit point: takes a snapshot if one is due, and cuts the log when that is durable. */
  consider(index: number, state: ClusterState): void {
    const { log, driver, pace } = this.#options;
    const isGrown = index - this.#newest >= pace.everyEntries;
    const isDue = isGrown || log.usedBytes >= dueBytes(this.#snapshots.head?.bytes ?? 0);
    // Replayed at a start: the log may be cut beyond it already.
    if (!isDue || this.#snapshots.isWriting || this.#isStopped) return;
    if (index < driver().firstIndex || index <= this.#newest) return;
    this.#take(index, state).catch((error: unknown) => {
      if (!(error instanceof OperatingError)) throw error;
      // Nothing is lost: the log stays as long as it is.
      this.#options.trace.warn('map.snapshot.failed', { index, reason: messageOf(error) });
    });
  }

  async #take(index: number, state: ClusterState): Promise<void> {
    const { driver, trace } = this.#options;
    const contents = encodeSnapshot({ base: driver().baseAt(index), state });
    await this.#snapshots.write(index, contents);
    if (this.#isStopped) return;
    trace.event('map.snapshot.taken', { index, bytes: contents.length });
    driver().compact(this.#firstKept(index) - 1);
  }

  /** The log keeps a tail before the snapshot, bounded in entries and bytes. */
  #firstKept(index: number): number {
    const { log, pace } = this.#options;
    let first = index + 1;
    let bytes = 0;
    while (index - first + 1 < pace.keepEntries) {
      const entry = log.entryAt(first - 1);
      if (entry === undefined) break;
      bytes += encodeEntry(entry).length;
      if (bytes > KEEP_BYTES) break;
      first -= 1;
    }
    return first;
  }

  // ---------------------------------------------------------------------------------------------- to hand one out

  /** The answer to a pull of what the log has no more. */
  answerCompacted(): ReplyBody {
    const commit = this.#options.log.commit as MapIndex;
    return { type: 'compacted', snapshot: this.#newest as MapIndex, commit };
  }

  /** A part of the newest snapshot. */
  answerPiece(offset: number, maxBytes: number): ReplyBody {
    const { head } = this.#snapshots;
    if (head === undefined) {
      return { type: 'refusal', code: 'missing', text: 'this node has no snapshot' };
    }
    const bytes = this.#snapshots.read(offset, Math.min(maxBytes, MAX_PIECE_BYTES));
    const { digest, bytes: totalBytes } = head;
    const index = head.index as MapIndex;
    return { type: 'snapshotPiece', index, digest, totalBytes, offset, bytes };
  }

  // ---------------------------------------------------------------------------------------------- to fetch one

  /** Fetches the newest snapshot of `peer` and installs it. What came is kept for the next try. */
  async fetch(peer: PeerKey): Promise<void> {
    if (this.#isFetching || this.#isStopped) return;
    this.#isFetching = true;
    try {
      const contents = await this.#fetchAll(peer);
      if (contents !== undefined) await this.#install(contents, peer);
    } finally {
      this.#isFetching = false;
    }
  }

  /** Undefined: what came is of no use. */
  async #fetchAll(peer: PeerKey): Promise<Uint8Array | undefined> {
    let restarts = 0;
    while (!this.#isStopped) {
      const offset = this.#partial?.received ?? 0;
      const body = { type: 'snapshot', offset, maxBytes: MAX_PIECE_BYTES } as const;
      const piece = await this.#options.ask(peer, body, PIECE_TIMEOUT_MS);
      if (piece.type !== 'snapshotPiece' || piece.index <= this.#options.driver().commit) return;
      const isOther = this.#partial !== undefined && !isPartOf(piece, this.#partial);
      if (isOther) {
        restarts += 1;
        this.#partial = undefined;
        if (restarts > MAX_FETCH_RESTARTS) return;
        if (piece.offset > 0) continue;
      }
      const isAll = this.#addPiece(piece);
      if (isAll === undefined) return;
      if (isAll) return this.#takeWhole(peer);
    }
    return;
  }

  /** True when it was the last one, undefined when it makes no sense. */
  #addPiece(piece: SnapshotPiece): boolean | undefined {
    const { index, digest, totalBytes, offset, bytes } = piece;
    if (totalBytes > MAX_SNAPSHOT_BYTES) return undefined;
    this.#partial ??= { index, digest, bytes: new Uint8Array(totalBytes), received: 0 };
    const partial = this.#partial;
    const isFit = offset === partial.received && offset + bytes.length <= partial.bytes.length;
    if (!isFit || bytes.length === 0) return undefined;
    partial.bytes.set(bytes, offset);
    partial.received += bytes.length;
    return partial.received === partial.bytes.length;
  }

  #takeWhole(peer: PeerKey): Uint8Array | undefined {
    const partial = this.#partial;
    this.#partial = undefined;
    if (partial === undefined || digestOf(partial.bytes) === partial.digest) return partial?.bytes;
    this.#options.trace.warn('map.snapshot.refused', { peer, reason: 'its checksum is wrong' });
    return undefined;
  }

  /** Checked, durable, then told to the log, which says when it counts. */
  async #install(contents: Uint8Array, peer: PeerKey): Promise<void> {
    const { driver, trace, expect, leftBehind, onContradicted } = this.#options;
    const snapshot = decodeSnapshot(contents);
    const { base } = snapshot;
    const older = leftBehind(snapshot.state);
    if (older !== undefined) {
      trace.warn('map.snapshot.refused', { peer, reason: 'it is of another history' });
      onContradicted(peer, older === 'ours');
      return;
    }
    if (base.index <= driver().commit || this.#snapshots.isWriting) return;
    await this.#snapshots.write(base.index, contents);
    if (this.#isStopped || base.index <= driver().commit) return;
    trace.event('map.snapshot.installed', { index: base.index, bytes: contents.length });
    expect(snapshot);
    driver().install(base);
  }

  get #snapshots(): MapSnapshots {
    return this.#options.log.snapshots;
  }

  get #newest(): number {
    return this.#snapshots.head?.index ?? 0;
  }
}

function isPartOf(piece: SnapshotPiece, partial: Partial): boolean {
  const isSame = piece.index === partial.index && piece.digest === partial.digest;
  return isSame && piece.totalBytes === partial.bytes.length;
}
