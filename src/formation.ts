// How a node comes to belong to a cluster: it formats one, or knocks at a member with a token. Also the member's side of
// the knock. Both end with the superblock adopting (cluster, node): the one durable fact that decides.

import { createHash } from 'node:crypto';
import type { Agreement } from './agreement/agreement.ts';
import { isGivenUp } from './core/cluster-settings.ts';
import { type ErrorCode, hasCode, messageOf, OperatingError } from './core/errors.ts';
import type { ClusterId, Incarnation, MapIndex, NodeId, PeerKey } from './core/ids.ts';
import {
  INVITE_PREFIX,
  inviteBar,
  inviteValue,
  MAX_INVITE_MS,
  parseInvite,
} from './core/invite.ts';
import { MAX_COPIES } from './core/limits.ts';
import type { EntryBody, LogEntry } from './core/log-entry.ts';
import { decodeToken, encodeToken, type JoinToken } from './core/token.ts';
import { OBJECT_BYTES } from './core/units.ts';
import type { ClusterView } from './core/view.ts';
import { identityTaken, whyGivenUp, whyRetired } from './formed-errors.ts';
import type { FormatOptions } from './node-handle.ts';
import type { Clock, Knocker, Network, PeerAddress, Random, Trace } from './ports/ports.ts';
import type { RaftLog } from './storage/raft-log.ts';
import {
  decodeJoinReply,
  decodeJoinRequest,
  encodeJoinReply,
  encodeJoinRequest,
  type JoinReply,
  type JoinRequest,
  KNOCK_VERSION,
  MAX_REFUSAL_CHARS,
  PROTOCOL,
} from './wire/messages.ts';

export const KNOCK_TIMEOUT_MS = 5000;
/** How long a member tries to get a joiner into the log. */
export const JOIN_PROPOSE_MS = 4000;
const DEFAULT_PARTITIONS = 4096;
const MIN_PARTITIONS = 16;
const MAX_PARTITIONS = 65536;
const HASH_VERSION = 1;

/** The node that formats is node 1 by definition (core/raft/voters.ts). */
export const FIRST_NODE = 1 as NodeId;

/** How a node became a member. */
export interface Admission {
  readonly node: NodeId;
  readonly clusterId: ClusterId;
  readonly members: readonly PeerAddress[];
}

export interface Place {
  readonly zone: string;
  readonly weight: number;
  /** Votes, holds no data: its weight is 0. */
  readonly isWitness?: boolean;
}

/**
 * Checks the options of a format.
 * @throws OperatingError 'usage' that names the option
 */
export function formatEntry(options: FormatOptions, clusterId: ClusterId): EntryBody {
  const { copies, strict = false, partitions = DEFAULT_PARTITIONS, name } = options;
  const minCopies = options.minCopies ?? Math.floor(copies / 2) + 1;
  demand(
    Number.isInteger(copies) && copies >= 1 && copies <= MAX_COPIES,
    `copies must be from 1 to ${MAX_COPIES}`,
  );
  demand(
    Number.isInteger(minCopies) && minCopies >= 1 && minCopies <= copies,
    'min-copies must be from 1 to the number of copies',
  );
  const isPower = Number.isInteger(Math.log2(partitions));
  demand(
    isPower && partitions >= MIN_PARTITIONS && partitions <= MAX_PARTITIONS,
    `partitions must be a power of two from ${MIN_PARTITIONS} to ${MAX_PARTITIONS}`,
  );
  demand(/^[\w.-]{1,64}$/.test(name), 'a cluster name is 1 to 64 letters, digits, ".", "-", "_"');
  return {
    type: 'format',
    clusterId,
    name,
    partitions,
    copies,
    minCopies,
    strict,
    objectBytes: OBJECT_BYTES,
    hashVersion: HASH_VERSION,
  };
}

/** Writes the first two entries of a new map log: the format and its first member. Resolves when they are synced. */
export function writeFirstEntries(
  log: RaftLog,
  format: EntryBody,
  first: { peerKey: PeerKey; addresses: readonly string[] } & Place,
): Promise<void> {
  const origin = { node: 0 as NodeId, incarnation: 0 as Incarnation, counter: 0 };
  const bodies: readonly EntryBody[] = [format, { type: 'nodeJoin', ...first }];
  const entries = bodies.map(
    (body, at): LogEntry => ({ index: (at + 1) as MapIndex, term: 1, origin, body }),
  );
  return new Promise((resolve) => {
    log.append({ hardState: { term: 1, vote: 0 }, entries, commit: entries.length }, resolve);
  });
}

