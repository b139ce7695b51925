// One direction of a link: messages leave in order, arrive in order, and while the path is cut they wait. Breaking loses
// whatever has not arrived. Used for data channels (two pipes each) and for control links.

import type { Plane, SimPaths, Way } from './sim-paths.ts';
import type { World } from './world.ts';

/** Most messages under way on one pipe; above, the pipe breaks as a full socket's owner would be dropped. */
const MAX_PIPE_MESSAGES = 20_000;
/** Bytes under way; the same. */
const MAX_PIPE_BYTES = 256 * 1024 * 1024;

export class SimPipe {
  readonly #world: World;
  readonly #paths: SimPaths;
  readonly #plane: Plane;
  readonly #way: Way;
  /** Receives what arrives; the owner judges whether the receiver lives. */
  readonly #deliver: (bytes: Uint8Array) => void;
  readonly #onBreak: () => void;
  readonly #held: Uint8Array[] = [];
  #lastAtMs = 0;
  #messages = 0;
  #bytes = 0;
  isBroken = false;

  constructor(
    world: World,
    paths: SimPaths,
    place: { readonly plane: Plane; readonly from: string; readonly to: string },
    deliver: (bytes: Uint8Array) => void,
    onBreak: () => void,
  ) {
    this.#world = world;
    this.#paths = paths;
    this.#plane = place.plane;
    this.#way = { from: place.from, to: place.to };
    this.#deliver = deliver;
    this.#onBreak = onBreak;
  }

  get heldCount(): number {
    return this.#held.length;
  }

  /** False when the pipe is broken, or breaks by this message. */
  send(bytes: Uint8Array): boolean {
    if (this.isBroken) return false;
    this.#messages += 1;
    this.#bytes += bytes.length;
    if (this.#messages > MAX_PIPE_MESSAGES || this.#bytes > MAX_PIPE_BYTES) {
      this.break();
      return false;
    }
    this.#launch(bytes);
    return true;
  }

  /** Sends what was held back, now that the path may be open again. */
  release(): void {
    if (this.isBroken || this.#isCut()) return;
    for (const bytes of this.#held.splice(0)) this.#launch(bytes);
  }

  /** Loses what is under way. The owner hears of it once. */
  break(): void {
    if (this.isBroken) return;
    this.isBroken = true;
    this.#held.length = 0;
    this.#onBreak();
  }

  #launch(bytes: Uint8Array): void {
    const now = this.#world.nowMs;
    const delay = this.#paths.delayOn(this.#way, bytes.length);
    this.#lastAtMs = Math.max(this.#lastAtMs, now + delay);
    this.#world.schedule(this.#lastAtMs - now, undefined, () => this.#arrive(bytes));
  }

  #arrive(bytes: Uint8Array): void {
    if (this.isBroken) return;
    if (this.#isCut() || this.#held.length > 0) {
      this.#held.push(bytes);
      return;
    }
    this.#messages -= 1;
    this.#bytes -= bytes.length;
    if (this.#paths.breaksNow()) {
      this.#paths.onFault('link-broken', '');
      this.break();
    } else this.#deliver(bytes);
  }

  #isCut(): boolean {
    return this.#paths.isCut(this.#way.from, this.#way.to, this.#plane);
  }
}
