// What an operator asks of one node: make and delete volumes. The log answers, never this node's view, which may be old
// (C2.3): what is said of a name was true at a moment between question and answer. Nothing here touches a block.

import type { Agreement } from './agreement/agreement.ts';
import { OperatingError } from './core/errors.ts';
import { DEFAULT_POLICY, type PolicyId, type VolumeId } from './core/ids.ts';
import { MAX_COPIES } from './core/limits.ts';
import { isHolderDead } from './core/lock.ts';
import type { ApplyResult } from './core/log-entry.ts';
import { readableNamed } from './core/snapshots.ts';
import type { AttachMode, ClusterView, Durability, Policy, Volume } from './core/view.ts';
import { checkName, checkSize } from './core/volume.ts';
import type { AlterVolumeOptions, CreateVolumeOptions } from './node-handle.ts';

/** What answers is the log. */
export type Asking = Pick<Agreement, 'propose' | 'readCurrent'>;

/** Entries that one delete proposes, each because others changed the volume since this node looked. */
export const MAX_DELETE_TRIES = 8;

/** Entries that one change of a lock proposes, each because others used the volume since this node looked. */
export const MAX_LOCK_TRIES = 8;

/**
 * One log entry, and one before it when the policy is new.
 * @throws OperatingError 'usage', 'exists', 'no-quorum'
 */
export async function createVolume(
  agreement: Asking,
  view: ClusterView,
  options: CreateVolumeOptions,
): Promise<VolumeId> {
  const { name, sizeBytes } = options;
  checkName(name);
  checkSize(sizeBytes);
  const policy = await policyFor(agreement, view, options);
  const result = await agreement.propose({
    type: 'volumeCreate',
    name,
    policy,
    sizeBytes,
    durability: options.mode ?? 'durable',
    attachMode: options.attachMode ?? 'handover',
  });
  if (result.code === 'exists') throw exists(name);
  const volume = proposed(result, `create ${name}`) as VolumeId;
  const { ioTimeoutMs = 0 } = options;
  if (ioTimeoutMs > 0) {
    const body = { type: 'volumeOptions', volume, ioTimeoutMs } as const;
    proposed(await agreement.propose(body), `set the io-timeout of ${name}, which is made`);
  }
  await setRates(agreement, { id: volume, name }, withoutNone(options));
  return volume;
}

/**
 * Modes change while nobody holds the volume, the rest also while a guest is attached.
 * @throws OperatingError 'missing', 'held', 'usage', 'no-quorum'
 */
export async function alterVolume(
  agreement: Asking,
  viewNow: () => ClusterView,
  name: string,
  options: AlterVolumeOptions,
): Promise<void> {
  const { ioTimeoutMs, attachMode, mode } = options;
  // First: they may be refused.
  if (mode !== undefined) await alterDurability(agreement, viewNow, name, mode);
  if (attachMode !== undefined) await alterAttachMode(agreement, viewNow, name, attachMode);
  if (
    ioTimeoutMs === undefined &&
    options.iops === undefined &&
    options.bytesPerSecond === undefined
  )
    return;
  const { id } = await volumeNow(agreement, viewNow, name);
  await setRates(agreement, { id, name }, options);
  if (ioTimeoutMs === undefined) return;
  const result = await agreement.propose({ type: 'volumeOptions', volume: id, ioTimeoutMs });
  if (result.code === 'missing') throw missing(name);
  proposed(result, `alter ${name}`);
}

type Rates = Pick<AlterVolumeOptions, 'iops' | 'bytesPerSecond'>;

/** A new volume has no limits. */
function withoutNone({ iops = 0, bytesPerSecond = 0 }: Rates): Rates {
  return { ...(iops > 0 ? { iops } : {}), ...(bytesPerSecond > 0 ? { bytesPerSecond } : {}) };
}