/** 32 hex digits. */
export function mintClusterId(random: Random): ClusterId {
  return Buffer.from(random.bytes(16)).toString('hex') as ClusterId;
}

export interface InviteOptions {
  /** Never ends unless given. */
  readonly ttlMs?: number;
  /** One node may use it. */
  readonly isSingleUse?: boolean;
}

/**
 * Makes an invite: its hash goes into the log, the secret into the token only.
 * @throws OperatingError 'no-quorum', 'unreachable', 'usage'
 */
export async function makeInvite(
  agreement: Pick<Agreement, 'propose'>,
  view: ClusterView,
  world: { readonly random: Random; readonly clock: Pick<Clock, 'date'> },
  options: InviteOptions = {},
): Promise<string> {
  const { ttlMs, isSingleUse = false } = options;
  demand(
    ttlMs === undefined || (ttlMs > 0 && ttlMs <= MAX_INVITE_MS),
    'an invite lives up to a year',
  );
  const { random, clock } = world;
  const inviteId = Buffer.from(random.bytes(6)).toString('hex');
  const secret = Buffer.from(random.bytes(24)).toString('base64url');
  const addresses = [...view.members.values()]
    .filter((member) => member.state === 'up')
    .flatMap((member) => member.addresses.map((address) => `${address}/p2p/${member.peerKey}`));
  if (addresses.length === 0) {
    throw new OperatingError('unreachable', 'no member that is up can be dialled', {
      advice: 'retry',
    });
  }
  const madeMs = clock.date();
  const expiresMs = ttlMs === undefined ? 0 : madeMs + ttlMs;
  const value = inviteValue({ hash: hashOfSecret(secret), expiresMs, isSingleUse, madeMs });
  await agreement.propose({ type: 'setting', key: INVITE_PREFIX + inviteId, value });
  return encodeToken({ clusterId: view.clusterId, addresses, inviteId, secret });
}

/**
 * The joiner's side: knocks at each address of the token until a member lets it in.
 * @throws OperatingError as the member refused, or 'unreachable' naming all addresses
 */
export async function knockWith(network: Network, token: string, place: Place): Promise<Admission> {
  const parts = decodeToken(token);
  const failures: string[] = [];
  for (const address of parts.addresses) {
    const reply = await knockAt(network, address, parts, place).catch((error: unknown) => {
      failures.push(`${address}: ${messageOf(error)}`);
      return undefined;
    });
    if (reply?.type === 'joined') return reply;
    if (reply?.type === 'refused') {
      if (reply.code !== 'no-quorum') throw refusalOf(reply, address);
      failures.push(`${address}: ${reply.text}`);
    }
  }
  throw new OperatingError('unreachable', `no member let this node in: ${failures.join('; ')}`, {
    advice: 'retry',
    remedy: 'check that a member of the token is up and in reach, or make a new token',
  });
}

/** In the words of the member; they name another cluster "this". */
function refusalOf({ code, text }: { code: ErrorCode; text: string }, address: string): Error {
  if (code !== 'wrong-cluster') return new OperatingError(code, text);
  return new OperatingError(code, `the member at ${address} refused: ${text}`, {
    remedy: 'use a token that dog cluster invite printed on a member of the cluster to join',
  });
}

/** One knock. Rejects when nobody answers. */
export async function knockAt(
  network: Network,
  address: string,
  token: JoinToken,
  place: Place,
  timeoutMs = KNOCK_TIMEOUT_MS,
): Promise<JoinReply> {
  const { clusterId, inviteId, secret } = token;
  const addresses = network.addresses();
  const request = encodeJoinRequest({
    ...{ clusterId, inviteId, secret, addresses },
    ...{ zone: place.zone, weight: place.weight, isWitness: place.isWitness ?? false },
    ...PROTOCOL,
  });
  return decodeJoinReply(await network.knock(address, request, timeoutMs));
}

/** What a member needs to answer a knock. */
export interface Doorkeeper {
  readonly agreement: Pick<Agreement, 'propose'> | undefined;
  readonly view: ClusterView | undefined;
  readonly clock: Pick<Clock, 'date'>;
  readonly trace: Pick<Trace, 'warn'>;
}

