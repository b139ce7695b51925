// Method: the judge is strace on all three nodes. Each write carries a mark of its own; before the gateway wrote its answer
// to the guest's socket, every copy must have ended a sync of the file that the mark was written to, which began after that
// write. A writeback volume shows that the judge can say no, and that a flush makes up for it.

import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { KIB, MIB } from '../../src/core/units.ts';
import { putSimpleReply, SIMPLE_REPLY_BYTES } from '../../src/nbd/nbd-codec.ts';
import { declareUnless } from '../nbd/tools.ts';
import type { Cluster } from './cluster.ts';
import { NbdClient } from './nbd-client.ts';
import { type SystemCall, Tracer, whyNoTrace } from './system-calls.ts';
import { withCluster } from './with-cluster.ts';

const OPTIONS = { nodes: 3, copies: 3, volume: 'disk:64MiB' };
const SMALL_WRITES = 100;
const IN_FLIGHT = 8;
/** Of the first writes to fresh objects: they go past the journal. */
const LARGE_WRITES = 3;
const LARGE_AT = 32 * MIB;
const WRITEBACK_WRITES = 30;
const MARK_BYTES = 32;
const MARK = '<mark ';
const MARKS = new RegExp(`${hex(MARK)}.{${2 * (MARK_BYTES - MARK.length)}}`, 'g');
const REPLY_MAGIC = '67446698';
const NEVER = 2n ** 63n;

/** A request as the client sent it, and what its answer looks like on the wire. */
interface Sent {
  readonly mark: string;
  readonly reply: string;
}

function hex(text: string): string {
  return Buffer.from(text, 'latin1').toString('hex');
}

/** What the calls of all nodes tell. */
interface Seen {
  readonly answers: ReadonlyMap<string, bigint>;
  readonly syncs: readonly ReadonlyMap<string, bigint>[];
}

/** Writes with marks; requests of one connection are counted, and so are its cookies. */
class Marker {
  readonly sent: Sent[] = [];
  readonly #client: NbdClient;
  readonly #name: string;
  #cookie: number;

  private constructor(client: NbdClient, name: string, cookie: number) {
    this.#client = client;
    this.#name = name;
    this.#cookie = cookie;
  }

  /** @param cookie no other connection may have the next ones */
  static async connect(socket: string, name: string, cookie: number): Promise<Marker> {
    return new Marker(await NbdClient.connect(socket, name, cookie), name, cookie);
  }

