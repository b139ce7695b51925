// The judges of NBD from elsewhere against a real cluster: where a volume holds data, what is listed, holes that are not
// sent, and requests that no decent client would send. qemu-clients.test.ts has QEMU's reads and writes.

import fs from 'node:fs';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { MIB } from '../../src/core/units.ts';
import { succeed, toolOrSkip } from '../nbd/tools.ts';
import { type Cluster, until } from './cluster.ts';
import { withCluster } from './with-cluster.ts';

const TOLD_MS = 10_000;

/** A file with data at 8 MiB (2 MiB) and at 33 MiB (64 KiB), zeroes elsewhere. */
function sparseImage(cluster: Cluster): string {
  const image = path.join(cluster.dir, 'sparse.img');
  const handle = fs.openSync(image, 'w');
  fs.ftruncateSync(handle, 64 * MIB);
  fs.writeSync(handle, Buffer.alloc(2 * MIB, 0xa5), 0, 2 * MIB, 8 * MIB);
  fs.writeSync(handle, Buffer.alloc(65_536, 0x5a), 0, 65_536, 33 * MIB);
  fs.closeSync(handle);
  return image;
}

/** Beside a session that is about to end, all counts as data: asked again until the volume is free. */
async function tellsAtLast(t: ExecutionContext, uri: string, expected: string[]): Promise<void> {
  let told: string[] = [];
  const isTold = async () => {
    told = await dataOf(t, uri);
    return told.join() === expected.join();
  };
  await until(`${uri} says ${expected}`, isTold, TOLD_MS).catch(() => undefined);
  t.deepEqual(told, expected, uri);
}

/** `start+length` of what is data, in MiB. */
async function dataOf(t: ExecutionContext, uri: string): Promise<string[]> {
  const { stdout } = await succeed(t, 'nbdinfo', ['--map', '--json', uri]);
  const extents: { offset: number; length: number; type: number }[] = JSON.parse(stdout);
  t.is(
    extents.reduce((sum, one) => sum + one.length, 0),
    64 * MIB,
  );
  return extents
    .filter(({ type }) => type === 0)
    .map(({ offset, length }) => `${offset / MIB}+${length / MIB}`);
}

toolOrSkip(
  'nbdinfo',
  'nbdcopy',
  'qemu-img',
  'qemu-io',
  'qemu-nbd',
)(
  'what a volume does not hold is told by every node, not sent, and skipped by those who copy',
  withCluster({ nodes: 3, copies: 3, volume: 'disk:64MiB' }, async (t, cluster) => {
    const uris = [1, 2, 3].map((n) => cluster.uri(n));
    const [first = '', second = '', third = ''] = uris;
    const image = sparseImage(cluster);
    await tellsAtLast(t, first, []);
    await succeed(t, 'nbdcopy', ['--flush', image, first]);
    for (const uri of uris) await tellsAtLast(t, uri, ['8+2', '33+0.0625']);

    const back = path.join(cluster.dir, 'back.img');
    await succeed(t, 'nbdcopy', [second, back]);
    await succeed(t, 'qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, back]);
    t.true(fs.statSync(back).blocks * 512 < 4 * MIB, 'holes stay holes');
    const convert = ['convert', '-n', '-f', 'raw', '-O', 'raw'];
    await succeed(t, 'qemu-img', [...convert, image, third]);
    await succeed(t, 'qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, first]);
    const map = await succeed(t, 'qemu-img', ['map', '--output=json', '-f', 'raw', second]);
    const sum = JSON.parse(map.stdout).reduce(
      (all: number, one: { length: number }) => all + one.length,
      0,
    );
    t.is(sum, 64 * MIB);

    const whole = ['discard 8M 4M', 'discard 32M 4M', 'read -P 0 0 64M', 'flush'];
    const commands = whole.flatMap((one) => ['-c', one]);
    await succeed(t, 'qemu-io', ['-f', 'raw', ...commands, second]);
    for (const uri of uris) await tellsAtLast(t, uri, []); // space that was given back

    const list = await succeed(t, 'nbdinfo', ['--list', '--json', second.replace('/disk?', '/?')]);
    t.is(JSON.parse(list.stdout).exports[0]['export-name'], 'disk');
    const socket = cluster.node(3).nbd.unix;
    const listed = await succeed(t, 'qemu-nbd', ['--list', '-k', socket]);
    t.regex(listed.stdout, /exports available: 1[\s\S]*export: 'disk'[\s\S]*base:allocation/);
  }),
);

const BLACK_BOX = `
import nbd, errno, os
def expect(code, what, call):
    try:
        call()
    except nbd.Error as e:
        assert e.errnum == code, "%s: %s instead of %s" % (what, e.errno, errno.errorcode[code])
        return
    assert code == 0, what + ": no error"
for uri in os.environ["NBD_URIS"].split(" "):
    h = nbd.NBD()
    h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    h.connect_uri(uri)
    h.set_strict_mode(0)
    size = h.get_size()
    E, S = errno.EINVAL, errno.ENOSPC
    expect(E, "read past the end", lambda: h.pread(2, size - 1))
    expect(E, "read of 64 MiB", lambda: h.pread(67108864, 0))
    expect(E, "cache past the end", lambda: h.cache(2, size - 1))
    expect(E, "status past the end", lambda: h.block_status(2, size - 1, lambda *a: 0))
    expect(E, "status of nothing", lambda: h.block_status(0, 0, lambda *a: 0))
    expect(S, "write past the end", lambda: h.pwrite(b"xx", size - 1))
    expect(S, "zeroes past the end", lambda: h.zero(4096, size))
    expect(E, "trim past the end", lambda: h.trim(2, size - 1))
    expect(E, "unknown flag", lambda: h.zero(4096, 0, 0x80))
    expect(E, "long write", lambda: h.pwrite(b"x" * 33554433, 0))
    expect(errno.ENOTSUP, "fast zero of a part", lambda: h.zero(100, 0, nbd.CMD_FLAG_FAST_ZERO))
    h.pwrite(b"abc", 4095, nbd.CMD_FLAG_FUA)
    h.zero(4194304, 0, nbd.CMD_FLAG_FAST_ZERO)
    h.pwrite(b"abc", 4095, nbd.CMD_FLAG_FUA)
    h.zero(1, 4096, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
    h.cache(8388608, 0)
    h.flush()
    assert h.pread(5, 4094) == b"\\0a\\0c\\0"
    seen = []
    h.block_status(8388608, 0, lambda context, at, entries, error: seen.extend(entries[0::2]))
    assert sum(seen) == 8388608, seen
    h.block_status(8388608, 0, lambda c, at, entries, e: seen.append(len(entries)), nbd.CMD_FLAG_REQ_ONE)
    assert seen[-1] == 2, seen
    h.shutdown()
print("all as expected")
`;

toolOrSkip('nbdsh')(
  'requests that are wrong get the number of the protocol on unix socket and TCP, and the connection lives on',
  withCluster({ nodes: 1, copies: 1, volume: 'disk:64MiB' }, async (t, cluster) => {
    const script = path.join(cluster.dir, 'black-box.py');
    fs.writeFileSync(script, BLACK_BOX);
    const env = `NBD_URIS=${cluster.uri(1)} ${cluster.tcpUri(1)}`;
    const { stdout } = await succeed(t, 'env', [env, '/usr/bin/python3', script]);
    t.regex(stdout, /all as expected/);
  }),
);