/** One entry for each that is said. */
async function setRates(
  agreement: Asking,
  { id: volume, name }: { readonly id: VolumeId; readonly name: string },
  { iops, bytesPerSecond }: Rates,
): Promise<void> {
  const said = [
    { kind: 'iops', perSecond: iops },
    { kind: 'bandwidth', perSecond: bytesPerSecond },
  ] as const;
  for (const { kind, perSecond } of said) {
    if (perSecond === undefined) continue;
    const result = await agreement.propose({ type: 'volumeRate', volume, kind, perSecond });
    if (result.code === 'missing') throw missing(name);
    proposed(result, `limit ${name}`);
  }
}

async function alterDurability(
  agreement: Asking,
  viewNow: () => ClusterView,
  name: string,
  durability: Durability,
): Promise<void> {
  for (let tries = 0; tries < MAX_LOCK_TRIES; tries += 1) {
    const { id, lock } = await volumeNow(agreement, viewNow, name);
    const body = { type: 'volumeDurability', volume: id, token: lock.token, durability } as const;
    const result = await agreement.propose(body);
    if (result.code === 'held') throw stays(name, 'mode', result);
    if (result.code === 'missing' || result.code === 'stale') continue;
    proposed(result, `alter ${name}`);
    return;
  }
  throw inUse(name);
}

/** It can change while nobody holds the volume. */
function stays(name: string, what: string, { detail }: ApplyResult): OperatingError {
  return new OperatingError('held', `the ${what} of ${name} stays: it is ${detail}`, {
    remedy: 'disconnect its guest first; dog vdi lock list tells who holds it',
  });
}

/** The error for a volume whose lock came and went between each look and its proposal. */
export function inUse(name: string): OperatingError {
  return new OperatingError('busy', `${name} is in use by others again and again`, {
    advice: 'retry',
  });
}

async function alterAttachMode(
  agreement: Asking,
  viewNow: () => ClusterView,
  name: string,
  attachMode: AttachMode,
): Promise<void> {
  for (let tries = 0; tries < MAX_LOCK_TRIES; tries += 1) {
    const { id, lock } = await volumeNow(agreement, viewNow, name);
    const body = { type: 'volumeAttach', volume: id, token: lock.token, attachMode } as const;
    const result = await agreement.propose(body);
    if (result.code === 'held') throw stays(name, 'attach mode', result);
    if (result.code === 'missing' || result.code === 'stale') continue;
    proposed(result, `alter ${name}`);
    return;
  }
  throw inUse(name);
}

/**
 * Deletes what the name stands for. Others may delete it first, and make it anew: then the name stands for that.
 * @param letGo asks a holder that only copies the volume to give the lock back
 * @throws OperatingError 'missing', 'held', 'busy', 'no-quorum'
 */
export async function deleteVolume(
  agreement: Asking,
  viewNow: () => ClusterView,
  name: string,
  letGo: (volume: Volume) => Promise<boolean> = async () => false,
): Promise<void> {
  for (let tries = 0; tries < MAX_DELETE_TRIES; tries += 1) {
    const volume = await volumeNow(agreement, viewNow, name);
    const { id, lock } = volume;
    // Held for nothing but its move: whoever copies it makes room (S8). Refused below while a guest has it.
    if (lock.state === 'held' && viewNow().moves.has(id) && (await letGo(volume))) continue;
    // Answered once this node has applied the entry: the next look at the view knows why it was refused.
    const result = await agreement.propose({ type: 'volumeDelete', volume: id, token: lock.token });
    if (result.code === 'held') throw stillHeld(viewNow(), volume, result);
    if (result.code === 'missing' || result.code === 'stale') continue;
    if (result.code === 'refused') throw keptProtected(name, result);
    proposed(result, `delete ${name}`);
    return;
  }
  throw inUse(name);
}

/** Why a volume stays, with the way out of it: the holder's guest, or the holder itself, has to go first. */
export function stillHeld(
  view: ClusterView,
  { name, lock }: Pick<Volume, 'name' | 'lock'>,
  { detail }: ApplyResult,
): OperatingError {
  const remedy = isHolderDead(view, lock)
    ? `n${lock.node} is down, its guest may still write: start it, or dog vdi lock unlock ${name}`
    : 'disconnect its guest first; dog vdi show tells who holds it';
  return new OperatingError('held', detail, { remedy });
}

