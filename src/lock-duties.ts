// What the lock actors of this node's sessions ask and do (3.1), and the sweep that gives back grants whose session is
// gone: no lock may stay with a live node that nobody is attached to (C-lock).

import type { NodeEvent } from './actors/node.ts';
import type { LockGrant, LockVerdict, VdiLockInput } from './actors/vdi-lock.ts';
import type { Agreement } from './agreement/agreement.ts';
import { OperatingError } from './core/errors.ts';
import type { FencingToken, Incarnation, NodeId, SessionId, VolumeId } from './core/ids.ts';
import { judgeLock } from './core/lock.ts';
import type { ApplyResult, EntryBody } from './core/log-entry.ts';
import type { ClusterView, Volume } from './core/view.ts';
import type { DatapathContext } from './datapath/context.ts';
import type { OpenVolume } from './datapath/open-volume.ts';
import type { Clock, TimerHandle, Trace } from './ports/ports.ts';

/** One try to get, take or give back a lock; the actor tries again while somebody waits. */
export const LOCK_PROPOSE_MS = 3000;
type Claim = Extract<EntryBody, { type: 'lockAcquire' | 'takeover' | 'handoverComplete' }>;

/** After giving back failed; a view may not come before that is tried again. */
export const SWEEP_PAUSE_MS = 1000;

export interface LockDutiesContext {
  readonly self: NodeId;
  readonly incarnation: () => Incarnation;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly agreement: Agreement;
  readonly view: () => ClusterView | undefined;
}

export class LockDuties {
  readonly #context: LockDutiesContext;
  readonly #sessions = new Map<SessionId, OpenVolume>();
  /** What is being given back: tokens are counted per volume. */
  readonly #sweeping = new Set<string>();
  #retry: TimerHandle | undefined;
  #isStopped = false;

  constructor(context: LockDutiesContext) {
    this.#context = context;
  }

  has(session: SessionId): boolean {
    return this.#sessions.has(session);
  }

  add(open: OpenVolume): void {
    this.#sessions.set(open.sessionId, open);
  }

  /** What the data path tells of its sessions, for their actors. */
  earsFor(send: (event: NodeEvent) => void): DatapathContext['lock'] {
    return {
      wanted: (open) => {
        this.add(open);
        send({ type: 'lock.wanted', session: open.sessionId });
      },
      drained: (open) => {
        if (!this.has(open.sessionId)) open.released();
        else send({ type: 'session.drained', session: open.sessionId });
      },
      offered: ({ sessionId: session }, token) => send({ type: 'lock.offered', session, token }),
    };
  }

  /** The actor of this session is final. */
  ended(session: SessionId): void {
    this.#sessions.get(session)?.released();
    this.#sessions.delete(session);
    this.sweep();
  }

  /** What the lock actor of one session works with. */
  inputOf(session: SessionId): VdiLockInput {
    const open = this.#sessions.get(session);
    if (open === undefined) throw new RangeError(`session ${session} has no cell`);
    const { volume } = open;
    const claim = () => ({
      volume: volume.id,
      token: this.#tokenOf(volume),
      ...this.#key(session),
      dateMs: Math.max(0, Math.floor(this.#context.clock.date())),
      from: open.from,
    });
    return {
      id: session,
      judge: () => this.#judge(volume, session),
      acquire: () => this.#claim({ type: 'lockAcquire', ...claim() }),
      takeOver: () =>
        this.#claim({ type: 'takeover', ...claim(), reason: 'holder is gone', force: false }),
      complete: (token) => this.#claim({ type: 'handoverComplete', ...claim(), token }),
      release: async (token) => {
        await this.#propose({ type: 'lockRelease', volume: volume.id, token });
      },
      session: open,
    };
  }

  /** Gives back what this life holds for sessions that are over. Called after each view. */
  sweep(): void {
    const view = this.#context.view();
    if (view === undefined || this.#isStopped) return;
    for (const { id, lock } of view.volumes.values()) {
      const isOurs = lock.state === 'held' && this.#isThisLife(lock);
      if (!isOurs || this.#sessions.has(lock.session)) continue;
      if (this.#sweeping.has(keyOf(id, lock.token))) continue;
      this.#giveBack({ type: 'lockRelease', volume: id, token: lock.token });
    }
  }

  /** Nothing is swept after this. */
  stop(): void {
    this.#isStopped = true;
    if (this.#retry !== undefined) this.#context.clock.clearTimer(this.#retry);
  }

  /** For an orderly end: gives back every lock of this life, and does not wait for long. */
  async releaseAll(timeoutMs: number): Promise<void> {
    const view = this.#context.view();
    const held = [...(view?.volumes.values() ?? [])].filter(
      ({ lock }) => lock.state === 'held' && this.#isThisLife(lock),
    );
    await Promise.allSettled(
      held.map(({ id, lock }) =>
        this.#context.agreement.propose(
          { type: 'lockRelease', volume: id, token: lock.token },
          timeoutMs,
        ),
      ),
    );
  }

  #giveBack(body: Extract<EntryBody, { type: 'lockRelease' }>): void {
    const key = keyOf(body.volume, body.token);
    this.#sweeping.add(key);
    this.#propose(body)
      .catch(() => {
        this.#context.trace.count('lock.sweep.failed');
        this.#sweepLater();
      })
      .finally(() => this.#sweeping.delete(key));
  }

  /** One timer, whatever the number of failures. */
  #sweepLater(): void {
    if (this.#retry !== undefined || this.#isStopped) return;
    this.#retry = this.#context.clock.setTimer(SWEEP_PAUSE_MS, () => {
      this.#retry = undefined;
      this.sweep();
    });
  }

  /** What the log refuses now would be refused again at once: rejects, so that the actor pauses. */
  async #claim(body: Claim): Promise<void> {
    const view = this.#context.view();
    const me = view?.members.get(this.#context.self);
    if (me?.state !== 'up' || me.incarnation !== body.incarnation) {
      throw new OperatingError('no-quorum', 'this node is not up in the map', { advice: 'retry' });
    }
    const { code, detail } = await this.#propose(body);
    if (code === 'refused' || code === 'full') throw new OperatingError('refused', detail);
  }

  #isThisLife(lock: Volume['lock']): boolean {
    return lock.node === this.#context.self && lock.incarnation === this.#context.incarnation();
  }

  #judge(volume: Volume, session: SessionId): LockVerdict {
    const view = this.#context.view();
    const lock = view?.volumes.get(volume.id)?.lock;
    if (view === undefined || lock === undefined) return { kind: 'gone' };
    const standing = judgeLock(view, lock, this.#key(session));
    if (standing === 'mine') return { kind: 'mine', grant: grantOf(lock) };
    if (standing === 'live') return { kind: 'live', holder: lock.node };
    return { kind: standing };
  }

  #key(session: SessionId): { node: NodeId; incarnation: Incarnation; session: SessionId } {
    return { node: this.#context.self, incarnation: this.#context.incarnation(), session };
  }

  #tokenOf(volume: Volume): FencingToken {
    return this.#context.view()?.volumes.get(volume.id)?.lock.token ?? volume.lock.token;
  }

  #propose(body: EntryBody): Promise<ApplyResult> {
    return this.#context.agreement.propose(body, LOCK_PROPOSE_MS);
  }
}

function keyOf(volume: VolumeId, token: FencingToken): string {
  return `${volume} ${token}`;
}

function grantOf(lock: Volume['lock']): LockGrant {
  return { token: lock.token, grantedAt: lock.grantedAt, tookOver: lock.tookOver };
}
