// Says now and then how loaded this node is, and keeps what the others say (topic `stats`).

import type { Agreement } from './agreement/agreement.ts';
import type { Incarnation, NodeId } from './core/ids.ts';
import { Loads, type LoadWord, loadOfLag, statsPauseMs } from './core/loads.ts';
import type { ClusterView } from './core/view.ts';
import type { Clock, Disk, TimerHandle } from './ports/ports.ts';

export interface LoadContext {
  readonly self: NodeId;
  readonly incarnation: () => Incarnation;
  readonly clock: Clock;
  readonly disk: Disk;
  readonly agreement: () => Pick<Agreement, 'publishStats'>;
  readonly view: () => ClusterView | undefined;
  /** Worst lag of this node's event loop lately. */
  readonly lagMs: () => number;
}

export class LoadDuties {
  readonly loads = new Loads();
  readonly #context: LoadContext;
  #timer: TimerHandle | undefined;

  constructor(context: LoadContext) {
    this.#context = context;
  }

  start(): void {
    const { clock, view } = this.#context;
    const members = view()?.members.size ?? 1;
    this.#timer = clock.setTimer(statsPauseMs(members), () => {
      this.start();
      this.#tell();
    });
  }

  stop(): void {
    if (this.#timer !== undefined) this.#context.clock.clearTimer(this.#timer);
  }

  take(word: LoadWord): void {
    const view = this.#context.view();
    if (view !== undefined) this.loads.note(word, view);
  }

  /** The own word is known without a rumour (C8.6). */
  #tell(): void {
    const { self, agreement, disk, incarnation, lagMs, view } = this.#context;
    const now = view();
    if (now === undefined || now.members.size < 2) return;
    const said = { node: self, incarnation: incarnation(), load: loadOfLag(lagMs()) };
    const counter = agreement().publishStats({ ...said, freeBytes: disk.space().freeBytes });
    this.loads.note({ ...said, counter }, now);
  }
}
