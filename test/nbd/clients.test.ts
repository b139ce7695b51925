// Method: clients that other people wrote, against a volume in memory. They judge the protocol, the volume's bytes judge
// them: what qemu-io or nbdcopy say they wrote must lie in the array.

import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { MIB } from '../../src/core/units.ts';
import { BLACK_BOX } from './black-box.ts';
import { MemoryVolume } from './memory-volume.ts';
import { type Served, serve } from './served.ts';
import { run, succeed, toolOrSkip } from './tools.ts';

/** Serves one volume named `vol` to `body`. */
function withVolume(
  sizeMib: number,
  body: (t: ExecutionContext, served: Served, volume: MemoryVolume) => Promise<void>,
): (t: ExecutionContext) => Promise<void> {
  return async (t) => {
    const volume = new MemoryVolume('vol', sizeMib * MIB);
    const served = await serve([volume]);
    try {
      await body(t, served, volume);
      t.is(volume.inFlight, 0);
    } finally {
      await served.stop();
    }
    t.is(volume.connections, 0, 'every connection was given back');
  };
}

function randomFile(dir: string, bytes: number): string {
  const file = path.join(dir, 'random.img');
  fs.writeFileSync(file, crypto.randomBytes(bytes));
  return file;
}

toolOrSkip('nbdinfo')(
  'nbdinfo sees size, flags, block sizes and the list, on both sockets',
  withVolume(8, async (t, served) => {
    for (const uri of [served.uri('vol'), served.tcpUri('vol'), served.uri('')]) {
      const size = await succeed(t, 'nbdinfo', ['--size', uri]);
      t.is(Number(size.stdout), 8 * MIB);
    }
    const { stdout } = await succeed(t, 'nbdinfo', ['--json', served.uri('vol')]);
    const [info] = JSON.parse(stdout).exports;
    const { 'export-size': size, can_fast_zero, can_df, can_fua, can_multi_conn } = info;
    t.deepEqual(
      [size, can_fast_zero, can_df, can_fua, can_multi_conn],
      [8 * MIB, true, true, true, true],
    );
    t.deepEqual([info.block_size_minimum, info.block_size_preferred], [1, 4096]);
    const list = await succeed(t, 'nbdinfo', ['--json', '--list', served.uri('')]);
    t.is(JSON.parse(list.stdout).exports[0]['export-name'], 'vol');
    for (const can of ['flush', 'fua', 'trim', 'zero', 'df', 'multi-conn', 'write']) {
      await succeed(t, 'nbdinfo', [
        can === 'write' ? '--can=write' : `--can=${can}`,
        served.uri('vol'),
      ]);
    }
    t.is((await run('nbdinfo', ['--is=read-only', served.uri('vol')])).code, 2);
    const unknown = await run('nbdinfo', [served.uri('nobody')]);
    t.not(unknown.code, 0);
  }),
);

const META = ['base:allocation', 'x-sheepdog:allocation-depth'];

toolOrSkip(
  'nbdinfo',
  'qemu-img',
  'nbdcopy',
)(
  'where a volume holds data is seen by nbdinfo and qemu-img, and nbdcopy leaves holes out',
  withVolume(8, async (t, served, volume) => {
    volume.bytes.fill(3, 1 * MIB, 2 * MIB);
    volume.bytes.fill(4, 5 * MIB, 5 * MIB + 65536);
    const uri = served.uri('vol');
    const [info] = JSON.parse((await succeed(t, 'nbdinfo', ['--json', uri])).stdout).exports;
    t.deepEqual(info.contexts, META);
    const map = JSON.parse((await succeed(t, 'nbdinfo', ['--map', '--json', uri])).stdout);
    t.deepEqual(
      map.map((one: { length: number; type: number }) => [one.length / 65536, one.type]),
      [
        [16, 3],
        [16, 0],
        [48, 3],
        [1, 0],
        [47, 3],
      ],
    );
    const depth = await succeed(t, 'nbdinfo', [`--map=${META[1]}`, '--totals', uri]);
    t.regex(depth.stdout, /1114112 +13\.3% +1\b/);
    const seen = await succeed(t, 'qemu-img', ['map', '--output=json', '-f', 'raw', uri]);
    const data = JSON.parse(seen.stdout).filter((one: { data: boolean }) => one.data);
    t.deepEqual(
      data.map((one: { start: number; length: number }) => [one.start, one.length]),
      [
        [1 * MIB, 1 * MIB],
        [5 * MIB, 65536],
      ],
    );
    const back = path.join(served.dir, 'back.img');
    await succeed(t, 'nbdcopy', [uri, back]);
    t.true(fs.readFileSync(back).equals(volume.bytes));
    t.true(fs.statSync(back).blocks * 512 < 2 * MIB, 'sparse');
  }),
);

