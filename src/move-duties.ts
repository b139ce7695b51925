// Volumes that move to another policy, at the node (S8). A volume that a guest uses is copied by its holder. One that
// nobody holds is taken by one member, after a while in which a guest could have come; that member gives it back as soon
// as anybody asks. And how far all moves are, for people: each holder is asked.

import { messageOf, OperatingError } from './core/errors.ts';
import type { FencingToken, NodeId, VolumeId } from './core/ids.ts';
import { isHolderDead } from './core/lock.ts';
import type { MoveStatus } from './core/move-progress.ts';
import type { ClusterView, Volume, VolumeMove } from './core/view.ts';
import { copyBar, moverOf, twinOf } from './core/volume-move.ts';
import { type PeerRequests, requestFrame } from './datapath/context.ts';
import type { Datapath } from './datapath/datapath.ts';
import type { Gateway } from './datapath/gateway.ts';
import type { Clock, TimerHandle, Trace } from './ports/ports.ts';
import { type Frame, OP, replyTo, STATUS } from './wire/frame.ts';
import { decodeMoves, encodeMoves, MAX_MOVE_REASON_BYTES, MAX_TOLD_MOVES } from './wire/moves.ts';

/** A volume that nobody holds is taken for its copy only after this: a guest, or a delete, comes first. */
export const MOVER_IDLE_MS = 2000;
/** Volumes that one node holds for nothing but their copy, at once. */
export const MAX_KEPT_VOLUMES = 4;
/** A node that does not say how its moves are in this time is left out. */
export const MOVES_DEADLINE_MS = 1500;
/** A holder that was asked to let go is waited for this long: it drains first. */
export const LET_GO_MS = 8000;

export interface MoveDutiesParts {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly peers: PeerRequests;
  readonly view: () => ClusterView | undefined;
  readonly datapath: () => Datapath | undefined;
}

interface LetGoWait {
  readonly volume: VolumeId;
  readonly token: FencingToken;
  readonly done: (isFree: boolean) => void;
}

export class MoveDuties {
  readonly #parts: MoveDutiesParts;
  /** Sessions that are kept for a copy. */
  readonly #kept = new Map<VolumeId, Gateway>();
  /** Since when nobody holds a volume that this node is to take. */
  readonly #freeSince = new Map<VolumeId, number>();
  readonly #waits = new Set<LetGoWait>();
  #timer: TimerHandle | undefined;
  #isStopped = false;

