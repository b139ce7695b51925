// What a request's body may say. Whatever comes from the network is checked here: unknown keys, wrong types and values
// out of range are refused with a sentence, never passed on.

import type {
  AlterCopiesRequest,
  FormatRequest,
  InviteRequest,
  MaintenanceRequest,
  SettingRequest,
  UnlockRequest,
  WeightRequest,
  ZoneRequest,
} from '../core/admin-shapes.ts';
import { MAX_MAINTENANCE_MS } from '../core/cluster-settings.ts';
import type { CheckRequest } from '../core/copy-shapes.ts';
import { OperatingError } from '../core/errors.ts';
import { MAX_INVITE_MS } from '../core/invite.ts';
import { MAX_COPIES, MAX_WEIGHT, ZONE_PATTERN } from '../core/limits.ts';
import { MAX_TOKEN } from '../core/lock.ts';
import type { ScrubCommand } from '../core/scrub.ts';
import { MAX_SNAPSHOT_VOLUMES, MAX_TAG_BYTES } from '../core/snapshot-name.ts';
import {
  ATTACH_MODES,
  MAX_IO_TIMEOUT_MS,
  MAX_VOLUME_OBJECTS,
  MIN_IO_TIMEOUT_MS,
  MODES,
} from '../core/volume.ts';
import { MAX_BANDWIDTH, MAX_IOPS, MIN_BANDWIDTH } from '../core/volume-rates.ts';
import type {
  AlterRequest,
  AttributeRequest,
  BecomeRequest,
  CloneRequest,
  CreateRequest,
  MigrateRequest,
  RenameRequest,
  ResizeRequest,
  RestoreRequest,
  SnapshotRequest,
} from '../core/volume-shapes.ts';

/** Longest text of any field, in UTF-16 units. */
const MAX_TEXT = 255;
const MAX_PARTITIONS = 65536;
/** Indexes of one slice of a check. */
export const MAX_CHECK_OBJECTS = 256;
/** `name@tag` */
const MAX_SNAPSHOT_TEXT = MAX_TEXT + 1 + MAX_TAG_BYTES;

const DAY_MS = 86_400_000;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

type Rule =
  | 'text'
  | 'flag'
  | 'bytes'
  | 'texts'
  | { readonly longest: number }
  | {
      readonly from: number;
      readonly to: number;
      readonly isTime?: string;
      /** 0 is fine as well; the rest of the sentence, and the cure. */
      readonly orNone?: { readonly problem: string; readonly remedy: string };
    }
  | { readonly oneOf: readonly string[] };
type Rules = Readonly<Record<string, Rule>>;

const COPIES: Rule = { from: 1, to: MAX_COPIES };
const POLICY: Rules = { copies: COPIES, minCopies: COPIES, strict: 'flag' };
const FORMAT: Rules = {
  ...POLICY,
  name: 'text',
  partitions: { from: 1, to: MAX_PARTITIONS },
  force: 'flag',
};
const TTL: Rule = { from: 1, to: MAX_INVITE_MS, isTime: 'an invite lives' };
const MAINTENANCE: Rule = { from: 1, to: MAX_MAINTENANCE_MS, isTime: 'a maintenance lasts' };
const INVITE: Rules = { ttlMs: TTL, isSingleUse: 'flag' };
const SCRUB: Rules = { action: 'text', kind: 'text' };
const MIGRATE: Rules = { node: 'text', cancel: 'flag' };
const UNLOCK: Rules = { token: { from: 0, to: MAX_TOKEN }, by: 'text' };
const IO_TIMEOUT: Rule = {
  from: MIN_IO_TIMEOUT_MS,
  to: MAX_IO_TIMEOUT_MS,
  orNone: {
    problem:
      'an io-timeout is none, or from 1 s to a day: while a node is called down requests wait for seconds',
    remedy: 'take 30s, or none: then they wait for as long as it takes',
  },
};
const ATTACH_MODE: Rule = { oneOf: ATTACH_MODES };
const RATES: Rules = {
  iops: {
    ...{ from: 1, to: MAX_IOPS },
    orNone: { problem: `"iops" is 0 (no limit) or up to ${MAX_IOPS}`, remedy: 'take 500, or 0' },
  },
  bytesPerSecond: {
    ...{ from: MIN_BANDWIDTH, to: MAX_BANDWIDTH },
    orNone: {
      problem: `"bytesPerSecond" is 0 (no limit) or from ${MIN_BANDWIDTH} to ${MAX_BANDWIDTH}`,
      remedy: 'take 52428800, or 0',
    },
  },
};
const ALTER: Rules = {
  ...RATES,
  ioTimeoutMs: IO_TIMEOUT,
  attachMode: ATTACH_MODE,
  mode: { oneOf: MODES },
};
/** What is no size of a volume is said with the cure, later. */
const SIZE: Rule = { from: Number.MIN_SAFE_INTEGER, to: Number.MAX_SAFE_INTEGER };
const CREATE: Rules = {
  ...POLICY,
  ...RATES,
  name: 'text',
  sizeBytes: SIZE,
  mode: { oneOf: MODES },
  attachMode: ATTACH_MODE,
  ioTimeoutMs: IO_TIMEOUT,
};

