// Slow replicas (C1.7): as a writer this node looks at its replicas once a second and tells the voters; as a voter it keeps
// who is said to be slow, for the leader's plans and for health.

import type { Agreement } from './agreement/agreement.ts';
import type { Incarnation, NodeId } from './core/ids.ts';
import { SlowNodes, SlowWatch } from './core/slow.ts';
import type { ClusterView } from './core/view.ts';
import type { Clock, TimerHandle, Trace } from './ports/ports.ts';

/** How often a writer looks. */
export const SLOW_LOOK_MS = 1000;

export interface SlowContext {
  readonly clock: Clock;
  readonly trace: Trace;
  readonly agreement: () => Pick<Agreement, 'tellSlow'>;
  readonly view: () => ClusterView | undefined;
  /** This node was late itself: what it measured says nothing of others (C1.3). */
  readonly isDistrustful: () => boolean;
}

export class SlowDuties {
  readonly #context: SlowContext;
  readonly #watch = new SlowWatch();
  readonly #nodes = new SlowNodes();
  #timer: TimerHandle | undefined;

  constructor(context: SlowContext) {
    this.#context = context;
  }

  start(): void {
    this.#timer = this.#context.clock.setTimer(SLOW_LOOK_MS, () => {
      this.start();
      this.#look();
    });
  }

  stop(): void {
    if (this.#timer !== undefined) this.#context.clock.clearTimer(this.#timer);
  }

  /** A replica answered a write after so long. */
  note(node: NodeId, ms: number): void {
    this.#watch.note(node, ms);
  }

  /** A writer says so. */
  take(node: NodeId, incarnation: Incarnation): void {
    this.#context.trace.warn('node.slow', { node });
    this.#nodes.note(node, incarnation, this.#context.clock.now());
  }

  /** Who is kept away now, as this voter heard. */
  get nodes(): readonly NodeId[] {
    const view = this.#context.view();
    return view === undefined ? [] : this.#nodes.slow(view, this.#context.clock.now());
  }

  #look(): void {
    const slow = this.#watch.look();
    const { agreement, isDistrustful, view } = this.#context;
    if (slow.length === 0 || isDistrustful()) return;
    for (const node of slow) {
      const member = view()?.members.get(node);
      if (member?.state === 'up') agreement().tellSlow(node, member.incarnation);
      this.#watch.told(node);
    }
  }
}
