// The cell that the lock actor and the gateway share: one session of one volume on this node, its lock and its token.
// The actor writes it, the gateway reads it. Once lost it is lost for good: the next connection opens a new session.
//
//   none ──want──▶ asked ──granted──▶ held ──lost / view──▶ lost (final)
//    ▲               └───standby───▶ standby ──idle──┐
//    └────────────────────────────────────────────────┘

import { OperatingError } from '../core/errors.ts';
import type { FencingToken, MapIndex, NodeId, SessionId } from '../core/ids.ts';
import { holderText } from '../core/lock.ts';
import type { ClusterView, Volume } from '../core/view.ts';

export type LockState = 'none' | 'asked' | 'held' | 'standby' | 'lost';

/** A grant as the map log has it. */
export interface LockGrant {
  readonly token: FencingToken;
  /** Index of the entry; the view may lag behind it. */
  readonly grantedAt: MapIndex;
  /** The barrier is owed (F3). */
  readonly tookOver: boolean;
}

const NO_TOKEN = 0 as FencingToken;
const NO_NODE = 0 as NodeId;

export class OpenVolume {
  readonly sessionId: SessionId;
  #now: Volume;
  /** The record at open time: its mode does not change in the session's life; its path knows the head (S8). */
  readonly volume: Volume;
  #state: LockState = 'none';
  #token = NO_TOKEN;
  #tookOver = false;
  #holder = NO_NODE;
  #wasAsked = false;
  #from = '';
  #error: OperatingError | undefined;
  readonly #onWant: (open: OpenVolume) => void;
  readonly #whenIndex: (index: MapIndex, fn: () => void) => void;
  readonly #onLost: (reason: OperatingError) => void;
  #onChange: () => void = () => {};
  #onReleased: () => void = () => {};

  constructor(
    options: { readonly sessionId: SessionId; readonly volume: Volume },
    hooks: {
      readonly onWant: (open: OpenVolume) => void;
      readonly whenIndex: (index: MapIndex, fn: () => void) => void;
      /** Told once, when the session is over. */
      readonly onLost?: (reason: OperatingError) => void;
    },
  ) {
    this.sessionId = options.sessionId;
    this.volume = options.volume;
    this.#now = options.volume;
    this.#onWant = hooks.onWant;
    this.#whenIndex = hooks.whenIndex;
    this.#onLost = hooks.onLost ?? ((): void => {});
  }

  /** The record as the map has it: its size may change (S5). */
  get now(): Volume {
    return this.#now;
  }

  get state(): LockState {
    return this.#state;
  }

  /** Of the present grant; 0 unless held. */
  get token(): FencingToken {
    return this.#token;
  }

  get tookOver(): boolean {
    return this.#tookOver;
  }

  /** Who holds the lock instead; 0 unless standby. */
  get holder(): NodeId {
    return this.#holder;
  }

  /** Where the client came from that connected last, for people. */
  get from(): string {
    return this.#from;
  }

  cameFrom(from: string): void {
    this.#from = from;
  }

  /** Why the session is over; set once lost. */
  get error(): OperatingError | undefined {
    return this.#error;
  }

  /** True once the lock actor knows of this session. */
  get wasAsked(): boolean {
    return this.#wasAsked;
  }

  get isHeld(): boolean {
    return this.#state === 'held';
  }

  /** The gateway's ear: called after each change of state. */
  onChange(fn: () => void): void {
    this.#onChange = fn;
  }

  /** Called once the actor has given the lock back, or found that there is none to give. */
  onReleased(fn: () => void): void {
    this.#onReleased = fn;
  }

  /** An I/O needs the lock: asks the actor once. */
  want(): void {
    if (this.#state !== 'none') return;
    this.#state = 'asked';
    this.#wasAsked = true;
    this.#onWant(this);
  }

  /** From the actor. The session is held once this node has applied the grant: its frames name that index (F1). */
  granted(grant: LockGrant): void {
    this.#whenIndex(grant.grantedAt, () => {
      if (this.#state === 'lost' || this.#token === grant.token) return;
      this.#state = 'held';
      this.#token = grant.token;
      this.#tookOver = grant.tookOver;
      this.#holder = NO_NODE;
      this.#onChange();
    });
  }

  /** From the actor: a live holder elsewhere. */
  standby(holder: NodeId): void {
    if (this.#state === 'lost' || this.#state === 'held') return;
    this.#state = 'standby';
    this.#holder = holder;
    this.#onChange();
  }

  /** Standby no more: the next I/O asks again. */
  idle(): void {
    if (this.#state === 'lost' || this.#state === 'held') return;
    this.#state = 'none';
    this.#holder = NO_NODE;
    this.#onChange();
  }

  /** From the actor: the lock can not be had for a reason that waiting does not cure. Ends the session. */
  refused(error: OperatingError): void {
    this.lost(error);
  }

  /** The session is over for good: everything pending and later fails with `reason`. */
  lost(reason: OperatingError | string): void {
    if (this.#state === 'lost') return;
    this.#state = 'lost';
    this.#token = NO_TOKEN;
    this.#error = typeof reason === 'string' ? new OperatingError('fenced', reason) : reason;
    this.#onLost(this.#error);
    this.#onChange();
  }

  /** From the actor, after `drained`: the lock is given back. */
  released(): void {
    this.#onReleased();
  }

  /**
   * Judges a new view: a holder whose token is not the lock's any more is fenced, before any replica says so. A newer one of
   * what may be this session (a hand-over was cancelled) is the actor's to judge: it knows this life's number.
   */
  judge(view: ClusterView, self: NodeId): void {
    if (this.#state === 'lost') return;
    const volume = view.volumes.get(this.volume.id);
    if (volume === undefined) {
      if (view.lastGeneration < this.volume.head) return;
      this.lost(new OperatingError('gone', `the volume ${this.volume.name} was deleted`));
      return;
    }
    this.#now = volume;
    if (volume.durability !== this.volume.durability) {
      // Changed while nobody held it. What this session answers a flush with was decided when it began.
      const remedy = 'attach it again';
      this.lost(new OperatingError('gone', `the mode of ${volume.name} was changed`, { remedy }));
      return;
    }
    if (this.#state !== 'held') return;
    const { lock } = volume;
    const mayBeOurs = lock.node === self && lock.session === this.sessionId;
    if (lock.state === 'held' && (lock.token === this.#token || mayBeOurs)) return;
    this.lost(new OperatingError('fenced', fencedText(volume, self)));
  }
}

function fencedText({ name, lock }: Volume, self: NodeId): string {
  if (lock.state === 'free' || lock.node === self)
    return `the lock of ${name} is not held any more`;
  return `${name} is held by ${holderText(lock)} now: this guest is fenced for good`;
}

/** Why nothing of this session goes on any more. */
export function lossOf(open: Pick<OpenVolume, 'error'>): OperatingError {
  return open.error ?? new OperatingError('shutting-down', 'the session is being closed');
}
