// Older images of disks (C1.9): this node notes what pongs say of others' journals, keeps it on its disk, tells those who
// ask at their start, and says so when one came up with less than it had seen.

import type { Agreement } from './agreement/agreement.ts';
import type { NodeId } from './core/ids.ts';
import { type DiskWord, Sightings } from './core/sightings.ts';
import type { ClusterView } from './core/view.ts';
import type { Clock, Disk, TimerHandle, Trace } from './ports/ports.ts';
import { SightingsFile } from './storage/sightings-file.ts';

/** How often news is written, for all subjects together. */
export const SIGHTINGS_SAVE_MS = 1000;
/** A proposal that is not applied in this time is made again by the next look. */
export const OUTDATED_PROPOSE_MS = 3000;

export interface ImageContext {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly disk: Disk;
  readonly trace: Trace;
  readonly agreement: () => Pick<Agreement, 'propose'>;
  readonly view: () => ClusterView | undefined;
  /** The map calls this life up: it has the log, and may speak. */
  readonly isUp: () => boolean;
}

export class ImageDuties {
  readonly #context: ImageContext;
  readonly #file: SightingsFile;
  readonly #sightings: Sightings;
  #timer: TimerHandle | undefined;
  #looked: ClusterView['members'] | undefined;
  #isProposing = false;
  #isStopped = false;

  constructor(context: ImageContext) {
    this.#context = context;
    this.#file = new SightingsFile(context.disk, context.trace);
    this.#sightings = new Sightings(this.#file.load());
  }

  start(): void {
    this.#timer = this.#context.clock.setTimer(SIGHTINGS_SAVE_MS, () => {
      this.start();
      this.#save();
      this.#look();
    });
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== undefined) this.#context.clock.clearTimer(this.#timer);
  }

  /** What a pong told. */
  note(node: NodeId, word: DiskWord): void {
    this.#sightings.note(node, word);
  }

  /** The most that was seen of that node. */
  of(node: NodeId): DiskWord | undefined {
    return this.#sightings.of(node);
  }

  #save(): void {
    const view = this.#context.view();
    if (view === undefined || this.#file.isWriting) return;
    this.#sightings.settle(view);
    const news = this.#sightings.takeNews();
    if (news === undefined) return;
    this.#file.save(news, (error) => {
      if (error !== undefined && !this.#isStopped) {
        this.#context.trace.warn('sightings.not-saved', { reason: error.message });
      }
    });
  }

  /** Who was not asked at the start, or did not answer, says it now. */
  #look(): void {
    const { isUp, trace, view } = this.#context;
    const now = view();
    if (now === undefined || now.members === this.#looked || this.#isProposing || !isUp()) return;
    const found = this.#sightings.olderImages(now);
    if (found.length === 0) {
      this.#looked = now.members;
      return;
    }
    this.#isProposing = true;
    const told = found.map(({ member, seen }) => {
      const { node, incarnation, journalSeq } = member;
      trace.warn('disk.older-image', { node, started: journalSeq, seen: seen.journalSeq });
      const { storeGeneration } = seen;
      const body = { type: 'nodeOutdated', node, incarnation, storeGeneration } as const;
      return this.#context
        .agreement()
        .propose({ ...body, journalSeq: seen.journalSeq }, OUTDATED_PROPOSE_MS);
    });
    Promise.allSettled(told).finally(() => {
      this.#isProposing = false;
    });
  }
}
