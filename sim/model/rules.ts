// The rules that the model can break, one at a time, and within how many episodes each break is found. Without a break
// nothing may be found, in any number of episodes.

/** A rule that is broken on purpose. */
export interface BrokenRule {
  readonly breaks: string;
  readonly seed: number;
  /** From that seed, within so many. */
  readonly episodes: number;
  /** The rule is what is promised: no other invariant breaks when it does. */
  readonly isPromise: boolean;
}

function rule(breaks: string, episodes: number, seed = 1): BrokenRule {
  return { breaks, seed, episodes, isPromise: false };
}

function promise(breaks: string, episodes: number): BrokenRule {
  return { breaks, seed: 1, episodes, isPromise: true };
}

export const BROKEN_RULES = {
  noBarrier: rule('F3: a new holder waits until an in-sync member knows it', 1000),
  fenceBesideLog: rule('F4: a token is an entry, not a word to one replica', 8000, 4),
  sourceUnaware: rule('A8: the source of a drain knows of the joiner first', 1000),
  noDrain: rule('I4: promoted after the drain', 500),
  joinersLeftOut: rule('R3: joining members confirm, too', 500),
  majorityConfirms: rule('R3: every member of W confirms', 100),
  anyConfig: rule('F2: a replica refuses an older config', 2000),
  drainShortens: rule('I4: a drain only extends what is synced', 4000),
  touchInSyncOnly: rule('4.5: the first touch includes joining members', 4000),
  strangersWin: rule('4.3: a version outside of I never wins', 2000, 6),
  touchUnsealed: rule('4.5: members are sealed before their versions count', 500),
  sameIdentity: rule('6: a wiped disk is a new node', 200),
  fewConfirm: promise('R3: at least minCopies in-sync members confirm', 1000),
  joinersCount: promise('R3: joining members do not count towards minCopies', 2000),
  closedOnArrival: rule('R6: what is open at the source is open at the receiver', 2000),
  shrinksTooFar: promise('I6: no shrink below minCopies', 100),
  forgetsIndex: rule('A10: a restart keeps the applied index', 4000),
  readsUndoubted: rule('I12: who is not asked is doubtful before others are read alone', 8000),
  doubtfulWins: rule('I12: a doubtful member has no voice in a touch', 8000),
  settlesUncut: rule('I12: a doubtful member cuts what fenced holders left', 8000),
  cutsTheLiving: rule('I1: settling cuts no write of the last token', 20_000),
  doubtfulCount: rule('I12: doubtful members do not count for what may leave I', 8000),
  syncsLater: rule('R4: synced before it confirms', 200),
} as const satisfies Readonly<Record<string, BrokenRule>>;

export type RuleName = keyof typeof BROKEN_RULES;
export const RULE_NAMES = Object.keys(BROKEN_RULES) as readonly RuleName[];
