// The supervisor's own socket, DIR/dev.sock: one JSON line with a command, one JSON line back. It also is the lock of
// the directory: who listens there supervises it.

import { existsSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { asCommandError, CommandError } from './failure.ts';

export interface DevCommand {
  readonly command: 'status' | 'kill' | 'start' | 'down';
  readonly node?: number;
}

export interface DevStatus {
  readonly pid: number;
  readonly nodes: readonly Readonly<Record<string, unknown>>[];
}

export interface DevControl {
  close(): void;
}

const MAX_LINE_BYTES = 64 * 1024;
const MAX_CONNECTIONS = 16;
/** A node's start, or the orderly end of all. */
const REPLY_TIMEOUT_MS = 90_000;

/** @throws CommandError 'busy' that names the pid when another process supervises this directory */
export async function listenDev(
  dir: string,
  handle: (command: DevCommand) => Promise<unknown>,
): Promise<DevControl> {
  const file = socketFile(dir);
  if (existsSync(file)) {
    const running = await askDev<DevStatus>(dir, { command: 'status' }).catch(() => undefined);
    if (running !== undefined) {
      const message = `a dev cluster runs under ${dir} already (pid ${running.pid})`;
      throw new CommandError('busy', message, `use it, or end it with "dog dev down --dir ${dir}"`);
    }
    unlinkSync(file);
  }
  const server = createServer((socket) => serve(socket, handle));
  server.maxConnections = MAX_CONNECTIONS;
  await listening(server, file);
  return { close: () => void server.close() };
}

/** @throws CommandError: the supervisor's own, or 'unreachable' when none runs */
export function askDev<Data>(dir: string, command: DevCommand): Promise<Data> {
  const { promise, resolve, reject } = Promise.withResolvers<Data>();
  const socket = connect(socketFile(dir));
  socket.setTimeout(REPLY_TIMEOUT_MS, () => socket.destroy(new RangeError('no answer in time')));
  socket.on('error', () => {
    const message = `no dev cluster runs under ${dir}`;
    reject(new CommandError('unreachable', message, `start it: "dog dev up --dir ${dir}"`));
  });
  collectLine(socket, (line) => {
    const reply = JSON.parse(line) as {
      data?: Data;
      error?: { code: string; message: string; remedy: string };
    };
    socket.end();
    if (reply.error === undefined) resolve(reply.data as Data);
    else reject(new CommandError(reply.error.code, reply.error.message, reply.error.remedy));
  });
  socket.on('close', () =>
    reject(new CommandError('failed', 'the supervisor ended without an answer')),
  );
  socket.write(`${JSON.stringify(command)}\n`);
  return promise;
}

function socketFile(dir: string): string {
  return path.join(dir, 'dev.sock');
}

function listening(server: Server, file: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', (error) =>
    reject(new CommandError('failed', `can not listen on ${file}: ${error.message}`)),
  );
  server.listen(file, resolve);
  return promise;
}

function serve(socket: Socket, handle: (command: DevCommand) => Promise<unknown>): void {
  socket.on('error', () => socket.destroy());
  collectLine(socket, async (line) => {
    let reply: unknown;
    try {
      reply = { data: await handle(JSON.parse(line) as DevCommand) };
    } catch (error) {
      const { code, message, remedy } = asCommandError(error);
      reply = { error: { code, message, remedy } };
    }
    socket.end(`${JSON.stringify(reply)}\n`);
  });
}

/** Calls `fn` with the first line; ends a connection that sends too much before it. */
function collectLine(socket: Socket, fn: (line: string) => void): void {
  let text = '';
  let isDone = false;
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    if (isDone) return;
    text += chunk;
    const end = text.indexOf('\n');
    if (end >= 0) {
      isDone = true;
      fn(text.slice(0, end));
    } else if (text.length > MAX_LINE_BYTES) socket.destroy();
  });
}
