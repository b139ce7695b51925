// The HTTP front of one node: listens on unix sockets and on loopback, bounds what a client may cost, and turns errors
// into documents. Nothing that arrives here can end the node. It knows the NodeHandle and nothing behind it.
//
// A unix socket belongs to its owner (mode 0600). TCP is refused beyond loopback: there are no tokens yet. A browser on
// this host is kept out by asking for a loopback Host and for JSON bodies, which other sites' pages can not send.

import { chmodSync, lstatSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import fastify, { type FastifyError, type FastifyInstance } from 'fastify';
import {
  type AdminFailure,
  type CountersData,
  type DoorData,
  EXPECT_EPOCH_HEADER,
} from '../core/admin-shapes.ts';
import { type ErrorCode, messageOf, OperatingError } from '../core/errors.ts';
import { MAX_SOCKET_PATH_BYTES } from '../core/limits.ts';
import type { NodeHandle } from '../node-handle.ts';
import { addAdminRoutes } from './admin-routes.ts';
import { answer } from './answer.ts';
import { addAttachRoutes } from './attach-routes.ts';
import { addMetrics } from './metrics.ts';

export type ApiAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

export interface ApiServer {
  /** As `unix:PATH` or `http://HOST:PORT`, with the real port. */
  readonly address: string;
  stop(): Promise<void>;
}

const MAX_BODY_BYTES = 64 * 1024;
const MAX_CONNECTIONS = 256;
/** A name of 255 bytes, percent-encoded. */
const MAX_PARAMETER_CHARACTERS = 1024;
/** Until a request has arrived whole. */
const REQUEST_TIMEOUT_MS = 10_000;
/** Until it is answered; what it started may still finish. */
const HANDLER_TIMEOUT_MS = 30_000;
const IDLE_TIMEOUT_MS = 30_000;
const LOOPBACK = /^(127(\.\d{1,3}){3}|localhost|::1|\[::1\])$/;

const HTTP_STATUS: Partial<Record<ErrorCode, number>> = {
  usage: 400,
  refused: 403,
  missing: 404,
  exists: 409,
  held: 409,
  busy: 409,
  'already-formatted': 409,
  'not-formatted': 409,
  'wrong-cluster': 409,
  'too-large': 413,
  unsupported: 501,
  'no-quorum': 503,
  halted: 503,
  degraded: 503,
  'shutting-down': 503,
  unreachable: 503,
  timeout: 504,
  'no-space': 507,
};

/** Reads `unix:PATH`, `HOST:PORT` or `http://HOST:PORT`. @throws OperatingError 'usage' */
export function parseApiAddress(text: string): ApiAddress {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    const bytes = Buffer.byteLength(path);
    if (bytes >= 1 && bytes <= MAX_SOCKET_PATH_BYTES) return { kind: 'unix', path };
    const message = `the path of a unix socket has 1 to ${MAX_SOCKET_PATH_BYTES} bytes, not ${bytes}: ${path}`;
    throw new OperatingError('usage', message, { remedy: 'choose a shorter directory' });
  }
  const match = /^(?:http:\/\/)?(\[[\da-fA-F:]+\]|[^:/]+):(\d{1,5})\/?$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65535) {
    throw new OperatingError('usage', `--api wants unix:PATH or HOST:PORT, not "${text}"`);
  }
  return { kind: 'tcp', host: (match[1] ?? '').replace(/^\[|\]$/g, ''), port };
}

/**
 * Serves the admin API of `handle` at one address.
 * @param counters of this process since its start, by name
 * @param doors where guests attach
 * @throws OperatingError 'usage' beyond loopback or for a bad path, 'io' when the address is taken
 */
export async function serveApi(
  handle: NodeHandle,
  address: ApiAddress,
  counters: () => ReadonlyMap<string, number> = () => new Map(),
  doors: readonly DoorData[] = [],
): Promise<ApiServer> {
  if (address.kind === 'tcp' && !LOOPBACK.test(address.host)) {
    const message = `the API does not listen on ${address.host}: without tokens it is for this host only`;
    throw new OperatingError('usage', message, { remedy: 'use 127.0.0.1:PORT or unix:PATH' });
  }
  const app = buildApp(handle, address.kind === 'tcp');
  app.get('/v1/counters', async () => answer(handle, 'counters', countersData(counters())));
  addMetrics(app, handle, counters);
  addAttachRoutes(app, handle, doors);
  if (address.kind === 'unix') await removeStaleSocket(address.path);
  const listening = await listen(app, address);
  return { address: listening, stop: () => app.close() };
}

