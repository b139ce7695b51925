// Process entry of `sheep`: flags, the real ports, the fronts, signals, exit codes. Everything that a node decides is
// behind buildNode.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { type ApiServer, serveApi } from './api/http-server.ts';
import { buildNode } from './build-node.ts';
import type { DoorData } from './core/admin-shapes.ts';
import { hasCode, messageOf, OperatingError } from './core/errors.ts';
import { InvariantError } from './core/invariant.ts';
import { trimSpareMemory } from './core/lent-memory.ts';
import { endHolder, lockDataDirectory } from './io/data-lock.ts';
import { watchDataDirectory } from './io/data-watch.ts';
import { openFileDisk } from './io/file-disk.ts';
import { refuseForeignFiles } from './io/foreign-files.ts';
import { heldFor, heldSockets } from './io/held-sockets.ts';
import { createLogTrace, type LogTrace } from './io/log-trace.ts';
import { createRealClock } from './io/real-clock.ts';
import { createRealRandom } from './io/real-random.ts';
import { giveReserve, keepReserve } from './io/space-reserve.ts';
import { printLog } from './log-main.ts';
import type { NbdCredentials } from './nbd/access.ts';
import { credentialsOf, type TlsFiles } from './nbd/credentials.ts';
import { exportsOf } from './nbd/exports.ts';
import { type NbdAddress, NbdServer } from './nbd/nbd-server.ts';
import type { NodeHandle } from './node-handle.ts';
import { loadOrCreateKey } from './p2p/identity.ts';
import { createLibp2pNetwork } from './p2p/libp2p-network.ts';
import type { Clock, Trace } from './ports/ports.ts';
import { type Terminal, unsafeRecover } from './recover-main.ts';
import { HELP, parseSheepFlags, type SheepOptions } from './sheep-options.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 64;
const EXIT_INVARIANT = 70;
/** Between two knocks while no member answers. */
const JOIN_PAUSE_MS = 1000;
/** An orderly end that takes longer is cut: everything acknowledged is durable anyway. */
const STOP_LIMIT_MS = 15_000;
/** Memory of requests that nobody needed for so long goes back to the system. */
const TRIM_SPARE_MS = 5000;

async function main(): Promise<void> {
  const [first, ...rest] = process.argv.slice(2);
  const place = { ...terminal(), exists: fs.existsSync };
  if (first === 'unsafe-recover') return unsafeRecover(rest, place);
  if (first === 'log') return printLog(rest, place);
  const command = parseSheepFlags(process.argv.slice(2), os.hostname());
  if (command.kind === 'help') process.stdout.write(HELP);
  else if (command.kind === 'version') process.stdout.write(`sheep ${version()}\n`);
  else if (command.kind === 'print-config') print(command.options);
  else await run(command.options);
}

function terminal(): Terminal {
  const say = (text: string): void => void process.stdout.write(text);
  if (process.stdin.isTTY !== true) return { say, ask: undefined };
  const ask = async (question: string): Promise<string> => {
    const lines = createInterface({ input: process.stdin, output: process.stderr });
    try {
      return await lines.question(question);
    } finally {
      lines.close();
    }
  };
  return { say, ask };
}

async function run(options: SheepOptions): Promise<void> {
  const credentials = credentialReader(options.nbdTls);
  const held = heldFor(options.nbd, heldSockets(process.env, process.pid));
  refuseForeignFiles(options.data);
  const former = options.isReplacement ? await endFormer(options) : undefined;
  const isReserveGiven = giveReserve(options.data);
  const unlock = lockDataDirectory(options.data);
  checkSocketFolders(options);
  const clock = createRealClock();
  setInterval(trimSpareMemory, TRIM_SPARE_MS).unref();
  const random = createRealRandom();
  const level = options.isQuiet ? 'warn' : 'event';
  const trace = createLogTrace({ level, write: (line) => say(1, line) });
  if (former !== undefined) trace.event('sheep.replaces', { pid: former });
  if (isReserveGiven) trace.warn('space.reserve-given', { data: options.data });
  const disk = openFileDisk(options.data);
  const { privateKey } = await loadOrCreateKey(disk);
  const { listen, config } = options;
  const { dataTls } = config;
  const network = createLibp2pNetwork({ listen, privateKey, dataTls, clock, random, trace });
  const node = buildNode({ clock, random, network, disk, trace }, config);
  node.onFatal((error) => end(error, trace));
  await node.start();
  const unwatch = await watchDataDirectory(options.data, clock, (error) => node.fail(error));
  const leaveReserve = keepReserve(options.data, clock, trace);
  const fronts = await openFronts(node, { ...options, credentials, held }, clock, trace);
  if (options.joinToken !== undefined) keepJoining(node, options, clock, trace);
  trace.event('sheep.ready', { pid: process.pid, phase: node.status().phase });
  stopOnSignals(node, trace, async () => {
    unwatch();
    leaveReserve();
    await fronts.nbd.stop();
    await node.stop();
    await Promise.all(fronts.apis.map((api) => api.stop()));
    unlock();
  });
}

/** Reads them once at the start, so that a mistake in them is told now and not to the first guest. */
function credentialReader(files: TlsFiles | undefined): (() => NbdCredentials) | undefined {
  if (files === undefined) return undefined;
  const read = credentialsOf(files, readText);
  read();
  return read;
}

function readText(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    const isMissing = (error as { code?: string }).code === 'ENOENT';
    throw new OperatingError(isMissing ? 'missing' : 'io', messageOf(error), { cause: error });
  }
}

interface Fronts {
  readonly nbd: NbdServer;
  readonly apis: readonly ApiServer[];
}

