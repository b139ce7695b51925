// STARTTLS. Method: clients that other people wrote (libnbd and QEMU, both on GnuTLS) with keys and certificates of the
// usual tools, against volumes in memory; and a client of our own for what no decent client would do.

import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import type { ExecutionContext } from 'ava';
import { KIB, MIB } from '../../src/core/units.ts';
import {
  encodeInfoRequest,
  encodeMetaRequest,
  encodeOption,
  OPTION,
  REPLY,
} from '../../src/nbd/option-codec.ts';
import { joined, optionReplies } from './duplex.ts';
import { MemoryVolume } from './memory-volume.ts';
import { type Served, serve } from './served.ts';
import { addKey, filesAt, makeAuthority, makeCertificate } from './tls-files.ts';
import { run, succeed, toolOrSkip } from './tools.ts';

const NOTHING = new Uint8Array(0);

interface Setting {
  readonly served: Served;
  /** Files of server and client. */
  readonly dir: string;
  readonly volumes: readonly MemoryVolume[];
}

/** Volumes `vol` and `db-1`, the key of `qemu`, and what `files` says of the directory made. */
function withTls(
  files: (dir: string) => Parameters<typeof filesAt>[0],
  body: (t: ExecutionContext, setting: Setting) => Promise<void>,
): (t: ExecutionContext) => Promise<void> {
  return async (t) => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-tls-'));
    const volumes = [new MemoryVolume('vol', 4 * MIB), new MemoryVolume('db-1', MIB)];
    addKey(dir, 'qemu');
    const served = await serve(volumes, filesAt(files(dir)));
    try {
      await body(t, { served, dir, volumes });
    } finally {
      await served.stop();
      fs.rmSync(dir, { recursive: true, force: true });
    }
    for (const volume of volumes) t.is(volume.connections, 0, 'every connection was given back');
  };
}

const keysOf = (dir: string) => ({ keys: path.join(dir, 'keys.psk') });
const pskUri = ({ served, dir }: Setting, name: string, user = 'qemu') =>
  `nbds://${user}@127.0.0.1:${served.port}/${name}?tls-psk-file=${path.join(dir, 'keys.psk')}`;

toolOrSkip(
  'nbdinfo',
  'nbdcopy',
  'psktool',
)(
  'libnbd with a key: seen, written and read back over TLS; without TLS nothing is told',
  withTls(keysOf, async (t, setting) => {
    const { served, dir, volumes } = setting;
    const { stdout } = await succeed(t, 'nbdinfo', ['--json', pskUri(setting, 'vol')]);
    t.true(JSON.parse(stdout).TLS);
    t.is(JSON.parse(stdout).exports[0]['export-size'], 4 * MIB);
    const image = path.join(dir, 'image');
    fs.writeFileSync(
      image,
      Uint8Array.from({ length: 4 * MIB }, (_, i) => i % 251),
    );
    await succeed(t, 'nbdcopy', ['--flush', image, pskUri(setting, 'vol')]);
    t.true(fs.readFileSync(image).equals((volumes[0] as MemoryVolume).bytes));
    await succeed(t, 'nbdcopy', [pskUri(setting, 'vol'), path.join(dir, 'back')]);
    t.true(fs.readFileSync(image).equals(fs.readFileSync(path.join(dir, 'back'))));
    const plain = await run('nbdinfo', [served.tcpUri('vol')]);
    t.not(plain.code, 0);
    t.regex(plain.stderr, /not supported/);
    await succeed(t, 'nbdinfo', [served.uri('vol')]);
  }),
);

toolOrSkip('nbdinfo', 'psktool')(
  'a wrong key, an unknown name and a key that was taken away do not come in; a new one does at once',
  withTls(keysOf, async (t, setting) => {
    const { served, dir } = setting;
    const strangers = path.join(dir, 'strangers');
    fs.mkdirSync(strangers);
    addKey(strangers, 'qemu');
    const stranger = { served, volumes: [], dir: strangers };
    t.not((await run('nbdinfo', [pskUri(stranger, 'vol')])).code, 0, 'wrong key');
    addKey(strangers, 'nobody');
    t.not((await run('nbdinfo', [pskUri(stranger, 'vol', 'nobody')])).code, 0, 'unknown name');
    addKey(dir, 'second');
    await succeed(t, 'nbdinfo', [pskUri(setting, 'vol', 'second')]);
    const file = path.join(dir, 'keys.psk');
    const kept = fs
      .readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => !line.startsWith('second:'));
    const client = path.join(dir, 'client');
    fs.mkdirSync(client);
    fs.copyFileSync(file, path.join(client, 'keys.psk'));
    fs.writeFileSync(file, kept.join('\n'));
    const revoked = { served, volumes: [], dir: client };
    t.not((await run('nbdinfo', [pskUri(revoked, 'vol', 'second')])).code, 0, 'taken away');
    await succeed(t, 'nbdinfo', [pskUri(revoked, 'vol')]);
    fs.writeFileSync(file, 'rubbish');
    const unread = await run('nbdinfo', [pskUri(revoked, 'vol')]);
    t.not(unread.code, 0, 'a broken file lets nobody in');
    // The last one's end may still be on its way.
    for (let turn = 0; served.server.connectionCount > 0 && turn < 100_000; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    t.is(served.server.connectionCount, 0);
  }),
);

