// Health of who is where: a second process with a member's identity, two nodes at one address, another history of the
// cluster. From what members met, and from the map. Pure.

import type { Warning } from '../core/admin-shapes.ts';
import type { NodeCondition } from '../core/condition.ts';
import type { NodeId } from '../core/ids.ts';
import type { KnownMixUp } from '../core/mix-up.ts';
import type { ClusterView, Member } from '../core/view.ts';

/** Every such check that is on; each kind once for each member, whoever tells of it. */
export function mixUpWarnings(
  view: ClusterView,
  conditions: readonly NodeCondition[],
  splitFrom: readonly NodeId[],
): readonly Warning[] {
  const told = conditions.flatMap(({ mixUps }) => mixUps);
  const split = splitFrom.map(
    (node) => ({ kind: 'other-history', node, address: '', found: 0 }) as const,
  );
  const met = new Map<string, KnownMixUp>();
  for (const mixUp of [...told, ...split, ...sharedAddresses(view)]) {
    const key = `${mixUp.kind} ${mixUp.node}`;
    const known = met.get(key);
    // Who names a place says more than who does not.
    if (known === undefined || known.address === '') met.set(key, mixUp);
  }
  return [...met.values()].flatMap((mixUp) => {
    const member = view.members.get(mixUp.node);
    return member === undefined ? [] : [warningOf(member, mixUp)];
  });
}

/** Members that said that they are where another one said the same. */
function sharedAddresses(view: ClusterView): readonly KnownMixUp[] {
  const at = new Map<string, NodeId>();
  const shared: KnownMixUp[] = [];
  for (const { node, addresses, standing } of view.members.values()) {
    if (standing === 'gone') continue;
    for (const address of addresses) {
      const other = at.get(address);
      if (other === undefined) at.set(address, node);
      else shared.push({ kind: 'address-taken', node: other, address, found: node });
    }
  }
  return shared;
}

function warningOf({ node, addresses }: Member, mixUp: KnownMixUp): Warning {
  const name = `n${node}`;
  const { kind, address, found } = mixUp;
  const at = address === '' ? '' : ` at ${address}`;
  if (kind === 'identity-twice') {
    return {
      code: 'IDENTITY_TWICE',
      severity: 'error',
      message: `a second process has the identity of ${name}${at}: its data directory was copied; that process is refused`,
      remedy: `end it, and remove the copy: ${name} is the one at ${addresses[0] ?? 'its address'}; a further host joins with an empty directory: sheep --join TOKEN`,
      affected: [name],
    };
  }
  if (kind === 'other-history') {
    return {
      code: 'MAP_SPLIT',
      severity: 'error',
      message: `${name}${at} contradicts what is decided here: it runs another history of this cluster`,
      remedy: `stop the process of ${name} at once (after a forced recovery: the voter that was given up), then dog node forget ${name}; its host joins anew with an empty directory`,
      affected: [name],
    };
  }
  const who = found === 0 ? 'another node' : `n${found}`;
  return {
    code: 'ADDRESS_TAKEN',
    severity: 'warning',
    message: `${who} answers${at}, the address of ${name}`,
    remedy: `give each its own address (sheep --listen) and restart ${name}; if the disk of ${name} was wiped or replaced: dog node forget ${name}`,
    affected: found === 0 ? [name] : [name, `n${found}`],
  };
}
