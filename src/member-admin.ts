// What an operator decides of the members, asked of any node: each is one log entry, judged by the state machine alone;
// here are the questions before it, and what its refusals mean to a person. Nothing here touches a block.

import {
  DELAY_SETTINGS,
  delayValue,
  MAX_MAINTENANCE_MS,
  maintenanceKey,
  maintenanceUntil,
} from './core/cluster-settings.ts';
import { copiesText } from './core/count-text.ts';
import { hasCode, OperatingError } from './core/errors.ts';
import { DEFAULT_POLICY, type NodeId } from './core/ids.ts';
import { INVITE_PREFIX, parseInvite } from './core/invite.ts';
import { type DownTimes, outBar, outInMs, partitionsOf, whatKeeps } from './core/life-plan.ts';
import type { ApplyResult, EntryBody } from './core/log-entry.ts';
import { lossWithout } from './core/lost.ts';
import { NO_PLACE, placesOf, policiesInUse, roomBar, spokenBar } from './core/member-room.ts';
import {
  heldKeys,
  RECOVERY_ENABLED_KEY,
  RECOVERY_SETTINGS,
  recoveryValue,
} from './core/recovery-settings.ts';
import { ringOf } from './core/ring-change.ts';
import { TRASH_SETTINGS, trashValue } from './core/trash.ts';
import { MIB } from './core/units.ts';
import type { ClusterView, Member } from './core/view.ts';
import { acceptLoss, type LossContext, lossPlan } from './loss-admin.ts';
import type {
  ClusterAdmin,
  DrainKind,
  InviteInfo,
  MemberFate,
  MovePlan,
  RecoverPlan,
} from './node-handle.ts';
import type { Clock } from './ports/ports.ts';
import { planOfRecovery } from './recover-plan.ts';

export interface MemberAdminContext {
  readonly self: NodeId;
  readonly clock: Pick<Clock, 'now' | 'date'>;
  readonly downTimes: DownTimes;
  readonly view: () => ClusterView;
  readonly propose: (body: EntryBody) => Promise<ApplyResult>;
  readonly askToExit: (node: NodeId) => Promise<void>;
  /** Bytes of copies that this node holds. */
  readonly usedBytes: () => number;
  readonly reachOf: (nodes: readonly NodeId[]) => Promise<ReadonlyMap<NodeId, number>>;
  /** Who of these members leads, by the word of a majority of the voters that it knows. */
  readonly leaderAmong: (nodes: readonly NodeId[]) => Promise<NodeId | undefined>;
  /** Gets what any member that answers knows. */
  readonly learn: () => Promise<unknown>;
  readonly lookForVoters: () => Promise<void>;
  readonly catchUp: () => Promise<void>;
  readonly dropLost: LossContext['dropLost'];
  /** A leader is known. */
  readonly hasLeader: () => boolean;
}

/** Makes the operator's side of one node. */
export function memberAdmin(context: MemberAdminContext): ClusterAdmin {
  const { view, askToExit, lookForVoters, catchUp } = context;
  const lifeOf = (node: NodeId) => ({ node, incarnation: memberOf(view(), node).incarnation });
  const decide = async (node: NodeId, body: EntryBody): Promise<void> => {
    const name = `n${memberOf(view(), node).node}`;
    done(await context.propose(body), name);
  };
  return {
    plan: (kind, node) => planOfMove(context, kind, node),
    fate: (node) => fateOf(context, node),
    drain: (node) => decide(node, { type: 'nodeLeave', node }),
    undrain: (node) => takeBack(context, node, ['leaving', 'gone'], 'is not being drained'),
    out: (node) => decide(node, { type: 'nodeOut', ...lifeOf(node), reason: 'operator' }),
    in: (node) => takeBack(context, node, ['out'], 'is not out'),
    forget: async (node) => {
      const member = memberOf(view(), node);
      // Without a leader the map still calls up who is gone: then it is the missing majority that bars it.
      const isThere = context.hasLeader() || (await context.reachOf([node])).has(node);
      if (isThere) mayBeForgotten(member);
      await decide(node, { type: 'nodeLost', node, by: `n${context.self}` });
    },
    maintenance: (node, forMs) => decide(node, maintenanceEntry(context, node, forMs)),
    weigh: async (node, weight) => {
      const { zone, isWitness } = memberOf(view(), node);
      if (isWitness && weight !== 0) throw noWeight(node);
      return decide(node, { type: 'nodeWeight', node, weight, zone });
    },
    rezone: async (node, zone) => {
      const { weight } = memberOf(view(), node);
      return decide(node, { type: 'nodeWeight', node, weight, zone });
    },
    kill: async (node) => {
      const member = memberOf(view(), node);
      await askToExit(node).catch((error: unknown) => {
        throw notKilled(member, error);
      });
    },
    invites: () => invitesOf(view()),
    revokeInvite: (id) => revoke(context, id),
    set: (name, value) => set(context, name, value),
    enableRecovery: (isEnabled) => enableRecovery(context, isEnabled),
    alterCopies: (copies, minCopies, strict) => {
      return alterCopies(context, { copies, minCopies, strict });
    },
    lossPlan: () => lossPlan(view()),
    acceptLoss: () => acceptLoss(context),
    lookForVoters,
    catchUp,
    recoverPlan: () => recoverPlan(context),
  };
}

