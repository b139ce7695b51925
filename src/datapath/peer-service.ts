// The replica's side of the data path: one request in, one reply out. It judges (judge.ts), applies a write only onto
// its exact predecessor (R1), answers when that is durable (R4), and serves reads of its in-sync partitions (R7). A
// joining member recovers a stack before the first write to it (4.6). Writes of one object are judged in the order in
// which they arrived. Nothing a peer sends can bring the node down.

import { firstBadSector } from '../core/checksum.ts';
import { messageOf, OperatingError } from '../core/errors.ts';
import { regionsOf } from '../core/extent.ts';
import type { NodeId, Version } from '../core/ids.ts';
import { partitionKey } from '../core/ids.ts';
import { keepMemory, returnMemory } from '../core/lent-memory.ts';
import { readersOf } from '../core/partition.ts';
import { MAX_PAYLOAD_BYTES, OBJECT_BYTES, SECTOR_BYTES } from '../core/units.ts';
import { judgeWrite } from '../core/version.ts';
import type { StoreWrite } from '../storage/store-types.ts';
import { FLAG, type Frame, OP, STATUS, type Status } from '../wire/frame.ts';
import type { CatchUp } from './catch-up.ts';
import type { Parts, SessionOf } from './context.ts';
import { serveLook, serveUsage } from './copy-look.ts';
import { serveHandover } from './handover-frames.ts';
import { serveHold } from './hold-volume.ts';
import { isMember, judgeCfg, judgeFrozen, judgeToken, type ObjectPlace, placeOf } from './judge.ts';
import { answerLayers } from './layers-left.ts';
import { type JoinMarks, type ObjectGates, objectKey } from './object-gate.ts';
import { answerTo, type Reply, versionOfRow } from './peer-answer.ts';
import type { PeerCopies } from './peer-copies.ts';
import { PeerSource } from './peer-source.ts';
import { serveStandby } from './standby.ts';

/** A request from the future waits this long for the map, then BUSY. */
export const MAP_WAIT_MS = 1000;
/** Requests that wait for the map at once. */
export const MAX_MAP_WAITERS = 8192;

export interface PeerServiceParts {
  readonly parts: Parts;
  readonly gates: ObjectGates;
  readonly marks: JoinMarks;
  readonly copies: PeerCopies;
  readonly catchUp: CatchUp;
  readonly sessionOf: SessionOf;
}

export class PeerService {
  readonly #parts: Parts;
  readonly #gates: ObjectGates;
  readonly #marks: JoinMarks;
  readonly #copies: PeerCopies;
  readonly #source: PeerSource;
  readonly #catchUp: CatchUp;
  readonly #sessionOf: SessionOf;
  #mapWaiters = 0;

  constructor(options: PeerServiceParts) {
    this.#parts = options.parts;
    this.#gates = options.gates;
    this.#marks = options.marks;
    this.#copies = options.copies;
    this.#source = new PeerSource(options.parts);
    this.#catchUp = options.catchUp;
    this.#sessionOf = options.sessionOf;
  }

