// Remembers what guests wrote and were told, sector by sector, and judges what they read. Versions of one sector are
// ordered by (token, order of issue): a later holder's writes follow all that it found. A read may return the last
// acknowledged write, a later unacknowledged one, or what was seen before; never less, never torn, never a write that an
// unaware old holder issued after the barrier (A11).

export interface Written {
  readonly id: number;
  readonly token: number;
  readonly order: number;
  /** Issued under an older token after a newer holder's first touch. */
  readonly isLate: boolean;
}

const SECTOR = 4096;
const NOTHING: Written = { id: 0, token: 0, order: 0, isLate: false };

export class Oracle {
  #order = 0;
  readonly #writes = new Map<number, Written>();
  /** Per sector: what a read must find at least. */
  readonly #floors = new Map<number, Written>();
  /** Highest token whose first touch is known to be done. */
  touchedToken = 0;
  readonly violations: string[] = [];
  acknowledged = 0;

  /** A new write by a session with this token. */
  issue(token: number): Written {
    this.#order += 1;
    const id = this.#order;
    const written = { id, token, order: this.#order, isLate: token < this.touchedToken };
    this.#writes.set(id, written);
    return written;
  }

  bytesOf(written: Written, sectors: number): Uint8Array {
    const words = new Uint32Array((sectors * SECTOR) / 4).fill(written.id);
    return new Uint8Array(words.buffer);
  }

  acked(written: Written, firstSector: number, sectors: number): void {
    this.acknowledged += 1;
    if (written.isLate) this.violations.push(`A11a: write ${written.id} was acknowledged`);
    for (let i = 0; i < sectors; i += 1) this.#raise(firstSector + i, written);
  }

  /** What a read that began now must find at least. */
  floorsOf(firstSector: number, sectors: number): Written[] {
    return Array.from({ length: sectors }, (_, i) => this.#floors.get(firstSector + i) ?? NOTHING);
  }

  /** Judges a read; `floors` were taken when it began. */
  seen(bytes: Uint8Array, firstSector: number, floors: readonly Written[], who: string): void {
    const words = new Uint32Array(bytes.slice().buffer);
    for (const [i, floor] of floors.entries()) {
      const sector = firstSector + i;
      const start = (i * SECTOR) / 4;
      const id = words[start] as number;
      if (words.subarray(start, start + SECTOR / 4).some((word) => word !== id)) {
        this.violations.push(`${who}: sector ${sector} is torn`);
      }
      const found = id === 0 ? NOTHING : this.#writes.get(id);
      if (found === undefined) this.violations.push(`${who}: sector ${sector} has garbage`);
      else if (isLess(found, floor)) {
        this.violations.push(`${who}: sector ${sector} has write ${id} instead of ${floor.id}`);
      } else if (found.isLate) {
        this.violations.push(`A11b: ${who} sees write ${id} of an old token`);
      } else this.#raise(sector, found);
    }
  }

  /** Judges what was said of where data lies, one claim per sector. */
  told(
    held: readonly boolean[],
    firstSector: number,
    floors: readonly Written[],
    who: string,
  ): void {
    for (const [i, floor] of floors.entries()) {
      if (floor !== NOTHING && held[i] !== true) {
        this.violations.push(
          `${who}: sector ${firstSector + i} with write ${floor.id} is called a hole`,
        );
      }
    }
  }

  #raise(sector: number, written: Written): void {
    const floor = this.#floors.get(sector) ?? NOTHING;
    if (isLess(floor, written)) this.#floors.set(sector, written);
  }
}

function isLess(a: Written, b: Written): boolean {
  return a.token < b.token || (a.token === b.token && a.order < b.order);
}