function memberOf(view: ClusterView, node: NodeId): Member {
  const member = view.members.get(node);
  if (member !== undefined) return member;
  const former = view.retired.get(node);
  const what =
    former === undefined
      ? `there is no member n${node}`
      : `n${node} was ${former.how} and is no member any more`;
  throw new OperatingError('missing', what, { remedy: 'dog node list shows the members' });
}

/** The state machine says the same, without a cure. */
function mayBeForgotten({ node, state, standing }: Member): void {
  if (state !== 'up' || standing === 'gone') return;
  const name = `n${node}`;
  throw new OperatingError('refused', `${name} is up: it must be drained before it is forgotten`, {
    remedy: `dog node drain ${name}; when it is gone: dog node kill ${name}, dog node forget ${name}`,
  });
}

function noWeight(node: NodeId): OperatingError {
  return new OperatingError(
    'refused',
    `n${node} is a witness: it holds no data, and has no weight`,
    {
      remedy: 'for more room add a node that is none: dog cluster invite',
    },
  );
}

function notKilled({ node, state }: Member, cause: unknown): unknown {
  if (!hasCode(cause, 'timeout') && !hasCode(cause, 'unreachable')) return cause;
  const name = `n${node}`;
  const message =
    state === 'down' ? `${name} is down already: nobody answers there` : `${name} does not answer`;
  const remedy =
    state === 'down'
      ? `nothing is left to be ended; start it again, or, if its disk is lost: dog node forget ${name}`
      : 'look on its host whether its process hangs, and end it there; dog cluster health says more';
  return new OperatingError(cause.code, message, { advice: 'retry', remedy, cause });
}

function done(result: ApplyResult, name: string): void {
  const { code, detail } = result;
  if (code === 'ok' || code === 'duplicate') return;
  if (code === 'exists') {
    const remedy = 'dog node list shows how far it is, and how each member stands';
    throw new OperatingError('exists', detail, { remedy });
  }
  if (code === 'missing') throw new OperatingError('missing', detail);
  if (code === 'stale') {
    throw new OperatingError('busy', `${name} changed meanwhile: ${detail}`, {
      advice: 'retry',
      remedy: 'look with dog node list, then ask again',
    });
  }
  throw new OperatingError('degraded', `the cluster refused: ${spokenBar(detail)}`, {
    remedy: detail.includes(NO_PLACE)
      ? 'add members, or ask for fewer copies: dog cluster alter-copy'
      : 'look with dog node list and dog cluster health',
  });
}

async function takeBack(
  context: MemberAdminContext,
  node: NodeId,
  from: readonly Member['standing'][],
  otherwise: string,
): Promise<void> {
  const { incarnation, standing } = memberOf(context.view(), node);
  if (!from.includes(standing)) {
    const remedy = `it is ${standing}: dog node list shows how each member stands`;
    throw new OperatingError('exists', `n${node} ${otherwise}`, { remedy });
  }
  const body = { type: 'nodeIn', node, incarnation, reason: 'operator' } as const;
  done(await context.propose(body), `n${node}`);
}

/** Forgetting moves nothing: only what is lost with the member is told. */
function planOfForget(view: ClusterView, node: NodeId): MovePlan {
  memberOf(view, node);
  const warnings = lossWithout(view, node).map(({ volume, bytes }) => {
    return `the last copy of ${Math.ceil(bytes / MIB)} MiB of ${volume.name} is on it: they are LOST then`;
  });
  return { node, partitions: partitionsOf(view, node), aboutBytes: 0, bar: undefined, warnings };
}

function planOfMove(context: MemberAdminContext, kind: DrainKind, node: NodeId): MovePlan {
  const view = context.view();
  if (kind === 'forget') return planOfForget(view, node);
  const member = memberOf(view, node);
  const partitions = partitionsOf(view, node);
  const own = partitionsOf(view, context.self);
  const aboutBytes =
    partitions === 0 ? 0 : own === 0 ? undefined : (context.usedBytes() / own) * partitions;
  const others = ringOf([...view.members.values()].filter((one) => one.node !== node));
  const policies = policiesInUse(view.policies.values(), view);
  const holds = member.weight > 0 && member.state !== 'joined';
  const warnings: string[] = [];
  for (const policy of policies) {
    const places = placesOf(others, policy);
    if (!holds || places >= policy.copies) continue;
    warnings.push(
      `only ${places} of ${copiesText(policy.copies)} will be kept: nobody else is there`,
    );
  }
  const bar = holds ? roomBar(others, policies, 'min-copies') : undefined;
  if (kind === 'out' && member.state === 'up') warnings.push(`n${node} is up: a drain is gentler`);
  return {
    node,
    partitions,
    aboutBytes: aboutBytes === undefined ? undefined : Math.round(aboutBytes),
    bar: bar === undefined ? undefined : spokenBar(bar),
    warnings: [...new Set(warnings)],
  };
}

