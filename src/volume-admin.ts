// What operators do with one volume beside making and deleting it: its name, its protection, its attributes. As in
// admin.ts the log answers; what was decided by a name is decided anew when the name stands for something else.

import {
  type Asking,
  inUse,
  MAX_LOCK_TRIES,
  missing,
  proposed,
  stillHeld,
  volumeNow,
} from './admin.ts';
import { attributeKeyProblem, attributeValueProblem } from './core/attributes.ts';
import { OperatingError } from './core/errors.ts';
import { holderText, isHolderDead } from './core/lock.ts';
import type { ApplyResult, EntryBody } from './core/log-entry.ts';
import type { Attributes, ClusterView, Volume } from './core/view.ts';
import { checkName } from './core/volume.ts';
import { cancelHandover, prepareHandover } from './handover-admin.ts';
import type { VolumeAdmin } from './node-handle.ts';

const NONE: Attributes = new Map();

/**
 * @param viewNow of this node, which has applied what was answered
 * @param date ms since 1970, for people
 */
export function volumeAdmin(
  agreement: Asking,
  viewNow: () => ClusterView,
  date: () => number,
): VolumeAdmin {
  const decide = (name: string, what: string, bodyOf: (volume: Volume) => EntryBody) =>
    decided(agreement, viewNow, { name, what, bodyOf });
  return {
    async rename(name, to, { force = false } = {}) {
      checkName(to);
      await decide(name, 'rename', (volume) => {
        if (!force) refuseAttached(viewNow(), volume);
        return { type: 'volumeRename', volume: volume.id, former: name, name: to };
      });
    },
    async protect(name, isProtected) {
      const what = isProtected ? 'protect' : 'unprotect';
      await decide(name, what, ({ id }) => ({ type: 'volumeProtect', volume: id, isProtected }));
    },
    async attributes(name) {
      // Somebody's mutex: what another node has decided by now counts.
      await agreement.readCurrent();
      const volume = await volumeNow(agreement, viewNow, name);
      return viewNow().attributes.get(volume.id) ?? NONE;
    },
    async setAttribute(name, key, value, isNew) {
      const problem = attributeKeyProblem(key) ?? attributeValueProblem(value);
      if (problem !== undefined) throw new OperatingError('usage', problem);
      await decide(name, `set "${key}" of`, ({ id }) => {
        return { type: 'attributeSet', volume: id, key, value, isNew };
      });
    },
    ...trashAdmin(agreement, viewNow),
    async trash(name, keepMs) {
      await decide(name, 'trash', ({ id: volume, lock }) => {
        return { type: 'volumeTrash', volume, token: lock.token, keepMs, dateMs: date() };
      });
    },
    async removeAttribute(name, key) {
      const result = await decide(name, `remove "${key}" of`, ({ id }) => {
        return { type: 'attributeRemove', volume: id, key };
      });
      if (result.code === 'missing') {
        throw new OperatingError('missing', `${name} has no attribute ${JSON.stringify(key)}`, {
          remedy: `dog vdi listattr ${name}`,
        });
      }
    },
    prepareHandover: (name, to) => prepareHandover(agreement, viewNow, name, to),
    cancelHandover: (name) => cancelHandover(agreement, viewNow, name),
  };
}

function trashAdmin(
  agreement: Asking,
  viewNow: () => ClusterView,
): Pick<VolumeAdmin, 'trashed' | 'restore' | 'purge'> {
  return {
    async trashed() {
      await agreement.readCurrent();
      return [...viewNow().trash.values()];
    },
    async restore(volume, name) {
      checkName(name);
      await decidedOfTrash(agreement, { type: 'trashRestore', volume, name });
    },
    async purge(volume) {
      await decidedOfTrash(agreement, { type: 'trashPurge', volume, by: 'operator' });
    },
  };
}

/** What is in the trash goes by its number: names are free again. */
async function decidedOfTrash(
  agreement: Asking,
  body: Extract<EntryBody, { type: 'trashRestore' | 'trashPurge' }>,
): Promise<void> {
  const result = await agreement.propose(body);
  if (result.code === 'exists') {
    throw new OperatingError('exists', result.detail, { remedy: 'restore it under another name' });
  }
  if (result.code === 'missing') {
    throw new OperatingError('missing', `volume ${body.volume} is not in the trash`, {
      remedy: 'dog vdi trash list',
    });
  }
  proposed(result, body.type === 'trashPurge' ? 'purge it' : 'restore it');
}

/** Proposes until the entry meets the volume that the name stood for. */
async function decided(
  agreement: Asking,
  viewNow: () => ClusterView,
  want: {
    readonly name: string;
    readonly what: string;
    readonly bodyOf: (volume: Volume) => EntryBody;
  },
): Promise<ApplyResult> {
  const { name, what, bodyOf } = want;
  for (let tries = 0; tries < MAX_LOCK_TRIES; tries += 1) {
    const volume = await volumeNow(agreement, viewNow, name);
    const result = await agreement.propose(bodyOf(volume));
    if (result.code === 'exists') throw new OperatingError('exists', result.detail);
    if (result.code === 'held') throw stillHeld(viewNow(), volume, result);
    if (result.code === 'missing' && viewNow().volumes.has(volume.id)) return result;
    if (result.code === 'stale' || result.code === 'missing') continue;
    proposed(result, `${what} ${name}`);
    return result;
  }
  throw viewNow().volumeByName(name) === undefined ? missing(name) : inUse(name);
}

function refuseAttached(view: ClusterView, { name, lock }: Volume): void {
  if (lock.state === 'free' || isHolderDead(view, lock)) return;
  throw new OperatingError('held', `${name} is in use through ${holderText(lock)}`, {
    remedy: 'its guest would not find it under the old name; -f renames it all the same',
  });
}