/** @throws OperatingError 'usage' */
export function parseFormat(body: unknown): FormatRequest {
  const request = checked(body ?? {}, FORMAT) as FormatRequest;
  checkMinCopies(request);
  return request;
}

/** @throws OperatingError 'usage' */
export function parseCreate(body: unknown): CreateRequest {
  const request = checked(body, CREATE) as unknown as CreateRequest;
  if (request.name === undefined) throw usage('the field "name" is missing');
  if (request.sizeBytes === undefined) throw usage('the field "sizeBytes" is missing');
  checkMinCopies(request);
  return request;
}

/** @throws OperatingError 'usage' */
export function parseAlter(body: unknown): AlterRequest {
  const request = checked(body, ALTER);
  if (Object.keys(request).length === 0) {
    throw usage(`say what to alter: ${Object.keys(ALTER).join(', ')}`);
  }
  return request as AlterRequest;
}

/** @throws OperatingError 'usage' */
export function parseRename(body: unknown): RenameRequest {
  const request = checked(body, { to: 'text', force: 'flag' });
  if (request['to'] === undefined) throw usage('the field "to" is missing');
  return request as unknown as RenameRequest;
}

/** @throws OperatingError 'usage' */
export function parseProtect(body: unknown): { readonly isProtected: boolean } {
  const request = checked(body, { isProtected: 'flag' });
  if (request['isProtected'] === undefined) throw usage('the field "isProtected" is missing');
  return request as unknown as { readonly isProtected: boolean };
}

/** @throws OperatingError 'usage' */
export function parseAttribute(body: unknown): AttributeRequest {
  const request = checked(body, { key: 'text', value: 'bytes', isNew: 'flag' });
  for (const field of ['key', 'value']) {
    if (request[field] === undefined) throw usage(`the field "${field}" is missing`);
  }
  return request as unknown as AttributeRequest;
}

/** @throws OperatingError 'usage' */
export function parseRestore(body: unknown): RestoreRequest {
  return withFields<RestoreRequest>(checked(body, { name: 'text' }), 'name');
}

/** @throws OperatingError 'usage' */
export function parseSnapshot(body: unknown): SnapshotRequest {
  const request = checked(body, { volumes: 'texts', tag: 'text' });
  return withFields<SnapshotRequest>(request, 'volumes', 'tag');
}

/** @throws OperatingError 'usage' */
export function parseClone(body: unknown): CloneRequest {
  const rules: Rules = {
    ...{ from: { longest: MAX_SNAPSHOT_TEXT }, to: 'text' },
    ...{ mode: { oneOf: MODES }, attachMode: ATTACH_MODE, deep: 'flag' },
  };
  return withFields<CloneRequest>(checked(body, rules), 'from', 'to');
}

/** @throws OperatingError 'usage' */
export function parseBecome(body: unknown): BecomeRequest {
  const request = checked(body, { snapshot: 'text', token: { from: 0, to: 0xffffffff } });
  if (request['snapshot'] === undefined) throw usage('the field "snapshot" is missing');
  if (request['token'] === undefined) throw usage('the field "token" is missing');
  return request as unknown as BecomeRequest;
}

/** @throws OperatingError 'usage' */
export function parseRollback(body: unknown): { readonly tag: string } {
  return withFields<{ readonly tag: string }>(checked(body, { tag: 'text' }), 'tag');
}

/** @throws OperatingError 'usage' */
export function parseResize(body: unknown): ResizeRequest {
  const rules: Rules = { sizeBytes: SIZE, force: 'flag' };
  return withFields<ResizeRequest>(checked(body, rules), 'sizeBytes');
}

/** @throws OperatingError 'usage' */
export function parseCheck(body: unknown): CheckRequest {
  const rules: Rules = {
    from: { from: 0, to: MAX_VOLUME_OBJECTS },
    count: { from: 1, to: MAX_CHECK_OBJECTS },
    heal: 'flag',
  };
  return withFields<CheckRequest>(checked(body, rules), 'from', 'count', 'heal');
}

function withFields<T>(request: Record<string, unknown>, ...fields: string[]): T {
  const lacking = fields.find((field) => request[field] === undefined);
  if (lacking !== undefined) throw usage(`the field "${lacking}" is missing`);
  return request as T;
}

/** @throws OperatingError 'usage' */
export function parseScrub(body: unknown): ScrubCommand {
  const { action, kind } = checked(body, SCRUB);
  if (action === 'start') {
    if (kind === 'light' || kind === 'deep') return { action, kind };
    throw usage('"kind" must be light or deep');
  }
  if ((action === 'pause' || action === 'resume') && kind === undefined) return { action };
  throw usage('"action" must be start with a kind, pause or resume');
}

/** @throws OperatingError 'usage' */
export function parseUnlock(body: unknown): UnlockRequest {
  return checked(body ?? {}, UNLOCK) as UnlockRequest;
}

/** @throws OperatingError 'usage' */
export function parseMigrate(body: unknown): MigrateRequest {
  return checked(body ?? {}, MIGRATE) as MigrateRequest;
}

