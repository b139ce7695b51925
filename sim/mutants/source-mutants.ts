// Mutants of the source itself: rules of the state machine can not be broken from outside of the product, since every
// node applies them. Each replaces one text of one file while it is loaded, in a process of its own, and names the story
// that must catch it.
//
// Some rules have more than one guard; then all of them are broken at once (`also`), since no story fails when one of them
// is broken alone: unit tests judge each (core/doubtful.test.ts, datapath/writeback.test.ts, datapath/repair.test.ts).

import { CARE_MUTANTS } from './care-mutants.ts';
import { COPY_MUTANTS } from './copy-mutants.ts';
import { HANDOVER_MUTANTS } from './handover-mutants.ts';
import { LAYER_MUTANTS } from './layer-mutants.ts';
import { LOCK_MUTANTS } from './lock-mutants.ts';
import { MOVE_MUTANTS } from './move-mutants.ts';
import { OUTAGE_MUTANTS } from './outage-mutants.ts';
import { STORY_MUTANTS } from './story-mutants.ts';

export interface SourceMutant {
  readonly name: string;
  /** The rule that it breaks. */
  readonly breaks: string;
  readonly story: string;
  readonly file: string;
  /** Must be in the file, once. */
  readonly from: string;
  readonly to: string;
  /** Further guards of the same rule, which no story can see broken one by one: unit tests judge each of them. */
  readonly also?: readonly Break[];
}