  /** Judges and serves one request; `reply` exactly once. Frames of one sender must come in the order sent. */
  handleFrame(from: NodeId, frame: Frame, reply: Reply): void {
    const view = this.#parts.views.current();
    this.#parts.dirty.follow();
    if (!this.#parts.isAnnounced()) {
      // R8: what this process lacks is in the map only with its `nodeUp`.
      reply(answerTo(this.#parts, frame, STATUS.BUSY));
      return;
    }
    if (frame.mapIndex > view.index) {
      this.#waitForMap(from, frame, reply);
      return;
    }
    try {
      this.#serve(from, frame, reply);
    } catch (error) {
      // Only what the bytes of a peer can cause; a broken invariant goes on and ends the process.
      if (!(error instanceof OperatingError)) throw error;
      this.#parts.trace.warn('frame.refused', { from, op: frame.op, error: messageOf(error) });
      reply(answerTo(this.#parts, frame, STATUS.BAD));
    }
  }

  /** F1, F2: who is behind the sender applies up to there, synced, before it judges. */
  #waitForMap(from: NodeId, frame: Frame, reply: Reply): void {
    const { clock, views, pull } = this.#parts;
    if (this.#mapWaiters >= MAX_MAP_WAITERS) {
      reply(answerTo(this.#parts, frame, STATUS.BUSY));
      return;
    }
    this.#mapWaiters += 1;
    const timer = clock.setTimer(MAP_WAIT_MS, () => {
      giveUp?.();
      this.#mapWaiters -= 1;
      reply(answerTo(this.#parts, frame, STATUS.BUSY));
    });
    const giveUp = views.whenIndex(frame.mapIndex, () => {
      clock.clearTimer(timer);
      this.#mapWaiters -= 1;
      this.handleFrame(from, frame, reply);
    });
    pull(frame.mapIndex, from);
  }

  #serve(from: NodeId, frame: Frame, reply: Reply): void {
    switch (frame.op) {
      case OP.WRITE:
      case OP.ZERO:
        if (from !== this.#parts.self) this.#parts.streams.hearGateway(frame.status);
        this.#write(from, frame, reply);
        return;
      case OP.READ:
        if (from !== this.#parts.self) this.#parts.streams.hearGateway(frame.status);
        if ((frame.flags & FLAG.STANDBY) === 0) {
          this.#read(frame, reply);
          return;
        }
        serveStandby(this.#parts, this.#sessionOf, frame, reply);
        return;
      case OP.SYNC:
        if ((frame.flags & FLAG.STANDBY) === 0) this.#copies.sync(frame, reply);
        else serveStandby(this.#parts, this.#sessionOf, frame, reply);
        return;
      case OP.SEAL:
      case OP.ENSURE:
        this.#copies.seal(frame, reply);
        return;
      case OP.VERSIONS:
        this.#copies.versions(frame, reply);
        return;
      case OP.EQUALISE:
        this.#copies.equalise(frame, reply);
        return;
      case OP.CLOSE:
        this.#copies.close(frame, reply);
        return;
      case OP.CONFIRM:
        this.#source.confirm(frame, reply);
        return;
      case OP.LIST:
        this.#source.list(frame, reply);
        return;
      case OP.CONTENTS:
        this.#source.contents(frame, reply);
        return;
      case OP.FETCH:
        this.#source.fetch(frame, reply);
        return;
      case OP.HASHES:
        this.#source.hashes(frame, reply);
        return;
      case OP.REGIONS:
        this.#source.regions(frame, reply);
        return;
      case OP.HOLD:
        serveHold(this.#parts, this.#sessionOf, frame, reply);
        return;
      case OP.HANDOVER:
        serveHandover(this.#parts, this.#sessionOf, from, frame, reply);
        return;
      default:
        this.#tell(frame, reply);
    }
  }

  /** What nothing is changed by. */
  #tell(frame: Frame, reply: Reply): void {
    switch (frame.op) {
      case OP.SURVEY:
        this.#source.survey(frame, reply);
        return;
      case OP.DIRTY:
        this.#source.dirty(frame, reply);
        return;
      case OP.LAYERS:
        answerLayers(this.#parts, frame, reply);
        return;
      case OP.LOOK:
        serveLook(this.#parts, frame, reply);
        return;
      case OP.USAGE:
        serveUsage(this.#parts, frame, reply);
        return;
      default:
        reply(answerTo(this.#parts, frame, STATUS.BAD));
    }
  }

  // ------------------------------------------------------------------------------------------ writes

  #write(from: NodeId, frame: Frame, reply: Reply): void {
    const place = placeOf(this.#parts.views.current(), frame);
    const status = typeof place === 'number' ? place : this.#judgeOwner(place, frame, true);
    if (status !== STATUS.OK || typeof place === 'number') {
      reply(answerTo(this.#parts, frame, status));
      return;
    }
    if (!isChangeSound(frame, from !== this.#parts.self)) {
      reply(answerTo(this.#parts, frame, STATUS.BAD));
      return;
    }
    if (!this.#waitsAtGate(from, frame, reply)) this.#judgeVersion(from, frame, reply, place);
  }

  /** True: its object is being copied or replaced, and it comes again afterwards, or was refused. */
  #waitsAtGate(from: NodeId, frame: Frame, reply: Reply): boolean {
    if (this.#gates.isOpen) return false;
    const key = objectKey(frame.generation, frame.index);
    if (!this.#gates.isBusy(key)) return false;
    const waits = this.#gates.wait(key, () => this.handleFrame(from, frame, reply));
    if (!waits) reply(answerTo(this.#parts, frame, STATUS.BUSY));
    return true;
  }

  /** S3, F1, F2 and membership. */
  #judgeOwner(place: ObjectPlace, frame: Frame, isWrite: boolean): Status {
    const frozen = judgeFrozen(place, frame, isWrite);
    if (frozen !== STATUS.OK) return frozen;
    const fenced = judgeToken(place.volume, frame.token);
    if (fenced !== STATUS.OK) return fenced;
    const stale = judgeCfg(place.config, frame.cfg);
    if (stale !== STATUS.OK) return stale;
    return isMember(place.config, this.#parts.self) ? STATUS.OK : STATUS.NOT_MEMBER;
  }

  #judgeVersion(from: NodeId, frame: Frame, reply: Reply, place: ObjectPlace): void {
    const row = this.#parts.store.row(frame.generation, frame.index);
    const own = versionOfRow(row);
    const prev: Version = { token: frame.verToken, count: frame.verCount };
    const next: Version = { token: frame.token, count: frame.verCount + 1 };
    const verdict = judgeWrite(own, prev, next);
    const partition = partitionKey(place.volume.policy, place.p);
    const { cfg, joining } = place.config;
    const isJoining = joining.includes(this.#parts.self);
    if (isJoining && !this.#catchUp.isStackSynced(partition, cfg, frame)) {
      // Equal versions of the object say nothing of what shows through it.
      this.#recoverThenWrite(from, frame, reply, place);
      return;
    }
    if (verdict === 'apply' || verdict === 'duplicate') {
      // Equal versions mean equal histories (V1): the stack needs no copy.
      if (isJoining) this.#marks.set(partition, cfg, objectKey(frame.generation, frame.index));
      if (verdict === 'apply') this.#apply(from, frame, reply, { place, partition, prev, next });
      else this.#confirmDurable(frame, reply, own);
      return;
    }
    const isSynced = (): boolean =>
      this.#marks.isSynced(partition, cfg, objectKey(frame.generation, frame.index));
    if (isJoining && !isSynced()) {
      this.#recoverThenWrite(from, frame, reply, place);
      return;
    }
    this.#parts.trace.count(`write.${verdict}`);
    reply(answerTo(this.#parts, frame, verdict === 'gap' ? STATUS.GAP : STATUS.DIVERGED, own));
  }

  #apply(
    from: NodeId,
    frame: Frame,
    reply: Reply,
    at: { place: ObjectPlace; partition: number; prev: Version; next: Version },
  ): void {
    const write: StoreWrite = {
      generation: frame.generation,
      index: frame.index,
      family: at.place.volume.family,
      partition: at.partition,
      prev: at.prev,
      next: at.next,
      cfg: frame.cfg,
      // Acknowledged writes only, and those are in this chain: never beyond what it is built on.
      closed: Math.min(frame.closed, at.prev.count),
      offset: frame.offset,
      count: frame.count,
      keepsUnowned: frame.op === OP.ZERO && (frame.flags & FLAG.NO_COW) !== 0,
      // R5: received is enough, unless the write is forced.
      mayLag: at.place.volume.durability === 'writeback' && (frame.flags & FLAG.SYNC) === 0,
    };
    const done = (error: OperatingError | undefined): void => {
      const own = error === undefined ? at.next : undefined;
      if (error?.code === 'no-space') this.#noRoom(at.place);
      reply(answerTo(this.#parts, frame, statusOfWrite(error), own));
      // The gateway's own bytes are its guest's.
      if (error === undefined && from !== this.#parts.self) returnMemory(frame.payload);
    };
    // What may lag is answered before it is written.
    if (write.mayLag) keepMemory(frame.payload);
    this.#parts.dirty.note(at.partition, frame, regionsOf(frame.offset, frame.count));
    if (frame.op === OP.ZERO) this.#parts.store.zero(write, done);
    else this.#parts.store.write(write, frame.payload, frame.sums, done);
  }

  #noRoom({ volume, p }: ObjectPlace): void {
    this.#parts.noRoom?.({ policy: volume.policy, p });
  }

  /** It is in the chain; the answer says durable, so it waits for the journal. */
  #confirmDurable(frame: Frame, reply: Reply, own: Version): void {
    this.#parts.store.settled((error) => {
      reply(answerTo(this.#parts, frame, error === undefined ? STATUS.OK : STATUS.IO, own));
    });
  }

  /** 4.6 step 4: the write waits, behind the gate, until the whole stack is copied from a member of I. */
  #recoverThenWrite(from: NodeId, frame: Frame, reply: Reply, place: ObjectPlace): void {
    const key = objectKey(frame.generation, frame.index);
    const { policy } = place.volume;
    this.#gates.enter(key);
    this.#catchUp.recoverStack({ policy, p: place.p, cfg: place.config.cfg }, frame, (error) => {
      if (error === undefined) {
        return this.#gates.leave(key, () => this.handleFrame(from, frame, reply));
      }
      this.#parts.trace.count('recover.failed');
      if (error.code === 'no-space') this.#noRoom(place);
      reply(
        answerTo(
          this.#parts,
          frame,
          statusOfWrite(error) === STATUS.NOSPC ? STATUS.NOSPC : STATUS.BUSY,
        ),
      );
      this.#gates.leave(key);
    });
  }

  // ------------------------------------------------------------------------------------------ reads

  #read(frame: Frame, reply: Reply): void {
    const place = placeOf(this.#parts.views.current(), frame);
    let status = typeof place === 'number' ? place : this.#judgeOwner(place, frame, false);
    const isSound = frame.count <= MAX_PAYLOAD_BYTES && frame.offset + frame.count <= OBJECT_BYTES;
    if (status === STATUS.OK && !isSound) status = STATUS.BAD;
    if (status !== STATUS.OK || typeof place === 'number') {
      reply(answerTo(this.#parts, frame, status));
      return;
    }
    // R7: only a sure member of I answers, and never with less than the holder acknowledged.
    const readers = readersOf(place.config, place.volume.durability);
    if (!readers.includes(this.#parts.self)) {
      reply(answerTo(this.#parts, frame, STATUS.NOT_MEMBER));
      return;
    }
    const { store } = this.#parts;
    const { generation, index, offset, count } = frame;
    const own = versionOfRow(store.row(generation, index));
    if (own.count < frame.verCount) {
      reply(answerTo(this.#parts, frame, STATUS.BEHIND, own));
      return;
    }
    const bytes = new Uint8Array(count);
    const outcome = store.readSync(generation, index, offset, count, bytes, 0);
    if (outcome !== 'cold') {
      reply(this.#data(frame, outcome, bytes, own));
      return;
    }
    store.read(generation, index, offset, count, bytes, 0, (found) => {
      reply(this.#data(frame, found, bytes, own));
    });
  }

  #data(frame: Frame, outcome: 'ok' | 'suspect', bytes: Uint8Array, own: Version): Frame {
    if (outcome === 'suspect') return answerTo(this.#parts, frame, STATUS.SUSPECT, own);
    const made = answerTo(this.#parts, frame, STATUS.OK, own);
    made.payload = bytes;
    return made;
  }
}

/** What the holder is told of a write that the store took or did not take. */
function statusOfWrite(error: OperatingError | undefined): Status {
  switch (error?.code) {
    case undefined:
      return STATUS.OK;
    case 'no-space':
      return STATUS.NOSPC;
    case 'busy':
    case 'shutting-down':
      return STATUS.BUSY;
    default:
      return STATUS.IO;
  }
}

/** The shape of a write or zero, and the sums of its sectors unless they never left this process (4.10). */
function isChangeSound(frame: Frame, isForeign: boolean): boolean {
  const { offset, count, payload, sums } = frame;
  const isAligned = offset % SECTOR_BYTES === 0 && count % SECTOR_BYTES === 0 && count > 0;
  if (!isAligned || offset + count > OBJECT_BYTES) return false;
  if (frame.op === OP.ZERO) return payload.length === 0;
  if (payload.length !== count || count > MAX_PAYLOAD_BYTES) return false;
  if (sums.length !== (count / SECTOR_BYTES) * 4) return false;
  return !isForeign || firstBadSector(frame.generation, frame.index, offset, payload, sums) === -1;
}