  async write(offset: number, bytes: number): Promise<void> {
    const mark = `${MARK}${this.#name} ${this.sent.length}>`.padEnd(MARK_BYTES, '.');
    const data = Buffer.alloc(bytes);
    data.write(mark, 'latin1');
    this.sent.push({ mark: hex(mark), reply: this.#nextReply() });
    await this.#client.write(offset, data);
  }

  /** Returns its answer. */
  async flush(): Promise<string> {
    const reply = this.#nextReply();
    await this.#client.flush();
    return reply;
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  #nextReply(): string {
    this.#cookie += 1;
    const reply = Buffer.alloc(SIMPLE_REPLY_BYTES);
    putSimpleReply(reply, 0, { cookieHigh: 0, cookieLow: this.#cookie }, 0);
    return reply.toString('hex');
  }
}

/** When the gateway began to write each answer to a socket. */
function answersOf(calls: readonly SystemCall[]): Map<string, bigint> {
  const found = new Map<string, bigint>();
  for (const { name, path: to, buffers, start } of calls) {
    if (!(name === 'write' || name === 'writev') || !to.startsWith('socket:')) continue;
    for (const text of buffers) {
      // Answers to writes are of 16 bytes, several in one buffer.
      for (let at = 0; text.startsWith(REPLY_MAGIC, at); at += 2 * SIMPLE_REPLY_BYTES) {
        const reply = text.slice(at, at + 2 * SIMPLE_REPLY_BYTES);
        if (!found.has(reply)) found.set(reply, start);
      }
    }
  }
  return found;
}

/** When the first sync ended, of a file that a mark was written to, that began after that write: for each mark. */
function syncsOf(calls: readonly SystemCall[]): Map<string, bigint> {
  const syncs = calls.filter(({ name, result }) => /^f(data)?sync$/.test(name) && result === 0);
  const found = new Map<string, bigint>();
  for (const { name, path: file, buffers, end } of calls) {
    if (!name.startsWith('pwrite')) continue;
    const marks = buffers.flatMap((text) => text.match(MARKS) ?? []);
    if (marks.length === 0) continue;
    const ends = syncs.filter((sync) => sync.path === file && sync.start >= end);
    const first = ends.map((sync) => sync.end).reduce(earlier, NEVER);
    for (const mark of marks) found.set(mark, earlier(found.get(mark) ?? NEVER, first));
  }
  return found;
}

function earlier(one: bigint, other: bigint): bigint {
  return one < other ? one : other;
}

/** Numbers of the writes that some copy had not synced when they, or a later request, were answered. */
function tooEarly(seen: Seen, sent: readonly Sent[], later?: string): number[] {
  return sent.flatMap(({ mark, reply }, n) => {
    const moment = seen.answers.get(later ?? reply);
    const isSafe =
      moment !== undefined && seen.syncs.every((node) => (node.get(mark) ?? NEVER) <= moment);
    return isSafe ? [] : [n];
  });
}

async function traced(
  cluster: Cluster,
  body: () => Promise<void>,
): Promise<readonly (readonly SystemCall[])[]> {
  const prefix = ({ name }: { name: string }): string => path.join(cluster.dir, `calls-${name}`);
  const tracers = await Promise.all(
    cluster.nodes.map((node) => Tracer.attach(node.pid, prefix(node))),
  );
  const stop = () => Promise.all(tracers.map((tracer) => tracer.stop()));
  await body().catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return await stop();
}

async function writeDurably(marker: Marker): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < SMALL_WRITES) {
      next += 1;
      await marker.write(next * 4 * KIB, 4 * KIB);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  for (let n = 0; n < LARGE_WRITES; n += 1) await marker.write(LARGE_AT + n * 4 * MIB, MIB);
}

async function holdsFor(t: ExecutionContext, cluster: Cluster): Promise<void> {
  const made = await cluster.dog('vdi', 'create', 'cache', '64M', '--mode', 'writeback');
  t.is(made.code, 0, made.stderr);
  await cluster.settled(60_000);
  const { epoch } = await cluster.info();
  const socket = cluster.node(1).nbd.unix;
  const durable = await Marker.connect(socket, 'disk', 0);
  const late = await Marker.connect(socket, 'cache', SMALL_WRITES + LARGE_WRITES);
  let flushed = '';
  const nodes = await traced(cluster, async () => {
    await writeDurably(durable);
    for (let n = 0; n < WRITEBACK_WRITES; n += 1) await late.write(n * 4 * KIB, 4 * KIB);
    flushed = await late.flush();
  });
  const seen = { answers: answersOf(nodes[0] ?? []), syncs: nodes.map(syncsOf) };
  t.is((await cluster.info()).epoch, epoch, 'all three held all the time');
  t.is(durable.sent.length, SMALL_WRITES + LARGE_WRITES);
  t.deepEqual(tooEarly(seen, durable.sent), [], 'durable: answered before it was synced');
  t.true(tooEarly(seen, late.sent).length > WRITEBACK_WRITES / 2, 'the judge can say no');
  t.deepEqual(tooEarly(seen, late.sent, flushed), [], 'writeback: flushed before it was synced');
  const syncs = nodes.map((calls) => calls.filter(({ name }) => name === 'fdatasync').length);
  t.log(`${durable.sent.length} durable writes, syncs of the nodes: ${syncs.join(', ')}`);
  await Promise.all([durable.close(), late.close()]);
}

declareUnless(whyNoTrace())(
  'strace: durable mode has synced each write on every copy before it answers, and writeback before it answers a flush',
  withCluster(OPTIONS, holdsFor),
);