toolOrSkip('nbddump')(
  'nbddump shows bytes, and leaves holes out',
  withVolume(8, async (t, served, volume) => {
    volume.bytes.set([0xca, 0xfe], 0);
    const head = await succeed(t, 'nbddump', ['-n', '32', served.uri('vol')]);
    t.regex(head.stdout, /^0{10}: ca fe 00 00/);
    const whole = await succeed(t, 'nbddump', [served.tcpUri('vol')]);
    t.true(whole.stdout.split('\n').length < 10, 'zeroes are one line');
  }),
);

toolOrSkip('nbd-client')(
  'nbd-client -l lists the exports',
  withVolume(1, async (t, served) => {
    const { stdout } = await succeed(t, 'nbd-client', ['-l', '-u', served.socket]);
    t.regex(stdout, /^vol$/m);
  }),
);

toolOrSkip('nbdcopy')(
  'nbdcopy brings 64 MiB there and back, with several connections, on both sockets',
  withVolume(64, async (t, served, volume) => {
    const source = randomFile(served.dir, 64 * MIB);
    const back = path.join(served.dir, 'back.img');
    await succeed(t, 'nbdcopy', [
      '--flush',
      '--connections=4',
      '--requests=64',
      source,
      served.uri('vol'),
    ]);
    t.true(fs.readFileSync(source).equals(volume.bytes));
    await succeed(t, 'nbdcopy', [served.tcpUri('vol'), back]);
    t.true(fs.readFileSync(source).equals(fs.readFileSync(back)));
  }),
);

toolOrSkip('qemu-img')(
  'qemu-img info, convert, compare and bench work',
  withVolume(16, async (t, served, volume) => {
    const source = randomFile(served.dir, 16 * MIB);
    const uri = served.uri('vol');
    const unknown = await run('qemu-img', ['info', served.uri('nobody')]);
    t.regex(unknown.stderr, /no volume "nobody"; see dog vdi list/);
    const info = await succeed(t, 'qemu-img', ['info', '--output=json', uri]);
    t.is(JSON.parse(info.stdout)['virtual-size'], 16 * MIB);
    const raw = ['-f', 'raw', '-O', 'raw', source, uri];
    await succeed(t, 'qemu-img', ['convert', '-W', '-m', '16', '-n', ...raw]);
    t.true(fs.readFileSync(source).equals(volume.bytes));
    const compare = ['compare', '-f', 'raw', '-F', 'raw', source];
    await succeed(t, 'qemu-img', [...compare, served.tcpUri('vol')]);
    volume.bytes[5 * MIB] = (volume.bytes[5 * MIB] ?? 0) ^ 1;
    t.is((await run('qemu-img', [...compare, uri])).code, 1, 'compare can fail');
    const bench = [
      'bench',
      '-f',
      'raw',
      '-w',
      '-c',
      '2000',
      '-d',
      '32',
      '-s',
      '4096',
      '-t',
      'none',
    ];
    await succeed(t, 'qemu-img', [...bench, uri]);
    await succeed(t, 'qemu-img', [...bench, '--flush-interval=32', uri]);
  }),
);

