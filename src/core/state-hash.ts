// The hash of a state: equal index means equal hash on every node (A4, `audit`). Everything that decides how a later
// entry applies is in it, in one order that does not depend on how the state was reached; caches are not.

import { createHash, type Hash } from 'node:crypto';
import { type Generation, isPlainHead } from './generations.ts';
import type { PolicyState } from './policy-state.ts';
import type { ClusterState, ProposalWindow } from './state.ts';
import type { Member, Volume, VolumeLock } from './view.ts';

/** Raised when equal states begin to hash otherwise: hashes are compared between equal versions only. */
export const STATE_HASH_VERSION = 1;

const U32_BYTES = 4;

/** sha256 as 64 hex digits. */
export function hashOf(state: ClusterState): string {
  const hash = createHash('sha256');
  const { counters, audit } = state;
  feed(hash, [state.index, state.epoch, state.clusterId, state.name, state.partitions]);
  feed(hash, [counters.node, counters.volume, counters.family, counters.generation]);
  feed(hash, [state.voters, state.nextVoters, audit.atIndex, audit.stateHash]);
  feed(
    hash,
    byKey(state.members).map(([, member]) => partsOfMember(member)),
  );
  // Fed where there is something to say, so that audits of logs from before retirement still fit.
  if (state.retired.size > 0) {
    const retired = [...state.retired.values()];
    feed(
      hash,
      retired.map(({ node, peerKey, how, since }) => [node, peerKey, how, since]),
    );
  }
  feed(
    hash,
    byKey(state.volumes).map(([, volume]) => partsOfVolume(volume)),
  );
  // As above: nothing where nothing moves.
  if (state.moves.size > 0) {
    feed(
      hash,
      byKey(state.moves).map(([volume, { policy, family, generation, token }]) => {
        return [volume, policy, family, generation, token];
      }),
    );
  }
  if (state.trash.size > 0) {
    const trash = byKey(state.trash).map(([, { volume, trashedMs, dueAgeMs }]) => {
      return [partsOfVolume(volume), trashedMs, dueAgeMs];
    });
    feed(hash, ['trash', trash]);
  }
  if (state.ageMs > 0) feed(hash, ['age', state.ageMs]);
  if (state.attributes.size > 0) {
    feed(
      hash,
      byKey(state.attributes).map(([volume, attributes]) => [
        volume,
        // The order of setting decides nothing.
        [...attributes]
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([key, value]) => [key, sumOf(value)]),
      ]),
    );
  }
  // As above: heads without anything above them follow from their volumes.
  const layers = byKey(state.generations).filter(([, one]) => !isPlainHead(one));
  if (layers.length > 0) {
    const parts = layers.map(([, one]) => partsOfGeneration(one));
    feed(hash, ['generations', parts]);
  }
  // The order of settings counts: the oldest invite goes first.
  feed(hash, [...state.settings]);
  feed(
    hash,
    byKey(state.proposals).map(([node, window]) => partsOfWindow(node, window)),
  );
  for (const [, policy] of byKey(state.policies)) feedPolicy(hash, policy);
  return hash.digest('hex');
}

function sumOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Lines of JSON: no text can pass for the end of its field. */
function feed(hash: Hash, parts: readonly unknown[]): void {
  hash.update(JSON.stringify(parts));
  hash.update('\n');
}

function feedPolicy(hash: Hash, state: PolicyState): void {
  const { id, copies, minCopies, strict } = state.policy;
  feed(hash, [id, copies, minCopies, strict]);
  const bytes = new Uint8Array(state.cfg.length * U32_BYTES);
  const writer = new DataView(bytes.buffer);
  for (let p = 0; p < state.cfg.length; p += 1) {
    writer.setUint32(p * U32_BYTES, state.cfg[p] as number, true);
  }
  hash.update(bytes);
  feed(
    hash,
    byKey(state.explicit).map(([p, { inSync, joining, doubtful }]) =>
      doubtful.length === 0 ? [p, inSync, joining] : [p, inSync, joining, doubtful],
    ),
  );
  // Fed where it is so: the hash of a state without writeback volumes stays what it was.
  if (state.everWriteback) feed(hash, ['writeback']);
  if (state.unsure.size > 0) feed(hash, ['unsure', byKey(state.unsure)]);
}

function partsOfMember(member: Member): unknown[] {
  const { node, peerKey, addresses, zone, weight, state, incarnation, since } = member;
  const { storeGeneration, journalSeq } = member;
  const life = [state, incarnation, since, storeGeneration, journalSeq];
  // Only where there is something to say: the hash of an older state stays what it was.
  const disk = member.failure === '' && member.space === 'ok' ? [] : [member.failure, member.space];
  const { standing, outBy, isWitness } = member;
  const isPlain = standing === 'in' && !isWitness;
  const place = isPlain ? [] : [standing, outBy, isWitness];
  const seen = member.observers.length === 0 ? [] : [member.observers];
  return [node, peerKey, addresses, zone, weight, ...life, ...disk, ...place, ...seen];
}

/** Each where it says something, and told apart by their number. */
function notesOf({ sinceMs, from, next }: VolumeLock): unknown[] {
  const noted = sinceMs === 0 && from === '' ? [] : [sinceMs, from];
  return next === 0 ? noted : [...noted, 'next', next];
}

function partsOfVolume(volume: Volume): unknown[] {
  const { id, name, family, policy, head, sizeBytes, durability, attachMode, lock } = volume;
  const { state, token, grantedAt, node, incarnation, session, tookOver } = lock;
  const noted = notesOf(lock);
  const lockParts = [state, token, grantedAt, node, incarnation, session, tookOver, ...noted];
  // One list per option that is not as usual: older states hash as they did.
  const waits = volume.ioTimeoutMs === 0 ? [] : [volume.ioTimeoutMs];
  const options = volume.isProtected ? [['protected']] : [];
  const { iops, bytesPerSecond } = volume.rates;
  const rates = iops === 0 && bytesPerSecond === 0 ? [] : [['rates', iops, bytesPerSecond]];
  return [
    id,
    name,
    family,
    policy,
    head,
    sizeBytes,
    durability,
    attachMode,
    lockParts,
    ...waits,
    ...options,
    ...rates,
  ];
}

function partsOfGeneration(generation: Generation): unknown[] {
  const { id, family, policy, parent, limitBytes, state, frozenAt, volume } = generation;
  const { name, tag, sizeBytes, createdMs, isProtected } = generation;
  const snapshot = [name, tag, sizeBytes, createdMs, isProtected];
  return [id, family, policy, parent, limitBytes, state, frozenAt, volume, ...snapshot];
}

function partsOfWindow(node: number, window: ProposalWindow): unknown[] {
  const results = byKey(window.results).map(([counter, result]) => {
    return [counter, result.code, result.value, result.detail];
  });
  return [node, window.incarnation, window.highest, results];
}

function byKey<K extends number, V>(map: ReadonlyMap<K, V>): [K, V][] {
  return [...map].sort(([a], [b]) => a - b);
}
