// The small cares of a formed node, each in a file of its own, started and stopped together: older images of disks, the
// book of members, load, slow replicas, mix-ups. None of them serves a block.

import type { Agreement } from './agreement/agreement.ts';
import { BookDuties } from './book-duties.ts';
import type { Incarnation, NodeId } from './core/ids.ts';
import type { ClusterView } from './core/view.ts';
import { ImageDuties } from './image-duties.ts';
import { LoadDuties } from './load-duties.ts';
import { MixUpDuties } from './mix-up-duties.ts';
import type { Ports } from './ports/ports.ts';
import { SlowDuties } from './slow-duties.ts';

export interface SideContext {
  readonly self: NodeId;
  readonly ports: Ports;
  readonly agreement: () => Agreement;
  readonly view: () => ClusterView | undefined;
  readonly incarnation: () => Incarnation;
  readonly isUp: () => boolean;
  /** Worst lag of this node's event loop lately, and whether it says that this node should keep silent (C1.3). */
  readonly lagMs: () => number;
  readonly isDistrustful: () => boolean;
}

export class SideDuties {
  readonly images: ImageDuties;
  readonly book: BookDuties;
  readonly load: LoadDuties;
  readonly slow: SlowDuties;
  readonly mixUps: MixUpDuties;

  constructor(context: SideContext) {
    const { clock, trace, disk } = context.ports;
    const { self, view, agreement, incarnation, isUp, lagMs, isDistrustful } = context;
    this.mixUps = new MixUpDuties({ clock, agreement, view });
    this.book = new BookDuties({ self, clock, trace, disk, view });
    this.images = new ImageDuties({ self, clock, trace, disk, isUp, view, agreement });
    this.slow = new SlowDuties({ clock, trace, view, agreement, isDistrustful });
    this.load = new LoadDuties({ self, clock, disk, view, incarnation, agreement, lagMs });
  }

  start(): void {
    this.images.start();
    this.load.start();
    this.slow.start();
  }

  stop(): void {
    this.images.stop();
    this.book.stop();
    this.load.stop();
    this.slow.stop();
  }
}