function fateOf(context: MemberAdminContext, node: NodeId): MemberFate {
  const { clock, downTimes } = context;
  const view = context.view();
  const member = memberOf(view, node);
  const moment = { now: clock.now(), dateMs: clock.date() };
  const isCounted = member.state === 'down' && member.standing === 'in';
  return {
    downMs: downTimes.downMs(node, moment.now),
    outInMs: outInMs(view, member, downTimes, moment),
    staysBecause: isCounted ? spokenBar(outBar(view, member) ?? '') : '',
    waitsFor: member.standing === 'leaving' ? whatKeeps(view, member) : [],
    maintenanceUntilMs: maintenanceUntil(view, node),
  };
}

function maintenanceEntry(
  context: MemberAdminContext,
  node: NodeId,
  forMs: number | undefined,
): EntryBody {
  const key = maintenanceKey(node);
  if (forMs === undefined) return { type: 'setting', key, value: '' };
  if (forMs <= 0 || forMs > MAX_MAINTENANCE_MS) {
    throw new OperatingError('usage', 'a maintenance lasts up to 30 days');
  }
  return { type: 'setting', key, value: String(context.clock.date() + forMs) };
}

function invitesOf(view: ClusterView): readonly InviteInfo[] {
  const invites: InviteInfo[] = [];
  for (const [key, value] of view.settings) {
    const invite = key.startsWith(INVITE_PREFIX) ? parseInvite(value) : undefined;
    if (invite === undefined) continue;
    const { madeMs, expiresMs, isSingleUse } = invite;
    invites.push({ id: key.slice(INVITE_PREFIX.length), madeMs, expiresMs, isSingleUse });
  }
  return invites;
}

async function revoke(context: MemberAdminContext, id: string): Promise<void> {
  const key = INVITE_PREFIX + id;
  if (!context.view().settings.has(key)) {
    throw new OperatingError('missing', `there is no invite ${id}`, {
      remedy: 'dog cluster invite list shows them',
    });
  }
  done(await context.propose({ type: 'setting', key, value: '' }), id);
}

async function set(context: MemberAdminContext, name: string, text: string): Promise<void> {
  const [key, value] = settingOf(name, text);
  done(await context.propose({ type: 'setting', key, value }), name);
}

function settingOf(name: string, text: string): readonly [key: string, value: string] {
  const delay = DELAY_SETTINGS.get(name);
  if (delay !== undefined) return [delay, delayValue(text)];
  const recovery = RECOVERY_SETTINGS.get(name);
  if (recovery !== undefined) return [recovery, recoveryValue(name, text)];
  const trash = TRASH_SETTINGS.get(name);
  if (trash !== undefined) return [trash, trashValue(text)];
  const known = [...DELAY_SETTINGS.keys(), ...RECOVERY_SETTINGS.keys(), ...TRASH_SETTINGS.keys()];
  throw new OperatingError('usage', `there is no setting "${name}"`, {
    remedy: `known: ${known.join(', ')}`,
  });
}

/** Everywhere; enabling also ends what members hold by themselves. */
async function enableRecovery(context: MemberAdminContext, isEnabled: boolean): Promise<void> {
  const what = 'recovery';
  const value = isEnabled ? '' : 'no';
  if (isEnabled) {
    for (const key of heldKeys(context.view())) {
      done(await context.propose({ type: 'setting', key, value: '' }), what);
    }
  }
  done(await context.propose({ type: 'setting', key: RECOVERY_ENABLED_KEY, value }), what);
}

async function alterCopies(
  context: MemberAdminContext,
  wanted: {
    readonly copies: number;
    readonly minCopies: number | undefined;
    readonly strict: boolean | undefined;
  },
): Promise<void> {
  const policy = DEFAULT_POLICY;
  const { copies, minCopies = Math.floor(copies / 2) + 1 } = wanted;
  const strict = wanted.strict ?? context.view().policies.get(policy)?.strict ?? false;
  const body = { type: 'policyChange', policy, copies, minCopies, strict } as const;
  done(await context.propose(body), 'the default policy');
}

/** What this node knows by itself may be old, and it may be the one that is cut off: everybody in reach is asked first. */
async function recoverPlan(context: MemberAdminContext): Promise<RecoverPlan> {
  await context.learn();
  const view = context.view();
  const reached = await context.reachOf([...new Set([...view.members.keys(), context.self])]);
  const others = [...reached.keys()].filter((node) => node !== context.self);
  const leader = await context.leaderAmong(others);
  if (leader !== undefined) {
    throw new OperatingError('refused', `n${leader} leads, and a majority of the voters says so`, {
      remedy: `nothing is to be forced: ask n${leader} instead, and look at the network of n${context.self}`,
    });
  }
  const plan = planOfRecovery(view, context.self, reached);
  const present = plan.voters.filter(({ commit }) => commit !== undefined);
  if (context.hasLeader() || present.length >= plan.needed) {
    const names = present.map(({ node }) => `n${node}`).join(', ');
    throw new OperatingError('refused', `a majority of the voters is in reach: ${names}`, {
      remedy: 'nothing is to be forced: the cluster decides by itself',
    });
  }
  return plan;
}
