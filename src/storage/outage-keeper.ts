// Keeps what absent members miss over a restart (PROTOCOL 4.7): reads the file at the start and adds what the journal
// changed since, then writes it anew with each checkpoint, before the journal forgets, and when a member leaves. A file
// that can not be written only gets old: then it is not believed. What the maps mean is the data path's business.

import { OperatingError } from '../core/errors.ts';
import { regionsOf } from '../core/extent.ts';
import type { GenerationId } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import { MAX_DIRTY_OBJECTS } from '../core/outage.ts';
import type { Clock, Disk, Trace } from '../ports/ports.ts';
import { asOperatingError } from './disk-errors.ts';
import { type JournalRecord, RECORD_DROP, RECORD_REPLACE } from './journal-codec.ts';
import type { JournalHead } from './journal-head.ts';
import {
  decodeOutages,
  encodeOutages,
  MAX_OUTAGES_BYTES,
  missedKey,
  OUTAGES_NEW_PATH,
  OUTAGES_PATH,
} from './outage-file.ts';
import type { KeptOutages, MissedObject } from './store-types.ts';

const NOTHING: KeptOutages = { mapIndex: 0, maps: [] };

export interface OutageKeeperParts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly head: JournalHead;
}

export class OutageKeeper {
  readonly #parts: OutageKeeperParts;
  #position: (() => number) | undefined;
  /** From the file, until the data path follows. */
  #found: KeptOutages | undefined;
  /** The objects of the maps of `#found`. */
  readonly #byPartition = new Map<number, Map<string, MissedObject>[]>();
  #source: () => KeptOutages;
  #hasFile = false;
  #isSaving = false;
  #waiting: (() => void)[] = [];

  constructor(parts: OutageKeeperParts) {
    this.#parts = parts;
    this.#found = this.#load();
    this.#source = () => this.#found ?? NOTHING;
  }

  // ------------------------------------------------------------------------------------------ at the start

  /** A record of the journal, from its checkpoint on: whatever it changed is missed by everybody who is away. */
  replayed(record: JournalRecord): void {
    for (const objects of this.#byPartition.get(record.partition) ?? []) this.#add(objects, record);
  }

  #add(objects: Map<string, MissedObject>, record: JournalRecord): void {
    const { kind, generation, index } = record;
    const isWhole = kind === RECORD_REPLACE || kind === RECORD_DROP;
    const { low, high } = isWhole
      ? { low: 0xffffffff, high: 0xffffffff }
      : regionsOf(record.offset, record.count);
    const key = missedKey(generation, index);
    const known = objects.get(key);
    if (known === undefined && objects.size >= MAX_DIRTY_OBJECTS) {
      this.#found = undefined;
      this.#byPartition.clear();
      return;
    }
    objects.set(key, {
      generation: generation as GenerationId,
      index,
      low: ((known?.low ?? 0) | low) >>> 0,
      high: ((known?.high ?? 0) | high) >>> 0,
    });
  }

  /** What members that were away already when this process began miss; undefined: nothing that can be believed. */
  get found(): KeptOutages | undefined {
    return this.#found;
  }

  // ------------------------------------------------------------------------------------------ in life

  /** From now on `position` says up to where the journal is applied. */
  start(position: () => number): void {
    this.#position = position;
  }

  /** From now on this says what is missed; it has all changes of this life and of the maps that were taken. */
  follow(source: () => KeptOutages): void {
    this.#source = source;
    this.#found = undefined;
    this.#byPartition.clear();
  }

  /** Calls back when what is missed now is on disk, or can not be put there. Never fails: an old file is not believed. */
  save(done: () => void): void {
    this.#waiting.push(done);
    if (!this.#isSaving) this.#start();
  }

  #start(): void {
    this.#isSaving = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    const finish = (error: unknown): void => {
      if (error !== undefined) {
        this.#parts.trace.warn('outages.not-kept', { reason: asOperatingError(error).message });
      }
      this.#isSaving = false;
      for (const done of waiting) done();
      if (this.#waiting.length > 0 && !this.#isSaving) this.#start();
    };
    try {
      this.#write(finish);
    } catch (error) {
      finish(error);
    }
  }

  #write(done: (error: unknown) => void): void {
    invariant(this.#position !== undefined, 'the journal runs before anything is kept');
    const { disk, head } = this.#parts;
    const kept = this.#source();
    const place = { journalId: head.journalId, position: this.#position() };
    const bytes = kept.maps.length === 0 ? undefined : encodeOutages(place, kept);
    if (bytes === undefined) {
      if (this.#hasFile) disk.remove(OUTAGES_PATH);
      this.#hasFile = false;
      done(undefined);
      return;
    }
    disk.remove(OUTAGES_NEW_PATH);
    const file = disk.open(OUTAGES_NEW_PATH, { create: true });
    if (file === undefined) throw new OperatingError('io', `can not make ${OUTAGES_NEW_PATH}`);
    file.writeSync(bytes, 0);
    file.sync((error) => {
      file.close();
      if (error !== undefined) return done(error);
      try {
        disk.rename(OUTAGES_NEW_PATH, OUTAGES_PATH);
        this.#hasFile = true;
        disk.syncFolder('', done);
      } catch (failure) {
        done(failure);
      }
    });
  }

  // ------------------------------------------------------------------------------------------ reading

  #load(): KeptOutages | undefined {
    const { disk, trace, head } = this.#parts;
    try {
      const file = disk.open(OUTAGES_PATH, { create: false });
      if (file === undefined) return undefined;
      this.#hasFile = true;
      const size = Math.min(file.sizeSync(), MAX_OUTAGES_BYTES);
      const bytes = new Uint8Array(size);
      file.readSync(bytes, 0, size, 0);
      file.close();
      const found = decodeOutages(bytes);
      if (found === undefined) trace.warn('outages.damaged', { file: OUTAGES_PATH });
      else if (isOf(found.journalId, head.journalId) && head.checkpoint <= found.position) {
        for (const { partition, objects } of found.kept.maps) {
          const others = this.#byPartition.get(partition) ?? [];
          this.#byPartition.set(partition, [...others, objects]);
        }
        return found.kept;
      } else trace.event('outages.old', { position: found.position, checkpoint: head.checkpoint });
    } catch (error) {
      trace.warn('outages.damaged', { file: asOperatingError(error).message });
    }
    return undefined;
  }
}

function isOf(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, i) => byte === other[i]);
}
