// Looks at every view that any node publishes: A4 (equal index, equal hash), A5 and C-epoch (an epoch has one content),
// A6 (tokens rise, one holder per token), A7 (in-sync sets never empty, keep a member), A10 (the applied index never
// falls, also across restarts), I5 (nobody is released before its successors are in sync), I6 (no change leaves fewer
// than minCopies in sync), I11 (cfg rises with each change), 1.3 (the number of voters never sinks by failures).

import type { NodeId } from '../../src/core/ids.ts';
import { partitionKey } from '../../src/core/ids.ts';
import type { ClusterView, PartitionConfig } from '../../src/core/view.ts';

/** Remembers what every node said; `note` gives the first contradiction as a sentence. */
export class ViewChecker {
  readonly #hashAt = new Map<number, string>();
  readonly #epochs = new Map<number, string>();
  readonly #tokens = new Map<string, string>();
  readonly #configs = new Map<string, string>();
  readonly #lastView = new Map<string, ClusterView>();
  /** The offline tool may be used in this story: it alone lets voters sink. */
  mayForceVoters = false;

  /** @param node the name of the host, so that restarts are seen as one node */
  note(node: string, view: ClusterView, stateHash: string): string | undefined {
    const before = this.#lastView.get(node);
    this.#lastView.set(node, view);
    return (
      contradiction(this.#hashAt, view.index, stateHash, `A4: index ${view.index}: state hash`) ??
      contradiction(
        this.#epochs,
        view.epoch,
        membersOf(view),
        `A5: epoch ${view.epoch}: members`,
      ) ??
      this.#checkTokens(view) ??
      this.#checkPartitions(view, before) ??
      (this.mayForceVoters ? undefined : votersSank(before, view)) ??
      fellBack(node, before, view)
    );
  }

  /** A forced recovery goes on without what was said after it: another history, with indices of its own (section 6). */
  startAnew(): void {
    for (const said of [this.#hashAt, this.#epochs, this.#tokens, this.#configs, this.#lastView]) {
      said.clear();
    }
  }

  /** A wiped disk is another node: what it said before counts no more. */
  forget(node: string): void {
    this.#lastView.delete(node);
  }

  #checkTokens(view: ClusterView): string | undefined {
    for (const { id, lock } of view.volumes.values()) {
      if (lock.token === 0) continue;
      const holder = `${lock.node}/${lock.session}@${lock.grantedAt}`;
      const claim = `A6: volume ${id}, token ${lock.token}: holder`;
      if (lock.state === 'free') continue;
      // The incarnation may change under one token (C4.2), node and session may not.
      const wrong = contradiction(this.#tokens, `${id} ${lock.token}`, holder, claim);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  #checkPartitions(view: ClusterView, before: ClusterView | undefined): string | undefined {
    for (const policy of view.policies.values()) {
      // Between two views it may have been changed, after the sets were.
      const was = before?.policies.get(policy.id)?.minCopies ?? policy.minCopies;
      const minCopies = Math.min(was, policy.minCopies);
      for (let p = 0; p < view.partitions; p += 1) {
        const config = view.partition(policy.id, p);
        const old =
          before?.policies.has(policy.id) === true ? before.partition(policy.id, p) : undefined;
        if (old === config) continue;
        const key = `${partitionKey(policy.id, p)} cfg ${config.cfg}`;
        const { inSync, joining, doubtful } = config;
        const sets = `I=${inSync.join(',')} J=${joining.join(',')} D=${doubtful.join(',')}`;
        const wrong =
          contradiction(this.#configs, key, sets, `I11: partition ${key}`) ??
          changeIsIllegal(key, old, config, { view, minCopies });
        if (wrong !== undefined) return wrong;
      }
    }
    return undefined;
  }
}

function contradiction<K>(
  said: Map<K, string>,
  key: K,
  text: string,
  claim: string,
): string | undefined {
  const before = said.get(key);
  if (before === undefined) said.set(key, text);
  else if (before !== text) return `${claim} is ${text} here and ${before} elsewhere`;
  return undefined;
}

function membersOf(view: ClusterView): string {
  return [...view.members.values()]
    .filter((member) => member.state !== 'joined')
    .sort((a, b) => a.node - b.node)
    .map(
      (member) =>
        `${member.node}:${member.state}:${member.standing}:${member.weight}:${member.zone}`,
    )
    .join(' ');
}

function changeIsIllegal(
  key: string,
  old: PartitionConfig | undefined,
  now: PartitionConfig,
  rule: { readonly view: ClusterView; readonly minCopies: number },
): string | undefined {
  if (now.inSync.length === 0 && (old === undefined || old.inSync.length > 0)) {
    return old === undefined ? undefined : `A7: partition ${key}: the in-sync set became empty`;
  }
  if (old === undefined) return undefined;
  if (now.cfg < old.cfg) return `I11: partition ${key}: cfg fell from ${old.cfg}`;
  const { view, minCopies } = rule;
  const gone = old.inSync.filter((node) => !now.inSync.includes(node));
  const change = `${old.inSync.join(',')} shrank to ${now.inSync.join(',')}`;
  // Copies of a retired id do not exist any more: it alone may go below minCopies.
  const areRetired = gone.length > 0 && gone.every((node) => view.retired.has(node));
  if (now.inSync.length < Math.min(minCopies, old.inSync.length) && !areRetired) {
    return `I6: partition ${key}: ${change}`;
  }
  return releasedEarly(old, now, gone, view) ? `I5: partition ${key}: ${change}` : undefined;
}

/** A living member that the ring does not want left before all living ones that it wants were in sync. */
function releasedEarly(
  old: PartitionConfig,
  now: PartitionConfig,
  gone: readonly NodeId[],
  view: ClusterView,
): boolean {
  const isOneStep = now.cfg === old.cfg + 1 && old.targets.join() === now.targets.join();
  if (!isOneStep) return false;
  const isUp = (node: NodeId): boolean => view.members.get(node)?.state === 'up';
  const surplus = gone.filter((node) => isUp(node) && !now.targets.includes(node));
  return surplus.length > 0 && !now.targets.every((node) => now.inSync.includes(node));
}

/** The number of voters sinks by leaving only: never below what the size asks for, while it was that high. */
function votersSank(before: ClusterView | undefined, now: ClusterView): string | undefined {
  if (before === undefined || now.voters.length >= before.voters.length) return undefined;
  const staying = [...now.members.values()].filter(
    ({ state, standing }) => state !== 'joined' && (standing === 'in' || standing === 'out'),
  );
  const wanted = staying.length >= 5 ? 5 : staying.length >= 3 ? 3 : Math.max(1, staying.length);
  const left = before.voters.filter((node) => now.members.has(node)).length;
  if (now.voters.length >= Math.min(wanted, left)) return undefined;
  return `1.3: voters ${before.voters.join(',')} sank to ${now.voters.join(',')} of ${staying.length} members`;
}

function fellBack(
  node: string,
  before: ClusterView | undefined,
  now: ClusterView,
): string | undefined {
  if (before === undefined || now.index >= before.index) return undefined;
  return `A10: ${node} had applied ${before.index} and is at ${now.index}`;
}