function keptProtected(name: string, { detail }: ApplyResult): OperatingError {
  return new OperatingError('refused', detail, {
    remedy: `dog vdi unprotect ${name} allows it again`,
  });
}

/**
 * The volume as this node's view has it, which is caught up before anything is said to be missing (C2.3).
 * @throws OperatingError 'missing', 'no-quorum'
 */
export async function volumeNow(
  agreement: Pick<Asking, 'readCurrent'>,
  viewNow: () => ClusterView,
  name: string,
): Promise<Volume> {
  await lookUp(agreement, viewNow, name);
  const volume = viewNow().volumeByName(name);
  if (volume === undefined) throw missing(name);
  return volume;
}

/**
 * Settles once this node's view has the volume or snapshot of that name.
 * @throws OperatingError 'missing', 'no-quorum'
 */
export async function lookUp(
  agreement: Pick<Asking, 'readCurrent'>,
  viewNow: () => ClusterView,
  name: string,
): Promise<void> {
  if (readableNamed(viewNow(), name) !== undefined) return;
  await agreement.readCurrent();
  if (readableNamed(viewNow(), name) === undefined) throw missing(name);
}

/** The error for a volume that is not there. */
export function missing(name: string): OperatingError {
  return new OperatingError('missing', `there is no volume ${JSON.stringify(name)}`, {
    remedy: 'dog vdi list shows the volumes',
  });
}

async function policyFor(
  agreement: Asking,
  view: ClusterView,
  options: CreateVolumeOptions,
): Promise<PolicyId> {
  const standard = view.policies.get(DEFAULT_POLICY);
  if (standard === undefined) throw new OperatingError('not-formatted', 'there is no policy yet');
  const copies = options.copies ?? standard.copies;
  const isStandard = options.copies === undefined || options.copies === standard.copies;
  const minCopies =
    options.minCopies ?? (isStandard ? standard.minCopies : Math.floor(copies / 2) + 1);
  const strict = options.strict ?? standard.strict;
  checkCopies(copies, minCopies);
  return policyWith(agreement, view, { copies, minCopies, strict });
}

/** The policy with these numbers, made on first use. */
export async function policyWith(
  agreement: Asking,
  view: ClusterView,
  { copies, minCopies, strict }: Omit<Policy, 'id'>,
): Promise<PolicyId> {
  for (const policy of view.policies.values()) {
    const isSame =
      policy.copies === copies && policy.minCopies === minCopies && policy.strict === strict;
    if (isSame) return policy.id;
  }
  const result = await agreement.propose({ type: 'policyCreate', copies, minCopies, strict });
  return proposed(result, 'make the redundancy policy') as PolicyId;
}

/** @throws OperatingError 'usage' */
export function checkCopies(copies: number, minCopies: number): void {
  const isFine =
    Number.isInteger(copies) &&
    Number.isInteger(minCopies) &&
    copies >= 1 &&
    copies <= MAX_COPIES &&
    minCopies >= 1 &&
    minCopies <= copies;
  if (isFine) return;
  throw new OperatingError('usage', `${copies} copies with at least ${minCopies} is not possible`, {
    remedy: `copies from 1 to ${MAX_COPIES}, min-copies from 1 to copies`,
  });
}

/** The value of an entry that did what it should; a repeated proposal answers as its first one did. */
export function proposed(result: ApplyResult, what: string): number {
  if (result.code === 'ok' || result.code === 'duplicate') return result.value;
  const code = result.code === 'full' ? 'too-large' : 'refused';
  throw new OperatingError(code, `the cluster refused to ${what}: ${result.detail}`);
}

function exists(name: string): OperatingError {
  return new OperatingError('exists', `a volume ${JSON.stringify(name)} exists already`, {
    remedy: 'choose another name; dog vdi list shows the volumes',
  });
}
