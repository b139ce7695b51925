// What the lock actors of this node's sessions ask and do (3.1), and the sweep that gives back grants whose session is
// gone: no lock may stay with a live node that nobody is attached to (C-lock).

import type { LockGrant, LockVerdict, VdiLockInput } from './actors/vdi-lock.ts';
import type { Agreement } from './agreement/agreement.ts';
import type { FencingToken, Incarnation, NodeId, SessionId } from './core/ids.ts';
import { judgeLock } from './core/lock.ts';
import type { EntryBody } from './core/log-entry.ts';
import type { ClusterView, Volume } from './core/view.ts';
import type { OpenVolume } from './datapath/open-volume.ts';
import type { Trace } from './ports/ports.ts';

/** One try to get, take or give back a lock; the actor tries again while somebody waits. */
export const LOCK_PROPOSE_MS = 3000;

export interface LockDutiesContext {
  readonly self: NodeId;
  readonly incarnation: () => Incarnation;
  readonly trace: Trace;
  readonly agreement: Agreement;
  readonly view: () => ClusterView | undefined;
}

export class LockDuties {
  readonly #context: LockDutiesContext;
  readonly #sessions = new Map<SessionId, OpenVolume>();
  readonly #sweeping = new Set<FencingToken>();

  constructor(context: LockDutiesContext) {
    this.#context = context;
  }

  has(session: SessionId): boolean {
    return this.#sessions.has(session);
  }

  add(open: OpenVolume): void {
    this.#sessions.set(open.sessionId, open);
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
    });
    return {
      id: session,
      judge: () => this.#judge(volume, session),
      acquire: () => this.#propose({ type: 'lockAcquire', ...claim() }),
      takeOver: () =>
        this.#propose({ type: 'takeover', ...claim(), reason: 'holder is gone', force: false }),
      release: (token) => this.#propose({ type: 'lockRelease', volume: volume.id, token }),
      session: open,
    };
  }

  /** Gives back what this life holds for sessions that are over. Called after each view. */
  sweep(): void {
    const view = this.#context.view();
    if (view === undefined) return;
    for (const { id, lock } of view.volumes.values()) {
      const isOurs = lock.state === 'held' && this.#isThisLife(lock);
      if (!isOurs || this.#sessions.has(lock.session) || this.#sweeping.has(lock.token)) continue;
      this.#giveBack({ type: 'lockRelease', volume: id, token: lock.token });
    }
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
    this.#sweeping.add(body.token);
    this.#propose(body)
      .catch(() => this.#context.trace.count('lock.sweep.failed'))
      .finally(() => this.#sweeping.delete(body.token));
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

  async #propose(body: EntryBody): Promise<void> {
    await this.#context.agreement.propose(body, LOCK_PROPOSE_MS);
  }
}

function grantOf(lock: Volume['lock']): LockGrant {
  return { token: lock.token, grantedAt: lock.grantedAt, tookOver: lock.tookOver };
}
