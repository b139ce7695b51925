// The judges of clients.test.ts once more, over TLS: with a key (PSK) and with certificates. Method: clients that other
// people wrote against a volume in memory, whose bytes judge them.

import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { MIB } from '../../src/core/units.ts';
import { BLACK_BOX } from './black-box.ts';
import { MemoryVolume } from './memory-volume.ts';
import { type Served, serve } from './served.ts';
import { addKey, filesAt, makeAuthority, makeCertificate } from './tls-files.ts';
import { run, succeed, toolOrSkip } from './tools.ts';

const SIZE = 40 * MIB;

interface Way {
  readonly uri: string;
  /** For QEMU: what proves the client, under the id `t`. */
  readonly secret: string;
}

interface Setting {
  readonly served: Served;
  readonly dir: string;
  readonly volume: MemoryVolume;
  readonly ways: readonly Way[];
}

/** A volume `vol` that is served to the key and to the certificate of `guest`. */
function withBoth(
  body: (t: ExecutionContext, setting: Setting) => Promise<void>,
): (t: ExecutionContext) => Promise<void> {
  return async (t) => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-tls-'));
    // Where libnbd looks for certificates that no URI names.
    const x509 = path.join(dir, '.pki', 'libnbd');
    makeAuthority(x509);
    makeCertificate(x509, 'server', 'localhost');
    makeCertificate(x509, 'client', 'guest');
    addKey(dir, 'guest');
    const keys = path.join(dir, 'keys.psk');
    const volume = new MemoryVolume('vol', SIZE);
    const served = await serve([volume], filesAt({ keys, x509 }));
    const at = `127.0.0.1:${served.port}/vol`;
    const ways = [
      {
        uri: `nbds://guest@${at}?tls-psk-file=${keys}`,
        secret: `tls-creds-psk,id=t,endpoint=client,dir=${dir},username=guest`,
      },
      {
        uri: `nbds://${at}?tls-certificates=${x509}`,
        secret: `tls-creds-x509,id=t,endpoint=client,dir=${x509},verify-peer=on`,
      },
    ];
    try {
      await body(t, { served, dir, volume, ways });
    } finally {
      await served.stop();
      fs.rmSync(dir, { recursive: true, force: true });
    }
    t.is(volume.connections, 0, 'every connection was given back');
  };
}

/** Other users may read, and write new files. */
function openToAll(dir: string): void {
  fs.chmodSync(dir, 0o777);
  for (const name of fs.readdirSync(dir, { recursive: true, encoding: 'utf8' })) {
    const file = path.join(dir, name);
    if (!fs.statSync(file).isSocket())
      fs.chmodSync(file, fs.statSync(file).isDirectory() ? 0o755 : 0o644);
  }
}

toolOrSkip(
  'nbdsh',
  'psktool',
  'certtool',
)(
  'over TLS wrong requests get the error numbers of the protocol, and the connection lives on',
  withBoth(async (t, { served, dir, ways }) => {
    const script = path.join(dir, 'black-box.py');
    fs.writeFileSync(script, BLACK_BOX);
    for (const { uri } of ways) {
      const env = [`NBD_URI=${uri}`, `NBD_SOCKET=${served.socket}`];
      const { stdout } = await succeed(t, 'env', [...env, '/usr/bin/python3', script]);
      t.regex(stdout, /all as expected/);
    }
  }),
);

toolOrSkip(
  'nbdinfo',
  'nbdcopy',
  'psktool',
  'certtool',
)(
  'over TLS nbdinfo sees holes, nbdcopy leaves them out, and four connections bring the bytes there and back',
  withBoth(async (t, { dir, volume, ways }) => {
    for (const [n, { uri }] of ways.entries()) {
      volume.bytes.fill(0);
      volume.bytes.fill(3, MIB, 2 * MIB);
      const map = JSON.parse((await succeed(t, 'nbdinfo', ['--map', '--json', uri])).stdout);
      const data = map.filter((one: { type: number }) => one.type === 0);
      t.deepEqual(
        data.map((one: { offset: number; length: number }) => [one.offset, one.length]),
        [[MIB, MIB]],
      );
      const source = path.join(dir, 'source');
      const back = path.join(dir, `back-${n}`);
      fs.writeFileSync(source, crypto.randomBytes(SIZE));
      await succeed(t, 'nbdcopy', ['--flush', '--connections=4', '--requests=64', source, uri]);
      t.true(fs.readFileSync(source).equals(volume.bytes));
      await succeed(t, 'nbdcopy', [uri, back]);
      t.true(fs.readFileSync(source).equals(fs.readFileSync(back)));
    }
  }),
);

toolOrSkip(
  'qemu-img',
  'qemu-io',
  'qemu-nbd',
  'psktool',
  'certtool',
)(
  'over TLS QEMU lists, converts, compares, writes zeroes, discards and forces',
  withBoth(async (t, { served, dir, volume, ways }) => {
    const source = path.join(dir, 'source');
    fs.writeFileSync(source, crypto.randomBytes(SIZE));
    for (const { secret } of ways) {
      const port = ['-b', '127.0.0.1', '-p', String(served.port)];
      const listed = await succeed(t, 'qemu-nbd', [
        ...['--list', ...port, '--object', secret, '--tls-creds', 't'],
      ]);
      t.regex(listed.stdout, /exports available: 1[\s\S]*export: 'vol'[\s\S]*base:allocation/);
      const node = `driver=nbd,host=127.0.0.1,port=${served.port},export=vol,tls-creds=t`;
      const opts = ['--object', secret, '--image-opts'];
      const convert = ['convert', '-n', '-W', '--object', secret, '--target-image-opts'];
      await succeed(t, 'qemu-img', [...convert, '-f', 'raw', source, node]);
      t.true(fs.readFileSync(source).equals(volume.bytes));
      const file = `driver=raw,file.driver=file,file.filename=${source}`;
      await succeed(t, 'qemu-img', ['compare', ...opts, file, node]);
      const steps = ['write -z -u 4M 1M', 'read -P 0 4M 1M', 'discard 8M 1M', 'read -P 0 8M 1M'];
      steps.push('write -f -P 0x11 4095k 3k', 'read -P 0x11 4095k 3k', 'flush');
      await succeed(t, 'qemu-io', [...steps.flatMap((one) => ['-c', one]), ...opts, node]);
    }
  }),
);

toolOrSkip(
  'fio',
  'psktool',
  'certtool',
)(
  'over TLS fio verifies random writes; without a proof it does not come in',
  withBoth(async (t, { served, dir, volume }) => {
    const load = ['--rw=randwrite', '--bs=4k-64k', '--iodepth=16', '--size=8M'];
    const verify = ['--verify=crc32c', '--verify_fatal=1', '--do_verify=1'];
    const job = (uri: string) => ['--name=v', '--ioengine=nbd', `--uri=${uri}`, ...load, ...verify];
    // fio lets no URI name files: its certificates are where libnbd looks for those of users other than root.
    const uri = `nbds://127.0.0.1:${served.port}/vol`;
    openToAll(dir);
    const asUser = process.getuid?.() === 0 ? ['--reuid=65534', '--clear-groups'] : [];
    const fio = (home: string) =>
      run('setpriv', [...asUser, 'fio', ...job(uri)], { cwd: dir, env: { HOME: home } });
    const good = await fio(dir);
    t.is(good.code, 0, `${good.stdout} ${good.stderr}`);
    t.true(volume.bytes.some((byte) => byte !== 0));
    t.not((await fio(path.join(dir, 'nobody'))).code, 0);
  }),
);