toolOrSkip(
  'qemu-img',
  'qemu-io',
  'psktool',
)(
  'QEMU with a key',
  withTls(keysOf, async (t, { served, dir }) => {
    const secret = ['--object', `tls-creds-psk,id=t,endpoint=client,dir=${dir},username=qemu`];
    const image = `driver=nbd,host=127.0.0.1,port=${served.port},export=vol,tls-creds=t`;
    const info = await succeed(t, 'qemu-img', [
      'info',
      '--output=json',
      ...secret,
      '--image-opts',
      image,
    ]);
    t.is(JSON.parse(info.stdout)['virtual-size'], 4 * MIB);
    const steps = ['write -P 0x5a 64k 2M', 'flush', 'read -P 0x5a 64k 2M', 'read -P 0 3M 512k'];
    const commands = steps.flatMap((one) => ['-c', one]);
    await succeed(t, 'qemu-io', [...secret, ...commands, '--image-opts', image]);
  }),
);

function withCertificates(dir: string): Parameters<typeof filesAt>[0] {
  const certs = path.join(dir, 'certs');
  makeAuthority(certs);
  makeCertificate(certs, 'server', 'localhost');
  makeCertificate(certs, 'client', 'tenant-a');
  const access = path.join(dir, 'access');
  fs.writeFileSync(access, 'tenant-a db-*\nqemu vol\n');
  return { x509: certs, keys: path.join(dir, 'keys.psk'), access };
}

const certUri = (served: Served, name: string, certs: string) =>
  `nbds://127.0.0.1:${served.port}/${name}?tls-certificates=${certs}`;

toolOrSkip(
  'nbdinfo',
  'qemu-img',
  'certtool',
  'psktool',
)(
  'certificates: the common name decides what may be attached and listed, beside keys on the same address',
  withTls(withCertificates, async (t, setting) => {
    const { served, dir } = setting;
    const certs = path.join(dir, 'certs');
    const size = await succeed(t, 'nbdinfo', ['--size', certUri(served, 'db-1', certs)]);
    t.is(Number(size.stdout), MIB);
    const only = await succeed(t, 'nbdinfo', ['--size', certUri(served, '', certs)]);
    t.is(Number(only.stdout), MIB, 'the empty name is the only volume of this client');
    for (const name of ['vol', 'nobody']) {
      const refused = await run('nbdinfo', [certUri(served, name, certs)]);
      t.not(refused.code, 0);
      t.regex(refused.stderr, /not supported|not permitted/i, name);
    }
    const list = await succeed(t, 'nbdinfo', ['--list', '--json', certUri(served, '', certs)]);
    const names = JSON.parse(list.stdout).exports.map(
      (one: Record<string, string>) => one['export-name'],
    );
    t.deepEqual(names, ['db-1']);
    const secret = ['--object', `tls-creds-x509,id=t,endpoint=client,dir=${certs},verify-peer=on`];
    const image = `driver=nbd,host=127.0.0.1,port=${served.port},export=db-1,tls-creds=t`;
    await succeed(t, 'qemu-img', ['info', ...secret, '--image-opts', image]);
    await succeed(t, 'nbdinfo', ['--size', pskUri(setting, 'vol')]);
    t.not((await run('nbdinfo', ['--size', pskUri(setting, 'db-1')])).code, 0);
  }),
);

