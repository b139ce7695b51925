// What operators do with layers of volumes (S4, S5): snapshots of groups, clones, rollbacks, deletes of snapshots, sizes.
// Each is one entry of the log, which compares what it was decided for; whatever changed meanwhile is looked at anew.
// Before a head is frozen its holder lets its writes end (`hold`): what a guest was told is in the snapshot.

import { type Asking, inUse, MAX_LOCK_TRIES, missing, proposed, volumeNow } from './admin.ts';
import { hasCode, OperatingError } from './core/errors.ts';
import type { Generation } from './core/generations.ts';
import type { FencingToken, GenerationId, VolumeId } from './core/ids.ts';
import type { ApplyResult, EntryBody, VolumeCas } from './core/log-entry.ts';
import {
  checkTag,
  MAX_SNAPSHOT_VOLUMES,
  parseVolumeName,
  snapshotName,
} from './core/snapshot-name.ts';
import { snapshotNamed } from './core/snapshots.ts';
import { SECTOR_BYTES } from './core/units.ts';
import type { ClusterView, Volume } from './core/view.ts';
import { checkName, checkSize } from './core/volume.ts';
import type { CloneOptions, LayerAdmin } from './node-handle.ts';
import type { Clock } from './ports/ports.ts';

/** A holder that has just let go is asked again, or whoever the map names by then, so often and with such a pause. */
export const MAX_HOLD_TRIES = 20;
export const HOLD_PAUSE_MS = 100;

export interface LayerDesk {
  readonly agreement: Asking;
  /** Of this node, which has applied what was answered. */
  readonly viewNow: () => ClusterView;
  /** Has the holder of a volume let its writes end: what the entry then compares. */
  readonly hold: (volume: VolumeId) => Promise<VolumeCas>;
  /** Its date is for people. */
  readonly clock: Pick<Clock, 'date' | 'setTimer'>;
}

export function layerAdmin(desk: LayerDesk): LayerAdmin {
  return {
    snapshot: (names, tag) => snapshotAll(desk, names, tag),
    clone: (from, to, how = {}) => cloneOf(desk, from, to, how),
    rollback: async (name, tag) => {
      await untilMet(desk, name, async (volume) => {
        const { id: generation } = await snapshotNow(desk, name, tag);
        return { type: 'rollback', volume: volume.id, token: volume.lock.token, generation };
      });
    },
    become: async (name, from, token) => {
      const { id: generation } = await snapshotNow(desk, from.name, from.tag);
      const { id: volume } = await volumeNow(desk.agreement, desk.viewNow, name);
      const body = { type: 'rollback', volume, token, generation } as const;
      const result = await desk.agreement.propose(body);
      if (result.code === 'stale') throw usedSince(name);
      told(result, `change ${name}`);
    },
    deleteSnapshot: async (name, tag) => {
      const { id: generation } = await snapshotNow(desk, name, tag);
      await once(desk, { type: 'snapshotDelete', generation }, snapshotName(name, tag));
    },
    protectSnapshot: async (name, tag, isProtected) => {
      const { id: generation } = await snapshotNow(desk, name, tag);
      const body = { type: 'snapshotProtect', generation, isProtected } as const;
      await once(desk, body, snapshotName(name, tag));
    },
    resize: async (name, sizeBytes) => {
      checkSize(sizeBytes);
      await untilMet(desk, name, async ({ id: volume, lock, sizeBytes: now }) => {
        if (sizeBytes >= now) return { type: 'volumeGrow', volume, sizeBytes };
        checkCut(sizeBytes);
        return { type: 'volumeShrink', volume, token: lock.token, sizeBytes };
      });
    },
  };
}

async function snapshotAll(
  desk: LayerDesk,
  names: readonly string[],
  tag: string,
): Promise<readonly GenerationId[]> {
  checkTag(tag);
  if (
    names.length < 1 ||
    names.length > MAX_SNAPSHOT_VOLUMES ||
    new Set(names).size < names.length
  ) {
    const text = `a snapshot has 1 to ${MAX_SNAPSHOT_VOLUMES} volumes, each named once`;
    throw new OperatingError('usage', text);
  }
  const { agreement, viewNow } = desk;
  for (let tries = 0; tries < MAX_LOCK_TRIES; tries += 1) {
    const found = await Promise.all(names.map((name) => volumeNow(agreement, viewNow, name)));
    for (const { name } of found) refuseTag(viewNow(), name, tag);
    const volumes = await holdAll(desk, found);
    const body: EntryBody = { type: 'snapshot', volumes, tag, dateMs: desk.clock.date() };
    const result = await agreement.propose(body);
    if (!isDone(result)) await endHolds(desk, volumes);
    if (result.code === 'stale' || result.code === 'missing') continue;
    told(result, `snapshot ${names.join(', ')}`);
    return volumes.map(({ head }) => head);
  }
  throw inUse(names.join(', '));
}

/** All of them, or none: one that can not hold still ends the waiting of the others. */
async function holdAll(desk: LayerDesk, found: readonly Volume[]): Promise<readonly VolumeCas[]> {
  const answers = await Promise.allSettled(found.map(({ id }) => heldStill(desk, id)));
  const held = answers.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  if (held.length === found.length) return held;
  await endHolds(desk, held);
  const failed = answers.find((one) => one.status === 'rejected');
  throw failed?.reason;
}