async function openFronts(
  node: NodeHandle,
  options: SheepOptions & {
    readonly credentials: (() => NbdCredentials) | undefined;
    readonly held: readonly (number | undefined)[];
  },
  clock: Clock,
  trace: LogTrace,
): Promise<Fronts> {
  const source = exportsOf(node);
  const nbd = new NbdServer({
    source,
    clock,
    trace,
    removeSocket,
    credentials: options.credentials,
  });
  const doors: DoorData[] = [];
  for (const [which, address] of options.nbd.entries()) {
    const at = await nbd.listen(address, options.held[which]);
    doors.push(doorOf(at, options.nbdTls));
    trace.event('nbd.listening', { at: at.kind === 'unix' ? at.path : `${at.host}:${at.port}` });
  }
  const apis: ApiServer[] = [];
  for (const address of options.api) {
    const api = await serveApi(node, address, trace.counters, doors);
    apis.push(api);
    trace.event('api.listening', { at: api.address });
  }
  return { nbd, apis };
}

/** For `dog vdi attach`, which may run in another folder. */
function doorOf(at: NbdAddress, tls: TlsFiles | undefined): DoorData {
  if (at.kind === 'unix') return { kind: 'unix', path: path.resolve(at.path) };
  if (at.kind === 'tcp-plain' || tls === undefined) return { ...at, proofs: [] };
  const keys = tls.keys === undefined ? [] : (['keys'] as const);
  const certificates = tls.x509 === undefined ? [] : (['certificates'] as const);
  return { ...at, proofs: [...keys, ...certificates] };
}

/** Knocks until a member lets this node in. What waiting does not cure ends the process. */
function keepJoining(node: NodeHandle, options: SheepOptions, clock: Clock, trace: Trace): void {
  const { zone, weight, isWitness } = options.config;
  const knock = (): void => {
    node.join(options.joinToken ?? '', { zone, weight, isWitness }).catch((error: unknown) => {
      if (hasCode(error, 'shutting-down')) return;
      trace.event('node.join.waits', { reason: messageOf(error) });
      const isCurable = error instanceof OperatingError && error.advice === 'retry';
      if (isCurable) clock.setTimer(JOIN_PAUSE_MS, knock);
      else end(error, trace);
    });
  };
  knock();
}

function stopOnSignals(node: NodeHandle, trace: Trace, stop: () => Promise<void>): void {
  let isStopping = false;
  const onSignal = (signal: string): void => {
    if (isStopping) process.exit(EXIT_FAILED);
    isStopping = true;
    trace.event('sheep.stopping', { signal });
    const limit = setTimeout(() => process.exit(EXIT_FAILED), STOP_LIMIT_MS);
    limit.unref();
    stop().then(
      () => process.exit(0),
      (error: unknown) => end(error, trace),
    );
  };
  node.onExitAsked(() => {
    if (!isStopping) onSignal('dog node kill');
  });
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}

/** What its guests wait for begins here: all is loaded, and checked as far as the former process lets it. */
function endFormer(options: SheepOptions): Promise<number | undefined> {
  checkSocketFolders(options);
  return endHolder(options.data);
}

/** Said before anything starts: the system calls a missing folder "permission denied". */
function checkSocketFolders({ nbd, api }: SheepOptions): void {
  for (const address of [...nbd, ...api]) checkSocketFolder(address);
}

function checkSocketFolder(address: SheepOptions['nbd' | 'api'][number]): void {
  if (address.kind !== 'unix') return;
  const folder = path.dirname(path.resolve(address.path));
  if (fs.existsSync(folder)) return;
  throw new OperatingError('usage', `the folder of the socket ${address.path} does not exist`, {
    remedy: `mkdir -p ${folder}`,
  });
}

/** Only a socket is removed: a path that names anything else was a mistake of its author. */
function removeSocket(file: string): void {
  if (!fs.lstatSync(file).isSocket()) {
    throw new OperatingError('usage', `${file} exists and is not a socket`, {
      remedy: 'give another path to --nbd unix:PATH',
    });
  }
  fs.unlinkSync(file);
}

/** Where the log itself lies on a disk that is full or fails, the node's work does not end for that. */
function say(descriptor: 1 | 2, text: string): void {
  try {
    fs.writeSync(descriptor, text);
  } catch (error) {
    if ((error as { code?: string }).code === undefined) throw error;
  }
}

/** One line for people; the stack only where the error is our own. */
function end(error: unknown, trace?: Trace): never {
  const isOurs = !(error instanceof OperatingError);
  const remedy = error instanceof OperatingError && error.remedy !== '' ? ` (${error.remedy})` : '';
  const cure = remedy.replace(/^ \(|\)$/g, '');
  trace?.warn('sheep.failed', { reason: messageOf(error), ...(cure === '' ? {} : { cure }) });
  const text = isOurs && error instanceof Error ? (error.stack ?? error.message) : messageOf(error);
  say(2, `sheep: ${text}${remedy}\n`);
  if (hasCode(error, 'usage')) process.exit(EXIT_USAGE);
  process.exit(error instanceof InvariantError ? EXIT_INVARIANT : EXIT_FAILED);
}

function print(options: SheepOptions): void {
  const { data, listen, nbd, nbdTls, api, config } = options;
  process.stdout.write(
    `${JSON.stringify({ data, listen, nbd, nbdTls, api, ...config }, neverIsText, 2)}\n`,
  );
}

/** JSON has no infinity. */
function neverIsText(_key: string, value: unknown): unknown {
  return value === Number.POSITIVE_INFINITY ? 'never' : value;
}

function version(): string {
  const file = path.join(import.meta.dirname, '..', 'package.json');
  return (JSON.parse(fs.readFileSync(file, 'utf8')) as { version: string }).version;
}

process.on('uncaughtException', (error) => end(error));
main().catch((error: unknown) => end(error));
