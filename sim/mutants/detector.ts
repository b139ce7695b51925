// Mutants of the detector (C1): what an observer says, how a leader counts it, and whom a verdict names. They replace a
// method of a product class while they are hunted.

import { Agreement } from '../../src/agreement/agreement.ts';
import type { NodeId } from '../../src/core/ids.ts';
import { subjectsOf } from '../../src/core/membership.ts';
import { type Claim, Tally } from '../../src/core/tally.ts';
import type { ClusterView } from '../../src/core/view.ts';
import { backForGood } from '../scenarios/back-for-good.ts';
import { oneNodeLost } from '../scenarios/one-node-lost.ts';
import { shortCutLink } from '../scenarios/short-cut-link.ts';
import type { Stage } from '../stage.ts';
import type { Mutant } from './mutant.ts';

/** After its own return a node is hit by the verdict on its former life. */
const LATE_MS = 10_000;

function newest(stage: Stage): ClusterView | undefined {
  const views = [...stage.views.values()].sort((a, b) => b.index - a.index);
  return views[0];
}

/** C-detect: who hears no majority of its own subjects takes itself for the one that is cut off. */
export const silentObserver: Mutant = {
  name: 'silent-observer',
  breaks: 'C1.3: contact with the voters decides, not with the own subjects',
  story: oneNodeLost,
  patch: (stage) => {
    const { alert } = Agreement.prototype;
    const missed = new Map<NodeId, Set<NodeId>>();
    Agreement.prototype.alert = async function (word, isRumour) {
      const lost = missed.get(word.observer) ?? new Set();
      missed.set(word.observer, lost);
      if (word.down) lost.add(word.subject);
      else lost.delete(word.subject);
      const view = newest(stage);
      const count = view === undefined ? 0 : subjectsOf(view, word.observer).length;
      if (count - lost.size > count / 2) await alert.call(this, word, isRumour);
    };
    return () => {
      Agreement.prototype.alert = alert;
    };
  },
};

/** C1.5: distinct observers count; here one observer is two. */
export const countedTwice: Mutant = {
  name: 'alert-counted-twice',
  breaks: 'C1.5: the words of distinct observers count',
  story: shortCutLink,
  patch: (stage) => {
    const { note } = Tally.prototype;
    Tally.prototype.note = function (claim: Claim, now: number) {
      note.call(this, claim, now);
      const members = [...(newest(stage)?.members.keys() ?? [])];
      const second = members.find((node) => node !== claim.observer && node !== claim.subject);
      if (second !== undefined) note.call(this, { ...claim, observer: second }, now);
    };
    return () => {
      Tally.prototype.note = note;
    };
  },
};

/** C1.6: what was decided of a life is carried out on the next one. */
export const ignoresIncarnation: Mutant = {
  name: 'verdict-ignores-incarnation',
  breaks: 'C1.6: a verdict names a life and an epoch',
  story: backForGood,
  patch: (stage) => {
    const { propose } = Agreement.prototype;
    Agreement.prototype.propose = function (body, timeoutMs) {
      const outcome = propose.call(this, body, timeoutMs);
      if (body.type !== 'nodesDown') return outcome;
      stage.world.schedule(LATE_MS, undefined, () => {
        const view = newest(stage);
        const nodes = body.nodes.flatMap(({ node }) => {
          const incarnation = view?.members.get(node)?.incarnation;
          return incarnation === undefined ? [] : [{ node, incarnation }];
        });
        const baseEpoch = view?.epoch ?? body.baseEpoch;
        propose.call(this, { ...body, nodes, baseEpoch }, timeoutMs).catch(() => {});
      });
      return outcome;
    };
    return () => {
      Agreement.prototype.propose = propose;
    };
  },
};