toolOrSkip(
  'nbdinfo',
  'certtool',
  'psktool',
)(
  'a certificate of another authority, or none, does not come in; one without rights sees nothing',
  withTls(withCertificates, async (t, { served, dir }) => {
    const certs = path.join(dir, 'certs');
    const foreign = path.join(dir, 'foreign');
    makeAuthority(foreign);
    makeCertificate(foreign, 'client', 'tenant-a');
    // The client trusts our server; only its own certificate is wrong.
    fs.copyFileSync(path.join(certs, 'ca-cert.pem'), path.join(foreign, 'ca-cert.pem'));
    t.not((await run('nbdinfo', [certUri(served, 'db-1', foreign)])).code, 0, 'foreign');
    const bare = path.join(dir, 'bare');
    fs.mkdirSync(bare);
    fs.copyFileSync(path.join(certs, 'ca-cert.pem'), path.join(bare, 'ca-cert.pem'));
    t.not((await run('nbdinfo', [certUri(served, 'db-1', bare)])).code, 0, 'none');
    for (const only of [{ x509: certs }, { x509: certs, keys: path.join(dir, 'keys.psk') }]) {
      const server = await serve([new MemoryVolume('db-1', MIB)], filesAt(only));
      const [good, ...wrong] = [certs, foreign, bare].map((one) => certUri(server, 'db-1', one));
      await succeed(t, 'nbdinfo', [good ?? '']);
      for (const uri of wrong) t.not((await run('nbdinfo', [uri])).code, 0, uri);
      await server.stop();
    }
    makeCertificate(certs, 'client', 'tenant-b');
    const list = await run('nbdinfo', ['--list', certUri(served, '', certs)]);
    t.not(list.code, 0, 'LIST is refused by policy');
  }),
);

/** Speaks in the clear. */
async function clearClient(port: number) {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  let received = Buffer.alloc(0);
  let isClosed = false;
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
  });
  socket.on('close', () => {
    isClosed = true;
  });
  const take = async (bytes: number) => {
    while (received.length < bytes && !isClosed)
      await Promise.race([once(socket, 'data'), once(socket, 'close')]);
    const taken = received.subarray(0, bytes);
    received = received.subarray(bytes);
    return new Uint8Array(taken);
  };
  await take(18);
  socket.write(Uint8Array.of(0, 0, 0, 3));
  const answer = async () => {
    const head = await take(20);
    const length = new DataView(head.buffer, head.byteOffset).getUint32(16);
    return optionReplies(joined(head, await take(length)))[0];
  };
  return { socket, answer, take, isClosed: () => isClosed };
}

const go = (name: string) => encodeOption(OPTION.go, encodeInfoRequest(name, []));
const startTls = encodeOption(OPTION.startTls, NOTHING);

toolOrSkip('psktool')(
  'before TLS every option but STARTTLS and ABORT is refused; EXPORT_NAME ends the connection',
  withTls(keysOf, async (t, { served }) => {
    const { socket, answer, take, isClosed } = await clearClient(served.port);
    const name = new TextEncoder().encode('vol');
    const meta = encodeMetaRequest('vol', []);
    for (const option of [
      ...[
        encodeOption(OPTION.list, NOTHING),
        go('vol'),
        encodeOption(OPTION.structuredReply, NOTHING),
      ],
      ...[encodeOption(OPTION.setMetaContext, meta), encodeOption(77, NOTHING)],
    ]) {
      socket.write(option);
      t.is((await answer())?.reply, REPLY.errTlsReqd);
    }
    socket.write(encodeOption(OPTION.startTls, Uint8Array.of(1)));
    t.is((await answer())?.reply, REPLY.errInvalid);
    socket.write(encodeOption(OPTION.exportName, name));
    await take(1);
    t.true(isClosed());
    const other = await clearClient(served.port);
    other.socket.write(encodeOption(OPTION.abort, NOTHING));
    t.is((await other.answer())?.reply, REPLY.ack);
  }),
);

// Method: what an attacker on the line could add to the clear part must have no effect: options in the same packet as
// STARTTLS are dropped, later ones break the TLS handshake.
toolOrSkip('psktool')(
  'what comes in the clear with STARTTLS is dropped; what was agreed before it does not count',
  withTls(keysOf, async (t, { served, dir, volumes }) => {
    const { socket, answer } = await clearClient(served.port);
    socket.write(joined(startTls, go('vol'), go('db-1')));
    t.is((await answer())?.reply, REPLY.ack);
    const [, hex = ''] = fs.readFileSync(path.join(dir, 'keys.psk'), 'utf8').trim().split(':');
    socket.removeAllListeners('data');
    const secure = tls.connect({
      socket,
      ciphers: 'TLS_AES_128_GCM_SHA256',
      checkServerIdentity: () => undefined,
      pskCallback: () => ({ psk: Buffer.from(hex, 'hex'), identity: 'qemu' }),
    });
    await once(secure, 'secureConnect');
    t.is(volumes[0]?.connections, 0, 'nobody was attached');
    secure.write(encodeOption(OPTION.setMetaContext, encodeMetaRequest('vol', [])));
    const [chunk] = (await once(secure, 'data')) as [Buffer];
    t.is(optionReplies(new Uint8Array(chunk))[0]?.reply, REPLY.errInvalid, 'no structured replies');
    secure.write(startTls);
    const [again] = (await once(secure, 'data')) as [Buffer];
    t.is(optionReplies(new Uint8Array(again))[0]?.reply, REPLY.errInvalid, 'TLS stands already');
    secure.destroy();

    const late = await clearClient(served.port);
    late.socket.write(startTls);
    await late.answer();
    late.socket.write(go('vol'));
    await once(late.socket, 'close');
    t.is(volumes[0]?.connections, 0);
  }),
);

