// Asks one node over HTTP, on a unix socket or TCP, and finds that node first. Answers are bounded in size and time;
// refusals become CommandErrors with the node's own words.

import { existsSync, readdirSync } from 'node:fs';
import { type Agent, request } from 'node:http';
import path from 'node:path';
import { type AdminAnswer, type AdminFailure, EXPECT_EPOCH_HEADER } from '../core/admin-shapes.ts';
import { CommandError } from './failure.ts';

/** Either a socket or a host and port, as node:http wants it. */
export type Target =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number };

export interface Where {
  readonly address?: string | undefined;
  readonly port?: string | undefined;
  readonly dir?: string | undefined;
}

export interface Ask {
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly body?: unknown;
  readonly timeoutMs?: number;
  /** What changes something is refused at another epoch. */
  readonly expectEpoch?: number;
  /** Keeps connections; without one each request has its own. */
  readonly agent?: Agent;
}

/** A little longer than the node takes to give up by itself. */
export const ANSWER_TIMEOUT_MS = 35_000;
/** To find out whether a node of a dev cluster lives. */
const PROBE_TIMEOUT_MS = 2_000;
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const DEFAULT_PORT = 7000;
/** Where `npm start` and `dog dev up` put a dev cluster unless told otherwise. */
export const DEV_DIR = '.sheepdog';
const SERVICE_SOCKET = '/run/sheep/sheep.sock';
const START_REMEDY =
  'start one: "npm start", or "dog dev up"; or name one by --dir, -a or SHEEPDOG_API';
const HANGS_REMEDY =
  'it hangs, or its host does: look there, and ask another node meanwhile, by --dir, -a or SHEEPDOG_API';

/** In this order: -a and -p, --dir, SHEEPDOG_API, the service's socket, the dev cluster of this very folder. */
export async function findTarget(where: Where, env: NodeJS.ProcessEnv): Promise<Target> {
  if (where.address !== undefined || where.port !== undefined) {
    if (where.dir !== undefined) {
      const remedy = 'leave out --dir, or -a and -p';
      throw new CommandError('usage', '--dir names a node, and so do -a and -p', remedy);
    }
    return { host: where.address ?? '127.0.0.1', port: portOf(where.port ?? String(DEFAULT_PORT)) };
  }
  if (where.dir !== undefined) return livingNodeUnder(where.dir);
  const variable = env['SHEEPDOG_API'];
  if (variable !== undefined && variable !== '') return parseTarget(variable);
  if (!existsSync(SERVICE_SOCKET) && existsSync(DEV_DIR)) return livingNodeUnder(DEV_DIR);
  return { socketPath: SERVICE_SOCKET };
}

/** Reads `unix:PATH` or `http://HOST:PORT`. */
export function parseTarget(text: string): Target {
  if (text.startsWith('unix:')) return { socketPath: text.slice('unix:'.length) };
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:') {
    const host = url.hostname.replace(/^\[|\]$/g, '');
    return { host, port: url.port === '' ? DEFAULT_PORT : Number(url.port) };
  }
  throw new CommandError('usage', `SHEEPDOG_API is unix:PATH or http://HOST:PORT, not "${text}"`);
}

/** One request, one document. */
export async function ask<Data>(
  target: Target,
  route: string,
  options: Ask = {},
): Promise<AdminAnswer<Data>> {
  const { body } = options;
  const payload = body === undefined ? undefined : jsonOf(body);
  const { status, bytes } = await exchange(target, route, { ...options, payload });
  if (status >= 400) throw failureIn(status, bytes);
  return parseDocument(bytes.toString()) as AdminAnswer<Data>;
}

/** One request with bytes in its body or its answer, on a connection that is kept for the next one. */
export async function askBytes(
  target: Target,
  route: string,
  options: {
    readonly method: 'GET' | 'POST';
    readonly agent: Agent;
    readonly bytes?: Uint8Array;
    readonly timeoutMs?: number;
  },
): Promise<Buffer> {
  const { bytes: sent, ...rest } = options;
  const payload =
    sent === undefined ? undefined : { type: 'application/octet-stream', bytes: sent };
  const { status, bytes } = await exchange(target, route, { ...rest, payload });
  if (status >= 400) throw failureIn(status, bytes);
  return bytes;
}

function jsonOf(body: unknown): Payload {
  return { type: 'application/json', bytes: Buffer.from(JSON.stringify(body)) };
}