interface Break {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

export const SOURCE_MUTANTS: readonly SourceMutant[] = [
  {
    name: 'copy-goes-on',
    breaks: 'one process per identity: the second one ends when it is told (decision 47)',
    story: 'identity-twice',
    file: 'src/retirement.ts',
    from: "if (code === 'locked')",
    to: "if (code === 'busy')",
  },
  {
    name: 'given-up-comes-back',
    breaks: 'section 6: a voter that a forced recovery gave up is let in nowhere',
    story: 'older-history',
    file: 'src/core/cluster-settings.ts',
    from: 'return member !== undefined && view.settings.get(givenUpKey(node))',
    to: 'return member === undefined && view.settings.get(givenUpKey(node))',
  },
  {
    name: 'histories-are-not-compared',
    breaks: 'section 6: what knows decisions that the forced history does not have stays out',
    story: 'older-history',
    file: 'src/agreement/history-check.ts',
    from: 'if (last.index === 0 || last.term === undefined) return undefined;',
    to: 'if (last.index >= 0) return undefined;',
    also: [
      {
        file: 'src/core/history.ts',
        from: "if (wasLeftBehind(ours, theirs)) return 'ours';",
        to: 'if (ours.index >= 0) return undefined;',
      },
      {
        file: 'src/core/raft/step.ts',
        from: 'if (isOther || (state.commit > 0 && shown !== termAt(state, state.commit))) {',
        to: 'if (run.length === 0) {',
      },
    ],
  },
  {
    name: 'out-below-min-copies',
    breaks:
      'I6: a member that is called out stays in the in-sync sets that would sink below minCopies',
    story: 'two-out',
    file: 'src/core/apply-life.ts',
    from: "  return placed(state, { ...found, standing: 'out', outBy: body.reason });",
    to: `  const outside = placed(state, { ...found, standing: 'out', outBy: body.reason });
  return { ...outside, state: withPolicies(outside.state, (policy) => withoutLost(policy, body.node)) };`,
  },
  {
    name: 'released-early',
    breaks: 'I5: nobody is released before the successors are in sync',
    story: 'drain-under-load',
    file: 'src/core/partition.ts',
    from: 'config.targets.length === 0 || !containsAll(config.inSync, config.targets)',
    to: 'config.targets.length === 0',
  },
  {
    name: 'voters-sink',
    breaks: '1.3: the number of voters never sinks because of failures',
    story: 'one-node-lost',
    file: 'src/core/voter-choice.ts',
    from: "return member.state !== 'joined' && (member",
    to: "return member.state === 'up' && (member",
  },
  {
    name: 'vote-before-sync',
    breaks: 'C2.1, A1: a vote leaves only after it is synced',
    story: 'half-a-vote',
    file: 'src/core/raft/election.ts',
    from: "sendDurable(turn, from, { type: 'voteReply', term: state.term, granted });",
    to: "sendNow(turn, from, { type: 'voteReply', term: state.term, granted });",
  },
  {
    name: 'snapshot-unchecked',
    breaks: 'A4: an installed state hashes as its maker said',
    story: 'bad-snapshot',
    file: 'src/wire/snapshot-codec.ts',
    from: '(isKnown && hashOf(state) !== stateHash)',
    to: '(isKnown && stateHash.length === 0)',
  },
  {
    name: 'compacts-and-keeps-silent',
    breaks: 'C2.5: who needs what was compacted is offered a snapshot',
    story: 'away-too-long',
    file: 'src/agreement/agreement.ts',
    from: 'if (committed === undefined) return this.#snapshots.answerCompacted();',
    to: "if (committed === undefined) return { type: 'entries', entries: [], commit: from };",
  },
  {
    name: 'damaged-voter-votes',
    breaks: 'C2.6: a voter whose log is damaged promises nothing until it has caught up',
    story: 'forgotten-entry',
    file: 'src/core/raft/step.ts',
    from: '  if (state.isMuted) {\n    // What it may',
    to: "  if (state.isMuted && message.type === 'unable') {\n    // What it may",
  },
  {
    name: 'image-not-asked',
    breaks: 'C1.9: a node asks at its start what its observers saw of its disk',
    story: 'old-image',
    file: 'src/own-life.ts',
    from: 'const more = seen.find((word) => isOlderImage(start, word));',
    to: 'const more = seen.find((word) => word.by === 0 && isOlderImage(start, word));',
  },
  {
    name: 'image-not-told-later',
    breaks: 'C1.9: an observer that was not heard at the start says it later',
    story: 'old-image',
    file: 'src/image-duties.ts',
    from: 'if (found.length === 0) {',
    to: 'if (found.length >= 0) {',
  },
  {
    name: 'no-member-book',
    breaks: 'C2.6: a node whose map is gone knows whom to ask',
    story: 'damaged-snapshot',
    file: 'src/build-node.ts',
    from: 'const known = loadMemberBook(this.#ports.disk, this.#ports.trace);',
    to: 'const known = loadMemberBook(this.#ports.disk, this.#ports.trace).slice(0, 0);',
  },
  {
    name: 'believes-itself',
    breaks: 'C2.8: whose map differed takes it from the others at its next start',
    story: 'broken-state',
    file: 'src/formed-node.ts',
    from: 'distrustMap(ports.disk).then(end, end);',
    to: 'if (distrustMap !== undefined) end();',
  },
  {
    name: 'load-ignored',
    breaks: '1.3: of candidates that stand alike the less loaded one votes',
    story: 'voter-by-load',
    file: 'src/duties.ts',
    from: 'loadOf: (node) => loads.stepOf(node),',
    to: 'loadOf: (node) => loads.stepOf(node) * 0,',
  },
  {
    name: 'slow-not-told',
    breaks: 'C1.7: writers tell who is slow',
    story: 'slow-replica',
    file: 'src/core/slow.ts',
    from: 'if (isSlow) this.#looks.set(',
    to: 'if (isSlow && all.length < 0) this.#looks.set(',
  },
  {
    name: 'reads-by-itself',
    breaks: 'C2.3: a leader answers a current read after a majority confirmed it',
    story: 'current-reads',
    file: 'src/core/raft/reads.ts',
    from: 'if (!hasQuorum(set, (node) => confirmed.has(node))) return true;',
    to: 'if (set === undefined || confirmed.size === 0) return true;',
  },
  {
    name: 'doubtful-counts-as-live',
    breaks: 'R8: who leaves I leaves live members that are sure',
    story: 'writeback-sure-one-cut',
    file: 'src/core/partition.ts',
    from: 'if (config.doubtful.length === 0) return upCount(config, isLive);',
    to: 'if (config.doubtful.length >= 0) return upCount(config, isLive);',
  },
  {
    name: 'sums-not-checked',
    breaks: 'I8: data returned to a guest passed its checksum',
    story: 'bit-rot',
    file: 'src/core/checksum.ts',
    from: 'return sum !== NO_SUM && sectorSum(generation, index, sector, bytes, at) === sum;',
    to: 'return sum !== NO_SUM;',
  },
  {
    name: 'lost-file-is-zeroes',
    breaks:
      '4.10: a row of kind data without its file or sums is corruption, never "not written yet"',
    story: 'bit-rot',
    file: 'src/storage/object-cache.ts',
    from: 'this.lose(state, sums === undefined ? this.#whyNone(state) : String(sums.slotSequence));\n      return false;',
    to: 'this.setPage(state, emptyPage());\n      return true;',
  },
  {
    name: 'proposed-anew',
    breaks: 'C2.5: a proposal that is tried again is the same one',
    story: 'commands',
    file: 'src/agreement/proposer.ts',
    from: 'const attempt = this.#attempt(origin, body, applied);',
    to: `const anew = await this.#enter(deadline);
        const attempt = this.#attempt(anew.origin, body, anew.applied);
        void attempt.finally(() => this.#pending.delete(anew.origin.counter));`,
  },
  {
    name: 'exists-by-view',
    breaks: 'C2.3: the log says that a name is taken',
    story: 'commands',
    file: 'src/admin.ts',
    from: '  const policy = await policyFor(agreement, view, options);',
    to: `  if (view.volumeByName(name) !== undefined) throw exists(name);
  const policy = await policyFor(agreement, view, options);`,
  },
  {
    name: 'missing-by-view',
    breaks: 'C2.3: nothing is missing before this node has caught up',
    story: 'commands',
    file: 'src/admin.ts',
    from: '  await agreement.readCurrent();',
    to: '  if (agreement === undefined) throw missing(name);',
  },
  {
    name: 'moves-first',
    breaks: '4.8: partitions that lack copies are recovered before anything is moved',
    story: 'recovery-order',
    file: 'src/core/recovery-order.ts',
    from: 'const sorted = [...wishes].sort((a, b) => a.urgency - b.urgency);',
    to: 'const sorted = [...wishes].sort((a, b) => b.urgency - a.urgency);',
  },
  {
    name: 'pause-ignored-by-leader',
    breaks: 'a pause holds copies: nobody joins while recovery is paused',
    story: 'recovery-paused',
    file: 'src/core/recovery-plan.ts',
    from: 'return urgency !== URGENCY.below && isRecoveryHeld(view, node);',
    to: 'return urgency < 0;',
  },
  {
    name: 'write-waits-for-more',
    breaks:
      '4.6: a write to an object that a joiner lacks waits for that object, not for the partition',
    story: 'recovery-paused',
    file: 'src/catch-up-round.ts',
    from: '    return isJoinDue(view, this.#parts.self, where);',
    to: '    return view.partition(where.policy, where.p).joining.includes(this.#parts.self);',
  },
  {
    name: 'done-too-early',
    breaks: 'a recovery is over when each of its partitions is in sync, not one sooner',
    story: 'recovery-paused',
    file: 'src/core/recovery-progress.ts',
    from: 'if (task.parts.size === 0) task.endedMs = at.dateMs;',
    to: 'if (task.parts.size <= 8) task.endedMs = at.dateMs;',
  },
  {
    name: 'counted-twice',
    breaks: 'recovery is never above its total: a partition counts once',
    story: 'recovery-paused',
    file: 'src/core/recovery-progress.ts',
    from: 'this.#overBytes += part.bytes ?? 0;',
    to: 'this.#overBytes += 2 * (part.bytes ?? 0);',
  },
  {
    name: 'since-ignored',
    breaks: '4.7: who did not see a member leave does not know what it misses',
    story: 'outages-overlap',
    file: 'src/core/outage.ts',
    from: 'before.inSync.includes(self) && before.inSync.includes(node);',
    to: 'before.inSync.includes(self);',
  },
  {
    name: 'late-joiner-knows',
    breaks: '4.7: who came into the in-sync set later has no notes of those that left before',
    story: 'outages-overlap',
    file: 'src/core/outage.ts',
    from: 'before.inSync.includes(self) && before.inSync.includes(node);',
    to: 'before.joining.includes(self) || before.inSync.includes(node);',
  },
  {
    name: 'abort-forgets',
    breaks: '4.7: what was noted before a join that is given up still counts',
    story: 'short-outage',
    file: 'src/core/outage.ts',
    from: "return 'reopen';",
    to: "return 'note';",
  },
  {
    name: 'read-only-undoubted',
    breaks: 'I12: before a read-only touch is read the log knows who was not asked',
    story: 'two-at-once',
    file: 'src/core/read-only.ts',
    from: "if (absent.some((node) => isSure(config, node))) return { kind: 'doubt' };",
    to: '',
  },
  {
    name: 'settles-uncut',
    breaks: 'I12: a doubtful member cuts what it has beyond a sure one from fenced holders',
    story: 'two-at-once',
    file: 'src/datapath/settle.ts',
    from: 'return isNeverAcknowledged(versionOfRow(own), versionOfRow(row), volume.lock.token);',
    to: 'return own.verToken < 0;',
  },
  {
    name: 'lost-waits',
    breaks: 'section 6: requests to what is lost fail at once',
    story: 'lost-for-good',
    file: 'src/datapath/context.ts',
    from: 'if (view.retired.size === 0 || ',
    to: 'if (view.retired.size >= 0 || ',
  },
  ...OUTAGE_MUTANTS,
  ...COPY_MUTANTS,
  ...LAYER_MUTANTS,
  ...LOCK_MUTANTS,
  ...HANDOVER_MUTANTS,
  ...MOVE_MUTANTS,
  ...CARE_MUTANTS,
  ...STORY_MUTANTS,
  {
    name: 'copies-ignored',
    breaks: 'decision 16: another number of copies is another choice of the ring',
    story: 'copies-change',
    file: 'src/core/policy-state.ts',
    from: 'return withRing({ ...state, policy, cfg, cache: [] }, ring, isLive);',
    to: 'return ring === undefined ? withRing(state, ring, isLive) : { ...state, policy, cfg, cache: [] };',
  },
  {
    name: 'stale-copies-stay',
    breaks: 'section 6: who accepts a loss holds nothing of what was lost',
    story: 'lost-and-stale',
    file: 'src/datapath/surplus.ts',
    from: 'if (!isLostIn(view, config) || isMember(config, self)) continue;',
    to: 'if (isLostIn(view, config) || isMember(config, self)) continue;',
  },
];