toolOrSkip('qemu-io')(
  'qemu-io patterns, zeroes, discards, FUA and parallel writes are read back',
  withVolume(16, async (t, served, volume) => {
    const uri = served.uri('vol');
    const commands = [
      'write -P 0xab 0 1M',
      'read -P 0xab 0 1M',
      'write -z -u 0 64k',
      'read -P 0 0 64k',
      'write -z 128k 64k',
      'read -P 0 128k 64k',
      'discard 256k 64k',
      'read -P 0 256k 64k',
      'write -f -P 0x11 513k 1k',
      'read -P 0x11 513k 1k',
      'read -P 0xab 512k 1k',
      'flush',
    ].flatMap((one) => ['-c', one]);
    await succeed(t, 'qemu-io', ['-f', 'raw', ...commands, uri]);
    t.is(volume.bytes[513 * 1024], 0x11);
    const parallel = ['aio_write -P 1 0 64k', 'aio_write -P 2 64k 64k', 'aio_write -P 3 128k 64k'];
    const aio = [...parallel, 'aio_flush'].flatMap((one) => ['-c', one]);
    await succeed(t, 'qemu-io', ['-f', 'raw', '-t', 'none', ...aio, uri]);
    t.deepEqual(
      [0, 64, 128].map((kib) => volume.bytes[kib * 1024]),
      [1, 2, 3],
    );
    const wrong = await run('qemu-io', ['-f', 'raw', '-c', 'read -P 9 0 4k', uri]);
    t.is(wrong.code, 1, 'a mismatch is seen');
  }),
);

toolOrSkip('qemu-img', 'qemu-io')(
  'a qcow2 image lives on the volume and checks clean',
  withVolume(32, async (t, served) => {
    const uri = served.uri('vol');
    await succeed(t, 'qemu-img', ['create', '-f', 'qcow2', uri, '128M']);
    const writes = [0, 3, 17, 40, 100].flatMap((mib) => ['-c', `write -P ${mib + 1} ${mib}M 256k`]);
    await succeed(t, 'qemu-io', ['-f', 'qcow2', ...writes, uri]);
    await succeed(t, 'qemu-img', ['check', '-f', 'qcow2', uri]);
    await succeed(t, 'qemu-io', ['-f', 'qcow2', '-c', 'read -P 41 40M 256k', uri]);
  }),
);

toolOrSkip('fio')(
  'fio verifies random writes of 4k to 64k',
  withVolume(32, async (t, served) => {
    for (const uri of [served.uri('vol'), served.tcpUri('vol')]) {
      const load = ['--rw=randwrite', '--bs=4k-64k', '--iodepth=16', '--size=32M'];
      const verify = ['--verify=crc32c', '--verify_fatal=1', '--do_verify=1'];
      const job = ['--name=v', '--ioengine=nbd', `--uri=${uri}`, ...load, ...verify];
      await succeed(t, 'fio', job, { cwd: served.dir });
    }
  }),
);

toolOrSkip('nbdsh')(
  'wrong requests get the error numbers of the protocol, and the connection lives on (libnbd as a black box)',
  withVolume(40, async (t, served) => {
    const script = path.join(served.dir, 'black-box.py');
    fs.writeFileSync(script, BLACK_BOX);
    const env = [`NBD_URI=${served.uri('vol')}`, `NBD_SOCKET=${served.socket}`];
    const { stdout } = await succeed(t, 'env', [...env, '/usr/bin/python3', script]);
    t.regex(stdout, /all as expected/);
  }),
);

const MANY = `
import nbd, os
handles = []
for i in range(12):
    h = nbd.NBD()
    h.connect_uri(os.environ["NBD_URI"])
    handles.append(h)
for i, h in enumerate(handles):
    h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray([i + 1]) * 65536), i * 65536)
for h in handles:
    while h.aio_in_flight() > 0:
        h.poll(-1)
handles[0].flush()
for i in range(12):
    assert handles[11 - i].pread(65536, i * 65536) == bytes([i + 1]) * 65536
for h in handles:
    h.shutdown()
`;

toolOrSkip('nbdsh')(
  'several connections of one volume see the same bytes',
  withVolume(1, async (t, served) => {
    const script = path.join(served.dir, 'many.py');
    fs.writeFileSync(script, MANY);
    await succeed(t, 'env', [`NBD_URI=${served.uri('vol')}`, '/usr/bin/python3', script]);
  }),
);