async function listen(app: FastifyInstance, address: ApiAddress): Promise<string> {
  try {
    if (address.kind === 'unix') {
      await app.listen({ path: address.path });
      chmodSync(address.path, 0o600);
      return `unix:${address.path}`;
    }
    await app.listen({ host: address.host, port: address.port });
    const bound = app.server.address();
    const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
    return `http://${address.host.includes(':') ? `[${address.host}]` : address.host}:${port}`;
  } catch (cause) {
    const where = address.kind === 'unix' ? address.path : `${address.host}:${address.port}`;
    const message = `the API can not listen on ${where}: ${messageOf(cause)}`;
    throw new OperatingError('io', message, { remedy: 'give another --api', cause });
  }
}

/** A socket file that nobody serves is in the way of a restart. One that is served belongs to another node. */
async function removeStaleSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new OperatingError('usage', `${path} exists and is no socket`, {
      remedy: 'move it away, or give another --api',
    });
  }
  if (await isServed(path)) {
    throw new OperatingError('io', `another process serves the socket ${path}`, {
      remedy: 'stop that process, or give another --api',
    });
  }
  rmSync(path, { force: true });
}

/** A dial of a unix socket is answered at once, by the kernel. Only a refusal is proof that nobody serves it. */
function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT');
    });
  });
}

function buildApp(handle: NodeHandle, isTcp: boolean): FastifyInstance {
  const app = fastify({
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    handlerTimeout: HANDLER_TIMEOUT_MS,
    keepAliveTimeout: IDLE_TIMEOUT_MS,
    connectionTimeout: HANDLER_TIMEOUT_MS + REQUEST_TIMEOUT_MS,
    routerOptions: { maxParamLength: MAX_PARAMETER_CHARACTERS },
    forceCloseConnections: true,
  });
  app.server.maxConnections = MAX_CONNECTIONS;
  app.removeContentTypeParser('text/plain');
  if (isTcp) app.addHook('onRequest', async (request) => checkHost(request.headers.host));
  app.addHook('preHandler', async ({ method, headers }) => {
    if (method !== 'GET') checkEpoch(handle, headers[EXPECT_EPOCH_HEADER]);
  });
  app.setErrorHandler((error: FastifyError | Error, _request, reply) => {
    const { status, failure } = describe(error);
    return reply.code(status).send(failure);
  });
  app.setNotFoundHandler((request, reply) => {
    const message = `there is no ${request.method} ${request.url.slice(0, 200)}`;
    return reply
      .code(404)
      .send(failureOf('missing', message, 'dog and sheep may differ in version'));
  });
  addAdminRoutes(app, handle);
  return app;
}

function countersData(counters: ReadonlyMap<string, number>): CountersData {
  const sorted = [...counters].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([name, value]) => ({ name, value }));
}

/** What somebody decided by looking at one epoch is not done at another one. */
function checkEpoch(handle: NodeHandle, expected: string | string[] | undefined): void {
  const now = handle.view()?.epoch ?? 0;
  if (expected === undefined || Number(expected) === now) return;
  throw new OperatingError('busy', `the cluster is at epoch ${now}, not ${String(expected)}`, {
    remedy: 'look again whether this is still what you want, then name the new epoch',
  });
}

/** Against pages of other sites that were resolved to this host. */
function checkHost(host: string | undefined): void {
  const name = (host ?? '').replace(/:\d+$/, '');
  if (LOOPBACK.test(name)) return;
  throw new OperatingError('refused', 'the Host header must name this host', {
    remedy: 'ask 127.0.0.1 or localhost',
  });
}

function describe(error: FastifyError | Error): { status: number; failure: AdminFailure } {
  if (error instanceof OperatingError) {
    const status = HTTP_STATUS[error.code] ?? 500;
    return { status, failure: failureOf(error.code, error.message, error.remedy) };
  }
  const status = 'statusCode' in error ? (error.statusCode ?? 500) : 500;
  if (status === 413) {
    return {
      status,
      failure: failureOf('too-large', `a body has at most ${MAX_BODY_BYTES} bytes`),
    };
  }
  if (status === 503 || status === 504) {
    const message = `no answer within ${HANDLER_TIMEOUT_MS / 1000} s; the action may still finish`;
    return { status: 504, failure: failureOf('timeout', message, 'look with "dog cluster info"') };
  }
  if (status < 500) return { status, failure: failureOf('usage', error.message) };
  return {
    status: 500,
    failure: failureOf('internal', error.message, 'the log of the node may say more'),
  };
}

function failureOf(code: string, message: string, remedy = ''): AdminFailure {
  return { error: { code, message, remedy, affected: [] } };
}