/** Between a holder's last word and the entry that frees its lock it has the volume no more, and the map says it has. */
async function heldStill(desk: LayerDesk, id: VolumeId): Promise<VolumeCas> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await desk.hold(id);
    } catch (error) {
      if (!hasCode(error, 'changed') || tries >= MAX_HOLD_TRIES) throw error;
    }
    await new Promise<void>((resolve) => desk.clock.setTimer(HOLD_PAUSE_MS, resolve));
  }
}

/** Nothing comes of it: their guests need not wait until the holders find out. What is free by now is left alone. */
async function endHolds({ agreement }: LayerDesk, held: readonly VolumeCas[]): Promise<void> {
  const ends = held.map(({ volume, token }) => {
    return agreement.propose({ type: 'holdEnd', volume, token }).catch(() => undefined);
  });
  await Promise.all(ends);
}

function isDone({ code }: ApplyResult): boolean {
  return code === 'ok' || code === 'duplicate';
}

/** Before anybody's guest is held up for it. */
function refuseTag(view: ClusterView, name: string, tag: string): void {
  if (snapshotNamed(view, name, tag) === undefined) return;
  throw new OperatingError('exists', `${snapshotName(name, tag)} exists already`, {
    remedy: 'choose another tag; dog vdi tree shows those that are there',
  });
}

async function cloneOf(
  desk: LayerDesk,
  from: string,
  to: string,
  how: CloneOptions,
): Promise<VolumeId> {
  checkName(to);
  const { agreement, viewNow } = desk;
  const { name, tag } = parseVolumeName(from);
  for (let tries = 0; tries < MAX_LOCK_TRIES; tries += 1) {
    const source = await sourceOf(desk, name, tag);
    const { mode = source.durability, attachMode = source.attachMode, deep: isDeep = false } = how;
    const body: EntryBody = {
      ...{ type: 'volumeClone', from: source.cas, name: to },
      ...{ durability: mode, attachMode, isDeep, dateMs: desk.clock.date() },
    };
    const result = await agreement.propose(body);
    if (!isDone(result) && tag === undefined) await endHolds(desk, [source.cas]);
    // Of a snapshot that was deleted meanwhile the next look says so.
    if (result.code === 'stale' || result.code === 'missing') continue;
    return told(result, `clone ${from}`) as VolumeId;
  }
  throw viewNow().volumeByName(name) === undefined ? missing(name) : inUse(name);
}

async function sourceOf(desk: LayerDesk, name: string, tag: string | undefined) {
  const { agreement, viewNow } = desk;
  if (tag === undefined) {
    const { id, durability, attachMode } = await volumeNow(agreement, viewNow, name);
    return { cas: await heldStill(desk, id), durability, attachMode };
  }
  const snapshot = await snapshotNow(desk, name, tag);
  const of = viewNow().volumes.get(snapshot.volume);
  const cas: VolumeCas = {
    volume: snapshot.volume,
    token: 0 as FencingToken,
    head: snapshot.id,
  };
  return { cas, durability: of?.durability ?? 'durable', attachMode: of?.attachMode ?? 'handover' };
}

/** The snapshot as this node's view has it, which is caught up before it is said to be missing (C2.3). */
async function snapshotNow(desk: LayerDesk, name: string, tag: string): Promise<Generation> {
  const { agreement, viewNow } = desk;
  const known = snapshotNamed(viewNow(), name, tag);
  if (known !== undefined) return known;
  await agreement.readCurrent();
  const snapshot = snapshotNamed(viewNow(), name, tag);
  if (snapshot !== undefined) return snapshot;
  throw new OperatingError('missing', `there is no snapshot ${snapshotName(name, tag)}`, {
    remedy: 'dog vdi tree shows the snapshots',
  });
}

/** Proposes until the entry meets the volume as it was looked at. */
async function untilMet(
  { agreement, viewNow }: LayerDesk,
  name: string,
  bodyOf: (volume: Volume) => Promise<EntryBody>,
): Promise<void> {
  for (let tries = 0; tries < MAX_LOCK_TRIES; tries += 1) {
    const volume = await volumeNow(agreement, viewNow, name);
    const result = await agreement.propose(await bodyOf(volume));
    if (result.code === 'stale' || result.code === 'missing') continue;
    told(result, `change ${name}`);
    return;
  }
  throw inUse(name);
}

async function once({ agreement }: LayerDesk, body: EntryBody, name: string): Promise<void> {
  const result = await agreement.propose(body);
  if (result.code === 'missing')
    throw new OperatingError('missing', `there is no snapshot ${name}`);
  told(result, `change ${name}`);
}

/** The value of an entry, or what a person can do about it. */
function told(result: ApplyResult, what: string): number {
  const { code, detail } = result;
  if (code === 'exists') throw new OperatingError('exists', detail);
  if (code === 'held') {
    throw new OperatingError('held', detail, {
      remedy: 'disconnect its guest first; dog vdi lock list tells who has it',
    });
  }
  if (code === 'refused' && detail.endsWith('is protected')) {
    throw new OperatingError('refused', detail, { remedy: 'dog vdi unprotect allows it again' });
  }
  return proposed(result, what);
}

function usedSince(name: string): OperatingError {
  return new OperatingError('changed', `${name} was used meanwhile: what was prepared is void`, {
    remedy: 'see to it that nobody attaches it, and begin again',
  });
}

function checkCut(sizeBytes: number): void {
  if (sizeBytes % SECTOR_BYTES === 0) return;
  throw new OperatingError('usage', `a volume is cut at a multiple of ${SECTOR_BYTES} bytes`);
}