  constructor(parts: MoveDutiesParts) {
    this.#parts = parts;
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== undefined) this.#parts.clock.clearTimer(this.#timer);
    this.#timer = undefined;
  }

  /** A new view. */
  follow(view: ClusterView): void {
    if (this.#isStopped) return;
    for (const wait of [...this.#waits]) if (isLetGo(view, wait)) wait.done(true);
    for (const [volume, gateway] of this.#kept) {
      const isWanted = view.moves.has(volume) && gateway.isUsable;
      if (!isWanted || gateway.open.state === 'standby') this.#unkeep(volume, gateway);
    }
    for (const volume of this.#freeSince.keys()) {
      if (!view.moves.has(volume)) this.#freeSince.delete(volume);
    }
    for (const move of view.moves.values()) this.#look(view, move);
    this.#arm();
  }

  #look(view: ClusterView, move: VolumeMove): void {
    const { self, clock } = this.#parts;
    const volume = view.volumes.get(move.volume);
    if (volume === undefined || this.#kept.has(volume.id)) return;
    if (!isFree(view, volume) || moverOf(view, volume) !== self) {
      this.#freeSince.delete(volume.id);
      return;
    }
    const since = this.#freeSince.get(volume.id) ?? clock.now();
    this.#freeSince.set(volume.id, since);
    if (clock.now() - since < MOVER_IDLE_MS || this.#kept.size >= MAX_KEPT_VOLUMES) return;
    if (copyBar(view, twinOf(volume, move)) === undefined) this.#keep(volume);
  }

  #keep(volume: Volume): void {
    const gateway = this.#parts.datapath()?.openVolume(volume);
    if (gateway === undefined) return;
    this.#freeSince.delete(volume.id);
    this.#kept.set(volume.id, gateway);
    this.#parts.trace.event('move.kept', { volume: volume.id });
    gateway.keep();
  }

  #unkeep(volume: VolumeId, gateway: Gateway): void {
    this.#kept.delete(volume);
    gateway.unkeep().catch(() => this.#parts.trace.count('move.unkeep.failed'));
  }

  /** One timer, as long as there is a volume to be taken. */
  #arm(): void {
    if (this.#freeSince.size === 0 || this.#timer !== undefined) return;
    this.#timer = this.#parts.clock.setTimer(MOVER_IDLE_MS, () => {
      this.#timer = undefined;
      const view = this.#parts.view();
      if (view !== undefined) this.follow(view);
    });
  }

  // ------------------------------------------------------------------------------------------ letting go

  /** Asks a holder without a guest to give the lock back. False = it has a guest, or did not answer in time. */
  letGo({ id, lock }: Volume): Promise<boolean> {
    const { self, clock, peers, view } = this.#parts;
    const now = view();
    if (now === undefined || lock.state === 'free') return Promise.resolve(lock.state === 'free');
    return new Promise((resolve) => {
      const done = (isFree: boolean): void => {
        if (!this.#waits.delete(wait)) return;
        clock.clearTimer(timer);
        resolve(isFree);
      };
      const wait: LetGoWait = { volume: id, token: lock.token, done };
      const timer = clock.setTimer(LET_GO_MS, () => done(false));
      this.#waits.add(wait);
      if (lock.node === self) {
        if (this.#parts.datapath()?.holderOf(id)?.letGo() !== true) done(false);
        return;
      }
      const frame = requestFrame(now, OP.HANDOVER);
      frame.volume = id;
      peers.request(lock.node, frame, MOVES_DEADLINE_MS, (reply) => {
        if (reply?.status !== STATUS.OK) done(false);
      });
    });
  }

  // ------------------------------------------------------------------------------------------ telling

  /** How the moves are that this node copies. */
  own(): readonly MoveStatus[] {
    const found = this.#parts.datapath()?.moves() ?? [];
    return found.slice(0, MAX_TOLD_MOVES).map((status) => {
      return { ...status, reason: status.reason.slice(0, MAX_MOVE_REASON_BYTES / 4) };
    });
  }

  /** Answers a MOVES. */
  answer(frame: Frame, reply: (frame: Frame) => void): void {
    const made = replyTo(frame, STATUS.OK);
    made.payload = encodeMoves(this.own());
    reply(made);
  }

  /** How all moves are: as their holders say, else as the map does. Never rejects. */
  async all(): Promise<readonly MoveStatus[]> {
    const { self, view } = this.#parts;
    const now = view();
    if (now === undefined || now.moves.size === 0) return [];
    const holders = new Set<NodeId>();
    for (const { volume } of now.moves.values()) {
      const lock = now.volumes.get(volume)?.lock;
      if (lock?.state === 'held' && lock.node !== self) holders.add(lock.node);
    }
    const said = await Promise.all([...holders].map((node) => this.#ask(node, now)));
    const known = new Map([...this.own(), ...said.flat()].map((one) => [one.volume, one]));
    return [...now.moves.values()]
      .map((move) => known.get(move.volume) ?? unsaid(now, move))
      .sort((a, b) => a.volume - b.volume);
  }

  #ask(node: NodeId, view: ClusterView): Promise<readonly MoveStatus[]> {
    const { peers, trace } = this.#parts;
    return new Promise((resolve) => {
      peers.request(node, requestFrame(view, OP.MOVES), MOVES_DEADLINE_MS, (reply) => {
        if (reply?.status !== STATUS.OK) return resolve([]);
        try {
          resolve(decodeMoves(reply.payload));
        } catch (error) {
          if (!(error instanceof OperatingError)) throw error;
          trace.warn('moves.refused', { node, error: messageOf(error) });
          resolve([]);
        }
      });
    });
  }
}

function isFree(view: ClusterView, { lock }: Volume): boolean {
  return lock.state === 'free' || isHolderDead(view, lock);
}

function isLetGo(view: ClusterView, { volume, token }: LetGoWait): boolean {
  const lock = view.volumes.get(volume)?.lock;
  return lock === undefined || lock.state === 'free' || lock.token !== token;
}

/** Nobody says how it is: the map knows why. */
function unsaid(view: ClusterView, move: VolumeMove): MoveStatus {
  const volume = view.volumes.get(move.volume);
  const none = { startedMs: 0, stageMs: 0, totalBytes: 0, doneBytes: 0 };
  const reason =
    volume === undefined ? '' : (copyBar(view, twinOf(volume, move)) ?? why(view, volume));
  const { volume: id, generation } = move;
  const status = { volume: id, generation, stage: 'waiting', reason } as const;
  return { ...status, ...none, bytesPerSecond: 0, leftMs: 0 };
}

function why(view: ClusterView, volume: Volume): string {
  if (!isFree(view, volume)) return `n${volume.lock.node} has not begun to copy it`;
  const mover = moverOf(view, volume);
  return mover === undefined ? 'no member is up' : `n${mover} copies it in its turn`;
}