toolOrSkip('psktool')(
  'on a socket without TLS, STARTTLS is refused and the client goes on',
  withTls(keysOf, async (t, { served }) => {
    const socket = net.connect(served.socket);
    await once(socket, 'readable');
    socket.read();
    socket.write(joined(Uint8Array.of(0, 0, 0, 3), startTls, go('vol')));
    let received = new Uint8Array(0);
    while (received.length < 20 + 20 + 32 + 20) {
      await once(socket, 'readable');
      received = new Uint8Array(joined(received, (socket.read() as Buffer | null) ?? NOTHING));
    }
    const replies = optionReplies(received).map((one) => one.reply);
    t.deepEqual(replies, [REPLY.errUnsup, REPLY.info, REPLY.ack]);
    socket.destroy();
  }),
);

// Method: strangers that begin TLS and then say anything, or nothing; a guest with a key is served afterwards as before.
toolOrSkip('nbdinfo', 'psktool')(
  'garbage in place of TLS ends that connection and nothing else',
  withTls(keysOf, async (t, setting) => {
    const { served } = setting;
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 120; i += 1) {
      const { socket, answer } = await clearClient(served.port);
      socket.write(startTls);
      t.is((await answer())?.reply, REPLY.ack);
      socket.end(Uint8Array.from({ length: i * 7 }, (_, at) => (at * i * 31) % 256));
      await once(socket, 'close');
    }
    t.true(process.memoryUsage().rss - before < 100 * MIB);
    await succeed(t, 'nbdinfo', [pskUri(setting, 'vol')]);
  }),
);

toolOrSkip('ss', 'psktool')(
  'a silent client on TCP is probed, with TLS and in the clear',
  withTls(keysOf, async (t, { served }) => {
    const plain = await serve([]);
    for (const { port } of [served, plain]) {
      const { socket } = await clearClient(port);
      const { stdout } = await succeed(t, 'ss', ['-tnoH', 'sport', '=', `:${port}`]);
      t.regex(stdout, /timer:\(keepalive,/);
      socket.destroy();
    }
    await plain.stop();
  }),
);

toolOrSkip('certtool')(
  'a key that does not fit its certificate is told at the start',
  async (t) => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-tls-'));
    t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
    makeAuthority(dir);
    makeCertificate(dir, 'server', 'localhost');
    makeCertificate(dir, 'client', 'x');
    fs.copyFileSync(path.join(dir, 'client-key.pem'), path.join(dir, 'server-key.pem'));
    await t.throwsAsync(serve([], filesAt({ x509: dir })), {
      message: /certificates for TLS do not work/,
    });
    fs.rmSync(path.join(dir, 'server-key.pem'));
    await t.throwsAsync(serve([], filesAt({ x509: dir })), {
      message: /can not read .*server-key\.pem/,
    });
  },
);

toolOrSkip('nbdsh', 'psktool')(
  'a megabyte at a time over TLS, several requests in flight, and an orderly end under them',
  withTls(keysOf, async (t, setting) => {
    const { served, dir } = setting;
    const script = path.join(dir, 'load.py');
    fs.writeFileSync(script, LOAD);
    const env = [`NBD_URI=${pskUri(setting, 'vol')}`];
    const { stdout } = await succeed(t, 'env', [...env, '/usr/bin/python3', script]);
    t.regex(stdout, /done/);
    const busy = run('env', [...env, 'FOREVER=1', '/usr/bin/python3', script], {
      timeoutMs: 20_000,
    });
    while (served.server.connectionCount === 0)
      await new Promise((resolve) => setTimeout(resolve, 20));
    await served.server.stop();
    t.not((await busy).code, null, 'the client was told, and did not hang');
  }),
);

const LOAD = `
import nbd, os
h = nbd.NBD()
h.set_uri_allow_local_file(True)
h.connect_uri(os.environ["NBD_URI"])
size = ${MIB}
again = True
while again:
    for i in range(4):
        h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray([i + 1]) * size), i * size)
    while h.aio_in_flight() > 0:
        h.poll(-1)
    for i in range(4):
        assert h.pread(size, i * size) == bytes([i + 1]) * size
    again = "FOREVER" in os.environ
h.shutdown()
print("done", ${KIB})
`;