/** @throws OperatingError 'usage' */
export function parseEmpty(body: unknown): void {
  checked(body ?? {}, {});
}

/** @throws OperatingError 'usage' */
export function parseInviteRequest(body: unknown): InviteRequest {
  return checked(body ?? {}, INVITE) as InviteRequest;
}

/** @throws OperatingError 'usage' */
export function parseMaintenance(body: unknown): MaintenanceRequest {
  return checked(body ?? {}, { forMs: MAINTENANCE }) as MaintenanceRequest;
}

/** @throws OperatingError 'usage' */
export function parseWeight(body: unknown): WeightRequest {
  const request = checked(body, { weight: { from: 0, to: MAX_WEIGHT } });
  if (request['weight'] === undefined) throw usage('the field "weight" is missing');
  return request as unknown as WeightRequest;
}

/** @throws OperatingError 'usage' */
export function parseZone(body: unknown): ZoneRequest {
  const { zone } = checked(body, { zone: 'text' });
  if (typeof zone !== 'string' || !ZONE_PATTERN.test(zone)) {
    throw usage('a zone is 1 to 64 letters, digits, dots, dashes, underscores');
  }
  return { zone };
}

/** @throws OperatingError 'usage' */
export function parseSetting(body: unknown): SettingRequest {
  const request = checked(body, { name: 'text', value: 'text' });
  for (const field of ['name', 'value']) {
    if (request[field] === undefined) throw usage(`the field "${field}" is missing`);
  }
  return request as unknown as SettingRequest;
}

/** @throws OperatingError 'usage' */
export function parseRecoveryEnabled(body: unknown): { readonly enabled: boolean } {
  const request = checked(body, { enabled: 'flag' });
  if (request['enabled'] === undefined) throw usage('the field "enabled" is missing');
  return request as unknown as { readonly enabled: boolean };
}

/** @throws OperatingError 'usage' */
export function parseAlterCopies(body: unknown): AlterCopiesRequest {
  const request = checked(body, POLICY);
  if (request['copies'] === undefined) throw usage('the field "copies" is missing');
  checkMinCopies(request as unknown as AlterCopiesRequest);
  return request as unknown as AlterCopiesRequest;
}

function checked(body: unknown, rules: Rules): Record<string, unknown> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw usage('the body must be a JSON object');
  }
  for (const [key, value] of Object.entries(body)) {
    const rule = Object.hasOwn(rules, key) ? rules[key] : undefined;
    if (rule === undefined) {
      const known = Object.keys(rules).join(', ') || 'none';
      throw usage(`unknown field "${key.slice(0, MAX_TEXT)}"; known: ${known}`);
    }
    checkValue(key, value, rule);
  }
  return body as Record<string, unknown>;
}

function checkValue(key: string, value: unknown, rule: Rule): void {
  if (rule === 'flag') {
    if (typeof value !== 'boolean') throw usage(`"${key}" must be true or false`);
  } else if (rule === 'text') {
    if (typeof value !== 'string' || value.length > MAX_TEXT) {
      throw usage(`"${key}" must be a text of at most ${MAX_TEXT} characters`);
    }
  } else if (rule === 'bytes') {
    if (typeof value !== 'string' || !BASE64.test(value)) throw usage(`"${key}" must be base64`);
  } else if (rule === 'texts') {
    const isList = Array.isArray(value) && value.length <= MAX_SNAPSHOT_VOLUMES;
    if (!isList) throw usage(`"${key}" must be a list of at most ${MAX_SNAPSHOT_VOLUMES} texts`);
    for (const one of value) checkValue(key, one, 'text');
  } else if ('longest' in rule) {
    const isText = typeof value === 'string' && value.length <= rule.longest;
    if (!isText) throw usage(`"${key}" must be a text of at most ${rule.longest} characters`);
  } else if ('oneOf' in rule) {
    if (!rule.oneOf.includes(String(value))) {
      throw usage(`"${key}" must be one of ${rule.oneOf.join(', ')}`);
    }
  } else if (!isWithin(value, rule)) {
    if (rule.orNone !== undefined) throw usage(rule.orNone.problem, rule.orNone.remedy);
    if (rule.isTime === undefined) {
      throw usage(`"${key}" must be a whole number from ${rule.from} to ${rule.to}`);
    }
    throw usage(`${rule.isTime} longer than 0, and up to ${rule.to / DAY_MS} days`);
  }
}

function isWithin(
  value: unknown,
  { from, to, orNone }: { readonly from: number; readonly to: number; readonly orNone?: object },
): boolean {
  if (!Number.isSafeInteger(value)) return false;
  const number = Number(value);
  return (number >= from && number <= to) || (number === 0 && orNone !== undefined);
}

function checkMinCopies(request: { readonly copies?: number; readonly minCopies?: number }): void {
  const { copies, minCopies } = request;
  if (minCopies !== undefined && minCopies > (copies ?? MAX_COPIES)) {
    throw usage(`minCopies (${minCopies}) can not exceed copies (${copies})`);
  }
}

function usage(message: string, remedy = 'see "dog --help"'): OperatingError {
  return new OperatingError('usage', message, { remedy });
}