/** The member's side: a stranger with a good token becomes a member of the log. Refusals are told on both sides. */
export async function answerKnock(
  door: Doorkeeper,
  from: Knocker,
  bytes: Uint8Array,
): Promise<Uint8Array> {
  try {
    return encodeJoinReply(await admit(door, from, bytes));
  } catch (error) {
    const code = error instanceof OperatingError ? error.code : 'refused';
    const text = hasCode(error, 'bad-frame') ? unreadable(bytes) : messageOf(error);
    const short = text.slice(0, MAX_REFUSAL_CHARS).toWellFormed();
    const { peer, address } = from;
    door.trace.warn('knock.refused', { peer, address, code, reason: short });
    return encodeJoinReply({ type: 'refused', code, text: short });
  }
}

function unreadable(bytes: Uint8Array): string {
  const { oldest, newest } = PROTOCOL;
  return `the versions do not fit: a knock of format ${bytes[0] ?? 0}, here ${KNOCK_VERSION}; protocol ${oldest} to ${newest}`;
}

async function admit(door: Doorkeeper, from: Knocker, bytes: Uint8Array): Promise<JoinReply> {
  const { view, agreement, clock } = door;
  const { peer: peerKey } = from;
  if (view === undefined || agreement === undefined) {
    throw new OperatingError('not-formatted', 'this node has no cluster yet');
  }
  const knock = decodeJoinRequest(bytes);
  checkKnock(view, knock);
  const { inviteId, secret, addresses, zone, weight, isWitness } = knock;
  refuseUnwanted(view, from);
  const secretHash = hashOfSecret(secret);
  const dateMs = clock.date();
  const invite = parseInvite(view.settings.get(INVITE_PREFIX + inviteId));
  const bar = inviteBar(invite, { secretHash, dateMs });
  // A member whose answer was lost knocks again, its single-use token used up, and the log knows it.
  if (bar !== undefined && view.memberByKey(peerKey) === undefined) {
    throw new OperatingError('refused', `${bar}: make one with dog cluster invite`);
  }
  const members = [...view.members.values()].map((m) => ({
    peer: m.peerKey,
    addresses: m.addresses,
  }));
  const known = view.memberByKey(peerKey);
  if (known !== undefined && inviteId === '') {
    return { type: 'joined', node: known.node, clusterId: view.clusterId, members };
  }
  const who = { peerKey, addresses, zone, weight, isWitness };
  const body: EntryBody = { type: 'nodeAdmit', ...who, inviteId, secretHash, dateMs };
  const result = await agreement.propose(body, JOIN_PROPOSE_MS);
  if (result.value === 0) throw new OperatingError('refused', result.detail);
  return { type: 'joined', node: result.value as NodeId, clusterId: view.clusterId, members };
}

/** Whose identity never comes back, and whose identity is another process's. */
function refuseUnwanted(view: ClusterView, { peer, isSecond }: Knocker): void {
  const former = [...view.retired.values()].find(({ peerKey }) => peerKey === peer);
  const known = view.memberByKey(peer);
  if (known !== undefined && isSecond) throw identityTaken(known);
  const why =
    former !== undefined
      ? whyRetired(former.node, former.how)
      : known !== undefined && isGivenUp(view, known.node)
        ? whyGivenUp(known.node)
        : undefined;
  if (why === undefined) return;
  throw new OperatingError('gone', `${why}; an empty data directory joins as a new node`);
}

function checkKnock(view: ClusterView, knock: JoinRequest): void {
  const { clusterId, oldest, newest } = knock;
  if (clusterId !== view.clusterId) {
    throw new OperatingError(
      'wrong-cluster',
      `this is cluster ${view.clusterId}, not ${clusterId}`,
    );
  }
  if (oldest <= PROTOCOL.newest && newest >= PROTOCOL.oldest) return;
  const here = `${PROTOCOL.oldest} to ${PROTOCOL.newest}`;
  throw new OperatingError(
    'unsupported',
    `the versions do not fit: this cluster speaks protocol ${here}, the joiner ${oldest} to ${newest}`,
  );
}

function hashOfSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

function demand(isFine: boolean, rule: string): void {
  if (!isFine) throw new OperatingError('usage', rule);
}