/** What the node says of a refusal. */
export function failureIn(status: number, bytes: Uint8Array): CommandError {
  const failure = (parseDocument(Buffer.from(bytes).toString()) as Partial<AdminFailure>).error;
  if (failure === undefined) return new CommandError('internal', `the node answered ${status}`);
  return new CommandError(failure.code, failure.message, failure.remedy, failure.affected);
}

interface Payload {
  readonly type: string;
  readonly bytes: Uint8Array;
}

interface Exchange extends Omit<Ask, 'body'> {
  readonly payload: Payload | undefined;
}

export function describeTarget(target: Target): string {
  return 'socketPath' in target ? `unix:${target.socketPath}` : `${target.host}:${target.port}`;
}

/** Data directories of the nodes of a dev cluster, n1 first. */
export function nodeFolders(dir: string): readonly string[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .filter((name) => /^n\d+$/.test(name))
    .sort((a, b) => Number(a.slice(1)) - Number(b.slice(1)));
}

async function livingNodeUnder(dir: string): Promise<Target> {
  const names = nodeFolders(dir);
  if (names.length === 0) {
    const remedy = `start one there: "dog dev up --dir ${dir}"`;
    throw new CommandError('unreachable', `there is no dev cluster under ${dir}`, remedy);
  }
  let blank: Target | undefined;
  for (const name of names) {
    const target = { socketPath: shortest(path.join(dir, name, 'sheep.sock')) };
    const phase = await phaseOf(target);
    if (phase === 'up') return target;
    if (phase !== undefined) blank ??= target;
  }
  if (blank !== undefined) return blank;
  const remedy = `start it: "dog dev up --dir ${dir}"`;
  throw new CommandError('unreachable', `no node of the dev cluster under ${dir} answers`, remedy);
}

async function phaseOf(target: Target): Promise<string | undefined> {
  try {
    const options = { timeoutMs: PROBE_TIMEOUT_MS };
    return (await ask<{ phase: string }>(target, '/v1/status', options)).data.phase;
  } catch {
    return undefined; // Dead or hanging: the next one is asked.
  }
}

/** A relative path may fit into a socket address where the absolute one does not. */
function shortest(file: string): string {
  const relative = path.relative(process.cwd(), file);
  return relative.length < file.length ? relative : file;
}

function portOf(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65535) return port;
  throw new CommandError('usage', `a port is a number from 1 to 65535, not "${text}"`);
}

function parseDocument(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new CommandError(
      'internal',
      'the answer is no JSON: this is not a sheep',
      'look at the address',
    );
  }
}

function exchange(
  target: Target,
  route: string,
  { method = 'GET', payload, timeoutMs = ANSWER_TIMEOUT_MS, expectEpoch, agent }: Exchange,
): Promise<{ status: number; bytes: Buffer }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; bytes: Buffer }>();
  const headers = {
    ...(payload === undefined ? {} : { 'content-type': payload.type }),
    ...(expectEpoch === undefined ? {} : { [EXPECT_EPOCH_HEADER]: String(expectEpoch) }),
  };
  const signal = AbortSignal.timeout(timeoutMs);
  const outgoing = request({
    ...target,
    path: route,
    method,
    headers,
    signal,
    agent: agent ?? false,
  });
  outgoing.on('error', (error) => reject(unreachable(target, error)));
  outgoing.on('response', (incoming) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    incoming.on('error', (error) => reject(unreachable(target, error)));
    incoming.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES) incoming.destroy(new RangeError('the answer is too long'));
      else chunks.push(chunk);
    });
    incoming.on('end', () => {
      resolve({ status: incoming.statusCode ?? 500, bytes: Buffer.concat(chunks) });
    });
  });
  outgoing.end(payload?.bytes);
  return promise;
}

/** Why there is no answer. */
export function unreachable(
  target: Target,
  error: Pick<NodeJS.ErrnoException, 'name' | 'code' | 'message'>,
): CommandError {
  const where = describeTarget(target);
  if (error.name === 'TimeoutError' || error.name === 'AbortError') {
    return new CommandError('timeout', `the node at ${where} did not answer in time`, HANGS_REMEDY);
  }
  const reasons: Record<string, string> = {
    ENOENT: 'there is no such socket',
    ECONNREFUSED: 'nobody listens there',
    EACCES: 'this user may not open the socket',
  };
  const reason = reasons[error.code ?? ''] ?? error.message;
  return new CommandError('unreachable', `no node answers at ${where}: ${reason}`, START_REMEDY);
}
